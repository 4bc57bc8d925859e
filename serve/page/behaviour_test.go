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

func TestLineFollowsTheStream(t *testing.T) {
	f := newFake(t)
	b := openPage(t, f, "en", "")
	b.Until("newest", says(".newest h2", "S0070"))
	f.arrives(0.1)
	b.Until("the next object", says(".newest h2", "S0071")+"&&"+says(".newest .banner", "Good"))
	f.arrives(0.9)
	b.Until("the one after", says(".newest .banner", "Defective")+"&&"+says("#objects li:first-child", "S0072"))
	b.Until("what a screen reader is told", says("#announcer", "S0072: Defective"))
	if have := eval[string](b, `document.querySelector(".newest .scores tbody tr").innerText`); !strings.Contains(have, "Object") || !strings.Contains(have, "0.90") {
		b.Errorf("scores of the object: have %q", have)
	}
	b.Focus("#objects li:nth-child(3) a")
	b.Press(kb.Enter)
	b.Until("the older object", says(".newest h2", "S0070")+"&& document.activeElement.tagName === 'H2'")
	f.arrives(0.2)
	b.Until("the list to go on", says("#objects li:first-child", "S0073"))
	if have := eval[string](b, `document.querySelector(".newest h2").innerText`); have != "S0070" {
		b.Errorf("an object came in: have %q open, want the chosen one", have)
	}
	b.whole("an older object")
	b.Focus(".held a")
	b.Press(kb.Enter)
	b.Until("the newest", says(".newest h2", "S0073"))
	b.Do(chromedp.Click(chromedp.CSS(".side section:last-child > button")))
	b.Until("older ones", "document.querySelectorAll('#objects li').length >= 24 && document.activeElement.matches('#objects li:nth-child(16) a')")
}

func TestLineFilters(t *testing.T) {
	f := newFake(t)
	b := openPage(t, f, "en", "")
	b.Until("models", "document.querySelectorAll('#filter-class option').length === 3")
	b.Focus("#filter-decision")
	b.Press("D")
	b.Until("defective ones", "document.querySelectorAll('#objects li').length === 3 && [...document.querySelectorAll('#objects .badge')].every(e => e.innerText.includes('Defective'))")
	f.arrives(0.1)
	f.arrives(0.95)
	b.Until("another", "document.querySelectorAll('#objects li').length === 4")
	b.Focus(".held button")
	b.Press(kb.Enter)
	b.Until("all", "document.querySelectorAll('#objects li').length === 12 && document.getElementById('filter-decision').value === ''")
	b.Focus("#line-map")
	b.Press(kb.Home)
	if have := eval[string](b, `getComputedStyle(document.querySelector(".stack .over")).opacity`); have != "0" {
		b.Errorf("map over image at its least: have opacity %s, want 0", have)
	}
	b.Focus(".newest .zoom")
	b.Press(kb.Enter)
	b.Until("the image large", "document.getElementById('zoom').open")
	b.Press(kb.ArrowRight)
	b.Until("the next camera", says("#zoom-h", "C2"))
	b.whole("an image large")
	b.Shoot("zoom")
	b.Press(kb.Escape)
	b.Until("the focus back", "document.activeElement.matches('.newest .zoom')")
}

func TestConnection(t *testing.T) {
	f := newFake(t)
	b := openPage(t, f, "en", "")
	b.Expect("503", "ERR_", "EventSource", "Failed to load")
	b.Until("live", says("#connection", "Live"))
	f.goDown(true)
	f.Server.CloseClientConnections()
	b.Until("the state", says("#connection", "asking every 3 s"))
	f.goDown(false)
	b.Until("live again", says("#connection", "Live"))
	f.Server.Config.SetKeepAlivesEnabled(false)
	f.Server.Listener.Close()
	f.Server.CloseClientConnections()
	b.Until("lost", says("#connection", "Connection lost"))
	b.contrasts("lost")
	b.Shoot("lost")
}

func TestToken(t *testing.T) {
	f := newFake(t)
	f.token = "secret"
	b := openPage(t, f, "en", "")
	b.Expect("401", "EventSource")
	b.Until("the dialog", "document.getElementById('token').open")
	b.isNamed("token")
	b.Shoot("token")
	b.Type("#token-value", "wrong")
	b.Press(kb.Enter)
	b.Until("the reason", says("#token-error", "not the token"))
	b.Type("#token-value", "secret")
	b.Press(kb.Enter)
	b.Until("the line", says(".newest h2", "S0070")+"&&"+says("#connection", "Live"))
}

