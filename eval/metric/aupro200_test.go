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
		x := picture{c.name, c.scores, make([]bool, len(c.scores)), 1, len(c.scores)}
		x.mask[0] = true
		if have := evaluate(t, []picture{x}, AUPROLimit).aupro200; !near(have, c.want, 0) {
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
