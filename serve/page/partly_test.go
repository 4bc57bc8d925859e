package page

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// everywhere looks at what is shown in both themes and at the width of a telephone and of a desk, and saves images of it.
func (b *browser) everywhere(name string) {
	b.Helper()
	b.isNamed(name)
	for _, theme := range []string{"light", "dark"} {
		b.Theme(theme)
		b.contrasts(name + " in " + theme)
		for _, width := range []int64{390, 1280} {
			b.Do(chromedp.EmulateViewport(width, 900))
			b.fits(name, width)
			b.Shoot(fmt.Sprintf("%s-%s-%d", name, theme, width))
		}
	}
}

// TestGoodInPart has good objects that were not seen in full: the banner is another one, and a sentence says what was not seen.
func TestGoodInPart(t *testing.T) {
	for _, c := range []struct{ name, language, id, says, word string }{
		{"a camera is absent", "en", "3f2a9c1e-69", "Judged without C5.", "as far as it was seen"},
		{"a camera is absent, in German", "de", "3f2a9c1e-69", "Ohne C5 geprüft.", "soweit gesehen"},
		{"an image cannot be read", "en", "3f2a9c1e-67", "Could not be read: C2.", "as far as it was seen"},
		{"an image cannot be read, in German", "de", "3f2a9c1e-67", "Nicht lesbar: C2.", "soweit gesehen"},
		{"seen in full", "en", "3f2a9c1e-66", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t)
			images := f.find("3f2a9c1e-67")["images"].([]object)
			images[1] = object{"object": "S0067", "camera": 2, "path": "S0067_C2.png", "error": "S0067_C2.png: have a file of no image"}
			b := openPage(t, f, c.language, "#/line/"+c.id)
			b.Until("the object", "document.querySelector('.newest .banner')?.classList.contains('good')")
			banner := eval[[]string](b, `(() => { const e = document.querySelector(".newest .banner"), s = getComputedStyle(e); return [e.innerText, s.borderTopStyle, document.querySelector(".newest .why").innerText]; })()`)
			if part := c.says != ""; part != (banner[1] == "dashed") || !strings.Contains(banner[0], c.word) || !strings.HasPrefix(banner[2], c.says) || strings.Contains(banner[2], "ithout") != strings.Contains(c.says, "ithout") {
				b.Errorf("have %q, want %q", banner, c.says)
			}
			b.everywhere("line-" + strings.ReplaceAll(c.name, " ", "-"))
		})
	}
}

// TestFailedInPart has objects that failed though some images were judged: nothing of them says good, and a sentence says why.
func TestFailedInPart(t *testing.T) {
	for _, c := range []struct {
		name, language, says string
		unread               bool
	}{
		{"an image cannot be read", "en", "Could not be read: C2. Camera C4 is highest", true},
		{"an image cannot be read, in German", "de", "Nicht lesbar: C2. Kamera C4 liegt", true},
		{"a camera is absent", "de", "Kein Bild von C5. Kamera C1 liegt", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t)
			id := map[bool]string{true: "3f2a9c1e-67", false: "3f2a9c1e-69"}[c.unread]
			record := f.find(id)
			record["decision"], record["error"] = "failed", "the words of the service"
			if c.unread {
				record["images"].([]object)[1] = object{"object": "S0067", "camera": 2, "path": "S0067_C2.png", "error": "S0067_C2.png: have a file of no image"}
			}
			b := openPage(t, f, c.language, "#/line/"+id)
			b.Until("the object", "!!document.querySelector('.newest .banner.failed')")
			have := eval[[]string](b, `[".newest .why", ".newest .scores tbody tr .badge"].map(s => document.querySelector(s).className + " " + document.querySelector(s).innerText)`)
			if !strings.HasPrefix(have[0], "why "+c.says) || strings.Contains(have[0], "the words") || !strings.HasPrefix(have[1], "badge failed") {
				b.Errorf("have %q, want %q", have, c.says)
			}
			b.everywhere("failed-" + strings.ReplaceAll(c.name, " ", "-"))
		})
	}
}

// TestToReview goes from an object of the line to its review, whether or not it is one of those to look at.
func TestToReview(t *testing.T) {
	f := newFake(t)
	b := openPage(t, f, "en", "#/line/3f2a9c1e-6")
	b.Until("the old one", says(".newest h2", "S0006"))
	b.Focus(".newest .buttons a")
	b.Press(kb.Enter)
	b.Until("its review", says("#review-h", "S0006")+"&&"+says("#review-at", "1 of 5 · Chosen by you"))
	b.Press("d")
	b.Until("it noted", says(".outcome", "S0006 is noted as defective")+"&&"+says("#review-h", "S0065")+"&& location.hash === '#/review'")
	b.View("line/3f2a9c1e-6", ".newest .reviewed")
	if n := eval[int](b, "document.querySelectorAll('.newest .buttons a').length"); n != 0 {
		b.Errorf("reviewed: have %d ways to the review, want none", n)
	}
	b.View("line/3f2a9c1e-68", ".newest .banner.failed")
	if n := eval[int](b, "document.querySelectorAll('.newest .buttons a').length"); n != 0 {
		b.Errorf("not judged: have %d ways to the review, want none", n)
	}
	b.View("review/3f2a9c1e-41", "#review-h")
	b.Until("an alarm", says("#review-h", "S0041")+"&&"+says("#review-at", "4 of 4"))
	b.Expect("404")
	b.View("review/none", "#review-h")
	b.Until("what is not there", says(".error", `object: have "none"`))
}

