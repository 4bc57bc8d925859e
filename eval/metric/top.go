package metric

import (
	"math"
	"slices"
	"sync"
)

// topBits of a key are sign, exponent and the highest bits of the mantissa: 32
// buckets for every doubling of the score.
const topBits = 14

// buckets counts scores by the highest bits of their keys.
type buckets [1 << topBits]uint32

func bucket(v float32) uint32 { return key(v) >> (32 - topBits) }

// lowest is the bucket of the k-th highest score.
func (b *buckets) lowest(k int) uint32 {
	i := uint32(len(b))
	for found := 0; found < k; {
		i--
		found += int(b[i])
	}
	return i
}

type topScratch struct {
	all    buckets
	single []buckets
	values []float32
	pooled []float32
}

var topScratches = sync.Pool{New: func() any { return new(topScratch) }}

// Top tells the highest values of a map: their mean, see TopMean, and the range
// of all values.
type Top struct{ Mean, Min, Max float64 }

// TopMean is the mean of the int(fraction*n) highest of the n values of a map,
// but of one value at least: the score of a picture (model.md, section 6: 655
// values of 256x256 with fraction 0.01). It is the same for any order of
// values. A NaN among the values makes it NaN, which Rank refuses; without any
// value it is 0.
func TopMean(fraction float64, values []float32) float64 {
	_, pooled := Tops(fraction, values)
	return pooled
}

// Tops returns the Top of each map, and the TopMean of the values of all maps
// together: the pooled score of an object from the maps of its views. NaN in
// any map makes all NaN.
func Tops(fraction float64, maps ...[]float32) (each []Top, pooled float64) {
	s := topScratches.Get().(*topScratch)
	defer topScratches.Put(s)
	each = make([]Top, len(maps))
	s.single = slices.Grow(s.single[:0], len(maps))[:len(maps)]
	clear(s.all[:])
	n := 0
	for i, m := range maps {
		low, high, ok := s.single[i].count(m)
		if !ok {
			nan := math.NaN()
			return slices.Repeat([]Top{{nan, nan, nan}}, len(maps)), nan
		}
		each[i].Min, each[i].Max = float64(low), float64(high)
		for j, c := range s.single[i] {
			s.all[j] += c
		}
		n += len(m)
	}
	if n == 0 {
		return each, 0
	}
	k := highest(fraction, n)
	common := s.all.lowest(k)
	s.pooled = s.pooled[:0]
	for i, m := range maps {
		if len(m) == 0 {
			continue
		}
		own := highest(fraction, len(m))
		s.collect(m, min(common, s.single[i].lowest(own)))
		slices.Sort(s.values) // makes the rounding independent of the order
		each[i].Mean = mean(s.values[len(s.values)-own:])
		s.pooled = append(s.pooled, s.values[max(0, len(s.values)-k):]...)
	}
	if len(maps) == 1 {
		return each, each[0].Mean
	}
	slices.Sort(s.pooled)
	return each, mean(s.pooled[len(s.pooled)-k:])
}

// collect takes the values of a bucket and of those above it.
func (s *topScratch) collect(values []float32, lowest uint32) {
	s.values = s.values[:0]
	from := value(lowest << (32 - topBits))
	if from != from { // the bucket of -Inf begins below it
		from = float32(math.Inf(-1))
	}
	for _, v := range values {
		if v >= from {
			s.values = append(s.values, v)
		}
	}
}

// highest is the number of the values to average.
func highest(fraction float64, n int) int { return min(n, max(1, int(fraction*float64(n)))) }

// count replaces the counts by those of the values, and returns their range;
// not ok is a NaN among them.
func (b *buckets) count(values []float32) (low, high float32, ok bool) {
	clear(b[:])
	low, high = float32(math.Inf(1)), float32(math.Inf(-1))
	for _, v := range values {
		if v != v {
			return v, v, false
		}
		b[bucket(v)]++
		if v < low {
			low = v
		}
		if v > high {
			high = v
		}
	}
	return low, high, true
}

func mean(values []float32) float64 {
	total := 0.0
	for _, v := range values {
		total += float64(v)
	}
	return total / float64(len(values))
}
