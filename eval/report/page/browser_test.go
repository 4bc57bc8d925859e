package page

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"mvag-torch/internal/pagetest"
)

// browser shows a report.
type browser struct{ *pagetest.Browser }

// eval returns the value of an expression of the page.
func eval[T any](b browser, expression string) T {
	b.Helper()
	return pagetest.Eval[T](b.Browser, expression)
}

// column is the text of a column of a table, from top to bottom.
func (b browser) column(table string, n int) []string {
	b.Helper()
	return eval[[]string](b, fmt.Sprintf("[...document.getElementById(%q).tBodies[0].rows].map(r => r.cells[%d].textContent)", table, n))
}

func TestReportInABrowser(t *testing.T) {
	folder := sampleRun(t, 5, "gear", nasty, "nut")
	written(t, folder)
	b := browser{pagetest.Open(t, "file://"+folder, "en", "report.html")}
	b.Allow("data:") // the images in the file
	t.Run("sorts", func(t *testing.T) { b.T = t; b.sorts() })
	t.Run("chooses a class", func(t *testing.T) { b.T = t; b.choosesClass() })
	t.Run("opens the gallery", func(t *testing.T) { b.T = t; b.opensGallery() })
	t.Run("is named throughout", func(t *testing.T) { b.T = t; b.isNamed() })
	t.Run("fits", func(t *testing.T) { b.T = t; b.fits() })
	t.Run("follows the theme", func(t *testing.T) { b.T = t; b.followsTheme() })
	b.T = t
}

// sorts goes to a heading by keyboard and sorts by it, down and up.
func (b browser) sorts() {
	b.Do(chromedp.Focus(chromedp.CSS("#classes thead th:nth-child(2) button")), chromedp.KeyEvent(kb.Enter))
	down := b.column("classes", 1)
	if !slices.IsSortedFunc(down, func(a, b string) int { return strings.Compare(b, a) }) || len(down) != 3 {
		b.Errorf("after Enter on mAD: have %q, want it falling", down)
	}
	b.Do(chromedp.KeyEvent(" "))
	up := b.column("classes", 1)
	if slices.Reverse(up); !slices.Equal(up, down) {
		b.Errorf("after Space on mAD: have %q from below, want %q", up, down)
	}
	if have := eval[string](b, `document.querySelector("#classes thead th:nth-child(2)").ariaSort`); have != "ascending" {
		b.Errorf("aria-sort: have %q", have)
	}
	b.Do(chromedp.Click(chromedp.CSS("#classes thead th:first-child button")))
	if names := b.column("classes", 0); !slices.Equal(names, []string{nasty, "gear", "nut"}) {
		b.Errorf("after a click on class: have %q", names)
	}
	if foot := eval[string](b, `document.querySelector("#classes tfoot th").textContent`); foot != "mean" {
		b.Errorf("foot: have %q", foot)
	}
}

func (b browser) choosesClass() {
	shown := `[...document.querySelectorAll("#curves .group")].filter(g => g.offsetParent).map(g => g.dataset.class)`
	if have := eval[[]string](b, shown); !slices.Equal(have, []string{"gear"}) {
		b.Errorf("have curves of %q, want the first class", have)
	}
	b.Do(chromedp.Focus(chromedp.CSS("#curves select")), chromedp.KeyEvent(kb.ArrowDown))
	if have := eval[[]string](b, shown); !slices.Equal(have, []string{nasty}) {
		b.Errorf("after one down: have curves of %q", have)
	}
	b.Do(chromedp.KeyEvent(kb.End))
	if have := eval[[]string](b, shown); len(have) != 3 {
		b.Errorf("at the end of the list: have curves of %q, want all", have)
	}
}

