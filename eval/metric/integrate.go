package metric

import "math"

// ranking evaluates the three metrics of pictures, objects or pixels.
func (r *ranks) ranking() Ranking {
	p, n := int64(len(r.positives)), r.negatives
	if p == 0 {
		nan := math.NaN()
		return Ranking{AUROC: nan, AP: nan, F1max: nan, Threshold: nan}
	}
	var pairs int64         // twice the pairs in order, ties counting one half
	var precision sum       // sum of the precision over positives
	var bestTP, bestN int64 // F1max = 2*bestTP/bestN
	var bestKey uint32
	for s := range r.steps {
		predicted := s.reached + s.above + s.equal
		pairs += s.count * (2*(n-s.above) - s.equal)
		precision.add(float64(s.count) * (float64(s.reached) / float64(predicted)))
		// Compared as fractions, so that ties are exact; the lower threshold wins them.
		if bestN == 0 || s.reached*bestN >= bestTP*(p+predicted) {
			bestTP, bestN, bestKey = s.reached, p+predicted, s.key
		}
	}
	return Ranking{
		AUROC:     float64(pairs) / (2 * float64(p) * float64(n)), // 0/0 is NaN without negatives
		AP:        precision.value() / float64(p),
		F1max:     float64(2*bestTP) / float64(bestN),
		Threshold: float64(value(bestKey)),
	}
}

// aupro is the area under the mean per-region overlap as a function of the
// false-positive rate, from 0 to limit, divided by limit.
//
// Seen from one anomalous pixel, detection rises linearly from 0 to 1 while
// the rate passes the negatives that equal its score: from g = above/N to
// g+e = (above+equal)/N. The area of that ramp up to the limit has a closed
// form, and AUPRO is its sum over pixels, weighted with 1/size of the region.
func (r *ranks) aupro(regions int, limit float64) float64 {
	if regions == 0 || r.negatives == 0 {
		return math.NaN()
	}
	n := float64(r.negatives)
	var area sum
	for s := range r.steps {
		g, e := float64(s.above)/n, float64(s.equal)/n
		if g >= limit {
			break // the rate only grows from here
		}
		ramp := limit - g - e/2
		if g+e > limit {
			ramp = (limit - g) * (limit - g) / (2 * e)
		}
		area.add(s.weight * ramp)
	}
	return min(1, area.value()/(float64(regions)*limit)) // rounding may pass 1
}

// sum adds with Neumaier's correction, so that a million terms lose no digits.
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
