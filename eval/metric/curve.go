package metric

import (
	"fmt"
	"math"
)

// Curve holds detection and false alarms while the threshold falls from above all scores to below them. All slices have
// one entry per point. Between two points the exact curve is a straight line, or none of FPR, Recall and Overlap moves
// by more than 1/CurveResolution: so the area under the thinned curve differs from that under the exact one by at most
// half of that. Without positives or negatives a curve has no points.
type Curve struct {
	// Threshold is the score from which on a sample is predicted positive, as float32; it is ±math.MaxFloat32 at the
	// ends.
	Threshold []float32 `json:"threshold"`
	FPR       []float64 `json:"fpr"` // fraction of the negatives predicted positive
	Recall    []float64 `json:"recall"`
	// Precision is the fraction of positives among the predictions, 1 without predictions.
	Precision []float64 `json:"precision"`
	// Overlap is the mean over regions of the fraction predicted, the PRO whose area is AUPRO; empty for images and
	// objects.
	Overlap []float64 `json:"pro,omitempty"`
}

// CurveResolution is the number of steps that a curve takes at least from 0 to 1.
const CurveResolution = 128

// corner is a point of the exact curve in counts.
type corner struct {
	threshold float32
	fp, tp    int64
	weight    float64 // sum of 1/size over the pixels predicted
}

// tracer walks along a curve and thins it.
type tracer struct {
	p, n        int64
	regions     float64
	limit       float64 // FPR moves in steps of limit/CurveResolution up to it, of 1/CurveResolution above
	kept, ahead corner  // the last point kept, the last seen
	weight      sum
	out         Curve
}

// curve returns the curve of positives that are packed by the index of their edge. Up to limit, at most 1, the
// false-positive rate has the resolution of a curve that ends there. Regions is 0 where there are none.
func (c *counts) curve(positives []uint64, sizes []region, regions int, limit float64) Curve {
	if len(positives) == 0 || c.total == 0 {
		return Curve{}
	}
	t := tracer{p: int64(len(positives)), n: c.total, regions: float64(regions), limit: limit}
	t.ahead.threshold = math.MaxFloat32
	t.kept = t.ahead
	t.keep()
	c.steps(positives, sizes, func(s step) {
		score := float32(c.scale.value(c.keys[s.edge]))
		// First the negatives above the score, then it and its equals.
		t.to(corner{math.Nextafter32(score, math.MaxFloat32), s.above, t.ahead.tp, t.ahead.weight})
		t.weight.add(s.weight)
		t.to(corner{score, s.above + s.equal, s.reached, t.weight.value()})
	})
	t.to(corner{-math.MaxFloat32, t.n, t.p, t.ahead.weight})
	t.keep()
	return t.out
}

// to moves on to the next corner.
func (t *tracer) to(next corner) {
	if t.far(next) && t.ahead != t.kept {
		t.keep()
	}
	t.ahead = next
}

// far reports whether a corner is too far from the last point kept.
func (t *tracer) far(next corner) bool {
	const most = 1.0 / CurveResolution
	scale := t.limit
	if float64(t.kept.fp) > t.limit*float64(t.n) {
		scale = 1
	}
	return float64(next.fp-t.kept.fp) > most*scale*float64(t.n) ||
		float64(next.tp-t.kept.tp) > most*float64(t.p) ||
		next.weight-t.kept.weight > most*t.regions && t.regions > 0
}

// keep records the last corner seen as a point.
func (t *tracer) keep() {
	at := t.ahead
	t.kept = at
	precision := 1.0
	if at.fp+at.tp > 0 {
		precision = float64(at.tp) / float64(at.fp+at.tp)
	}
	o := &t.out
	o.Threshold = append(o.Threshold, min(math.MaxFloat32, max(-math.MaxFloat32, at.threshold)))
	o.FPR = append(o.FPR, float64(at.fp)/float64(t.n))
	o.Recall = append(o.Recall, float64(at.tp)/float64(t.p))
	o.Precision = append(o.Precision, precision)
	if t.regions > 0 {
		o.Overlap = append(o.Overlap, min(1, at.weight/t.regions)) // rounding may pass 1
	}
}

// RankCurve returns the curve of images or objects, whose metrics Rank computes; its errors are those of Rank.
func RankCurve(scores []float64, labels []bool) (Curve, error) {
	c, positives, err := count(scores, labels)
	if err != nil {
		return Curve{}, err
	}
	return c.curve(positives, nil, 0, 1), nil
}

// Check returns an error if a curve that was read from a file cannot be one: slices of other lengths, no fractions.
func (c *Curve) Check() error {
	n := len(c.Threshold)
	for _, of := range []struct {
		name   string
		values []float64
	}{{"fpr", c.FPR}, {"recall", c.Recall}, {"precision", c.Precision}, {"pro", c.Overlap}} {
		if len(of.values) != n && (of.name != "pro" || of.values != nil) {
			return fmt.Errorf("%s: have %d points, want %d as there are thresholds", of.name, len(of.values), n)
		}
		for _, v := range of.values {
			if !(v >= 0 && v <= 1) {
				return fmt.Errorf("%s: have %v, want a fraction", of.name, v)
			}
		}
	}
	return nil
}
