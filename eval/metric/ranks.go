package metric

import (
	"math/bits"
	"runtime"
	"slices"
	"sync"
)

const (
	// tableBits bounds the look-up table of ranks: 2^20 entries are 4 MiB.
	tableBits = 20
	// maxWorkers bounds the goroutines, each of which has its own counters.
	maxWorkers = 4
)

// ranks counts negatives between the distinct scores of the positives. With D
// such scores there are 2D+1 bins in ascending order: bin 2i holds what lies
// strictly below score i (and above score i-1), bin 2i+1 what equals it.
type ranks struct {
	positives []uint64 // sorted
	keys      []uint32 // distinct keys of positives, ascending [D]
	table     []uint32 // table[b] = index of the first key in bucket b or after
	shift     int      // bucket of k = (k - keys[0]) >> shift
	negatives int64    // number counted so far
	bins      [][]int64
}

// newRanks sorts positives in place and keeps them.
func newRanks(positives []uint64) *ranks {
	slices.Sort(positives)
	r := &ranks{positives: positives}
	for i, p := range positives {
		if k, _ := unpack(p); i == 0 || k != r.keys[len(r.keys)-1] {
			r.keys = append(r.keys, k)
		}
	}
	r.buildTable()
	return r
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

// count adds negatives to the bins. Chunks are shared out among goroutines.
func (r *ranks) count(chunks [][]uint32) {
	total := 0
	for _, c := range chunks {
		total += len(c)
	}
	r.negatives += int64(total)
	if len(r.keys) == 0 {
		return
	}
	workers := min(runtime.GOMAXPROCS(0), maxWorkers, len(chunks))
	for len(r.bins) < workers {
		r.bins = append(r.bins, make([]int64, 2*len(r.keys)+1))
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(chunks); i += workers {
				r.tally(r.bins[w], chunks[i])
			}
		})
	}
	wg.Wait()
}

// tally adds one chunk of negatives to one set of bins.
func (r *ranks) tally(bins []int64, negatives []uint32) {
	keys, table, shift := r.keys, r.table, r.shift&31
	low, high := keys[0], keys[len(keys)-1]
	for _, k := range negatives {
		if k < low {
			bins[0]++
			continue
		}
		if k > high {
			bins[len(bins)-1]++
			continue
		}
		b := (k - low) >> shift
		i, j := table[b], table[b+1]
		for i < j { // i becomes the first key that is not below k
			if m := (i + j) / 2; keys[m] < k {
				i = m + 1
			} else {
				j = m
			}
		}
		bin := 2 * i
		if keys[i] == k {
			bin++
		}
		bins[bin]++
	}
}

// in is the number of negatives in a bin.
func (r *ranks) in(bin int) int64 {
	var n int64
	for _, b := range r.bins {
		n += b[bin]
	}
	return n
}

// step is a distinct positive score with all that the metrics need of it.
type step struct {
	key     uint32
	count   int64   // positives with this score
	weight  float64 // sum over them of 1/size of their region
	above   int64   // negatives with a higher score
	equal   int64   // negatives with this score
	reached int64   // positives with this or a higher score
}

// steps yields the distinct positive scores from the highest to the lowest.
func (r *ranks) steps(yield func(step) bool) {
	var s step
	end := len(r.positives)
	for i := len(r.keys) - 1; i >= 0; i-- {
		s.key = r.keys[i]
		s.above += s.equal + r.in(2*i+2)
		s.equal = r.in(2*i + 1)
		begin := end
		s.weight = 0
		for begin > 0 {
			k, size := unpack(r.positives[begin-1])
			if k != s.key {
				break
			}
			s.weight += 1 / float64(size)
			begin--
		}
		s.count = int64(end - begin)
		s.reached += s.count
		end = begin
		if !yield(s) {
			return
		}
	}
}
