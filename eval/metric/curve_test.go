package metric

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// area is that under y over x by the trapezoid rule, from 0 to limit.
func area(x, y []float64, limit float64) float64 {
	total := 0.0
	for i := 1; i < len(x) && x[i-1] < limit; i++ {
		x1, y1 := x[i], y[i]
		if x1 > limit {
			y1 = y[i-1] + (y1-y[i-1])*(limit-x[i-1])/(x1-x[i-1])
			x1 = limit
		}
		total += (x1 - x[i-1]) * (y[i-1] + y1) / 2
	}
	return total / limit
}

// blobs returns images with blobs of defects that mostly score higher. Levels is the number of different scores, 0 for
// no limit.
func blobs(r *rand.Rand, images, side, levels int) []Image {
	var out []Image
	for i := range images {
		x := Image{Name: fmt.Sprint(i), Height: side, Width: side, Scores: make([]float32, side*side), Mask: make([]bool, side*side)}
		for k := range x.Scores {
			u, v := k%side-side/2, k/side-side/2
			x.Mask[k] = i%2 == 1 && u*u+v*v < (i+2)*(i+2)
			score := r.Float64()
			if x.Mask[k] {
				score = 1 - math.Pow(r.Float64(), 3)
			}
			if levels > 0 {
				score = math.Floor(score * float64(levels))
			}
			x.Scores[k] = float32(score)
		}
		out = append(out, x)
	}
	return out
}

// TestCurveKeepsTheAreas compares the areas under thinned curves with the exact values. With few levels the curve is a
// few long lines, which are exact.
func TestCurveKeepsTheAreas(t *testing.T) {
	for levels, within := range map[int]float64{0: 0.5 / CurveResolution, 7: 1e-12} {
		var p Pixels
		for _, x := range blobs(rand.New(rand.NewPCG(1, 2)), 12, 48, levels) {
			if err := p.Add(x); err != nil {
				t.Fatal(err)
			}
		}
		s, err := p.Summarize(0.3)
		if err != nil {
			t.Fatal(err)
		}
		c := s.Curve
		if err := c.Check(); err != nil {
			t.Error(err)
		}
		if d := math.Abs(area(c.FPR, c.Recall, 1) - s.AUROC); d > within {
			t.Errorf("%d levels: area of ROC: have %v off, want %v at most", levels, d, within)
		}
		if d := math.Abs(area(c.FPR, c.Overlap, 0.3) - s.AUPRO); d > within {
			t.Errorf("%d levels: area of PRO: have %v off, want %v at most", levels, d, within)
		}
		if n := len(c.FPR); n > 6*CurveResolution || levels > 0 && n > 2*levels+2 {
			t.Errorf("%d levels: have %d points", levels, n)
		}
	}
}

// TestCurvePointsAreExact counts what each point claims, one by one.
func TestCurvePointsAreExact(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	scores, labels := make([]float32, 500), make([]bool, 500)
	for i := range scores {
		labels[i] = i%3 == 0
		scores[i] = float32(r.IntN(90)) / 10
		if labels[i] {
			scores[i] += 2
		}
	}
	c, err := RankCurve(wide(scores), labels)
	if err != nil {
		t.Fatal(err)
	}
	for i, threshold := range c.Threshold {
		var fp, tp, n, p float64
		for k, s := range scores {
			switch {
			case labels[k]:
				p++
			default:
				n++
			}
			if s >= threshold && labels[k] {
				tp++
			} else if s >= threshold {
				fp++
			}
		}
		precision := 1.0
		if fp+tp > 0 {
			precision = tp / (tp + fp)
		}
		if c.FPR[i] != fp/n || c.Recall[i] != tp/p || c.Precision[i] != precision {
			t.Errorf("at %v: have %v, %v, %v, want %v, %v, %v", threshold, c.FPR[i], c.Recall[i], c.Precision[i], fp/n, tp/p, precision)
		}
	}
	if c.Overlap != nil || !slices.IsSortedFunc(c.Threshold, func(a, b float32) int { return int(math.Copysign(1, float64(b-a))) }) {
		t.Errorf("have %+v, want falling thresholds and no overlap", c)
	}
	if last := len(c.FPR) - 1; c.FPR[0] != 0 || c.Recall[0] != 0 || c.FPR[last] != 1 || c.Recall[last] != 1 {
		t.Errorf("have ends %v, %v and %v, %v", c.FPR[0], c.Recall[0], c.FPR[last], c.Recall[last])
	}
}

func TestCurveUndefined(t *testing.T) {
	for name, labels := range map[string][]bool{"no positive": {false, false}, "no negative": {true, true}} {
		if c, err := RankCurve([]float64{1, 2}, labels); err != nil || len(c.FPR) > 0 {
			t.Errorf("%s: have %+v, error %v, want no points", name, c, err)
		}
	}
	inf := math.Inf(1)
	c, err := RankCurve([]float64{inf, -inf, inf, -inf}, []bool{true, true, false, false})
	if err != nil || c.Check() != nil || area(c.FPR, c.Recall, 1) != 0.5 {
		t.Errorf("infinite scores: have %+v, error %v", c, err)
	}
}