func TestLanguageIsRemembered(t *testing.T) {
	f := newFake(t)
	b := openPage(t, f, "de", "")
	b.Until("German", says("h1", "Linie")+"&& document.documentElement.lang === 'de'")
	b.Focus("#language")
	b.Press(kb.Enter)
	b.Until("English", says("h1", "Line")+"&&"+says("#language", "Deutsch")+"&&"+says(".newest .banner", "Defective"))
	b.Do(chromedp.Reload())
	b.Until("English after a reload", says("h1", "Line")+"&& document.documentElement.lang === 'en'")
	b.Focus("#skip")
	b.Press(kb.Enter)
	b.Until("the content", "document.activeElement.id === 'main' && location.hash === ''")
}

func TestInspect(t *testing.T) {
	f := newFake(t)
	b := openPage(t, f, "en", "#/inspect")
	b.Until("classes", "!!document.querySelector('#inspect-class option[value=gear]')")
	b.Choose("#inspect-files", images(t, "S9_C1.png", "S9_C3.png", "S9_other.png", "notes.txt"))
	b.Until("the files", "document.querySelectorAll('.files select').length === 3 &&"+says(".drop .error", "1 file is no image"))
	cameras := "[...document.querySelectorAll('.files select')].map(s => s.selectedOptions[0].text)"
	if have := eval[[]string](b, cameras); !slices.Equal(have, []string{"C1", "C2", "C3"}) {
		b.Errorf("cameras: have %q, want the free one for the image without", have)
	}
	b.Focus("#camera-1")
	b.Press(kb.ArrowUp)
	b.Until("two of a camera", says("form", "Two images have the same camera")+"&& document.querySelector('form .primary').disabled")
	b.Press(kb.End)
	b.Until("C5", "document.getElementById('camera-1').value === '4' && !document.querySelector('form .primary').disabled")
	b.whole("files of a part")
	b.Focus("form .primary")
	b.Press(kb.Enter)
	b.Until("the result", says("main section:last-child .banner", "Good")+"&& document.activeElement.id === 'result-h'")
	if have := eval[string](b, "document.activeElement.innerText"); have != "S9" {
		b.Errorf("name: have %q, want what the file names have in common", have)
	}
	b.whole("a result")
	b.Do(chromedp.Focus(chromedp.CSS("form .buttons button:last-child")), chromedp.KeyEvent(kb.Enter))
	b.Choose("#inspect-files", images(t, "bad_C2.png"))
	b.Until("ready", "!document.querySelector('form .primary').disabled")
	b.Focus("form .primary")
	b.Press(kb.Enter)
	b.Until("the defective one", says("main section:last-child .banner", "Defective"))
	b.Shoot("inspect-result")
}

func TestTeach(t *testing.T) {
	f := newFake(t)
	b := openPage(t, f, "en", "#/teach")
	b.Until("the name", "!!document.getElementById('teach-model')")
	b.Type("#teach-class", "gear")
	b.Expect("409")
	b.Press(kb.Enter)
	b.Until("why not", says(".step .error", "tick “Replace the class of this name” below"))
	if have := eval[string](b, "(e => { e.select(); return e.value; })(document.getElementById('teach-class'))"); have != "gear" {
		b.Errorf("refused: have the name %q, want what was typed", have)
	}
	b.Type("#teach-class", "washer")
	b.Press(kb.Enter)
	b.Until("the parts", says("#step-h", "washer")+"&& document.activeElement.id === 'step-h'")
	var names []string
	for i := range 12 {
		for c := range 2 {
			names = append(names, fmt.Sprintf("W%02d_C%d.png", i+1, c+1))
		}
	}
	b.Choose("#teach-files", images(t, append(names, "blur_C1.png", "picture.png")...))
	b.Until("all sent", "document.querySelectorAll('.files li').length === 13 &&"+says(".step", "12 accepted"))
	b.Until("what was refused", says(".files", "Refused: C2: have 40 x 40 pixels")+"&&"+says(".step details", "picture.png: no camera found"))
	b.whole("parts")
	b.Shoot("teach-parts")
	b.Focus(".files .refused button")
	b.Press(kb.Enter)
	b.Until("12", "document.querySelectorAll('.files li').length === 12")
	b.Focus("#teach-build")
	b.Press(kb.Enter)
	b.Until("building", says(".step", "Remembering: 24 of 60"))
	b.whole("building")
	b.Shoot("teach-building")
	b.Do(chromedp.Reload())
	b.Until("building after a reload", says(".step", "Remembering: 24 of 60"))
	b.View("teach", ".step .held a")
	b.Focus(".step .held a")
	b.Press(kb.Enter)
	b.Until("building, found again", says(".step", "Remembering: 24 of 60"))
	f.taught(object{"step": "calibrating", "done": 30})
	b.Until("calibrating", says(".step", "Finding the threshold: 30 of 60"))
	f.taught(ready)
	b.Until("ready", says("#step-h", "Try")+"&&"+says(".step", "7.7%"))
	b.Choose("#try-files", images(t, "T1_C1.png", "bad_C1.png"))
	b.Until("tried", "document.querySelectorAll('.tried article').length === 2 && document.querySelectorAll('.tried .view.defective rect').length >= 1")
	b.whole("tried")
	b.Shoot("teach-try")
	b.Focus("#teach-live")
	b.Press(kb.Enter)
	b.Until("live", says("#step-h", "is live"))
	b.Shoot("teach-live")
}

