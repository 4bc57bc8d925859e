package tensor

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"testing"
)

// philox is Philox 4x32-10, written from the paper.
func philox(key [2]uint32, counter [4]uint32) [4]uint32 {
	for range 10 {
		h0, l0 := bits.Mul32(0xD2511F53, counter[0])
		h1, l1 := bits.Mul32(0xCD9E8D57, counter[2])
		counter = [4]uint32{h1 ^ counter[1] ^ key[0], l1, h0 ^ counter[3] ^ key[1], l0}
		key[0] += 0x9E3779B9
		key[1] += 0xBB67AE85
	}
	return counter
}

// TestPhiloxReference holds the function that the others are compared with to the known answers of Random123.
func TestPhiloxReference(t *testing.T) {
	const ones = 0xffffffff
	for _, c := range []struct {
		key           [2]uint32
		counter, want [4]uint32
	}{
		{[2]uint32{}, [4]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[2]uint32{ones, ones}, [4]uint32{ones, ones, ones, ones}, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{[2]uint32{0xa4093822, 0x299f31d0}, [4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		if have := philox(c.key, c.counter); have != c.want {
			t.Errorf("key %x, counter %x: have %x, want %x", c.key, c.counter, have, c.want)
		}
	}
}

// wordOf is the word of element e of a draw (philox.h), and its neighbour in Box and Muller's method.
func wordOf(seed int64, number uint32, e uint64) (word, pair uint32, second bool) {
	counter, w := e/64*16+e%16, e%64/16
	block := philox([2]uint32{uint32(seed), uint32(uint64(seed) >> 32)}, [4]uint32{uint32(counter), uint32(counter >> 32), number, 0})
	return block[w], block[w^1], w%2 == 1
}

// normalOf is the standard normal value of element e, in float64 from the radius's uniform value in float32.
func normalOf(seed int64, number uint32, e uint64) float64 {
	a, b, second := wordOf(seed, number, e)
	if second {
		a, b = b, a
	}
	u := float32(a)*0x1p-32 + 0x1p-33
	sin, cos := math.Sincos(2 * math.Pi * float64(b) / (1 << 32))
	if second {
		cos = sin
	}
	return math.Sqrt(-2*math.Log(float64(u))) * cos
}

// drew is what tests draw: after skip other draws of the step, a dropout of ones [images, …] with its gradient and
// noise, on device d.
type drew struct{ kept, gradient, noise []float32 }

func draw(t *testing.T, d Device, fused bool, as DType, seed, first int64, skip int, p float64, shape ...int64) (out drew) {
	t.Helper()
	must(t, func(s *Scope) {
		draws := NewDraws(FromInts(s, d, []int64{seed}, 1), first, fused)
		one := FromBytes(s, d, as, Full(s, CPU, as, 1, shape...).Bytes(), shape...)
		for range skip {
			one.Normal(s, draws)
		}
		x := one.Detach(s).RequireGrad()
		y := x.Dropout(s, p, draws)
		y.BackwardFrom(one)
		out = drew{onHost(s, y), onHost(s, x.Grad(s)), one.Normal(s, draws).Floats()}
	})
	return out
}

// TestDraws compares dropout, its gradient and noise with the reference, word by word: loops and what is composed, in
// both types, for parts of a batch at odd offsets.
func TestDraws(t *testing.T) {
	for _, fused := range []bool{true, false} {
		for _, as := range []DType{Float, BFloat16} {
			checkDraws(t, fmt.Sprintf("%v, fused %v", as, fused), CPU, fused, as)
		}
	}
}

// TestDrawsOnCUDA is the same of the kernels.
func TestDrawsOnCUDA(t *testing.T) {
	gpu := beside(t)
	for _, as := range []DType{Float, BFloat16} {
		checkDraws(t, fmt.Sprint(as), 0, true, as)
		if gpu != "stub" {
			checkDraws(t, fmt.Sprint(as, " composed"), 0, false, as)
		}
	}
}

func checkDraws(t *testing.T, name string, d Device, fused bool, as DType) {
	t.Helper()
	for _, c := range []struct {
		seed, first int64
		skip        int
		p           float64
		shape       []int64
	}{
		{0, 0, 0, 0.4, []int64{1, 64}},
		{-1, 0, 1, 0.4, []int64{3, 5, 7}},
		{0x123456789abcdef, 1, 2, 0.1, []int64{2, 13}},
		{7, 5, 0, 0.9, []int64{1, 1}},
		{-0x123456789abcdef, 3, 1, 0.5, []int64{4, 1025, 3}},
		{5, 1 << 31, 0, 0.4, []int64{2, 11, 1001}}, // blocks beyond 2^32
		{5, 0, 0, 0, []int64{2, 9}},
		{5, 0, 0, 1, []int64{2, 9}},
	} {
		have := draw(t, d, fused, as, c.seed, c.first, c.skip, c.p, c.shape...)
		n := uint64(1)
		for _, size := range c.shape[1:] {
			n *= uint64(size)
		}
		scale := float32(1 / (1 - c.p))
		if as == BFloat16 {
			scale = math.Float32frombits(uint32((uint64(math.Float32bits(scale)) + 0x7fff + uint64(math.Float32bits(scale)>>16&1)) >> 16 << 16))
		}
		for i := range have.kept {
			e := uint64(c.first)*n + uint64(i)
			word, _, _ := wordOf(c.seed, uint32(c.skip), e)
			want := float32(0)
			if float64(word) >= c.p*(1<<32) {
				want = scale
			}
			if have.kept[i] != want || have.gradient[i] != want {
				t.Fatalf("%s: %+v, element %d: have %v, gradient %v, want %v", name, c, i, have.kept[i], have.gradient[i], want)
			}
			if z := normalOf(c.seed, uint32(c.skip+1), e); !(math.Abs(float64(have.noise[i])-z) <= 2e-6) {
				t.Fatalf("%s: %+v, element %d: have noise %v, want %v", name, c, i, have.noise[i], z)
			}
		}
	}
}

// TestDropoutAtAWord holds dropout to the first known answer: an element is kept at a probability of its word over 2^32,
// and dropped at the next above.
func TestDropoutAtAWord(t *testing.T) {
	for w, word := range []float64{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8} {
		for above, want := range []bool{true, false} {
			have := draw(t, CPU, true, Float, 0, 0, 0, (word+float64(above))/(1<<32), 1, 64)
			if kept := have.kept[16*w] != 0; kept != want {
				t.Errorf("word %d + %d: kept %v, want %v", w, above, kept, want)
			}
		}
	}
}

// TestPartsDrawWhatTheWholeDraws, bit for bit, in whatever parts and with whatever number of threads.
func TestPartsDrawWhatTheWholeDraws(t *testing.T) {
	for _, shape := range [][]int64{{6, 1}, {6, 3, 7}, {6, 1025, 5}, {6, 64, 64}} {
		whole := draw(t, CPU, true, Float, 11, 0, 0, 0.4, shape...)
		for _, parts := range [][]int64{{3, 3}, {1, 2, 3}, {5, 1}, {1, 1, 1, 1, 1, 1}} {
			var have drew
			first := int64(0)
			for _, images := range parts {
				before := Threads()
				SetThreads(1 + int(images)%2)
				part := draw(t, CPU, true, Float, 11, first, 0, 0.4, append([]int64{images}, shape[1:]...)...)
				SetThreads(before)
				have.kept, have.gradient = append(have.kept, part.kept...), append(have.gradient, part.gradient...)
				have.noise = append(have.noise, part.noise...)
				first += images
			}
			if !slices.Equal(have.kept, whole.kept) || !slices.Equal(have.gradient, whole.gradient) || !slices.Equal(have.noise, whole.noise) {
				t.Errorf("%v in parts of %v: have other values than the whole", shape, parts)
			}
		}
	}
}

// TestDrawsAreIndependent measures what is drawn against what independent draws would give, to within 5 standard
// deviations of each statistic.
func TestDrawsAreIndependent(t *testing.T) {
	const images, size, p = 4, 1 << 16, 0.4
	const n = images * size
	of := func(seed int64, skip int) drew { return draw(t, CPU, true, Float, seed, 0, skip, p, images, size) }
	a, draws, steps := of(1, 0), of(1, 1), of(2, 0)
	about := func(what string, have, want, std float64) {
		t.Helper()
		if math.Abs(have-want) > 5*std {
			t.Errorf("%s: have %v, want %v ± %v", what, have, want, 5*std)
		}
	}
	moment := func(x []float32, k float64) (sum float64) {
		for _, v := range x {
			sum += math.Pow(float64(v), k)
		}
		return sum / float64(len(x))
	}
	// Of dropout, scaled to mean 0 and variance 1.
	whitened := func(kept []float32) (z []float32) {
		for _, v := range kept {
			z = append(z, float32((float64(v)*(1-p)-(1-p))/math.Sqrt(p*(1-p))))
		}
		return z
	}
	correlation := func(what string, x, y []float32) {
		t.Helper()
		x, y = x[:min(len(x), len(y))], y[:min(len(x), len(y))]
		sum := 0.0
		for i := range x {
			sum += float64(x[i]) * float64(y[i])
		}
		about(what, sum/float64(len(x)), 0, 1/math.Sqrt(float64(len(x))))
	}
	about("mean", moment(a.noise, 1), 0, 1/math.Sqrt(n))
	about("variance", moment(a.noise, 2), 1, math.Sqrt(2.0/n))
	about("third moment", moment(a.noise, 3), 0, math.Sqrt(15.0/n))
	about("fourth moment", moment(a.noise, 4), 3, math.Sqrt(96.0/n))
	about("dropout", moment(whitened(a.kept), 1), 0, 1/math.Sqrt(n))
	tails := 0.0
	for _, v := range a.noise {
		if math.Abs(float64(v)) > 3 {
			tails++
		}
	}
	tail := math.Erfc(3 / math.Sqrt2)
	about("beyond 3 standard deviations", tails/n, tail, math.Sqrt(tail/n))
	for name, x := range map[string][3][]float32{
		"dropout": {whitened(a.kept), whitened(draws.kept), whitened(steps.kept)},
		"noise":   {a.noise, draws.noise, steps.noise},
	} {
		correlation(name+" of two draws", x[0], x[1])
		correlation(name+" of two steps", x[0], x[2])
		for _, shift := range []int{1, 2, 3, 4, 8, 15, 16, 17, 32, 48, 64, 4096, size, 2 * size} {
			correlation(fmt.Sprintf("%s %d elements apart", name, shift), x[0][shift:], x[0])
		}
	}
	correlation("dropout and noise", whitened(a.kept), a.noise)
}

// TestDrawsRefuse what they cannot draw.
func TestDrawsRefuse(t *testing.T) {
	must(t, func(s *Scope) {
		seed, x := FromInts(s, CPU, []int64{1}, 1), Zeros(s, CPU, Float, 2, 3)
		for name, c := range map[string]struct {
			draw func()
			want string
		}{
			"probability": {func() { x.Dropout(s, 1.5, NewDraws(seed, 0, true)) }, "dropout([2 3], [1]): have probability 1.5, want 0 to 1"},
			"image":       {func() { x.Normal(s, NewDraws(seed, -1, true)) }, "normal([2 3], [1]): have first image -1, want at least 0"},
			"seed":        {func() { x.Normal(s, NewDraws(x, 0, true)) }, "normal([2 3], [2 3]): seed: have float32, want int64"},
			"type":        {func() { seed.Dropout(s, 0.1, NewDraws(seed, 0, true)) }, "dropout([1], [1]): x: have int64, want float32 or bfloat16"},
		} {
			err := caught(func() error { c.draw(); return nil })
			if err == nil || err.Error() != c.want {
				t.Errorf("%s: have error %v, want %q", name, err, c.want)
			}
		}
	})
}

// BenchmarkDraws times dropout with its gradient, and noise, of 16 images at ViT-g's width.
func BenchmarkDraws(b *testing.B) {
	for _, what := range []string{"dropout", "noise"} {
		b.Run(what, func(b *testing.B) {
			err := Run(func(s *Scope) error {
				seed, x := FromInts(s, CPU, []int64{1}, 1), Full(s, CPU, Float, 1, 16, 1025, 1536).RequireGrad()
				one := Full(s, CPU, Float, 1, 16, 1025, 1536)
				for b.Loop() {
					s.Local(func(s *Scope) *Tensor {
						draws := NewDraws(seed, 0, true)
						if what == "noise" {
							one.Normal(s, draws)
							return nil
						}
						ClearGrads([]*Tensor{x})
						x.Dropout(s, 0.4, draws).BackwardFrom(one)
						return nil
					})
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		})
	}
}
