package metric

import (
	"math"
	"slices"
)

// epsilon is what Dinomaly adds to precision plus recall.
const epsilon = 1e-7

// step is a distinct positive score with everything that the metrics need of it.
type step struct {
	edge    int
	count   int64   // positives with this score
	weight  float64 // sum over them of 1/size of their region
	above   int64   // negatives with a higher score
	equal   int64   // negatives with this score
	reached int64   // positives with this or a higher score
}

// steps calls visit for the distinct scores of the positives from the highest to the lowest. Positives are sorted and
// packed by the index of their edge; without regions the weights are 0.
func (c *counts) steps(positives []uint64, regions []region, visit func(step)) {
	var sizes []uint32
	reached := int64(0)
	for end := len(positives); end > 0; {
		at, _ := unpack(positives[end-1])
		begin := end
		sizes = sizes[:0]
		for ; begin > 0; begin-- {
			i, number := unpack(positives[begin-1])
			if i != at {
				break
			}
			if regions != nil {
				sizes = append(sizes, regions[number].Size)
			}
		}
		slices.Sort(sizes) // so that the sum does not depend on the order of images
		s := step{edge: int(at), count: int64(end - begin), above: c.above[at], equal: c.equal[at]}
		for _, size := range sizes {
			s.weight += 1 / float64(size)
		}
		reached += s.count
		s.reached = reached
		end = begin
		visit(s)
	}
}

// evaluate computes all metrics from positives packed by the index of their edge. AUPRO is the mean over so many
// regions.
func (c *counts) evaluate(positives []uint64, sizes []region, regions int, limits []float64) PixelRanking {
	in := integral{p: int64(len(positives)), n: c.total, limits: limits, areas: make([]sum, len(limits))}
	c.steps(positives, sizes, in.add)
	out := PixelRanking{Ranking: in.ranking(c), Anomalous: in.p, Normal: in.n, Regions: regions, AUPROs: in.aupro(regions)}
	if len(limits) > 0 {
		out.AUPRO = out.AUPROs[0]
	}
	return out
}

// integral is the state of a walk over steps.
type integral struct {
	p, n int64 // positives, negatives

	pairs         int64 // twice the pairs in order, ties counting one half
	precision     sum   // sum of the precision over positives
	bestTP, bestN int64 // F1max = 2*bestTP/bestN
	bestEdge      int
	eps           float64
	trapezoid     sum
	last          step

	limits []float64
	areas  []sum
}

func (in *integral) add(s step) {
	predicted := s.reached + s.above + s.equal
	precision, recall := float64(s.reached)/float64(predicted), float64(s.reached)/float64(in.p)
	in.pairs += s.count * (2*(in.n-s.above) - s.equal)
	in.precision.add(float64(s.count) * precision)
	// Compared as fractions, so that ties are exact; the lower threshold wins them.
	if in.bestN == 0 || s.reached*in.bestN >= in.bestTP*(in.p+predicted) {
		in.bestTP, in.bestN, in.bestEdge = s.reached, in.p+predicted, s.edge
	}
	in.eps = max(in.eps, 2*precision*recall/(precision+recall+epsilon))

	// The precision-recall curve comes from the point after the negatives between the last score and this one; without
	// predictions the precision is 1.
	before := 1.0
	if s.above > 0 || in.last.reached > 0 {
		before = float64(in.last.reached) / float64(in.last.reached+s.above)
	}
	in.trapezoid.add(float64(s.count) * (before + precision) / 2)
	in.last = s

	// An anomalous pixel is detected linearly from 0 to 1 while the false-positive rate passes the negatives that equal
	// its score: from g = above/N to g+e = (above+equal)/N. The area of that ramp up to a limit has a closed form, and
	// AUPRO is its sum over pixels, weighted with 1/size of their region.
	g, e := float64(s.above)/float64(in.n), float64(s.equal)/float64(in.n)
	for i, limit := range in.limits {
		switch {
		case g >= limit:
		case g+e > limit:
			in.areas[i].add(s.weight * ((limit - g) * (limit - g) / (2 * e)))
		default:
			in.areas[i].add(s.weight * (limit - g - e/2))
		}
	}
}

// ranking returns the metrics that do not need regions.
func (in *integral) ranking(c *counts) Ranking {
	if in.p == 0 {
		nan := math.NaN()
		return Ranking{nan, nan, nan, nan, nan, nan}
	}
	p := float64(in.p)
	return Ranking{
		AUROC:     float64(in.pairs) / (2 * p * float64(in.n)), // 0/0 is NaN without negatives
		AP:        in.precision.value() / p,
		F1max:     float64(2*in.bestTP) / float64(in.bestN),
		Threshold: c.scale.value(c.keys[in.bestEdge]),
		F1Eps:     in.eps,
		AUPR:      in.trapezoid.value() / p,
	}
}

// aupro returns, for each limit, the area under the mean overlap of so many regions over the false-positive rate from 0
// to the limit, divided by the limit.
func (in *integral) aupro(regions int) []float64 {
	out := make([]float64, len(in.limits))
	for i, limit := range in.limits {
		out[i] = math.NaN()
		if regions > 0 && in.n > 0 {
			out[i] = min(1, in.areas[i].value()/(float64(regions)*limit)) // rounding may pass 1
		}
	}
	return out
}

// sum adds with Neumaier's compensation, so that a million terms lose no digits.
type sum struct{ total, lost float64 }

func (s *sum) add(x float64) {
	t := s.total + x
	if math.Abs(s.total) >= math.Abs(x) {
		s.lost += s.total - t + x
	} else {
		s.lost += x - t + s.total
	}
	s.total = t
}

func (s *sum) value() float64 { return s.total + s.lost }
