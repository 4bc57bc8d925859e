package metric

import (
	"cmp"
	"math/bits"
	"runtime"
	"slices"
	"sync"
)

// ranks counts negatives between edges, the scores whose counts will be needed: the distinct scores of the positives
// and further ones. Each camera has bins of its own. It is safe for concurrent use.
type ranks struct {
	index index // of the edges [D]
	shift int   // part of an offset = offset >> shift

	spread int // lanes per camera, at most
	mu     sync.Mutex
	lanes  map[int][]*lane // by camera
}

// lane is one set of bins, used by one goroutine at a time.
type lane struct {
	mu    sync.Mutex
	total int64 // negatives counted
	bins  bins  // [2D+1], see index.tally
	wait  [parts][]uint32
}

// Index and bins together are larger than most CPU caches. So negatives wait, sorted into parts of the range of
// offsets, until there are enough of one part, whose piece of index and bins fits into a cache.
const (
	parts  = 256
	enough = 4096
)

// newRanks takes ascending, distinct edges. Spread is the number of goroutines that may count negatives of one camera
// at the same time.
func newRanks(edges []uint32, spread int) *ranks {
	r := &ranks{index: newIndex(edges), spread: spread, lanes: map[int][]*lane{}}
	r.shift = max(0, bits.Len32(r.index.to-r.index.from)-bits.Len(parts-1))
	return r
}

// distinct sorts positives in place and returns their distinct keys.
func distinct(positives []uint64) []uint32 {
	slices.Sort(positives)
	n := 0
	last := uint32(0)
	for _, p := range positives {
		if k, _ := unpack(p); n == 0 || k != last {
			n, last = n+1, k
		}
	}
	keys := make([]uint32, 0, n)
	for _, p := range positives {
		if k, _ := unpack(p); len(keys) == 0 || k != keys[len(keys)-1] {
			keys = append(keys, k)
		}
	}
	return keys
}

// union merges two ascending lists into one without repetitions.
func union(a, b []uint32) []uint32 {
	out := make([]uint32, 0, len(a)+len(b))
	for len(a)+len(b) > 0 {
		from := &a
		if len(a) == 0 || len(b) > 0 && b[0] < a[0] {
			from = &b
		}
		if k := (*from)[0]; len(out) == 0 || k != out[len(out)-1] {
			out = append(out, k)
		}
		*from = (*from)[1:]
	}
	return out
}

// countAll counts chunks and empties the list, so that what has been counted is freed. Each goroutine takes an equal
// number of chunks in order of cameras, so that few goroutines need the same bins at the same time.
func (r *ranks) countAll(chunks []chunk) {
	slices.SortStableFunc(chunks, func(a, b chunk) int { return cmp.Compare(a.view, b.view) })
	var wg sync.WaitGroup
	workers := min(runtime.GOMAXPROCS(0), len(chunks))
	for w := range workers {
		wg.Go(func() {
			for i := w * len(chunks) / workers; i < (w+1)*len(chunks)/workers; i++ {
				r.count(chunks[i].view, chunks[i].keys)
				chunks[i].keys = nil
			}
		})
	}
	wg.Wait()
}

// count counts negatives of one camera.
func (r *ranks) count(view int, negatives []uint32) {
	l := r.take(view)
	defer l.mu.Unlock()
	l.total += int64(len(negatives))
	if len(r.index.edges) == 0 {
		return
	}
	from, to, shift := r.index.from, r.index.to, r.shift&31
	for _, k := range negatives {
		offset := min(max(k, from), to) - from
		w := &l.wait[offset>>shift%parts]
		if *w = append(*w, offset); len(*w) == enough {
			r.index.tally(&l.bins, *w)
			*w = (*w)[:0]
		}
	}
}

// flush counts the negatives that wait.
func (r *ranks) flush(l *lane) {
	for i, w := range l.wait {
		r.index.tally(&l.bins, w)
		l.wait[i] = w[:0]
	}
}

// take returns a locked lane of the camera, a free one if there is any.
func (r *ranks) take(view int) *lane {
	r.mu.Lock()
	lanes := r.lanes[view]
	for _, l := range lanes {
		if l.mu.TryLock() {
			r.mu.Unlock()
			return l
		}
	}
	if len(lanes) < r.spread {
		l := &lane{bins: newBins(2*len(r.index.edges) + 1)}
		l.mu.Lock()
		r.lanes[view] = append(lanes, l)
		r.mu.Unlock()
		return l
	}
	r.mu.Unlock()
	lanes[0].mu.Lock()
	return lanes[0]
}

// counts are the negatives of some cameras around each edge.
type counts struct {
	keys         []uint32 // the edges, ascending [D]
	above, equal []int64  // higher than edge i, equal to it [D]
	total        int64
	scale        *Scale // of the keys
}

func allViews(int) bool { return true }

// counts adds up the lanes of the wanted cameras. No other goroutine may be counting.
func (r *ranks) counts(wanted func(view int) bool) *counts {
	d := len(r.index.edges)
	c := &counts{keys: r.index.edges, above: make([]int64, d), equal: make([]int64, d)}
	for view, lanes := range r.lanes {
		if !wanted(view) {
			continue
		}
		for _, l := range lanes {
			r.flush(l)
			c.total += l.total
			for i, n := range l.bins.all() {
				switch {
				case i > d:
					c.equal[i-d-1] += n
				case i > 0:
					c.above[i-1] += n
				}
			}
		}
	}
	for i := d - 2; i >= 0; i-- { // so far, above counts only up to the next edge
		c.above[i] += c.above[i+1] + c.equal[i+1]
	}
	return c
}

// indexed returns sorted positives with their keys, which are edges, replaced by the indices of the edges.
func indexed(edges []uint32, positives []uint64) []uint64 {
	out := make([]uint64, len(positives))
	i := uint32(0)
	for n, p := range positives {
		k, region := unpack(p)
		for edges[i] != k {
			i++
		}
		out[n] = pack(i, region)
	}
	return out
}
