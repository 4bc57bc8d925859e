package page

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// isNamed looks for what a screen reader could not name.
func (b *browser) isNamed(view string) {
	b.Helper()
	for what, selector := range map[string]string{
		"images without a text":            `img:not([alt])`,
		"drawings without a text":          `svg:not([aria-hidden]):not([role=img] svg)`,
		"sections without a name":          `main section:not([aria-label]):not([aria-labelledby])`,
		"tables without heads of columns":  `table:not(:has(thead th[scope=col]))`,
		"tables without a caption":         `table:not(:has(caption))`,
		"rows without a head":              `tbody tr:not(:has(th[scope=row]))`,
		"scrolling parts without keyboard": `.scroll:not([tabindex="0"])`,
		"positive tab indices":             `[tabindex]:not([tabindex="0"]):not([tabindex="-1"])`,
	} {
		if n := eval[int](b, fmt.Sprintf("document.querySelectorAll(%q).length", selector)); n > 0 {
			b.Errorf("%s: have %d %s", view, n, what)
		}
	}
	for what, expression := range map[string]string{
		"controls without a name": `[...document.querySelectorAll("button, a[href], summary")].filter(e => e.checkVisibility() &&
			!(e.ariaLabel || e.innerText || [...e.querySelectorAll("img")].map(i => i.alt).join("")).trim()).map(e => e.outerHTML)`,
		"fields without a label": `[...document.querySelectorAll("input:not([hidden]), select, progress")].filter(e =>
			!(e.ariaLabel || [...e.labels].map(l => l.textContent).join("") || document.getElementById(e.getAttribute("aria-labelledby"))?.textContent || "").trim()).map(e => e.outerHTML)`,
		"names that lead nowhere": `[...document.querySelectorAll("[aria-labelledby], [aria-describedby], label[for]")].filter(e => e.checkVisibility() || e.closest("dialog"))
			.flatMap(e => [e.getAttribute("aria-labelledby"), e.getAttribute("aria-describedby"), e.getAttribute("for")])
			.flatMap(ids => (ids ?? "").split(" ")).filter(id => id && !document.getElementById(id))`,
		"an id twice":            `[...document.querySelectorAll("[id]")].map(e => e.id).filter((id, i, all) => all.indexOf(id) !== i)`,
		"texts that are missing": `[...document.body.innerText.matchAll(/\b[a-z]+\.[a-z]+(\.[a-z]+)*\b|\{\w+\}|undefined|NaN|null|\[object/g)].map(m => m[0]).filter(m => !m.endsWith(".png"))`,
	} {
		if have := eval[[]string](b, expression); len(have) > 0 {
			b.Errorf("%s: have %s: %q", view, what, have)
		}
	}
	levels := eval[[]int](b, `[...document.querySelectorAll("h1, h2, h3, h4")].filter(h => h.checkVisibility() && !h.closest("dialog")).map(h => +h.tagName[1])`)
	for i, level := range levels {
		if i == 0 && level != 1 || i > 0 && (level == 1 || level > levels[i-1]+1) {
			b.Errorf("%s: have headings of levels %v", view, levels)
			break
		}
	}
}

// contrasts measures all text against what lies behind it: WCAG 2.2 wants 4.5, and here also of large text.
func (b *browser) contrasts(view string) {
	b.Helper()
	faint := eval[[]string](b, `(() => {
		const parse = text => { const m = text.match(/[\d.]+/g).map(Number); return [m[0], m[1], m[2], m[3] ?? 1]; };
		const light = c => { const [r, g, b] = c.slice(0, 3).map(v => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
		const behind = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] === 1) return c; } return [255, 255, 255, 1]; };
		const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
		for (let n; (n = walker.nextNode());) {
			const e = n.parentElement;
			if (!n.data.trim() || !e.checkVisibility() || e.closest(".unseen, .skip, noscript, option")) continue;
			const style = getComputedStyle(e), a = light(parse(e.namespaceURI.endsWith("svg") ? style.fill : style.color)), z = light(behind(e));
			const ratio = (Math.max(a, z) + 0.05) / (Math.min(a, z) + 0.05);
			if (!(ratio >= 4.5)) found.push(n.data.trim().slice(0, 30) + " " + ratio.toFixed(2));
		}
		return found;
	})()`)
	if len(faint) > 0 {
		b.Errorf("%s: have text of less than 4.5:1: %q", view, faint)
	}
}

// reaches goes through the view with the Tab key and says what is not reached, and where the focus cannot be seen.
func (b *browser) reaches(view string) {
	b.Helper()
	want := eval[int](b, `(() => {
		const open = e => { const d = e.closest("details"); return !d || d.open || e.tagName === "SUMMARY"; };
		window.wanted = [...document.querySelectorAll("a[href], button, input, select, summary, [tabindex='0']")].filter(e => e.checkVisibility() && !e.disabled && open(e));
		window.missed = new Set(wanted);
		document.activeElement.blur();
		getSelection().removeAllRanges();
		return wanted.length;
	})()`)
	unseen := map[string]bool{}
	for range want + 3 {
		b.Do(chromedp.KeyEvent(kb.Tab))
		at := eval[string](b, `(() => {
			const e = document.activeElement, beside = e.matches(".choose input") ? e.nextElementSibling : e, style = getComputedStyle(beside);
			missed.delete(e);
			return e !== document.body && (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2) ? e.outerHTML.slice(0, 120) : "";
		})()`)
		if at != "" {
			unseen[at] = true
		}
	}
	for at := range unseen {
		b.Errorf("%s: the focus cannot be seen at %s", view, at)
	}
	if missed := eval[[]string](b, "[...missed].map(e => e.outerHTML.slice(0, 120))"); len(missed) > 0 {
		b.Errorf("%s: Tab does not reach %q", view, missed)
	}
}

// whole checks the view that is shown in both themes.
func (b *browser) whole(view string) {
	b.Helper()
	b.isNamed(view)
	for _, theme := range []string{"light", "dark"} {
		b.Theme(theme)
		b.contrasts(view + " in " + theme)
	}
}

func TestThemesDiffer(t *testing.T) {
	b := openPage(t, newFake(t), "en", "")
	b.View("line", ".newest .banner")
	colours := map[string][]string{}
	for _, theme := range []string{"light", "dark"} {
		b.Theme(theme)
		colours[theme] = eval[[]string](b, `["body", "section", ".banner", ".badge", "nav a[aria-current]"].flatMap(s => { const c = getComputedStyle(document.querySelector(s)); return [c.color, c.backgroundColor]; })`)
	}
	for i, light := range colours["light"] {
		if dark := colours["dark"][i]; light == dark && !strings.HasPrefix(light, "rgba(0, 0, 0, 0") {
			b.Errorf("colour %d: have %s in light and dark", i, light)
		}
	}
	if slices.Equal(colours["light"], colours["dark"]) {
		b.Error("have the same colours in light and dark")
	}
}
