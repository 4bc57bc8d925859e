package metric

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
)

var (
	nan    = math.NaN()
	inf    = float32(math.Inf(1))
	nan32  = float32(math.NaN())
	minus0 = float32(math.Copysign(0, -1))
)

// tied returns images of 12x12 with few distinct scores, half of them without anomalous pixels, and one without a mask.
func tied(seed uint64, n, distinct int) []Image {
	rng := rand.New(rand.NewPCG(seed, 1))
	out := make([]Image, n)
	for i := range out {
		out[i] = Image{Name: fmt.Sprint(i), Scores: make([]float32, 144), Mask: make([]bool, 144), Height: 12, Width: 12,
			View: i % 3, Code: string('A' + rune(i%4)), Object: fmt.Sprint(i / 3)}
		for j := range 144 {
			out[i].Scores[j] = float32(rng.IntN(distinct)-distinct/3) / 7
			if i%2 == 0 && rng.IntN(5) == 0 {
				out[i].Mask[j] = true
				out[i].Scores[j] += float32(rng.IntN(distinct)) / 14
			}
		}
	}
	out[1].Mask = nil
	return out
}

// same is equality of all bits that carry meaning, NaN included.
func same(a, b results) bool { return fmt.Sprintf("%b %x", a, a) == fmt.Sprintf("%b %x", b, b) }

func TestAnyOrderGivesTheSameBits(t *testing.T) {
	for _, distinct := range []int{5, 90, 1 << 20} {
		images := tied(uint64(distinct), 40, distinct)
		want := evaluate(t, images, AUPROLimit)
		if math.IsNaN(want.AUROC + want.AP + want.F1max + want.AUPRO + want.aupro200) {
			t.Fatalf("have %+v, want numbers", want)
		}
		for seed := range uint64(10) {
			rand.New(rand.NewPCG(seed, 2)).Shuffle(len(images), func(i, j int) {
				images[i], images[j] = images[j], images[i]
			})
			before := runtime.GOMAXPROCS(1 + int(seed)%5)
			have := evaluate(t, images, AUPROLimit)
			runtime.GOMAXPROCS(before)
			if !same(have, want) {
				t.Fatalf("%d distinct scores, shuffle %d: have %+v, want %+v", distinct, seed, have, want)
			}
		}
	}
}

func TestSealedGivesTheSameBits(t *testing.T) {
	for _, distinct := range []int{5, 90, 1 << 20} {
		images := tied(uint64(distinct), 40, distinct)
		want := evaluate(t, images, AUPROLimit)
		anomalous, normal := anomalousFirst(images)
		for split := range len(normal) + 1 { // so many normal ones come before Seal
			var p Pixels
			addAll(t, &p, anomalous)
			addAll(t, &p, normal[:split])
			p.Seal()
			p.Seal() // again: no change
			addAll(t, &p, normal[split:])
			have, err := p.Summarize(AUPROLimit)
			if err != nil || !same(results{PixelRanking: have.PixelRanking}, results{PixelRanking: want.PixelRanking}) {
				t.Fatalf("split %d: have %+v, %v, want %+v", split, have, err, want)
			}
		}
	}
}

func TestRankMayBeAskedInBetween(t *testing.T) {
	images := tied(4, 20, 90)
	var p Pixels
	for i, x := range images {
		addAll(t, &p, images[i:i+1])
		have, err := p.Summarize(1)
		if err != nil {
			t.Fatal(err)
		}
		if want := evaluate(t, images[:i+1], 1); !same(results{have.PixelRanking, have.Compat.AUPRO200}, want) {
			t.Fatalf("after image %s: have %+v, want %+v", x.Name, have, want)
		}
	}
}

func TestMonotoneMapsChangeNothing(t *testing.T) {
	images := tied(6, 20, 200)
	want := evaluate(t, images, AUPROLimit)
	var distinct []float32
	for _, x := range images {
		distinct = append(distinct, x.Scores...)
	}
	slices.Sort(distinct)
	distinct = slices.Compact(distinct)
	for _, x := range images {
		for i, s := range x.Scores {
			rank, _ := slices.BinarySearch(distinct, s)
			x.Scores[i] = float32(math.Exp(float64(rank)/20)) - 1e3
		}
	}
	have := evaluate(t, images, AUPROLimit)
	have.Threshold, want.Threshold = 0, 0 // these do change
	have.aupro200, want.aupro200 = 0, 0   // linear thresholds: so does this
	if !same(have, want) {
		t.Errorf("have %+v, want %+v", have, want)
	}
}

func TestReversedScoresReverseAUROC(t *testing.T) {
	images := tied(8, 20, 30)
	want := 1 - evaluate(t, images, AUPROLimit).AUROC
	for _, x := range images {
		for i := range x.Scores {
			x.Scores[i] = -x.Scores[i]
		}
	}
	if have := evaluate(t, images, AUPROLimit).AUROC; !near(have, want, 1e-12) {
		t.Errorf("have %v, want %v", have, want)
	}
}

