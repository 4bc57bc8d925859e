// Package imagescore turns anomaly maps into scores of images and objects: the mean of the highest values of a map
// (docs/model.md section 6). It knows no tensors.
package imagescore

import (
	"math"
	"math/bits"
	"slices"
	"sync"
)

// Top holds the mean of the highest values of a map, see TopMean, and the range of all its values.
type Top struct{ Mean, Min, Max float64 }

// TopMean is the score of an image: the mean of the int(fraction*n) highest of the n values of its map, at least one of
// them (docs/model.md section 6: 655 of 256x256 values for 0.01). It does not depend on the order of the values. It is
// NaN if a value is NaN, and 0 without values.
func TopMean(fraction float64, values []float32) float64 {
	_, pooled := Tops(fraction, values)
	return pooled
}

// Tops returns the Top of each map, and the TopMean of the values of all maps together: the pooled score of an object
// with these maps. A NaN in any map makes all of them NaN.
func Tops(fraction float64, maps ...[]float32) (each []Top, pooled float64) {
	t := tops{fraction: fraction, maps: maps, scratch: topScratches.Get().(*topScratch)}
	defer topScratches.Put(t.scratch)
	floor := t.floor(maps...)
	for {
		each, pooled, enough := t.above(floor)
		if enough {
			return each, pooled
		}
		floor = float32(math.Inf(-1))
	}
}

// tops selects the highest values among the few that are not below a floor, which is estimated from a sample.
type tops struct {
	fraction float64
	maps     [][]float32
	scratch  *topScratch
}

type topScratch struct{ sample, values, pooled []float32 }

var topScratches = sync.Pool{New: func() any { return new(topScratch) }}

// Count is how many of n values make their mean: int(fraction*n), at least one where there are any.
func Count(fraction float64, n int) int { return min(n, max(1, int(fraction*float64(n)))) }

// highest is how many of n values are averaged.
func (t *tops) highest(n int) int { return Count(t.fraction, n) }

// stride is the distance between the values of a sample. It is odd, so that a sample has all columns of a map.
const stride = 37

// floor estimates a value that twice as many values reach as are averaged; -Inf if there are too few.
func (t *tops) floor(maps ...[]float32) float32 {
	n, sample := 0, t.scratch.sample[:0]
	for _, m := range maps {
		n += len(m)
		for i := 0; i < len(m); i += stride {
			sample = append(sample, m[i])
		}
	}
	t.scratch.sample = sample
	k := 2*t.highest(n)/stride + 8
	if k >= len(sample) {
		return float32(math.Inf(-1))
	}
	highestFirst(sample, k)
	return slices.Min(sample[:k])
}

// above computes Tops from the values that are not below the floor, if they are enough.
func (t *tops) above(floor float32) (each []Top, pooled float64, enough bool) {
	each = make([]Top, len(t.maps))
	n, all := 0, t.scratch.pooled[:0]
	for i, m := range t.maps {
		if len(m) == 0 {
			continue
		}
		lowest := floor
		if len(t.maps) > 1 { // else the floor is this map's already
			lowest = min(floor, t.floor(m))
		}
		low, values := notBelow(t.scratch.values[:0], m, lowest)
		t.scratch.values = values
		if low != low {
			nan := math.NaN()
			return slices.Repeat([]Top{{nan, nan, nan}}, len(t.maps)), nan, true
		}
		k := t.highest(len(m))
		if len(values) < k {
			return nil, 0, false
		}
		all = append(all, values...)
		highestFirst(values, k)
		each[i] = Top{mean(values[:k]), float64(low), float64(slices.Max(values))}
		n += len(m)
	}
	t.scratch.pooled = all
	switch {
	case n == 0:
		return each, 0, true
	case len(t.maps) == 1:
		return each, each[0].Mean, true
	}
	k := t.highest(n)
	highestFirst(all, min(k, len(all)))
	if len(all) < k || slices.Min(all[:k]) < floor {
		return nil, 0, false
	}
	return each, mean(all[:k]), true
}

// notBelow appends to dst the values that are not below the floor. It also returns the lowest of all values, or NaN if
// one is NaN.
func notBelow(dst, values []float32, floor float32) (low float32, out []float32) {
	low = float32(math.Inf(1))
	for _, v := range values {
		if !(v < floor) {
			if v != v {
				return v, dst
			}
			dst = append(dst, v)
		}
		if v < low {
			low = v
		}
	}
	return low, dst
}

// highestFirst reorders values so that the k highest come first (quickselect). NaN may end up anywhere.
func highestFirst(values []float32, k int) {
	for len(values) > 1 {
		a, b, c := values[0], values[len(values)/2], values[len(values)-1]
		pivot := max(min(a, b), min(max(a, b), c))
		i, j := 0, len(values)-1
		for i <= j {
			for values[i] > pivot {
				i++
			}
			for values[j] < pivot {
				j--
			}
			if i <= j {
				values[i], values[j] = values[j], values[i]
				i, j = i+1, j-1
			}
		}
		switch { // now no value of [0, j] is below the pivot, none of [i, end) above
		case k <= j:
			values = values[:j+1]
		case k > i:
			values, k = values[i:], k-i
		default:
			return
		}
	}
}

// mean adds in ascending order, unless the order makes no difference.
func mean(values []float32) float64 {
	if !exact(values) {
		slices.Sort(values)
	}
	total := 0.0
	for _, v := range values {
		total += float64(v)
	}
	return total / float64(len(values))
}

// exact reports whether float64 holds every sum of some of the values without rounding: whether 53 bits reach from the
// lowest bit of the smallest value to the highest bit of the sum of all.
func exact(values []float32) bool {
	low, high := uint32(255), uint32(0)
	for _, v := range values {
		if v != 0 {
			exponent := math.Float32bits(v) >> 23 & 255
			low, high = min(low, exponent), max(high, exponent)
		}
	}
	return high < 255 && int(high)-int(low)+24+bits.Len(uint(len(values))) <= 53
}

// TopsExact is Tops for values that float32 does not hold. NaN makes only its own map's and the pooled score NaN.
func TopsExact(fraction float64, maps ...[]float64) (each []Top, pooled float64) {
	t := tops{fraction: fraction}
	for _, m := range maps {
		each = append(each, t.exact(slices.Clone(m)))
	}
	if len(maps) == 1 {
		return each, each[0].Mean
	}
	return each, t.exact(slices.Concat(maps...)).Mean
}

// exact sorts values and returns their Top, added in ascending order.
func (t *tops) exact(values []float64) Top {
	slices.Sort(values) // NaN comes first
	n := len(values)
	switch {
	case n == 0:
		return Top{}
	case values[0] != values[0]:
		return Top{values[0], values[0], values[0]}
	}
	total, k := 0.0, t.highest(n)
	for _, v := range values[n-k:] {
		total += v
	}
	return Top{total / float64(k), values[0], values[n-1]}
}
