package metric

import (
	"math"
	"slices"
)

// Scale gives float64 scores keys of the same order. All values between two edges share a key, so the edges are the
// values that have to be told apart: the scores of the positives, the thresholds of Compat. A nil Scale stands for
// float32 scores, each of which has a key of its own, see key.
type Scale struct {
	edges     []float64 // ascending, distinct
	low, high float64   // the range of all scores
}

// scaleBase is the key of what is below all edges. Edge i has the key scaleBase+2i+1, what is between it and the next
// edge has the key above.
const scaleBase = 1 << 30

// NewScale returns the scale of scores from low to high of which the given ones are those of positives. The slice is
// sorted in place and kept. It takes 8 bytes for each distinct score in it.
func NewScale(low, high float64, positives []float64) *Scale {
	if low < high && !math.IsInf(high-low, 0) {
		positives = append(positives, dinomalyThresholds(low, high)...)
		positives = append(positives, adevalThresholds(low, high)...)
	}
	slices.Sort(positives)
	return &Scale{slices.Compact(positives), low, high}
}

// keys stores the keys of scores in dst, which has their length, and returns the lowest and the highest key. Nan is the
// index of the first NaN, or -1.
func (s *Scale) keys(dst []uint32, scores []float64) (low, high uint32, nan int) {
	low = 1<<32 - 1
	for i, v := range scores {
		if v != v {
			return 0, 0, i
		}
		k := s.key(v)
		dst[i] = k
		low, high = min(low, k), max(high, k)
	}
	return low, high, -1
}

// key is the key of a score that is not NaN.
func (s *Scale) key(v float64) uint32 {
	if s == nil {
		return floorKey(v)
	}
	from, to := 0, len(s.edges)
	for from < to {
		if middle := int(uint(from+to) >> 1); s.edges[middle] < v {
			from = middle + 1
		} else {
			to = middle
		}
	}
	k := uint32(scaleBase + 2*from)
	if from < len(s.edges) && s.edges[from] == v {
		k++
	}
	return k
}

// value is the score that has the key of an edge.
func (s *Scale) value(k uint32) float64 {
	if s == nil {
		return float64(value(k))
	}
	return s.edges[(k-scaleBase)/2]
}
