package metric

import (
	"cmp"
	"math/bits"
	"runtime"
	"slices"
	"sync"
)

// tableBits bounds the look-up table of ranks: 2^20 entries are 4 MiB.
const tableBits = 20

// Negatives are looked up by batches, each roughly in order, so that those that
// follow each other need the same parts of the edges, the table and the bins,
// which are together larger than the caches of most processors.
const (
	batchSize = 1 << 18
	partBits  = 10 // parts of a batch: 2^10
)

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
	wait  []uint32 // negatives that are not in the bins yet, less than a batch
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

// countAll counts chunks and empties the list, so that what has been counted
// takes no memory any more. Each goroutine has an equal share, the first views
// or the last, so that few of them want the same bins at the same time.
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

// count adds negatives of one view.
func (r *ranks) count(view int, negatives []uint32) {
	l := r.take(view)
	defer l.mu.Unlock()
	l.total += uint64(len(negatives))
	if len(r.keys) == 0 {
		return
	}
	for len(negatives) > 0 {
		n := min(len(negatives), batchSize-len(l.wait))
		l.wait = append(l.wait, negatives[:n]...)
		negatives = negatives[n:]
		if len(l.wait) == batchSize {
			r.flush(l)
		}
	}
}

// flush puts into the bins what waits.
func (r *ranks) flush(l *lane) {
	if l.since += uint64(len(l.wait)); l.since > 1<<32-1 {
		l.widen()
		l.since = uint64(len(l.wait))
	}
	if len(l.wait) > 0 {
		r.tally(l.bins, l.wait)
	}
	l.wait = l.wait[:0]
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
			q.flush(from)
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

// ordered are batches in rough order.
var ordered = sync.Pool{New: func() any { return new([batchSize]uint32) }}

// tally adds negatives, a batch at most, to one set of bins.
func (r *ranks) tally(bins, negatives []uint32) {
	buffer := ordered.Get().(*[batchSize]uint32)
	defer ordered.Put(buffer)
	keys, table, shift := r.keys, r.table, r.shift&31
	low, span := keys[0], keys[len(keys)-1]-keys[0]
	inside := sortRoughly(buffer[:0], negatives, low, span)
	for _, k := range inside {
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
	above := uint32(0)
	for _, k := range negatives {
		if k > low && k-low > span {
			above++
		}
	}
	bins[0] += uint32(len(negatives)-len(inside)) - above
	bins[len(keys)] += above
}

// sortRoughly appends the values from low to low+span to dst, by their highest
// bits in ascending order.
func sortRoughly(dst, values []uint32, low, span uint32) []uint32 {
	shift := max(0, bits.Len32(span)-partBits) & 31
	var next [1<<partBits + 1]uint32
	for _, v := range values {
		if d := v - low; d <= span { // what lies below low wraps round
			next[d>>shift+1]++
		}
	}
	for i := range next[1:] {
		next[i+1] += next[i]
	}
	dst = dst[:next[1<<partBits]]
	for _, v := range values {
		if d := v - low; d <= span {
			p := d >> shift
			dst[next[p]] = v
			next[p]++
		}
	}
	return dst
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
			r.flush(l)
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
