package metric

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

// strict adds to every mask the mask of another rule: some pixels fewer, a few more.
func strict(images []Image) []Image {
	rng := rand.New(rand.NewPCG(5, 5))
	for i := range images {
		x := &images[i]
		if x.Mask == nil {
			continue
		}
		x.Other = make([]bool, len(x.Mask))
		for j, in := range x.Mask {
			x.Other[j] = in && rng.IntN(3) > 0 || i%5 == 0 && rng.IntN(20) == 0
		}
	}
	return images
}

// text prints a summary without Compat, every float with all its bits; maps print in the order of their keys.
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

func TestViewsAreTheirImagesAlone(t *testing.T) {
	images := tied(1, 40, 90)
	var p Pixels
	addAll(t, &p, images)
	s := summarize(t, &p)
	if len(s.Views) != 3 {
		t.Fatalf("have %d views, want 3", len(s.Views))
	}
	for view, have := range s.Views {
		var one Pixels
		addAll(t, &one, slices.DeleteFunc(slices.Clone(images), func(x Image) bool { return x.View != view }))
		if want := summarize(t, &one); !same(results{PixelRanking: have}, results{PixelRanking: want.PixelRanking}) {
			t.Errorf("view %d: have %+v, want %+v", view, have, want.PixelRanking)
		}
	}
}

// TestPartsAgainstDefinitions compares defect codes and objects with the oracle on all normal pixels and their own
// anomalous ones.
func TestPartsAgainstDefinitions(t *testing.T) {
	images := tied(2, 12, 30)
	var p Pixels
	addAll(t, &p, images)
	s := summarize(t, &p)
	part := func(name string, have PixelRanking, own func(Image) bool) {
		var all []sample
		var sizes []int64
		for _, x := range images {
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
		part("code "+code, have, func(x Image) bool { return x.Code == code })
	}
	for object, have := range s.Objects {
		part("object "+object, have, func(x Image) bool { return x.Object == object })
	}
	if len(s.Codes) != 2 || len(s.Objects) != 4 {
		t.Errorf("have %d codes and %d objects, want 2 and 4", len(s.Codes), len(s.Objects))
	}
}

func TestOtherMasks(t *testing.T) {
	for _, seal := range []bool{false, true} {
		images := strict(tied(3, 40, 60))
		var p, by Pixels
		anomalous, normal := anomalousFirst(images)
		addAll(t, &p, anomalous)
		if seal {
			p.Seal()
		}
		addAll(t, &p, normal)
		for _, x := range images {
			x.Mask, x.Other = x.Other, nil
			addAll(t, &by, []Image{x})
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
	all := summarize(t, &p)
	for i, limit := range []float64{0.3, 0.05, 1} {
		if one, err := p.Summarize(limit); err != nil || one.AUPRO != all.AUPROs[i] {
			t.Errorf("limit %v: have %v, %v, want %v", limit, all.AUPROs[i], err, one.AUPRO)
		}
	}
}

// TestGoroutines adds from several at once, Seal among them.
func TestGoroutines(t *testing.T) {
	images := strict(tied(9, 60, 90))
	var whole Pixels
	addAll(t, &whole, images)
	want := text(summarize(t, &whole))
	anomalous, normal := anomalousFirst(images)
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
