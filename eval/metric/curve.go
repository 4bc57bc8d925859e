package metric

import (
	"fmt"
	"math"
)

// Curve tells how detection and false alarms go together while the threshold falls from above all scores to below them.
// All slices have one entry a point. Between two points lies a straight line of the exact curve, or a part of it in
// which neither of FPR, Recall and Overlap moves by more than 1/CurveResolution: so the area under the thinned curve
// differs from that of the exact one by half of that at most. Without positives or negatives a curve has no points.
type Curve struct {
	// Threshold: what scores at least as much is predicted. The ends have -+math.MaxFloat32.
	Threshold []float32 `json:"threshold"`
	FPR       []float64 `json:"fpr"` // share of the negatives predicted
	Recall    []float64 `json:"recall"`
	// Precision is the share of positives among what is predicted, 1 where nothing is.
	Precision []float64 `json:"precision"`
	// Overlap is the mean over regions of their share predicted, the PRO that AUPRO is the area of; empty for images
	// and objects.
	Overlap []float64 `json:"pro,omitempty"`
}

// CurveResolution is the number of steps in which a curve may go from 0 to 1.
const CurveResolution = 128

// place is a point of a curve in counts.
type place struct {
	threshold float32
	fp, tp    int64
	weight    float64 // sum of 1/size over the pixels predicted
}

// tracer thins a curve while it is walked along.
type tracer struct {
	p, n        int64
	regions     float64
	limit       float64 // FPR moves in parts of it below, in parts of 1 above
	kept, ahead place   // the last point kept, the last seen
	weight      sum
	out         Curve
}

// curve walks along positives packed by the index of their edge. Up to limit, 1 of which is allowed, the rate of false
// positives has the resolution of a curve that ends there. Regions is 0 where there are none.
func (c *counts) curve(positives []uint64, sizes []region, regions int, limit float64) Curve {
	if len(positives) == 0 || c.total == 0 {
		return Curve{}
	}
	t := tracer{p: int64(len(positives)), n: c.total, regions: float64(regions), limit: limit}
	t.ahead.threshold = math.MaxFloat32
	t.kept = t.ahead
	t.keep()
	c.steps(positives, sizes, func(s step) {
		score := value(c.keys[s.edge])
		// First the negatives above the score, then it and its equals.
		t.to(place{math.Nextafter32(score, math.MaxFloat32), s.above, t.ahead.tp, t.ahead.weight})
		t.weight.add(s.weight)
		t.to(place{score, s.above + s.equal, s.reached, t.weight.value()})
	})
	t.to(place{-math.MaxFloat32, t.n, t.p, t.ahead.weight})
	t.keep()
	return t.out
}

// to goes on to the next corner of the exact curve.
func (t *tracer) to(next place) {
	if t.far(next) && t.ahead != t.kept {
		t.keep()
	}
	t.ahead = next
}

// far says whether a point is too far from the last that was kept.
func (t *tracer) far(next place) bool {
	const most = 1.0 / CurveResolution
	scale := t.limit
	if float64(t.kept.fp) > t.limit*float64(t.n) {
		scale = 1
	}
	return float64(next.fp-t.kept.fp) > most*scale*float64(t.n) ||
		float64(next.tp-t.kept.tp) > most*float64(t.p) ||
		next.weight-t.kept.weight > most*t.regions && t.regions > 0
}

// keep writes down the last point seen.
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

// RankCurve is the curve of images or objects, whose numbers Rank computes.
func RankCurve(scores []float32, labels []bool) (Curve, error) {
	c, positives, err := count(scores, labels)
	if err != nil {
		return Curve{}, err
	}
	return c.curve(positives, nil, 0, 1), nil
}

// Check finds what a curve that was read cannot have.
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