// TestAUPROOfSinglePixels: with limit 1 and regions of one pixel each, AUPRO is AUROC.
func TestAUPROOfSinglePixels(t *testing.T) {
	x := Image{Name: "dots", Scores: make([]float32, 400), Mask: make([]bool, 400), Height: 20, Width: 20}
	rng := rand.New(rand.NewPCG(9, 9))
	for i := range x.Scores {
		x.Scores[i] = float32(rng.IntN(50))
		x.Mask[i] = i/20%2 == 0 && i%20%2 == 0
	}
	if r := evaluate(t, []Image{x}, 1); r.Regions != 100 || !near(r.AUPRO, r.AUROC, 1e-12) {
		t.Errorf("have %+v, want 100 regions and AUPRO = AUROC", r)
	}
}

func TestEdgeCases(t *testing.T) {
	one := func(scores []float32, mask ...bool) Image {
		return Image{Name: "edge", Scores: scores, Mask: mask, Height: 1, Width: len(scores)}
	}
	row := func(scores ...float32) []float32 { return scores }
	cases := []struct {
		name                                         string
		image                                        Image
		auroc, ap, f1max, threshold, aupro, aupro200 float64
	}{
		{"all tied", one(row(2, 2, 2, 2), true, false, false, false), .5, .25, .4, 2, .15, nan},
		{"all tied, two signs of zero", one(row(0, minus0, 0, minus0), true, false, false, false), .5, .25, .4, 0, .15, nan},
		{"all tied at infinity", one(row(inf, inf), true, false), .5, .5, 2. / 3, math.Inf(1), .15, nan},
		{"perfect", one(row(3, 1, 2, 0), true, false, true, false), 1, 1, 1, 2, 1, nan},
		{"perfect to infinity", one(row(inf, 1, 2, -inf), true, false, true, false), 1, 1, 1, 2, 1, nan},
		{"inverted", one(row(0, 1, 2, 3), true, false, false, false), 0, .25, .4, 0, 0, nan},
		{"inverted to infinity", one(row(-inf, 1, inf, 3), true, false, false, false), 0, .25, .4, math.Inf(-1), 0, nan},
		{"one anomalous pixel", one(row(5), true), nan, 1, 1, 5, nan, nan},
		{"one normal pixel", one(row(5), false), nan, nan, nan, nan, nan, nan},
		{"no normal pixel", one(row(5, 4), true, true), nan, 1, 1, 4, nan, nan},
		{"no mask", one(row(5, 4)), nan, nan, nan, nan, nan, nan},
		// F1 is 2/3 at 3 and at 1: the lower threshold is reported.
		{"equal F1", one(row(3, 2, 2, 1), true, false, false, true), .5, .75, 2. / 3, 1, .5, nan},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			have := evaluate(t, []Image{c.image}, AUPROLimit)
			want := oracle([]Image{c.image}, 3)
			want.AUROC, want.AP, want.F1max, want.Threshold, want.AUPRO = c.auroc, c.ap, c.f1max, c.threshold, c.aupro
			check(t, c.name, have, want, 1e-12)
		})
	}
	var empty Pixels
	s, err := empty.Summarize(AUPROLimit)
	for _, v := range []float64{s.AUROC, s.AP, s.F1max, s.AUPRO, s.Compat.AUPRO200, s.Compat.ADEval.AUROC} {
		if err != nil || !math.IsNaN(v) {
			t.Errorf("no images: have %+v, %v, want NaN", s, err)
		}
	}
}

// TestPerfectMapsAreNotAboveOne: the weights 1/size of a region need not add up to 1 in floating point.
func TestPerfectMapsAreNotAboveOne(t *testing.T) {
	for size := 1; size < 300; size++ {
		x := Image{Name: "bar", Scores: make([]float32, 600), Mask: make([]bool, 600), Height: 1, Width: 600}
		for i := range size {
			x.Scores[i], x.Mask[i] = float32(i+1), true
		}
		r := evaluate(t, []Image{x}, AUPROLimit)
		for _, v := range []float64{r.AUROC, r.AP, r.F1max, r.AUPRO} {
			if v > 1 || !near(v, 1, 1e-12) {
				t.Fatalf("size %d: have %+v, want 1", size, r)
			}
		}
	}
}

// TestTieAcrossTheLimit: of 10 normal pixels one lies above the anomalous pixel and 4 equal it, so its ramp goes from
// 0.1 to 0.5 and is cut at 0.3 in the middle: a triangle of width 0.2 and height 0.5, divided by 0.3.
func TestTieAcrossTheLimit(t *testing.T) {
	x := Image{Name: "tie", Scores: []float32{2, 3, 2, 2, 2, 2, 1, 1, 1, 1, 1}, Mask: make([]bool, 11), Height: 1, Width: 11}
	x.Mask[0] = true
	if r := evaluate(t, []Image{x}, 0.3); !near(r.AUPRO, 0.2*0.5/2/0.3, 1e-12) {
		t.Errorf("have %v, want %v", r.AUPRO, 0.2*0.5/2/0.3)
	}
}

