package serve

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"math/rand/v2"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"mvag-torch/inspect/inspecttest"
	"mvag-torch/internal/pagetest"
	"mvag-torch/serve/drift"
	"mvag-torch/serve/line"
)

// gear is a PNG file of a gear as a camera sees it, a little elsewhere and otherwise lit each time. A bad one has a dark
// hole.
func gear(t *testing.T, rng *rand.Rand, camera int, bad bool, light float64) []byte {
	t.Helper()
	const side = 96
	m := image.NewGray(image.Rect(0, 0, side, side))
	x0, y0, gain := 47+2*rng.Float64(), 47+2*rng.Float64(), light*(0.97+0.06*rng.Float64())
	for y := range side {
		for x := range side {
			dx, dy := float64(x)-x0, float64(y)-y0
			r, a := math.Hypot(dx, dy), math.Atan2(dy, dx)+0.5*float64(camera)
			level := 70 + 20*math.Cos(dx/30)
			if r > 12 && r < 34+4*math.Tanh(5*math.Sin(9*a)) {
				level = 160 + 40*math.Cos(a)
			}
			if bad && math.Hypot(dx-14, dy+14) < 9 {
				level = 20
			}
			m.SetGray(x, y, color.Gray{uint8(max(0, min(255, gain*level+4*rng.NormFloat64())))})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// gears writes the images of gears to files NAME01_C1.png and so on.
func gears(t *testing.T, name string, n int, bad bool) []string {
	t.Helper()
	folder, rng := t.TempDir(), rand.New(rand.NewPCG(uint64(n), uint64(len(name))))
	var paths []string
	for i := range n {
		for c := range inspecttest.Views {
			path := filepath.Join(folder, fmt.Sprintf("%s%02d_C%d.png", name, i+1, c+1))
			if err := os.WriteFile(path, gear(t, rng, c, bad, 1), 0o644); err != nil {
				t.Fatal(err)
			}
			paths = append(paths, path)
		}
	}
	return paths
}

// passes sends a gear as a camera of the line would, and returns its value. The same seed is the same gear.
func passes(t *testing.T, url string, seed uint64, light float64) float64 {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 7))
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for c := range inspecttest.Views {
		p, err := w.CreateFormFile(fmt.Sprint("C", c+1), "image.png")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = p.Write(gear(t, rng, c, false, light)) // a buffer takes all
	}
	_ = w.WriteField("object", fmt.Sprintf("L%03d", seed))
	_ = w.WriteField("class", "gear")
	_ = w.Close()
	answer, err := http.Post(url+"/v1/inspect", w.FormDataContentType(), &body)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var r line.Record
	if err := json.NewDecoder(answer.Body).Decode(&r); err != nil || r.Verdict == nil {
		t.Fatalf("have %s, %+v, %v", answer.Status, r, err)
	}
	return r.Verdict.Calibrated
}

// TestPageOfService goes through the page of a service as a person would, by keyboard: it teaches a part from twelve
// good ones, inspects a good and a defective one, says that a doubtful one is good after all, and sees the light change.
func TestPageOfService(t *testing.T) {
	url, _ := run(t, func(c *Config) {
		c.Out = filepath.Join(t.TempDir(), "out")
		c.Models = []Model{{Name: "parts", Path: inspecttest.Checkpoint(t), Set: []string{"memory.codes=200", "memory.dims=16"}}}
	})
	b := pagetest.Open(t, url, "en", "#/teach")
	says := pagetest.Says
	step := func(name string, do func()) {
		if !t.Failed() {
			t.Log(name)
			do()
		}
	}
	step("teach", func() {
		b.Until("the name", "!!document.getElementById('teach-class')")
		b.Type("#teach-class", "gear")
		b.Press(kb.Enter)
		b.Until("the parts", says("#step-h", "Good parts"))
		b.Choose("#teach-files", gears(t, "G", 12, false))
		b.Until("12 parts", says(".step", "12 accepted"))
		b.Focus("#teach-build")
		b.Press(kb.Enter)
		b.Until("what it built", says("#step-h", "Try"))
		b.Choose("#try-files", gears(t, "bad", 1, true))
		b.Until("a try", says(".tried .banner", "Defective"))
		b.Focus("#teach-live")
		b.Press(kb.Enter)
		b.Until("it live", says("#step-h", "is live"))
		b.Shoot("service-teach")
	})
	step("inspect", func() {
		b.View("inspect", "#inspect-class option[value=gear]")
		b.Focus("#inspect-class")
		b.Press("g")
		for _, c := range []struct {
			bad  bool
			want string
		}{{false, "Good"}, {true, "Defective"}} {
			b.Choose("#inspect-files", gears(t, c.want, 1, c.bad))
			b.Until("images", "!document.querySelector('form .primary').disabled")
			b.Focus("form .primary")
			b.Press(kb.Enter)
			b.Until(c.want, says("main section:last-child .banner", c.want))
			b.Until("its images", "[...document.querySelectorAll('.stack img')].length === 6 && [...document.querySelectorAll('.stack img')].every(i => i.complete && i.naturalWidth > 0)")
			b.Shoot("service-inspect-" + c.want)
			b.Focus("form .buttons button:last-child")
			b.Press(kb.Enter)
		}
	})
	step("review", func() { reviews(t, b, url) })
	step("drift", func() { drifts(t, b, url) })
	step("line", func() {
		b.View("line", ".newest .banner")
		b.Until("the counts", says(".counts", "Yield")+"&&"+says(".counts tbody", "gear"))
		b.Shoot("service-line")
	})
}

// doubtful sends a gear in less and less light, or more, until its value is close to the threshold.
func doubtful(t *testing.T, url string) {
	t.Helper()
	bright, dark := 1.0, 0.8
	for range 20 {
		light := (bright + dark) / 2
		switch v := passes(t, url, 1, light); {
		case v < 0.37:
			bright = light
		case v > 0.63:
			dark = light
		default:
			return
		}
	}
	t.Fatalf("lights from %g to %g: have no gear in doubt", dark, bright)
}

// reviews says that a doubtful gear is good after all, takes that back, and says it again.
func reviews(t *testing.T, b *pagetest.Browser, url string) {
	t.Helper()
	doubtful(t, url)
	says := pagetest.Says
	b.View("review", "#review-good")
	b.Until("the gear", says("#review-h", "L001")+"&&"+says("#review-at", "Near the threshold"))
	b.Press("g")
	b.Until("what it changed", says(".outcome", "L001 is good after all")+"&&"+says(".outcome", "12 → 13")+"&&"+says(".history", "L001"))
	b.Shoot("service-review")
	b.Focus("#review-undo")
	b.Press(kb.Enter)
	b.Until("it taken back", says(".history", "taken back")+"&&"+says("#review-at", "2 of"))
	b.Press(kb.ArrowLeft)
	b.Until("the gear again", says("#review-h", "L001")+"&&"+says("#review-at", "Near the threshold"))
	b.Press("g")
	b.Until("it good again", says(".outcome", "12 → 13"))
}

// drifts sends gears in the light of those that were taught, then in another one.
func drifts(t *testing.T, b *pagetest.Browser, url string) {
	t.Helper()
	b.View("drift", "main section")
	says := pagetest.Says
	seed := uint64(100)
	pass := func(light float64) {
		for range drift.Window {
			passes(t, url, seed, light)
			seed++
		}
	}
	pass(1)
	b.Until("that it fits", says(".class", "gear")+"&&"+says(".class .verdict", "Fits"))
	pass(0.92)
	b.Until("drift", says(".class .verdict", "Drift"))
	b.Focus("summary")
	b.Press(kb.Enter)
	b.Until("the table", "document.querySelectorAll('.class table tbody tr').length === 2")
	b.Shoot("service-drift")
}
