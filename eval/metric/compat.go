package metric

import (
	"math"
	"slices"
)

// Compat are metrics of pixels as other programs compute them, only for comparison with what those print. Undefined
// values are NaN.
//
// They follow from counts at a few thresholds that depend on the range of all scores, which is known only at the end.
// Without Seal they are exact. After Seal, normal pixels have been counted between edges: at a threshold that is no
// edge the count is interpolated, and false-positive rates are off by at most Slack. With a Scale, whose range is known
// before, they are always exact.
type Compat struct {
	// AUPRO200 is the AUPRO that Dinomaly prints (compute_pro over all images of a class), as do the papers compared
	// with it. There are 200 thresholds t_k = min + k*(max-min)/200 between the extremes of all scores, and a pixel is
	// detected if its score is above t_k. Points with a false-positive rate of 0.3 or more are dropped, the rates are
	// divided by the largest one left, whatever it is, and the area is taken by the trapezoid rule. It is NaN with
	// fewer than two points or a largest rate of 0.
	AUPRO200 float64
	// ADEval is what ADEval 1.1 computes with its 1000 bins of equal width from the lowest to the highest score.
	ADEval BinnedRanking
	Slack  float64
}

// BinnedRanking are ADEval's metrics: areas by the trapezoid rule under curves whose only points are the edges of bins.
// AUPRO is integrated up to 0.3.
type BinnedRanking struct{ AUROC, AUPR, AUPRO float64 }

const (
	dinomalySteps = 200
	adevalBins    = 1000
)

// dinomalyThresholds returns the thresholds of AUPRO200.
func dinomalyThresholds(low, high float64) []float64 {
	out := make([]float64, dinomalySteps)
	for k := range out {
		out[k] = low + float64(k)*(high-low)/dinomalySteps
	}
	return out
}

// dinomalyCuts returns the lowest keys that are above the thresholds.
func (s *Scale) dinomalyCuts(low, high float64) []uint32 {
	cuts := make([]uint32, dinomalySteps)
	for i, t := range dinomalyThresholds(low, high) {
		cuts[i] = s.key(t) + 1
	}
	return cuts
}

// adevalThresholds returns the edges of the bins for float64 scores.
func adevalThresholds(low, high float64) []float64 {
	out := make([]float64, adevalBins+1)
	for k := range out {
		out[k] = float64(k)*(1.0/adevalBins)*(high-low) + low
	}
	out[adevalBins] = high
	return out
}

// adevalCuts returns the keys of the edges of the bins; those for float32 scores are computed in float32 as NumPy does.
func (s *Scale) adevalCuts(low, high float64) []uint32 {
	cuts := make([]uint32, adevalBins+1)
	for k, t := range adevalThresholds(low, high) {
		if s != nil {
			cuts[k] = s.key(t)
			continue
		}
		part := float32(float64(k) * (1.0 / adevalBins))
		if k == adevalBins {
			part = 1
		}
		scaled := part * float32(high-low)
		cuts[k] = key(scaled + float32(low))
	}
	slices.Sort(cuts)
	return cuts
}

// cuts lists the keys of all thresholds; nil if all scores are equal or one is infinite.
func (p *Pixels) cuts() []uint32 {
	low, high := p.scoreRange()
	if !(low < high) || math.IsInf(high-low, 0) {
		return nil
	}
	return append(p.Scale.dinomalyCuts(low, high), p.Scale.adevalCuts(low, high)...)
}

// compat computes Compat from the counts of all cameras.
func (p *Pixels) compat(c *counts) Compat {
	nan := math.NaN()
	out := Compat{nan, BinnedRanking{nan, nan, nan}, 0}
	low, high := p.scoreRange()
	if c.total == 0 || !(low < high) || math.IsInf(high-low, 0) {
		return out
	}
	w := walk{p: p, c: c}
	dinomaly := w.points(p.Scale.dinomalyCuts(low, high))
	out.AUPRO200 = aupro200(dinomaly, len(p.mask.Regions))
	out.ADEval = adeval(w.points(p.Scale.adevalCuts(low, high)))
	out.Slack = float64(w.slack) / float64(c.total)
	return out
}

