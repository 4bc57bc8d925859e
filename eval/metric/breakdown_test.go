package metric

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
)

// strict adds to every mask the mask of another rule: some pixels fewer, a few
// more.
func strict(pictures []Picture) []Picture {
	rng := rand.New(rand.NewPCG(5, 5))
	for i := range pictures {
		x := &pictures[i]
		if x.Mask == nil {
			continue
		}
		x.Other = make([]bool, len(x.Mask))
		for j, in := range x.Mask {
			x.Other[j] = in && rng.IntN(3) > 0 || i%5 == 0 && rng.IntN(20) == 0
		}
	}
	return pictures
}

// text prints a summary without Compat, every float with all its bits; maps
// print in the order of their keys.
func text(s Summary) string {
	parts := []any{s.PixelRanking, s.Views, s.Codes, s.Objects}
	if s.Other != nil {
		parts = append(parts, *s.Other)
	}
	return fmt.Sprintf("%+v", parts) // %v prints the shortest digits that tell a float from others
}

func summarize(t *testing.T, p *Pixels) Summary {
	t.Helper()
	s, err := p.Summarize(0.3, 0.05, 1)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestViewsAreTheirPicturesAlone(t *testing.T) {
	pictures := tied(1, 40, 90)
	var p Pixels
	addAll(t, &p, pictures)
	s := summarize(t, &p)
	if len(s.Views) != 3 {
		t.Fatalf("have %d views, want 3", len(s.Views))
	}
	for view, have := range s.Views {
		var one Pixels
		addAll(t, &one, slices.DeleteFunc(slices.Clone(pictures), func(x Picture) bool { return x.View != view }))
		if want := summarize(t, &one); !same(results{PixelRanking: have}, results{PixelRanking: want.PixelRanking}) {
			t.Errorf("view %d: have %+v, want %+v", view, have, want.PixelRanking)
		}
	}
}

// TestPartsAgainstDefinitions compares defect codes and objects with the oracle
// on all normal pixels and their own anomalous ones.
func TestPartsAgainstDefinitions(t *testing.T) {
	pictures := tied(2, 12, 30)
	var p Pixels
	addAll(t, &p, pictures)
	s := summarize(t, &p)
	part := func(name string, have PixelRanking, own func(Picture) bool) {
		var all []sample
		var sizes []int64
		for _, x := range pictures {
			first := len(sizes)
			for i, r := range flood(x) {
				switch {
				case r < 0:
					all = append(all, sample{x.Scores[i], -1})
				case own(x):
					for first+r >= len(sizes) {
						sizes = append(sizes, 0)
					}
					sizes[first+r]++
					all = append(all, sample{x.Scores[i], first + r})
				}
			}
		}
		want := results{PixelRanking: PixelRanking{Regions: len(sizes), Masks: have.Masks, Normal: have.Normal, Anomalous: have.Anomalous}}
		want.Ranking = oracleRanking(all, have.Anomalous, have.Normal)
		want.AUPRO = oracleAUPRO(all, sizes, have.Normal, rat(3, 10))
		check(t, name, results{PixelRanking: have}, want, 1e-12)
		if total := have.Anomalous + have.Normal; total != int64(len(all)) {
			t.Errorf("%s: have %d pixels, want %d", name, total, len(all))
		}
	}
	for code, have := range s.Codes {
		part("code "+code, have, func(x Picture) bool { return x.Code == code })
	}
	for object, have := range s.Objects {
		part("object "+object, have, func(x Picture) bool { return x.Object == object })
	}
	if len(s.Codes) != 2 || len(s.Objects) != 4 {
		t.Errorf("have %d codes and %d objects, want 2 and 4", len(s.Codes), len(s.Objects))
	}
}

func TestOtherMasks(t *testing.T) {
	for _, seal := range []bool{false, true} {
		pictures := strict(tied(3, 40, 60))
		var p, by Pixels
		anomalous, normal := anomalousFirst(pictures)
		addAll(t, &p, anomalous)
		if seal {
			p.Seal()
		}
		addAll(t, &p, normal)
		for _, x := range pictures {
			x.Mask, x.Other = x.Other, nil
			addAll(t, &by, []Picture{x})
		}
		have, want := summarize(t, &p).Other, summarize(t, &by).PixelRanking
		if have == nil || !same(results{PixelRanking: *have}, results{PixelRanking: want}) {
			t.Errorf("sealed %v: have %+v, want %+v", seal, have, want)
		}
	}
	var none Pixels
	addAll(t, &none, tied(3, 4, 60))
	if s := summarize(t, &none); s.Other != nil {
		t.Errorf("no other masks: have %+v, want nil", s.Other)
	}
}

func TestLimitsDoNotDisturbEachOther(t *testing.T) {
	var p Pixels
	addAll(t, &p, tied(4, 30, 400))
	all, err := p.Rank(0.3, 0.05, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i, limit := range []float64{0.3, 0.05, 1} {
		if one, err := p.Rank(limit); err != nil || one.AUPRO != all.AUPROs[i] {
			t.Errorf("limit %v: have %v, %v, want %v", limit, all.AUPROs[i], err, one.AUPRO)
		}
	}
}

// TestShards divides the pictures at random, on the way through files, and puts
// them together again.
func TestShards(t *testing.T) {
	for _, distinct := range []int{5, 90, 1 << 20} {
		pictures := strict(tied(uint64(distinct), 40, distinct))
		var whole Pixels
		addAll(t, &whole, pictures)
		want := text(summarize(t, &whole))
		anomalous, normal := anomalousFirst(pictures)
		for seed := range uint64(8) {
			rng := rand.New(rand.NewPCG(seed, 3))
			var shards [3]Pixels
			for _, x := range anomalous {
				addAll(t, &shards[rng.IntN(3)], []Picture{x})
			}
			if seed%2 == 1 { // nothing is sealed
				for _, x := range normal {
					addAll(t, &shards[rng.IntN(3)], []Picture{x})
				}
				normal = normal[:len(normal):len(normal)]
			}
			all := &Pixels{}
			for i := range shards {
				merge(t, all, travel(t, &shards[i]))
			}
			if seed%2 == 0 {
				all.Seal()
				forks := []*Pixels{fork(t, all), travel(t, fork(t, all)), all}
				for _, x := range normal {
					addAll(t, forks[rng.IntN(3)], []Picture{x})
				}
				merge(t, all, travel(t, forks[0]))
				merge(t, all, forks[1])
				all = travel(t, all)
			}
			if have := text(summarize(t, all)); have != want {
				t.Fatalf("%d distinct scores, division %d: have %.300s…\nwant %.300s…", distinct, seed, have, want)
			}
		}
	}
}

func fork(t *testing.T, p *Pixels) *Pixels {
	t.Helper()
	f, err := p.Fork()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func merge(t *testing.T, p, q *Pixels) {
	t.Helper()
	if err := p.Merge(q); err != nil {
		t.Fatal(err)
	}
}

// travel is the way through a file.
func travel(t *testing.T, p *Pixels) *Pixels {
	t.Helper()
	var file bytes.Buffer
	if err := p.Encode(&file); err != nil {
		t.Fatal(err)
	}
	q, err := Decode(&file)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func TestMergeErrors(t *testing.T) {
	pictures := tied(1, 8, 20)
	var sealed, other, open Pixels
	addAll(t, &sealed, pictures)
	addAll(t, &other, pictures)
	addAll(t, &open, pictures)
	sealed.Seal()
	other.Seal()
	for _, c := range []struct {
		name string
		p, q *Pixels
		want string
	}{
		{"itself", &open, &open, "a shard and itself"},
		{"sealed into open", &open, &sealed, "want both or neither"},
		{"sealed by itself", &sealed, &other, "want a fork"},
		{"open with anomalies into sealed", &sealed, &open, "have 4 pictures with anomalous pixels after Seal"},
	} {
		if err := c.p.Merge(c.q); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: have %v, want %s", c.name, err, c.want)
		}
	}
	if _, err := open.Fork(); err == nil || !strings.Contains(err.Error(), "want Seal first") {
		t.Errorf("fork: have %v, want an error", err)
	}
	_, err := Decode(strings.NewReader("nothing of the kind"))
	if err == nil || !strings.HasPrefix(err.Error(), "pixels: ") {
		t.Errorf("decode: have %v, want an error", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, seal := range []bool{false, true} {
		var p Pixels
		var file bytes.Buffer
		for _, x := range strict(tied(1, 4, 6)) {
			for i, v := range x.Scores { // of neighbouring values, so that Seal adds few edges
				x.Scores[i] = math.Float32frombits(0x3f800000 + uint32(7*(v+2)))
			}
			if err := p.Add(x); err != nil {
				f.Fatal(err)
			}
		}
		if seal {
			p.Seal()
		}
		if err := p.Encode(&file); err != nil {
			f.Fatal(err)
		}
		f.Add(file.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := Decode(bytes.NewReader(data)); err == nil {
			if _, err := p.Summarize(0.3); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestGoroutines adds from several at once, Seal among them.
func TestGoroutines(t *testing.T) {
	pictures := strict(tied(9, 60, 90))
	var whole Pixels
	addAll(t, &whole, pictures)
	want := text(summarize(t, &whole))
	anomalous, normal := anomalousFirst(pictures)
	var p Pixels
	var wg sync.WaitGroup
	for i := range anomalous {
		wg.Go(func() { addAll(t, &p, anomalous[i:i+1]) })
	}
	wg.Wait()
	wg.Go(p.Seal)
	for i := range normal {
		wg.Go(func() { addAll(t, &p, normal[i:i+1]) })
	}
	wg.Wait()
	if have := text(summarize(t, &p)); have != want {
		t.Errorf("have %.300s…\nwant %.300s…", have, want)
	}
}

// TestCountersDoNotOverflow fills a bin to the brim of 32 bits.
func TestCountersDoNotOverflow(t *testing.T) {
	r := newRanks([]uint32{10}, 1)
	r.count(0, []uint32{10, 11})
	l := r.lanes[0][0]
	r.flush(l)
	l.bins.add(2, math.MaxUint32-1) // of what equals the edge
	l.total += math.MaxUint32 - 1
	r.count(0, []uint32{10, 10, 9})
	c := r.counts(allViews)
	if c.equal[0] != math.MaxUint32+2 || c.above[0] != 1 || c.total != math.MaxUint32+4 {
		t.Errorf("have %+v", c)
	}
}

func TestBoundsBracket(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 9))
	for bits := 8; bits <= 24; bits += 4 {
		for _, pictures := range [][]Picture{tied(7, 30, 1<<20), tied(8, 20, 9), random(rng), random(rng)} {
			want := evaluate(t, pictures, AUPROLimit)
			b, err := NewBounds(bits)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range pictures {
				if err := b.Add(x); err != nil {
					t.Fatal(err)
				}
			}
			low, high, err := b.Rank(AUPROLimit)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range []struct {
				name            string
				low, high, true float64
			}{
				{"AUROC", low.AUROC, high.AUROC, want.AUROC}, {"AP", low.AP, high.AP, want.AP},
				{"F1max", low.F1max, high.F1max, want.F1max}, {"AUPRO", low.AUPRO, high.AUPRO, want.AUPRO},
			} {
				undefined := math.IsNaN(c.true) && math.IsNaN(c.low) && math.IsNaN(c.high)
				if !undefined && !(c.low <= c.true+1e-12 && c.true <= c.high+1e-12) {
					t.Errorf("%d bits: %s: have %v to %v, want %v between", bits, c.name, c.low, c.high, c.true)
				}
			}
		}
	}
	for _, bits := range []int{0, 7, 29} {
		if _, err := NewBounds(bits); err == nil || !strings.Contains(err.Error(), "want 8 to 28") {
			t.Errorf("%d bits: have %v, want an error", bits, err)
		}
	}
}

// TestBoundsNarrow holds the width that metrics of 24 bits promise: five
// decimals of AUROC.
func TestBoundsNarrow(t *testing.T) {
	maps, masks := synthetic(20)
	b, err := NewBounds(24)
	if err != nil {
		t.Fatal(err)
	}
	for i := range maps {
		if err := b.Add(Picture{Name: "p", Scores: maps[i], Mask: masks[i], Height: 256, Width: 256}); err != nil {
			t.Fatal(err)
		}
	}
	low, high, err := b.Rank(AUPROLimit)
	if err != nil || high.AUROC-low.AUROC > 1e-5 || high.AUPRO-low.AUPRO > 1e-4 {
		t.Errorf("have AUROC %v to %v and AUPRO %v to %v, %v", low.AUROC, high.AUROC, low.AUPRO, high.AUPRO, err)
	}
}
