package page

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// browser is Chromium without a window that shows one page.
type browser struct {
	*testing.T
	ctx context.Context

	mu       sync.Mutex
	errors   []string // of the console, exceptions included
	requests []string
}

// openPage starts a browser. Without Chromium the test is skipped, or fails if CI is set.
func openPage(t *testing.T, path string) *browser {
	t.Helper()
	found := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			found = p
			break
		}
	}
	if found == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("chromium: missing, and CI is set")
		}
		t.Skip("chromium: missing; install it to test the report")
	}
	alloc, stop := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(found), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.WSURLReadTimeout(2*time.Minute), // of a loaded machine
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-background-networking", true))...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	b := &browser{T: t, ctx: ctx}
	if err := chromedp.Listen(ctx, b.listen); err != nil {
		t.Fatal(err)
	}
	call(b, log.Enable, cdp.Empty{})
	call(b, network.Enable, network.EnableParams{})
	b.do(chromedp.Navigate("file://" + path))
	return b
}

func (b *browser) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.errors = append(b.errors, fmt.Sprint(e.ExceptionDetails.Text, " ", e.ExceptionDetails.URL, ":", e.ExceptionDetails.LineNumber))
	case *runtime.EventConsoleAPICalled:
		b.errors = append(b.errors, fmt.Sprint("console: ", e.Type))
	case *log.EventEntryAdded:
		b.errors = append(b.errors, e.Entry.Text)
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	}
}

// do fails where an action takes more than two minutes.
func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	ctx, over := context.WithTimeout(b.ctx, 2*time.Minute)
	defer over()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.Fatal(err)
	}
}

// call runs a command of the protocol.
func call[P, R any](b *browser, command cdp.Command[P, R], params P) {
	b.Helper()
	if _, err := chromedp.Call(b.ctx, command, params); err != nil {
		b.Fatal(err)
	}
}

// eval returns the value of an expression of the page.
func eval[T any](b *browser, expression string) T {
	b.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.Fatalf("%s: %v", expression, err)
	}
	return v
}

// until waits for something to become true.
func (b *browser) until(what, expression string) {
	b.Helper()
	ctx, over := context.WithTimeout(b.ctx, time.Minute)
	defer over()
	if _, err := chromedp.Run(ctx, chromedp.Poll[bool](expression)); err != nil {
		b.Errorf("%s: %v", what, err)
	}
}

// column is the text of a column of a table, from top to bottom.
func (b *browser) column(table string, n int) []string {
	b.Helper()
	return eval[[]string](b, fmt.Sprintf("[...document.getElementById(%q).tBodies[0].rows].map(r => r.cells[%d].textContent)", table, n))
}

func TestReportInABrowser(t *testing.T) {
	folder := sampleRun(t, 5, "gear", nasty, "nut")
	written(t, folder)
	b := openPage(t, filepath.Join(folder, "report.html"))
	t.Run("sorts", func(t *testing.T) { b.T = t; b.sorts() })
	t.Run("chooses a class", func(t *testing.T) { b.T = t; b.choosesClass() })
	t.Run("opens the gallery", func(t *testing.T) { b.T = t; b.opensGallery() })
	t.Run("is named throughout", func(t *testing.T) { b.T = t; b.isNamed() })
	t.Run("fits", func(t *testing.T) { b.T = t; b.fits() })
	t.Run("follows the theme", func(t *testing.T) { b.T = t; b.followsTheme() })
	b.T = t
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.errors) > 0 {
		t.Errorf("the console says %q", b.errors)
	}
	for _, r := range b.requests {
		if !strings.HasPrefix(r, "data:") && !strings.HasPrefix(r, "file://"+folder) {
			t.Errorf("the page asks for %q", r)
		}
	}
}