// point is what is detected at a threshold.
type point struct {
	fpr       float64
	tp, fp    int64
	recall    float64
	precision float64 // 1 where nothing is detected
	pro       float64
}

// walk computes the points of curves.
type walk struct {
	p     *Pixels
	c     *counts
	slack int64 // negatives that may lie on the other side of a threshold
}

// points returns the points of ascending cuts, highest first: a pixel is detected if its key is at least the cut.
func (w *walk) points(cuts []uint32) []point {
	positives, regions := w.p.mask.Positives, w.p.mask.Regions
	end := len(positives)
	var overlap sum
	var sizes []uint32
	out := make([]point, 0, len(cuts))
	for i := len(cuts) - 1; i >= 0; i-- {
		sizes = sizes[:0]
		for ; end > 0; end-- {
			k, region := unpack(positives[end-1])
			if k < cuts[i] {
				break
			}
			sizes = append(sizes, regions[region].Size)
		}
		slices.Sort(sizes) // so that the sum does not depend on the order of images
		for _, size := range sizes {
			overlap.add(1 / float64(size))
		}
		tp, fp := int64(len(positives)-end), w.from(cuts[i])
		x := point{
			fpr: float64(fp) / float64(w.c.total), tp: tp, fp: fp, precision: 1,
			recall: float64(tp) / float64(len(positives)), pro: overlap.value() / float64(len(regions)),
		}
		if tp+fp > 0 {
			x.precision = float64(tp) / float64(tp+fp)
		}
		out = append(out, x)
	}
	return out
}

// from returns how many negatives have at least the key cut. If the cut is no edge, it assumes that those between its
// neighbours are spread evenly.
func (w *walk) from(cut uint32) int64 {
	c := w.c
	i, found := slices.BinarySearch(c.keys, cut)
	// The negatives below edge i and above edge i-1 have keys from low to high-1.
	var certain int64
	low, high := uint64(w.p.all.Low), uint64(w.p.all.High)+1
	between := c.total
	if i < len(c.keys) {
		certain, high = c.above[i]+c.equal[i], uint64(c.keys[i])
	}
	if found {
		return certain
	}
	if i > 0 {
		between, low = c.above[i-1], uint64(c.keys[i-1])+1
	}
	between -= certain
	switch at := uint64(cut); {
	case between == 0 || at >= high:
		return certain
	case at <= low:
		return certain + between
	default:
		w.slack = max(w.slack, between)
		return certain + int64(math.RoundToEven(float64(between)*(float64(high-at)/float64(high-low))))
	}
}

// aupro200 computes Compat.AUPRO200.
func aupro200(points []point, regions int) float64 {
	if regions == 0 {
		return math.NaN()
	}
	var area sum
	var last point
	n := 0
	for _, x := range points {
		if x.fpr >= 0.3 {
			break
		}
		if n > 0 {
			area.add((x.fpr - last.fpr) * (x.pro + last.pro) / 2)
		}
		last = x
		n++
	}
	if n < 2 {
		return math.NaN()
	}
	return min(1, area.value()/last.fpr) // 0/0 is NaN; rounding may pass 1
}

// adeval computes Compat.ADEval.
func adeval(points []point) BinnedRanking {
	var auroc, aupr, aupro sum
	for i := 1; i < len(points); i++ {
		a, b := points[i-1], points[i]
		auroc.add((b.fpr - a.fpr) * (a.recall + b.recall) / 2)
		aupr.add((b.recall - a.recall) * (a.precision + b.precision) / 2)
		switch limit := 0.3; {
		case b.fpr <= limit:
			aupro.add((b.fpr - a.fpr) * (a.pro + b.pro) / 2)
		case a.fpr <= limit: // cut the segment at the limit
			t := (limit - a.fpr) / (b.fpr - a.fpr)
			aupro.add((limit - a.fpr) * (a.pro + a.pro + t*(b.pro-a.pro)) / 2)
		}
	}
	return BinnedRanking{auroc.value(), aupr.value(), aupro.value() / 0.3}
}

// floorKey is the key of the largest float32 that is not above t.
func floorKey(t float64) uint32 {
	f := float32(t)
	if float64(f) > t {
		f = math.Nextafter32(f, float32(math.Inf(-1)))
	}
	return key(f)
}
