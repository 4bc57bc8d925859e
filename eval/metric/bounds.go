package metric

import (
	"fmt"
	"math"
	"slices"
	"sync"
)

// Bounds encloses the numbers of a class whose pictures come in any order and
// of which neither the normal pixels can be kept nor the anomalous ones be had
// first. Normal pixels are counted by the highest bits of their scores; the
// numbers are evaluated with all of a bucket that also holds an anomalous pixel
// above it and then with all of it below. The truth lies between, since each
// number falls when a normal pixel rises. Several goroutines may use it at once.
type Bounds struct {
	mu      sync.Mutex
	shift   int
	labels  labels
	buckets []uint64 // normal pixels by key >> shift
	total   int64
}

// NewBounds returns bounds that keep so many bits of a score, 8 to 28: memory is
// 8 bytes for each of 2^bits buckets and 8 for each anomalous pixel.
func NewBounds(bits int) (*Bounds, error) {
	if bits < 8 || bits > 28 {
		return nil, fmt.Errorf("bounds: have %d bits, want 8 to 28", bits)
	}
	return &Bounds{shift: 32 - bits, buckets: make([]uint64, 1<<bits)}, nil
}

// Add takes one picture; of Picture it ignores Other and what results are
// broken down by. Nothing is changed if there is an error.
func (b *Bounds) Add(x Picture) error {
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	if _, err := s.read(&x); err != nil {
		return err
	}
	n := s.mask.find(x.Mask, x.Width)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.labels.add(s.keys, s.mask, n, 0)
	done := 0
	for _, r := range s.mask {
		b.count(s.keys[done:r.from])
		done = r.to
	}
	b.count(s.keys[done:])
	return nil
}

func (b *Bounds) count(keys []uint32) {
	for _, k := range keys {
		b.buckets[k>>b.shift]++
	}
	b.total += int64(len(keys))
}

// Rank returns rankings between whose numbers those of Pixels.Rank lie, up to
// rounding; Threshold is NaN in both, and so are F1Eps and AUPR, which are not
// enclosed.
func (b *Bounds) Rank(limits ...float64) (low, high PixelRanking, err error) {
	if err := checkLimits(limits); err != nil {
		return low, high, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	edges := distinct(b.labels.Positives)
	positives := indexed(edges, b.labels.Positives)
	pessimist := &counts{keys: edges, above: make([]int64, len(edges)), equal: make([]int64, len(edges)), total: b.total}
	optimist := &counts{keys: edges, above: slices.Clone(pessimist.above), equal: pessimist.equal, total: b.total}
	var above int64
	next := len(b.buckets) - 1
	for i := len(edges) - 1; i >= 0; i-- {
		own := int(edges[i] >> b.shift)
		for ; next > own; next-- {
			above += int64(b.buckets[next])
		}
		optimist.above[i], pessimist.above[i] = above, above+int64(b.buckets[own])
	}
	return b.evaluate(pessimist, positives, limits), b.evaluate(optimist, positives, limits), nil
}

func (b *Bounds) evaluate(c *counts, positives []uint64, limits []float64) PixelRanking {
	out := c.evaluate(positives, b.labels.Regions, len(b.labels.Regions), limits)
	out.Masks = b.labels.Masks
	out.Threshold, out.F1Eps, out.AUPR = math.NaN(), math.NaN(), math.NaN()
	return out
}
