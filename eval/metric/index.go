package metric

import (
	"iter"
	"math/bits"
	"slices"
)

// index finds keys among edges without a search and without a branch, by counting bits in two levels:
//
//	directory  one bit for each word of 32 consecutive keys, set if the word has an edge; words before each block of 64
//	words      only those with an edge: one bit for each of 32 keys, set for edges; edges before the word
//
// It takes at most 8 bytes per edge, and 16 bytes for every 2,048 keys between the lowest and the highest edge. Few
// edges that lie far apart are searched instead. Keys are looked up as offsets: the key less from, clamped to [from,
// to].
type index struct {
	edges     []uint32 // ascending
	from, to  uint32   // the keys below the lowest and above the highest edge
	directory []block  // nil: binary search
	words     []word
}

// word has a bit for each of 32 keys, set for edges.
type word struct{ bits, before uint32 }

// block has a bit for each of 64 words, set for those that are kept.
type block struct {
	bits   uint64
	before uint32
}

// newIndex returns the index of edges, which are ascending and distinct.
func newIndex(edges []uint32) index {
	if len(edges) == 0 {
		return index{}
	}
	// No score has the first or the last uint32 as its key.
	x := index{edges: edges, from: edges[0] - 1, to: edges[len(edges)-1] + 1}
	const most = 64 // blocks per edge
	blocks := int((x.to-x.from)>>11) + 1
	if blocks > most*len(edges) {
		return x
	}
	x.directory = make([]block, blocks)
	for _, k := range edges {
		w := (k - x.from) >> 5
		x.directory[w>>6].bits |= 1 << (w & 63)
	}
	kept := 0
	for i := range x.directory {
		x.directory[i].before = uint32(kept)
		kept += bits.OnesCount64(x.directory[i].bits)
	}
	x.words = make([]word, kept+1)
	x.words[kept].before = uint32(len(edges)) // for what lies above all edges
	for i := len(edges) - 1; i >= 0; i-- {
		d := edges[i] - x.from
		b := &x.directory[d>>11]
		w := &x.words[b.before+uint32(bits.OnesCount64(b.bits&(1<<(d>>5&63)-1)))]
		w.bits |= 1 << (d & 31)
		w.before = uint32(i)
	}
	return x
}

// tally counts keys, given as offsets, in 2*edges+1 bins: bin i counts those between edge i-1 and edge i, bin edges+1+i
// those that equal edge i. The second kind is rarely touched, so the first kind lies close together in memory.
func (x *index) tally(b *bins, offsets []uint32) {
	switch {
	case len(offsets) == 0:
		return
	case x.directory == nil:
		x.search(b, offsets)
		return
	}
	equal := uint32(len(x.edges) + 1)
	directory, words, low := x.directory, x.words, b.low
	var at [512]uint32 // two loops, so that more loads are in flight at once
	for len(offsets) > 0 {
		n := min(len(offsets), len(at))
		for i, d := range offsets[:n] {
			up := &directory[d>>11]
			rest := up.bits >> (d >> 5 & 63) // bit 0: whether the word is kept
			w := &words[up.before+uint32(bits.OnesCount64(up.bits)-bits.OnesCount64(rest))]
			set := uint64(w.bits) & -(rest & 1)
			rest = set >> (d & 31) // bit 0: whether the key is an edge
			at[i] = w.before + uint32(bits.OnesCount64(set)-bits.OnesCount64(rest)) + equal*uint32(rest&1)
		}
		for _, i := range at[:n] {
			if low[i]++; low[i] == 0 {
				b.high[i]++
			}
		}
		offsets = offsets[n:]
	}
}

// search is tally by binary search.
func (x *index) search(b *bins, offsets []uint32) {
	for _, d := range offsets {
		i, found := slices.BinarySearch(x.edges, x.from+d)
		if found {
			i += len(x.edges) + 1
		}
		b.add(i, 1)
	}
}

// bins are counts, most of which are small. They are kept in bytes, so that more of them fit into a CPU cache.
type bins struct {
	low  []uint8          // modulo 256
	high map[uint32]int64 // multiples of 256
}

func newBins(n int) bins { return bins{make([]uint8, n), map[uint32]int64{}} }

func (b *bins) add(i int, n int64) {
	n += int64(b.low[i])
	b.low[i] = uint8(n)
	if n >= 256 {
		b.high[uint32(i)] += n >> 8
	}
}

// all yields the nonzero counts, some of them in two parts.
func (b *bins) all() iter.Seq2[int, int64] {
	return func(yield func(int, int64) bool) {
		for i, n := range b.low {
			if n > 0 && !yield(i, int64(n)) {
				return
			}
		}
		for i, n := range b.high {
			if !yield(int(i), n<<8) {
				return
			}
		}
	}
}
