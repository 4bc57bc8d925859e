package page

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// press presses keys one after the other.
func (b *browser) press(keys ...string) {
	b.Helper()
	for _, k := range keys {
		b.do(chromedp.KeyEvent(k))
	}
}

// focus puts the focus somewhere.
func (b *browser) focus(selector string) {
	b.Helper()
	b.do(chromedp.Focus(chromedp.CSS(selector)))
}

// says is an expression that is true where an element has a text.
func says(selector, text string) string {
	return fmt.Sprintf("!!document.querySelector(%q)?.innerText.includes(%q)", selector, text)
}

// images writes drawn images under names, and returns their paths.
func images(t *testing.T, names ...string) []string {
	t.Helper()
	folder := t.TempDir()
	var paths []string
	for i, name := range names {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, pngOf("gear", i, strings.Contains(name, "bad"), 1), 0o644); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

// choose gives a drop zone files, as the dialog of the browser does.
func (b *browser) choose(selector string, paths []string) {
	b.Helper()
	b.do(chromedp.SetUploadFiles(chromedp.CSS(selector), paths))
}

func TestLineFollowsTheStream(t *testing.T) {
	f := newFake(t)
	b := openPage(t, f, "en", "")
	b.until("newest", says(".newest h2", "S0070"))
	f.arrives(0.1)
	b.until("the next object", says(".newest h2", "S0071")+"&&"+says(".newest .banner", "Good"))
	f.arrives(0.9)
	b.until("the one after", says(".newest .banner", "Defective")+"&&"+says("#objects li:first-child", "S0072"))
	b.until("what a screen reader is told", says("#announcer", "S0072: Defective"))
	if have := eval[string](b, `document.querySelector(".newest .scores tbody tr").innerText`); !strings.Contains(have, "Object") || !strings.Contains(have, "0.90") {
		b.Errorf("scores of the object: have %q", have)
	}
	b.focus("#objects li:nth-child(3) a")
	b.press(kb.Enter)
	b.until("the older object", says(".newest h2", "S0070")+"&& document.activeElement.tagName === 'H2'")
	f.arrives(0.2)
	b.until("the list to go on", says("#objects li:first-child", "S0073"))
	if have := eval[string](b, `document.querySelector(".newest h2").innerText`); have != "S0070" {
		b.Errorf("an object came in: have %q open, want the chosen one", have)
	}
	b.whole("an older object")
	b.focus(".held a")
	b.press(kb.Enter)
	b.until("the newest", says(".newest h2", "S0073"))
	b.do(chromedp.Click(chromedp.CSS(".side section:last-child > button")))
	b.until("older ones", "document.querySelectorAll('#objects li').length >= 24 && document.activeElement.matches('#objects li:nth-child(16) a')")
}

func TestLineFilters(t *testing.T) {
	f := newFake(t)
	b := openPage(t, f, "en", "")
	b.until("models", "document.querySelectorAll('#filter-class option').length === 3")
	b.focus("#filter-decision")
	b.press("D")
	b.until("defective ones", "document.querySelectorAll('#objects li').length === 3 && [...document.querySelectorAll('#objects .badge')].every(e => e.innerText.includes('Defective'))")
	f.arrives(0.1)
	f.arrives(0.95)
	b.until("another", "document.querySelectorAll('#objects li').length === 4")
	b.focus(".held button")
	b.press(kb.Enter)
	b.until("all", "document.querySelectorAll('#objects li').length === 12 && document.getElementById('filter-decision').value === ''")
	b.focus("#line-map")
	b.press(kb.Home)
	if have := eval[string](b, `getComputedStyle(document.querySelector(".stack .over")).opacity`); have != "0" {
		b.Errorf("map over image at its least: have opacity %s, want 0", have)
	}
	b.focus(".newest .zoom")
	b.press(kb.Enter)
	b.until("the image large", "document.getElementById('zoom').open")
	b.press(kb.ArrowRight)
	b.until("the next camera", says("#zoom-h", "C2"))
	b.whole("an image large")
	b.press(kb.Escape)
	b.until("the focus back", "document.activeElement.matches('.newest .zoom')")
}

func TestConnection(t *testing.T) {
	f := newFake(t)
	b := openPage(t, f, "en", "")
	b.expected = []string{"503", "ERR_", "EventSource", "Failed to load"}
	b.until("live", says("#connection", "Live"))
	f.goDown(true)
	f.Server.CloseClientConnections()
	b.until("the state", says("#connection", "asking every 3 s"))
	f.goDown(false)
	b.until("live again", says("#connection", "Live"))
	f.Server.Config.SetKeepAlivesEnabled(false)
	f.Server.Listener.Close()
	f.Server.CloseClientConnections()
	b.until("lost", says("#connection", "Connection lost"))
	b.contrasts("lost")
}

func TestToken(t *testing.T) {
	f := newFake(t)
	f.token = "secret"
	b := openPage(t, f, "en", "")
	b.expected = []string{"401", "EventSource"}
	b.until("the dialog", "document.getElementById('token').open")
	b.isNamed("token")
	b.do(chromedp.SendKeys(chromedp.CSS("#token-value"), "wrong"))
	b.press(kb.Enter)
	b.until("the reason", says("#token-error", "not the token"))
	b.do(chromedp.SendKeys(chromedp.CSS("#token-value"), "secret"))
	b.press(kb.Enter)
	b.until("the line", says(".newest h2", "S0070")+"&&"+says("#connection", "Live"))
}

func TestLanguageIsRemembered(t *testing.T) {
	f := newFake(t)
	b := openPage(t, f, "de", "")
	b.until("German", says("h1", "Linie")+"&& document.documentElement.lang === 'de'")
	b.focus("#language")
	b.press(kb.Enter)
	b.until("English", says("h1", "Line")+"&&"+says("#language", "Deutsch")+"&&"+says(".newest .banner", "Defective"))
	b.do(chromedp.Reload())
	b.until("English after a reload", says("h1", "Line")+"&& document.documentElement.lang === 'en'")
	b.focus("#skip")
	b.press(kb.Enter)
	b.until("the content", "document.activeElement.id === 'main' && location.hash === ''")
}

func TestInspect(t *testing.T) {
	f := newFake(t)
	b := openPage(t, f, "en", "#/inspect")
	b.until("classes", "!!document.querySelector('#inspect-class option[value=gear]')")
	b.choose("#inspect-files", images(t, "S9_C1.png", "S9_C3.png", "S9_other.png", "notes.txt"))
	b.until("the files", "document.querySelectorAll('.files select').length === 3 &&"+says(".drop .error", "1 file is no image"))
	cameras := "[...document.querySelectorAll('.files select')].map(s => s.selectedOptions[0].text)"
	if have := eval[[]string](b, cameras); !slices.Equal(have, []string{"C1", "C2", "C3"}) {
		b.Errorf("cameras: have %q, want the free one for the image without", have)
	}
	b.focus("#camera-1")
	b.press(kb.ArrowUp)
	b.until("two of a camera", says("form", "Two images have the same camera")+"&& document.querySelector('form .primary').disabled")
	b.press(kb.End)
	b.until("C5", "document.getElementById('camera-1').value === '4' && !document.querySelector('form .primary').disabled")
	b.whole("files of a part")
	b.focus("form .primary")
	b.press(kb.Enter)
	b.until("the result", says("main section:last-child .banner", "Good")+"&& document.activeElement.id === 'result-h'")
	if have := eval[string](b, "document.activeElement.innerText"); have != "S9" {
		b.Errorf("name: have %q, want what the file names have in common", have)
	}
	b.whole("a result")
	b.do(chromedp.Focus(chromedp.CSS("form .buttons button:last-child")), chromedp.KeyEvent(kb.Enter))
	b.choose("#inspect-files", images(t, "bad_C2.png"))
	b.until("ready", "!document.querySelector('form .primary').disabled")
	b.focus("form .primary")
	b.press(kb.Enter)
	b.until("the defective one", says("main section:last-child .banner", "Defective"))
	b.shoot("inspect-result")
}

func TestTeach(t *testing.T) {
	f := newFake(t)
	b := openPage(t, f, "en", "#/teach")
	b.until("the name", "!!document.getElementById('teach-model')")
	b.do(chromedp.SendKeys(chromedp.CSS("#teach-class"), "gear"))
	b.expected = []string{"409"}
	b.press(kb.Enter)
	b.until("why not", says(".step .error", `remembers a class "gear" already`))
	b.do(chromedp.SendKeys(chromedp.CSS("#teach-class"), "washer"))
	b.press(kb.Enter)
	b.until("the parts", says("#step-h", "washer")+"&& document.activeElement.id === 'step-h'")
	var names []string
	for i := range 12 {
		for c := range 2 {
			names = append(names, fmt.Sprintf("W%02d_C%d.png", i+1, c+1))
		}
	}
	b.choose("#teach-files", images(t, append(names, "blur_C1.png", "picture.png")...))
	b.until("all sent", "document.querySelectorAll('.files li').length === 13 &&"+says(".step", "12 accepted"))
	b.until("what was refused", says(".files", "Refused: C2: have 40 x 40 pixels")+"&&"+says(".step details", "picture.png: no camera found"))
	b.whole("parts")
	b.shoot("teach-parts")
	b.focus(".files .refused button")
	b.press(kb.Enter)
	b.until("12", "document.querySelectorAll('.files li').length === 12")
	b.focus("#teach-build")
	b.press(kb.Enter)
	b.until("building", says(".step", "Remembering: 24 of 60"))
	b.whole("building")
	b.shoot("teach-building")
	b.do(chromedp.Reload())
	b.until("building after a reload", says(".step", "Remembering: 24 of 60"))
	f.taught(object{"step": "calibrating", "done": 30})
	b.until("calibrating", says(".step", "Finding the threshold: 30 of 60"))
	f.taught(ready)
	b.until("ready", says("#step-h", "Try")+"&&"+says(".step", "7.7%"))
	b.choose("#try-files", images(t, "T1_C1.png", "bad_C1.png"))
	b.until("tried", "document.querySelectorAll('.tried article').length === 2 && document.querySelectorAll('.tried .view.defective rect').length >= 1")
	b.whole("tried")
	b.shoot("teach-try")
	b.focus("#teach-live")
	b.press(kb.Enter)
	b.until("live", says("#step-h", "is live"))
	b.shoot("teach-live")
}

func TestTeachDiscards(t *testing.T) {
	f := newFake(t)
	b := openPage(t, f, "en", "#/teach")
	b.until("the name", "!!document.getElementById('teach-model')")
	b.do(chromedp.SendKeys(chromedp.CSS("#teach-class"), "washer"))
	b.press(kb.Enter)
	b.until("the parts", says("#step-h", "washer"))
	b.focus("#teach-discard")
	b.press(kb.Enter)
	b.until("no, first", "document.activeElement.innerText === 'No, keep'")
	b.do(chromedp.Focus(chromedp.CSS(".sure button")), chromedp.KeyEvent(kb.Enter))
	b.until("the beginning", says("#step-h", "What is the new part called"))
	if f.teach != nil {
		b.Errorf("have the session %v, want none", f.teach)
	}
}

func TestReview(t *testing.T) {
	f := newFake(t)
	b := openPage(t, f, "en", "#/review")
	b.until("the first", says("#review-h", "S0065")+"&&"+says("#review-at", "1 of 2"))
	b.press(kb.ArrowRight)
	b.until("the second", says("#review-h", "S0063"))
	b.press(kb.ArrowLeft, "g")
	b.until("what it changed", says(".outcome", "S0065 is good after all")+"&&"+says(".outcome", "0.0213 → 0.0222")+"&&"+says(".history", "S0065"))
	b.whole("a change")
	b.shoot("review-changed")
	b.press("d")
	b.until("nothing left", says("main", "Nothing to review")+"&&"+says(".outcome", "S0063 is noted as defective"))
	b.whole("nothing left")
	b.focus("#review-undo")
	b.press(kb.Enter)
	b.until("it back", says("#review-h", "S0065")+"&&"+says(".history", "taken back"))
	b.do(chromedp.SendKeys(chromedp.CSS("#review-note"), "dig"))
	if have := eval[int](b, "document.querySelectorAll('#review-good').length"); have != 1 || f.find("3f2a9c1e-65")["review"] != nil {
		b.Error("typing a note: decided, want the letters in the field only")
	}
	b.focus("#review-keys")
	b.press(" ")
	b.focus("#review-good")
	b.press("d")
	if f.find("3f2a9c1e-65")["review"] != nil {
		b.Error("keys switched off: decided by d")
	}
	b.press(kb.Enter)
	b.until("good by Enter", says(".outcome", "S0065 is good after all"))
}

func TestDrift(t *testing.T) {
	b := openPage(t, newFake(t), "en", "#/drift")
	b.until("the charts", "document.querySelectorAll('.chart svg').length === 2")
	if have := eval[string](b, "document.querySelector('.chart').ariaLabel"); !strings.Contains(have, "150 objects, 4 of them defective, threshold 0.0213. Since ") {
		b.Errorf("text of the chart: have %q", have)
	}
	b.focus("summary")
	b.press(kb.Enter)
	b.until("the table", "document.querySelectorAll('.class table tbody tr').length === 6 && document.querySelector('.class table').checkVisibility()")
	if have := eval[int](b, "[...document.querySelectorAll('.class table tbody tr')].filter(r => r.innerText.includes('Drift')).length"); have != 2 {
		b.Errorf("windows that drift: have %d, want 2", have)
	}
	b.whole("drift with its table")
}