func TestTeachDiscards(t *testing.T) {
	f := newFake(t)
	b := openPage(t, f, "en", "#/teach")
	b.Until("the name", "!!document.getElementById('teach-model')")
	b.Type("#teach-class", "washer")
	b.Press(kb.Enter)
	b.Until("the parts", says("#step-h", "washer"))
	b.Focus("#teach-discard")
	b.Press(kb.Enter)
	b.Until("no, first", "document.activeElement.innerText === 'No, keep'")
	b.Do(chromedp.Focus(chromedp.CSS(".sure button")), chromedp.KeyEvent(kb.Enter))
	b.Until("the beginning", says("#step-h", "What is the new part called"))
	if f.teach != nil {
		b.Errorf("have the session %v, want none", f.teach)
	}
}

func TestReview(t *testing.T) {
	f := newFake(t)
	b := openPage(t, f, "en", "#/review")
	b.Until("the first", says("#review-h", "S0065")+"&&"+says("#review-at", "1 of 4"))
	b.Press(kb.ArrowRight)
	b.Until("the second", says("#review-h", "S0063"))
	b.Press(kb.ArrowLeft, "g")
	b.Until("what it changed", says(".outcome", "S0065 is good after all")+"&&"+says(".outcome", "0.0213 → 0.0222")+"&&"+says(".outcome", "1 of the 47 newest objects")+"&&"+says(".history", "S0065"))
	b.whole("a change")
	b.Shoot("review-changed")
	b.Press("d")
	b.Until("an alarm", says("#review-h", "S0070")+"&&"+says("#review-at", "1 of 2 · Called defective: is it?")+"&&"+says(".outcome", "S0063 is noted as defective"))
	b.Shoot("review-alarm")
	b.Press("d")
	b.Until("the alarm before", says("#review-h", "S0041"))
	b.Press("d")
	b.Until("nothing left", says("main", "Nothing to review")+"&&"+says(".outcome", "S0041 is noted as defective"))
	b.whole("nothing left")
	b.Focus("#review-undo")
	b.Press(kb.Enter)
	b.Until("it back", says("#review-h", "S0065")+"&&"+says(".history", "taken back"))
	b.Type("#review-note", "dig")
	if have := eval[int](b, "document.querySelectorAll('#review-good').length"); have != 1 || f.find("3f2a9c1e-65")["review"] != nil {
		b.Error("typing a note: decided, want the letters in the field only")
	}
	b.Focus("#review-keys")
	b.Press(" ")
	b.Focus("#review-good")
	b.Press("d")
	if f.find("3f2a9c1e-65")["review"] != nil {
		b.Error("keys switched off: decided by d")
	}
	b.Press(kb.Enter)
	b.Until("good by Enter", says(".outcome", "S0065 is good after all"))
}

func TestDrift(t *testing.T) {
	b := openPage(t, newFake(t), "en", "#/drift")
	b.Until("the charts", "document.querySelectorAll('.chart svg').length === 2")
	if have := eval[string](b, "document.querySelector('.chart').ariaLabel"); !strings.Contains(have, "150 objects, 4 of them defective, threshold 0.0213. Since ") {
		b.Errorf("text of the chart: have %q", have)
	}
	b.Focus("summary")
	b.Press(kb.Enter)
	b.Until("the table", "document.querySelectorAll('.class table tbody tr').length === 6 && document.querySelector('.class table').checkVisibility()")
	if have := eval[int](b, "[...document.querySelectorAll('.class table tbody tr')].filter(r => r.innerText.includes('Drift')).length"); have != 2 {
		b.Errorf("windows that drift: have %d, want 2", have)
	}
	b.whole("drift with its table")
}
