package metric

import (
	"math/bits"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// tableBits bounds the look-up table of ranks: 2^20 entries are 4 MiB.
const tableBits = 22

// linear is the number of keys that are faster searched one by one.
const linear = 1

// ranks counts negatives between edges, the scores at which somebody will ask
// for them: the distinct scores of the positives, and others. With D edges
// there are 2D+1 bins: bin i holds what lies strictly below edge i (and above
// edge i-1), bin D what lies above all, and bin D+1+i what equals edge i; the
// latter are hardly touched, so that the former lie close together. Views have
// bins of their own. It may be used by several goroutines.
type ranks struct {
	keys  []uint32 // the edges, ascending [D]
	table []uint32 // table[b] = index of the first edge in bucket b or after
	shift int      // bucket of k = (k - keys[0]) >> shift

	spread int // lanes of a view
	mu     sync.Mutex
	lanes  map[int][]*lane // by view
}

// lane is one set of bins, used by one goroutine at a time.
type lane struct {
	mu    sync.Mutex
	bins  []uint32 // [2D+1]
	since uint64   // negatives counted in bins
	total uint64   // negatives counted
	wide  []int64  // what bins held before they could have overflowed; nil if never
}

// newRanks takes edges in ascending order, without repetition. Spread is the
// number of goroutines that may count negatives of one view at the same time.
func newRanks(edges []uint32, spread int) *ranks {
	r := &ranks{keys: edges, spread: spread, lanes: map[int][]*lane{}}
	r.buildTable()
	return r
}

// distinct sorts positives in place and returns their keys without repetition.
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

// buildTable divides the range of the keys into buckets of equal width, about
// four for each key, so that few keys are left to search in any of them.
func (r *ranks) buildTable() {
	if len(r.keys) == 0 {
		return
	}
	low := r.keys[0]
	span := r.keys[len(r.keys)-1] - low
	r.shift = max(0, bits.Len32(span)-min(tableBits, bits.Len(uint(len(r.keys)))+4))
	r.table = make([]uint32, span>>r.shift+2)
	next := 0
	for i, k := range r.keys {
		for ; next <= int((k-low)>>r.shift); next++ {
			r.table[next] = uint32(i)
		}
	}
	r.table[next] = uint32(len(r.keys))
}

// countAll counts chunks, shared out among goroutines.
func (r *ranks) countAll(chunks []chunk) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(chunks)) {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(len(chunks)); i = next.Add(1) {
				r.count(chunks[i-1].view, chunks[i-1].keys)
			}
		})
	}
	wg.Wait()
}

// count adds negatives of one view.
func (r *ranks) count(view int, negatives []uint32) {
	l := r.take(view)
	defer l.mu.Unlock()
	l.total += uint64(len(negatives))
	if len(r.keys) == 0 {
		return
	}
	for len(negatives) > 0 {
		part := negatives[:min(len(negatives), 1<<30)]
		negatives = negatives[len(part):]
		if l.since += uint64(len(part)); l.since > 1<<32-1 {
			l.widen()
			l.since = uint64(len(part))
		}
		r.tally(l.bins, part)
	}
}

// take returns a locked lane of the view, a free one if there is any.
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
		l := &lane{}
		if len(r.keys) > 0 {
			l.bins = make([]uint32, 2*len(r.keys)+1)
		}
		l.mu.Lock()
		r.lanes[view] = append(lanes, l)
		r.mu.Unlock()
		return l
	}
	r.mu.Unlock()
	lanes[0].mu.Lock()
	return lanes[0]
}

// merge adds the counts of q, which has the same edges and stays as it is.
func (r *ranks) merge(q *ranks) {
	for view, lanes := range q.lanes {
		for _, from := range lanes {
			to := r.take(view)
			to.total += from.total
			if len(r.keys) > 0 {
				to.widen() // so that there is room
				for i, n := range from.bins {
					to.wide[i] += int64(n)
				}
				for i, n := range from.wide {
					to.wide[i] += n
				}
			}
			to.mu.Unlock()
		}
	}
}

// widen moves the counts of bins to where there is more room.
func (l *lane) widen() {
	if l.wide == nil {
		l.wide = make([]int64, len(l.bins))
	}
	for i, n := range l.bins {
		l.wide[i] += int64(n)
	}
	clear(l.bins)
	l.since = 0
}

// tally adds negatives to one set of bins.
func (r *ranks) tally(bins, negatives []uint32) {
	keys, table, shift := r.keys, r.table, r.shift&31
	low, high := keys[0], keys[len(keys)-1]
	for _, k := range negatives {
		if k < low {
			bins[0]++
			continue
		}
		if k > high {
			bins[len(keys)]++
			continue
		}
		b := (k - low) >> shift
		i, j := int(table[b]), int(table[b+1])
		for i+linear < j { // i becomes the first key that is not below k
			if m := (i + j) / 2; keys[m] < k {
				i = m + 1
			} else {
				j = m
			}
		}
		for keys[i] < k {
			i++
		}
		if keys[i] == k {
			i += len(keys) + 1
		}
		bins[i]++
	}
}

// counts are the negatives of some views around each edge.
type counts struct {
	keys         []uint32 // the edges, ascending [D]
	above, equal []int64  // higher than edge i, equal to it [D]
	total        int64
}

func allViews(int) bool { return true }

// counts adds up the lanes of the views that are wanted. No other goroutine may
// be counting.
func (r *ranks) counts(wanted func(view int) bool) *counts {
	d := len(r.keys)
	c := &counts{keys: r.keys, above: make([]int64, d), equal: make([]int64, d)}
	for view, lanes := range r.lanes {
		if !wanted(view) {
			continue
		}
		for _, l := range lanes {
			c.total += int64(l.total)
			for i := range min(d, len(l.bins)/2) {
				c.above[i] += int64(l.bins[i+1])
				c.equal[i] += int64(l.bins[d+1+i])
			}
			for i := range len(l.wide) / 2 {
				c.above[i] += l.wide[i+1]
				c.equal[i] += l.wide[d+1+i]
			}
		}
	}
	for i := d - 2; i >= 0; i-- { // so far above has only what lies below the next edge
		c.above[i] += c.above[i+1] + c.equal[i+1]
	}
	return c
}

// indexed returns sorted positives with the indices of their keys in place of
// the keys.
func (r *ranks) indexed(positives []uint64) []uint64 {
	out := make([]uint64, len(positives))
	i := uint32(0)
	for n, p := range positives {
		k, region := unpack(p)
		for r.keys[i] != k {
			i++
		}
		out[n] = pack(i, region)
	}
	return out
}