// sorts goes to a heading by keyboard and sorts by it, down and up.
func (b *browser) sorts() {
	b.do(chromedp.Focus(chromedp.CSS("#classes thead th:nth-child(2) button")), chromedp.KeyEvent(kb.Enter))
	down := b.column("classes", 1)
	if !slices.IsSortedFunc(down, func(a, b string) int { return strings.Compare(b, a) }) || len(down) != 3 {
		b.Errorf("after Enter on mAD: have %q, want it falling", down)
	}
	b.do(chromedp.KeyEvent(" "))
	up := b.column("classes", 1)
	if slices.Reverse(up); !slices.Equal(up, down) {
		b.Errorf("after Space on mAD: have %q from below, want %q", up, down)
	}
	if have := eval[string](b, `document.querySelector("#classes thead th:nth-child(2)").ariaSort`); have != "ascending" {
		b.Errorf("aria-sort: have %q", have)
	}
	b.do(chromedp.Click(chromedp.CSS("#classes thead th:first-child button")))
	if names := b.column("classes", 0); !slices.Equal(names, []string{nasty, "gear", "nut"}) {
		b.Errorf("after a click on class: have %q", names)
	}
	if foot := eval[string](b, `document.querySelector("#classes tfoot th").textContent`); foot != "mean" {
		b.Errorf("foot: have %q", foot)
	}
}

func (b *browser) choosesClass() {
	shown := `[...document.querySelectorAll("#curves .group")].filter(g => g.offsetParent).map(g => g.dataset.class)`
	if have := eval[[]string](b, shown); !slices.Equal(have, []string{"gear"}) {
		b.Errorf("have curves of %q, want the first class", have)
	}
	b.do(chromedp.Focus(chromedp.CSS("#curves select")), chromedp.KeyEvent(kb.ArrowDown))
	if have := eval[[]string](b, shown); !slices.Equal(have, []string{nasty}) {
		b.Errorf("after one down: have curves of %q", have)
	}
	b.do(chromedp.KeyEvent(kb.End))
	if have := eval[[]string](b, shown); len(have) != 3 {
		b.Errorf("at the end of the list: have curves of %q, want all", have)
	}
}

// opensGallery opens an object by keyboard, goes on, and closes it.
func (b *browser) opensGallery() {
	title := `document.getElementById("viewer-h").textContent`
	names := eval[[]string](b, `[...document.querySelectorAll(".card h4")].map(h => h.textContent)`)
	if len(names) != 18 {
		b.Fatalf("have %d objects, want 6 of each class", len(names))
	}
	b.do(chromedp.Focus(chromedp.CSS(".card .open")), chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible(chromedp.CSS("#viewer")))
	if have := eval[string](b, title); have != names[0] {
		b.Errorf("have %q open, want %q", have, names[0])
	}
	if n := eval[int](b, `document.querySelectorAll("#viewer-body img").length`); n < 10 || n > 15 {
		b.Errorf("have %d images, want two or three of each camera", n)
	}
	b.until("images to be shown", `[...document.querySelectorAll("#viewer-body img")].every(i => i.complete && i.naturalWidth === 32)`)
	b.do(chromedp.KeyEvent(kb.ArrowRight))
	if have := eval[string](b, title); have != names[1] {
		b.Errorf("after Right: have %q, want %q", have, names[1])
	}
	b.do(chromedp.KeyEvent(kb.ArrowLeft), chromedp.KeyEvent(kb.ArrowLeft))
	if have := eval[string](b, title); have != names[17] {
		b.Errorf("after Left twice: have %q, want %q", have, names[17])
	}
	b.do(chromedp.KeyEvent(kb.Escape), chromedp.WaitNotVisible(chromedp.CSS("#viewer")))
	b.until("focus on the object that was open", fmt.Sprintf(`document.activeElement.closest(".card")?.querySelector("h4").textContent === %q`, names[17]))
	b.do(chromedp.Click(chromedp.CSS(".card .views")), chromedp.WaitVisible(chromedp.CSS("#viewer")),
		chromedp.Click(chromedp.CSS("#viewer-close")), chromedp.WaitNotVisible(chromedp.CSS("#viewer")))
}

// isNamed looks for what a screen reader could not name.
func (b *browser) isNamed() {
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
func (b *browser) fits() {
	for _, width := range []int64{320, 390, 768, 1280} {
		b.do(chromedp.EmulateViewport(width, 844))
		if have := eval[int64](b, "document.documentElement.scrollWidth"); have > width {
			widest := eval[string](b, `[...document.querySelectorAll("body *")].filter(e => !e.closest(".scroll, pre, svg") && e.getBoundingClientRect().right > innerWidth + 1)
				.map(e => e.tagName + "." + e.className + "#" + e.id).join(" ")`)
			b.Errorf("at %d pixels: the page is %d wide: %s", width, have, widest)
		}
	}
}

// followsTheme compares the colours of page, text and plots in light and dark.
func (b *browser) followsTheme() {
	colours := map[string][]string{}
	for _, theme := range []string{"light", "dark"} {
		call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}})
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