// TestEmptyMaskEqualsNoMask also holds for an image that is labelled anomalous but whose defect the crop removed.
func TestEmptyMaskEqualsNoMask(t *testing.T) {
	images := tied(2, 6, 40)
	want := evaluate(t, images, AUPROLimit)
	for i := range images {
		if !slices.Contains(images[i].Mask, true) {
			images[i].Mask = nil
		}
	}
	if have := evaluate(t, images, AUPROLimit); !same(have, want) || have.Masks != 3 {
		t.Errorf("have %+v, want %+v and 3 masks", have, want)
	}
}

func TestErrorsNameTheImageAndChangeNothing(t *testing.T) {
	bad := make([]float32, 12)
	bad[7] = -nan32
	cases := []struct {
		name          string
		scores        []float32
		mask          []bool
		height, width int
		want          string
	}{
		{"NaN", bad, make([]bool, 12), 3, 4, `image "p": score at row 1, column 3: have NaN, want a number`},
		{"short map", make([]float32, 11), make([]bool, 12), 3, 4, `image "p": map: have 11 values, want 3x4`},
		{"no pixels", nil, nil, 0, 4, `image "p": map: have 0 values, want 0x4`},
		{"negative", make([]float32, 12), nil, -3, -4, `image "p": map: have 12 values, want -3x-4`},
		{"small mask", make([]float32, 12), make([]bool, 9), 3, 4,
			`image "p": mask: have 9 pixels, want 12 (3x4) as the map has`},
	}
	images := tied(3, 4, 40)
	want := evaluate(t, images, AUPROLimit)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var p Pixels
			addAll(t, &p, images)
			err := p.Add(Image{Name: "p", Scores: c.scores, Mask: c.mask, Height: c.height, Width: c.width})
			if err == nil || err.Error() != c.want {
				t.Errorf("have %v, want %s", err, c.want)
			}
			have, err := p.Summarize(AUPROLimit)
			if err != nil || !same(results{PixelRanking: have.PixelRanking}, results{PixelRanking: want.PixelRanking}) {
				t.Errorf("after the error: have %+v, %v, want %+v", have, err, want)
			}
		})
	}
	var p Pixels
	p.Seal()
	err := p.Add(Image{Name: "late", Scores: make([]float32, 4), Mask: []bool{true, false, true, true}, Height: 2, Width: 2})
	if err == nil || err.Error() != `image "late": mask: have 3 anomalous pixels after Seal, want none` {
		t.Errorf("have %v, want an error that names the image", err)
	}
	for _, limit := range []float64{0, -1, 1.5, nan} {
		if _, err := p.Summarize(limit); err == nil || !strings.Contains(err.Error(), "aupro limit: have") {
			t.Errorf("limit %v: have %v, want an error", limit, err)
		}
	}
}

func TestRankErrors(t *testing.T) {
	_, err := Rank([]float64{1, 2, math.NaN()}, []bool{true, false, false})
	if err == nil || err.Error() != "score 2 of 3: have NaN, want a number" {
		t.Errorf("have %v, want the index of the NaN", err)
	}
	_, err = Rank([]float64{1, 2}, []bool{true})
	if err == nil || err.Error() != "labels: have 1, want 2 as there are scores" {
		t.Errorf("have %v, want both lengths", err)
	}
}

// TestMemory holds the accumulator to 4 bytes a normal pixel while it keeps scores, and to nothing a normal image once
// sealed.
func TestMemory(t *testing.T) {
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	maps, masks := synthetic(40)
	var p Pixels
	add := func() {
		for i := range maps {
			if p.sealed == nil || masks[i] == nil {
				if err := p.Add(Image{Name: "p", Scores: maps[i], Mask: masks[i], Height: 256, Width: 256}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	add() // also the scratch
	before := heap()
	add()
	kept := heap() - before
	r, err := p.Summarize(AUPROLimit)
	if err != nil {
		t.Fatal(err)
	}
	// Half of all pixels came since; the list of positives may have grown to twice its size.
	if limit := r.Normal/2*4*105/100 + 2*8*r.Anomalous; kept > limit {
		t.Errorf("have %d bytes kept, want at most %d", kept, limit)
	}
	p.Seal()
	add()
	before = heap()
	add()
	if grown := heap() - before; grown > 64<<10 {
		t.Errorf("have %d bytes kept of normal images after Seal, want none", grown)
	}
	runtime.KeepAlive(&p)
	runtime.KeepAlive(maps)
}

func TestTouchingImagesAreTwoRegions(t *testing.T) {
	a := Image{Name: "a", Scores: []float32{1, 2, 3, 4}, Mask: []bool{false, false, true, true}, Height: 2, Width: 2}
	b := Image{Name: "b", Scores: []float32{1, 2, 3, 4}, Mask: []bool{true, true, false, false}, Height: 2, Width: 2}
	if r := evaluate(t, []Image{a, b}, AUPROLimit); r.Regions != 2 || r.Masks != 2 {
		t.Errorf("have %+v, want 2 regions of 2 masks", r)
	}
}
