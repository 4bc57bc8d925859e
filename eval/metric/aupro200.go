package metric

import (
	"errors"
	"math"
	"slices"
)

// AUPRO200 is what Dinomaly's compute_pro, over all pictures of a class, and the
// papers compared with it print as AUPRO, for comparison only. Thresholds are
// the 200 values t_k = min + k*(max-min)/200 of all scores, a pixel is found if
// its score is above t_k, points with a false-positive rate of 0.3 or more are
// left out, and the rates are divided by the largest that is left, wherever
// that lies; then the trapezoid rule. The value is NaN without a region or a
// normal pixel, with fewer than two points or a largest rate of 0, and if the
// scores are all equal or not all finite.
//
// After Seal it is an error: the thresholds depend on the range of all scores,
// which is not known before the last picture, and counts at thresholds not
// known in advance need the scores themselves.
func (p *Pixels) AUPRO200() (float64, error) {
	if p.sealed != nil {
		return 0, errors.New("aupro-200: have dropped scores after Seal, want all of them")
	}
	low, high := p.scoreRange()
	if p.regions == 0 || !(low < high) || math.IsInf(high-low, 0) {
		return math.NaN(), nil
	}
	// "Above t_k" is "above the largest float32 that is not above t_k".
	floors := make([]uint64, 200)
	for k := range floors {
		floors[k] = positive(floorKey(low+float64(k)*(high-low)/200), 1)
	}
	at := newRanks(floors)
	at.count(p.negatives)
	return p.trapezoid200(at), nil
}

// trapezoid200 walks the thresholds, which are the steps of at, downwards.
func (p *Pixels) trapezoid200(at *ranks) float64 {
	slices.Sort(p.positives)
	end := len(p.positives)
	var overlap, area sum
	var lastRate, lastOverlap float64
	points := 0
	for t := range at.steps {
		for ; end > 0; end-- {
			k, size := unpack(p.positives[end-1])
			if k <= t.key {
				break
			}
			overlap.add(1 / float64(size))
		}
		rate := float64(t.above) / float64(at.negatives)
		if rate >= 0.3 {
			break
		}
		pro := overlap.value() / float64(p.regions)
		if points > 0 {
			area.add((rate - lastRate) * (pro + lastOverlap) / 2)
		}
		lastRate, lastOverlap = rate, pro
		points += int(t.count)
	}
	if points < 2 {
		return math.NaN()
	}
	return min(1, area.value()/lastRate) // 0/0 is NaN; rounding may pass 1
}

// scoreRange is the lowest and the highest score kept; both NaN if there is none.
func (p *Pixels) scoreRange() (low, high float64) {
	lowest, highest := uint32(math.MaxUint32), uint32(0)
	for _, keys := range p.negatives {
		for _, k := range keys {
			lowest, highest = min(lowest, k), max(highest, k)
		}
	}
	for _, packed := range p.positives {
		k, _ := unpack(packed)
		lowest, highest = min(lowest, k), max(highest, k)
	}
	return float64(value(lowest)), float64(value(highest))
}

// floorKey is the key of the largest float32 that is not above t.
func floorKey(t float64) uint32 {
	f := float32(t)
	if float64(f) > t {
		f = math.Nextafter32(f, float32(math.Inf(-1)))
	}
	return key(f)
}
