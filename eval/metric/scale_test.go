package metric

import (
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// wide returns scores as float64.
func wide(scores []float32) []float64 {
	out := make([]float64, len(scores))
	for i, s := range scores {
		out[i] = float64(s)
	}
	return out
}

// shifted returns images whose scores are larger by shift, as float64, and their scale.
func shifted(images []Image, shift float64) ([]Image, *Scale) {
	low, high := math.Inf(1), math.Inf(-1)
	var positives []float64
	out := slices.Clone(images)
	for i, x := range images {
		exact := make([]float64, len(x.Scores))
		for j, s := range x.Scores {
			exact[j] = float64(s) + shift
			low, high = min(low, exact[j]), max(high, exact[j])
			if x.Mask != nil && x.Mask[j] {
				positives = append(positives, exact[j])
			}
		}
		out[i].Exact, out[i].Scores = exact, nil
	}
	return out, NewScale(low, high, positives)
}

// TestScale: scores that float64 tells apart, and float32 does not, give the metrics of their differences, in one pass
// and after Seal.
func TestScale(t *testing.T) {
	const shift = 1 << 34
	rng := rand.New(rand.NewPCG(5, 9))
	for range 300 {
		var images []Image
		for i := range 3 {
			x := Image{Height: 6, Width: 6, View: 1 + i%2, Scores: make([]float32, 36), Mask: make([]bool, 36)}
			for j := range x.Scores {
				x.Scores[j] = float32(rng.IntN(300)) / 8 // the sum with the shift is exact
				x.Mask[j] = i < 2 && rng.IntN(6) == 0
			}
			images = append(images, x)
		}
		var plain Pixels
		addAll(t, &plain, images)
		want, err := plain.Summarize(0.3)
		if err != nil {
			t.Fatal(err)
		}
		exact, scale := shifted(images, shift)
		for _, sealed := range []bool{false, true} {
			p := Pixels{Scale: scale}
			first, last := anomalousFirst(exact)
			addAll(t, &p, first)
			if sealed {
				p.Seal()
			}
			addAll(t, &p, last)
			have, err := p.Summarize(0.3)
			if err != nil {
				t.Fatal(err)
			}
			if have.Threshold != want.Threshold+shift && have.Anomalous > 0 {
				t.Fatalf("threshold: have %v, want %v", have.Threshold, want.Threshold+shift)
			}
			have.Threshold = want.Threshold
			if !equalBits(have.PixelRanking, want.PixelRanking) || have.Compat.Slack != 0 ||
				!equalBits(have.Curve.FPR, want.Curve.FPR) || !equalBits(have.Curve.Overlap, want.Curve.Overlap) {
				t.Fatalf("sealed %v: have %+v\nwant %+v", sealed, have, want)
			}
			// The thresholds of Compat differ by rounding, and may fall on the other side of a score.
			if a, b := have.Compat.AUPRO200, want.Compat.AUPRO200; math.Abs(a-b) > 0.01 || (a == a) != (b == b) {
				t.Fatalf("AUPRO200: have %v, want %v", a, b)
			}
			if a, b := have.Compat.ADEval, want.Compat.ADEval; have.Anomalous > 0 && !(math.Abs(a.AUROC-b.AUROC) < 0.01 && math.Abs(a.AUPRO-b.AUPRO) < 0.01) {
				t.Fatalf("ADEval: have %v, want %v", a, b)
			}
		}
	}
}

// equalBits is reflect.DeepEqual for which NaN equals NaN.
func equalBits(a, b any) bool {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	switch x.Kind() {
	case reflect.Float64:
		return math.Float64bits(x.Float()) == math.Float64bits(y.Float()) || x.Float() != x.Float() && y.Float() != y.Float()
	case reflect.Struct:
		for i := range x.NumField() {
			if !equalBits(x.Field(i).Interface(), y.Field(i).Interface()) {
				return false
			}
		}
		return true
	case reflect.Slice:
		equal := x.Len() == y.Len()
		for i := 0; equal && i < x.Len(); i++ {
			equal = equalBits(x.Index(i).Interface(), y.Index(i).Interface())
		}
		return equal
	}
	return reflect.DeepEqual(a, b)
}

// TestScaleInfinity: infinite scores and -0 have their place, and NaN is named.
func TestScaleInfinity(t *testing.T) {
	inf := math.Inf(1)
	p := Pixels{Scale: NewScale(-inf, inf, []float64{inf, 0})}
	x := Image{Height: 1, Width: 6, Exact: []float64{inf, math.Copysign(0, -1), 0, -inf, inf, -1e300}, Mask: []bool{true, true, false, false, false, false}}
	if err := p.Add(x); err != nil {
		t.Fatal(err)
	}
	s, err := p.Summarize(0.3)
	if err != nil || s.AUROC != 0.75 || s.Threshold != 0 || s.Compat.AUPRO200 == s.Compat.AUPRO200 {
		t.Errorf("have %+v, %v, want AUROC 6 of 8 and no thresholds of other programs", s, err)
	}
	if err := s.Curve.Check(); err != nil {
		t.Error(err)
	}
	x.Name, x.Exact = "a", []float64{0, 0, 0, 0, math.NaN(), 0}
	const want = `image "a": score at row 0, column 4: have NaN, want a number`
	if err := p.Add(x); err == nil || err.Error() != want {
		t.Errorf("have %v, want %s", err, want)
	}
}

// TestRankDoubles ranks scores of which float32 would make one.
func TestRankDoubles(t *testing.T) {
	r, err := Rank([]float64{1 - 1e-9, 1 - 2e-9, 1 - 1e-10, 1e300}, []bool{true, false, true, true})
	if err != nil || r.AUROC != 1 || r.Threshold != 1-1e-9 {
		t.Errorf("have %+v, %v, want AUROC 1 at %v", r, err, 1-1e-9)
	}
}