// opensGallery opens an object by keyboard, goes on, and closes it.
func (b browser) opensGallery() {
	title := `document.getElementById("viewer-h").textContent`
	names := eval[[]string](b, `[...document.querySelectorAll(".card h4")].map(h => h.textContent)`)
	if len(names) != 18 {
		b.Fatalf("have %d objects, want 6 of each class", len(names))
	}
	b.Do(chromedp.Focus(chromedp.CSS(".card .open")), chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible(chromedp.CSS("#viewer")))
	if have := eval[string](b, title); have != names[0] {
		b.Errorf("have %q open, want %q", have, names[0])
	}
	if n := eval[int](b, `document.querySelectorAll("#viewer-body img").length`); n < 10 || n > 15 {
		b.Errorf("have %d images, want two or three of each camera", n)
	}
	b.Until("images to be shown", `[...document.querySelectorAll("#viewer-body img")].every(i => i.complete && i.naturalWidth === 32)`)
	b.Do(chromedp.KeyEvent(kb.ArrowRight))
	if have := eval[string](b, title); have != names[1] {
		b.Errorf("after Right: have %q, want %q", have, names[1])
	}
	b.Do(chromedp.KeyEvent(kb.ArrowLeft), chromedp.KeyEvent(kb.ArrowLeft))
	if have := eval[string](b, title); have != names[17] {
		b.Errorf("after Left twice: have %q, want %q", have, names[17])
	}
	b.Do(chromedp.KeyEvent(kb.Escape), chromedp.WaitNotVisible(chromedp.CSS("#viewer")))
	b.Until("focus on the object that was open", fmt.Sprintf(`document.activeElement.closest(".card")?.querySelector("h4").textContent === %q`, names[17]))
	b.Do(chromedp.Click(chromedp.CSS(".card .views")), chromedp.WaitVisible(chromedp.CSS("#viewer")),
		chromedp.Click(chromedp.CSS("#viewer-close")), chromedp.WaitNotVisible(chromedp.CSS("#viewer")))
}

// isNamed looks for what a screen reader could not name.
func (b browser) isNamed() {
	for what, selector := range map[string]string{
		"images without a text":            `img:not([alt]), img[alt=""]`,
		"plots without a text":             `.plot > div:not([role=img][aria-label])`,
		"sections without a name":          `main section:not([aria-label]):not([aria-labelledby])`,
		"names that lead nowhere":          `[aria-labelledby="nowhere"]`,
		"tables without heads of columns":  `table:not(:has(thead th[scope=col]))`,
		"rows without a head":              `tbody tr:not(:has(th[scope=row]))`,
		"scrolling parts without keyboard": `.scroll:not([tabindex="0"])`,
	} {
		if n := eval[int](b, fmt.Sprintf("document.querySelectorAll(%q).length", selector)); n > 0 {
			b.Errorf("have %d %s", n, what)
		}
	}
	if lost := eval[[]string](b, `[...document.querySelectorAll("[aria-labelledby], [aria-describedby]")]
		.flatMap(e => [e.getAttribute("aria-labelledby"), e.getAttribute("aria-describedby")])
		.filter(id => id && !document.getElementById(id))`); len(lost) > 0 {
		b.Errorf("have names that lead nowhere: %q", lost)
	}
	if twice := eval[[]string](b, `[...document.querySelectorAll("[id]")].map(e => e.id).filter((id, i, all) => all.indexOf(id) !== i)`); len(twice) > 0 {
		b.Errorf("have an id twice: %q", twice)
	}
	if levels := eval[[]int](b, `[...document.querySelectorAll("main h2, main h3, main h4")].filter(h => !h.closest("dialog")).map(h => +h.tagName[1])`); true {
		for i := 1; i < len(levels); i++ {
			if levels[i] > levels[i-1]+1 && levels[i] != 4 {
				b.Errorf("heading %d is of level %d after %d", i, levels[i], levels[i-1])
			}
		}
	}
}

// fits measures the page on phones and screens.
func (b browser) fits() {
	for _, width := range []int64{320, 390, 768, 1280} {
		b.Do(chromedp.EmulateViewport(width, 844))
		if have := eval[int64](b, "document.documentElement.scrollWidth"); have > width {
			widest := eval[string](b, `[...document.querySelectorAll("body *")].filter(e => !e.closest(".scroll, pre, svg") && e.getBoundingClientRect().right > innerWidth + 1)
				.map(e => e.tagName + "." + e.className + "#" + e.id).join(" ")`)
			b.Errorf("at %d pixels: the page is %d wide: %s", width, have, widest)
		}
	}
}

// followsTheme compares the colours of page, text and plots in light and dark.
func (b browser) followsTheme() {
	colours := map[string][]string{}
	for _, theme := range []string{"light", "dark"} {
		b.Theme(theme)
		colours[theme] = eval[[]string](b, `(() => {
			const of = (selector, property) => getComputedStyle(document.querySelector(selector))[property];
			return [of("body", "backgroundColor"), of("body", "color"), of("#by-class", "backgroundColor"), of(".plot svg text", "fill"), of(".plot svg path[style*='--grid']", "stroke"), of(".plot svg path[style*='--objects']", "stroke")];
		})()`)
	}
	for i, light := range colours["light"] {
		if dark := colours["dark"][i]; light == dark || !strings.HasPrefix(dark, "rgb(") {
			b.Errorf("colour %d: have %s in light and %s in dark", i, light, dark)
		}
	}
	if fill := colours["dark"][3]; fill != colours["dark"][1] {
		b.Errorf("text of plots: have %s in dark, want %s as all text", fill, colours["dark"][1])
	}
}