// TestContested tells what each head says.
func TestContested(t *testing.T) {
	for _, language := range []string{"en", "de"} {
		f := newFake(t)
		f.records[66]["heads"] = []object{{"head": "reconstruction", "score": 0.011, "threshold": 0.02, "decision": "good"},
			{"head": "memory", "score": 0.06, "threshold": 0.03, "decision": "defective"}, {"head": "both", "score": 0.015, "threshold": 0.0213, "decision": "good"}}
		b := openPage(t, f, language, "#/review")
		b.Until("the first", says("#review-h", "S0067")+"&& document.querySelectorAll('.heads tbody tr').length === 3")
		row := eval[string](b, "document.querySelector('.heads tbody tr:nth-child(2)').innerText.replace(/\\s+/g, ' ')")
		if want := map[string]string{"en": "memory 200% 0.06 0.03 Defective", "de": "Gedächtnis 200 % 0,06 0,03 Fehlerhaft"}[language]; row != want {
			b.Errorf("have %q, want %q", row, want)
		}
		b.everywhere("contested-" + language)
	}
}

// TestWithoutAClass: objects of no class are not called by the name of their model.
func TestWithoutAClass(t *testing.T) {
	for language, want := range map[string]string{"en": "Not stated", "de": "Ohne Angabe"} {
		f := newFake(t)
		f.nameless = true
		b := openPage(t, f, language, "")
		b.Until("the counts", "document.querySelectorAll('.counts tbody th').length === 2")
		if have := eval[string](b, "document.querySelector('.counts tbody th').innerText"); have != want {
			b.Errorf("have %q, want %q", have, want)
		}
		b.everywhere("counts-" + language)
	}
}

// TestUnscored: what a model without the scores of its calibration cannot do is said first, and refused in the words of the page.
func TestUnscored(t *testing.T) {
	for language, want := range map[string][4]string{
		"en": {"So “Good after all” and “Undo” are refused", "It must be calibrated anew first", "drift cannot be tested", "Not tested: the scores of the calibration are not stored in the model."},
		"de": {"Deshalb werden „Doch gut“ und „Zurücknehmen“ abgelehnt", "Es muss zuerst neu kalibriert werden", "Drift nicht getestet werden", "Nicht getestet: die Werte der Kalibrierung sind im Modell nicht gespeichert."},
	} {
		f := newFake(t)
		f.unscored = true
		f.untested = []object{{"untested": "have no scores", "untested_code": "samples"}, {"untested": "for another reason", "untested_code": "another"}}
		b := openPage(t, f, language, "#/review")
		b.Until("the notice", says(".notice", want[0])+"&&"+says("#review-h", "S0065"))
		b.everywhere("unscored-review-" + language)
		b.Expect("409")
		b.Press("g")
		b.Until("what is refused", says(".error", want[1]))
		b.View("drift", ".notice")
		b.Until("why", says(".notice", want[2])+"&&"+says(".class .verdict", want[3])+"&&"+says("main", "for another reason"))
		b.everywhere("unscored-drift-" + language)
	}
}

// TestTeachInWords: why a class cannot be taught, and why parts are refused, in the language of the page.
func TestTeachInWords(t *testing.T) {
	f := newFake(t)
	f.why = map[string]object{"blur2": {"code": "same", "of": "W01"}, "blur3": {"code": "unreadable", "camera": "C1", "of": "no image"}, "blur4": {"code": "another"}}
	b := openPage(t, f, "de", "#/teach")
	b.Until("the name", "!!document.getElementById('teach-model')")
	b.Type("#teach-class", "gear")
	b.Expect("409")
	b.Press(kb.Enter)
	b.Until("why not", says(".step .error", "unten „Die Klasse dieses Namens ersetzen“ ankreuzen"))
	b.everywhere("teach-known-de")
	eval[bool](b, "document.getElementById('teach-class').select() === undefined")
	b.Type("#teach-class", "washer")
	b.Press(kb.Enter)
	b.Until("the parts", says("#step-h", "washer"))
	b.Choose("#teach-files", images(t, "blur2_C1.png", "blur3_C1.png", "blur4_C1.png"))
	b.Until("reasons", says(".files", "Abgelehnt: es hat dieselben Dateien wie W01")+"&&"+says(".files", "Bild von C1 ist nicht lesbar (no image)")+"&&"+says(".files", "Abgelehnt: C2: have 40 x 40 pixels"))
	b.everywhere("teach-refused-de")
}

// TestCodes: each reason that the service names has a text.
func TestCodes(t *testing.T) {
	api, err := os.ReadFile("../api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text, err := files.ReadFile("static/texts.json")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for key, pattern := range map[string]string{
		"error.": `error: \{type: string, minLength: 1\}\n +code: \{type: string, enum: \[(.*?)\]`, "teach.why.": `code: \{type: string, enum: \[(unreadable.*?)\]`,
		"drift.untested.": `untested_code: \{type: string, enum: \[(.*?)\]`, "review.why.": `why: \{type: string, enum: \[(.*?)\]`,
	} {
		codes := regexp.MustCompile(pattern).FindStringSubmatch(string(api))
		if codes == nil {
			t.Fatalf("%s: have no codes in the description of the service", key)
		}
		for code := range strings.SplitSeq(codes[1], ", ") {
			if found++; !strings.Contains(string(text), `"`+key+code+`":`) {
				t.Errorf("have no text %s%s", key, code)
			}
		}
	}
	if found < 20 {
		t.Errorf("have %d codes", found)
	}
}
