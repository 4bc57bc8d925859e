package metric

import (
	"math"
	"testing"
)

func TestAUPRO200EdgeCases(t *testing.T) {
	next := math.Nextafter32(1, 2)
	cases := []struct {
		name   string
		scores []float32 // the first pixel is anomalous
		want   float64
	}{
		// Only t_199 = 99.5 has a rate below 0.3: one point is no curve.
		{"one point", []float32{50, 100, 99.25, 99.25, 99.25, 0}, nan},
		// All 200 thresholds fall between neighbouring floats: points, but no width.
		{"no float between the thresholds", []float32{next, next, 1, 1, 1, 1}, 0},
		{"no normal pixel above any threshold kept", []float32{2, 1, 1, 1, 1}, nan},
		{"infinite", []float32{2, 1, 0, 0, -inf, 0}, nan},
		{"all infinite", []float32{inf, -inf}, nan},
	}
	for _, c := range cases {
		x := Image{Name: c.name, Scores: c.scores, Mask: make([]bool, len(c.scores)), Height: 1, Width: len(c.scores)}
		x.Mask[0] = true
		if have := evaluate(t, []Image{x}, AUPROLimit).aupro200; !near(have, c.want, 0) {
			t.Errorf("%s: have %v, want %v", c.name, have, c.want)
		}
	}
}

func TestFloorKey(t *testing.T) {
	below1 := math.Nextafter32(1, 0)
	for _, c := range []struct {
		t    float64
		want float32
	}{{1, 1}, {1 + 1e-12, 1}, {1 - 1e-12, below1}, {1e-60, 0}, {-1e-60, -math.SmallestNonzeroFloat32}} {
		if have := value(floorKey(c.t)); have != c.want {
			t.Errorf("%v: have %v, want %v", c.t, have, c.want)
		}
	}
}

// TestCompatAfterSeal: what is interpolated is near, and the same bits whatever normal images came before Seal.
func TestCompatAfterSeal(t *testing.T) {
	maps, masks := synthetic(24)
	var images []Image
	for i := range maps {
		images = append(images, Image{Name: "p", Scores: maps[i], Mask: masks[i], Height: 256, Width: 256})
	}
	var exact Pixels
	addAll(t, &exact, images)
	want := summarize(t, &exact).Compat
	anomalous, normal := anomalousFirst(images)
	var first Compat
	for early := range 3 {
		var p Pixels
		addAll(t, &p, normal[:early])
		addAll(t, &p, anomalous)
		p.Seal()
		addAll(t, &p, normal[early:])
		have := summarize(t, &p).Compat
		if early == 0 {
			first = have
		}
		if have != first {
			t.Errorf("%d normal images before Seal: have %+v, want %+v", early, have, first)
		}
		if have.Slack == 0 || have.Slack > 1e-3 {
			t.Errorf("slack: have %v, want a little", have.Slack)
		}
		a, b := have.ADEval, want.ADEval
		if !near(have.AUPRO200, want.AUPRO200, 1e-5) || !near(a.AUROC, b.AUROC, 1e-5) || !near(a.AUPR, b.AUPR, 1e-5) || !near(a.AUPRO, b.AUPRO, 1e-5) {
			t.Errorf("have %+v, want %+v", have, want)
		}
	}
}
