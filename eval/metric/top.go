package metric

import (
	"slices"
	"sync"
)

// topBits of a key are sign, exponent and the highest bits of the mantissa: 32
// buckets for every doubling of the score.
const topBits = 14

type topScratch struct {
	counts [1 << topBits]uint32
	values []float32
}

var topScratches = sync.Pool{New: func() any { return new(topScratch) }}

// TopMean is the mean of the int(fraction*n) highest of the n values of all
// maps together, but of one value at least: the score of a picture from its map
// or the pooled score of an object from the maps of its views (model.md,
// section 6: 655 values of 256x256 with fraction 0.01). It is the same for any
// order of values and maps. A NaN among the values makes it NaN, which Rank
// refuses; without any value it is 0.
func TopMean(fraction float64, maps ...[]float32) float64 {
	n := 0
	for _, m := range maps {
		n += len(m)
	}
	if n == 0 {
		return 0
	}
	s := topScratches.Get().(*topScratch)
	defer topScratches.Put(s)
	clear(s.counts[:])
	for _, m := range maps {
		for _, v := range m {
			if v != v {
				return float64(v)
			}
			s.counts[key(v)>>(32-topBits)]++
		}
	}
	k := min(n, max(1, int(fraction*float64(n))))
	lowest := uint32(1 << topBits) // bucket
	for found := 0; found < k; {
		lowest--
		found += int(s.counts[lowest])
	}
	s.values = s.values[:0]
	for _, m := range maps {
		for _, v := range m {
			if key(v)>>(32-topBits) >= lowest {
				s.values = append(s.values, v)
			}
		}
	}
	slices.Sort(s.values) // makes the rounding independent of the order
	total := 0.0
	for _, v := range s.values[len(s.values)-k:] {
		total += float64(v)
	}
	return total / float64(k)
}
