package metric

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestIndexFindsWhatASearchFinds counts keys on, next to and far from edges that lie close together, far apart, or
// both, and at the ends of what keys can be.
func TestIndexFindsWhatASearchFinds(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 7))
	lowest, highest := key(-inf), key(inf)
	for _, c := range []struct {
		name     string
		n        int
		from, to uint32 // range of the edges
		search   bool
	}{
		{"one edge", 1, 1 << 31, 1 << 31, false},
		{"every key", 3000, 1<<31 - 1500, 1<<31 + 1499, false},
		{"words with several edges and none", 20000, key(0.01), key(0.02), false},
		{"all that keys can be, many", 1 << 16, lowest, highest, false},
		{"all that keys can be, few", 500, lowest, highest, true},
	} {
		edges := []uint32{c.from, c.to}
		for range 4 * c.n {
			edges = append(edges, c.from+rng.Uint32N(c.to-c.from+1))
		}
		slices.Sort(edges)
		edges = slices.Compact(edges)
		for len(edges) > c.n { // but the ends
			i := 1 + rng.IntN(max(1, len(edges)-2))
			edges = slices.Delete(edges, i, i+1)
		}
		x := newIndex(edges)
		if have := x.directory == nil; have != c.search {
			t.Errorf("%s: searched: have %v, want %v", c.name, have, c.search)
		}
		offsets := []uint32{0, x.to - x.from}
		for range 5000 {
			offsets = append(offsets, edges[rng.IntN(len(edges))]+rng.Uint32N(3)-1-x.from, rng.Uint32N(x.to-x.from+1))
		}
		have, want := newBins(2*len(edges)+1), make([]int64, 2*len(edges)+1)
		for range 100 { // more than 256 in a bin
			x.tally(&have, offsets)
		}
		for _, d := range offsets {
			i, found := slices.BinarySearch(edges, x.from+d)
			if found {
				i += len(edges) + 1
			}
			want[i] += 100
		}
		for i, n := range have.all() {
			want[i] -= n
		}
		if i := slices.IndexFunc(want, func(n int64) bool { return n != 0 }); i >= 0 {
			t.Errorf("%s: bin %d of %d edges: %d too few", c.name, i, len(edges), want[i])
		}
	}
}
