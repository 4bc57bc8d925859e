package metric

import "slices"

// TopMean is the mean of the int(fraction*n) highest of the n values of all
// maps together, but of one value at least: the score of a picture from its map
// or the pooled score of an object from the maps of its views (model.md,
// section 6: 655 values of 256x256 with fraction 0.01). It is the same for any order of values and maps. A NaN among the
// values makes it NaN, which Rank refuses; without any value it is 0.
func TopMean(fraction float64, maps ...[]float32) float64 {
	n := 0
	for _, m := range maps {
		n += len(m)
	}
	if n == 0 {
		return 0
	}
	top := make(heap, 0, min(n, max(1, int(fraction*float64(n)))))
	for _, m := range maps {
		for _, v := range m {
			switch {
			case v != v:
				return float64(v)
			case len(top) < cap(top):
				if top = append(top, v); len(top) == cap(top) {
					slices.Sort(top) // a sorted list is a heap
				}
			case v > top[0]:
				top.replaceLowest(v)
			}
		}
	}
	slices.Sort(top) // makes the rounding independent of the order
	total := 0.0
	for _, v := range top {
		total += float64(v)
	}
	return total / float64(len(top))
}

// heap has its lowest value first; item i is not above items 2i+1 and 2i+2.
type heap []float32

// replaceLowest puts v in place of the lowest value.
func (h heap) replaceLowest(v float32) {
	i := 0
	for {
		child := 2*i + 1
		if child >= len(h) {
			break
		}
		if child+1 < len(h) && h[child+1] < h[child] {
			child++
		}
		if v <= h[child] {
			break
		}
		h[i] = h[child]
		i = child
	}
	h[i] = v
}
