package imagescore

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

var (
	nan   = math.NaN()
	nan32 = float32(nan)
	inf   = float32(math.Inf(1))
)

// same also holds of two NaN.
func same(a, b float64) bool { return a == b || a != a && b != b }

func TestTopMean(t *testing.T) {
	tenths := func(n int) []float32 { // 0.1, 0.2, ... in float32
		out := make([]float32, n)
		for i := range out {
			out[i] = float32(i+1) / 10
		}
		return out
	}
	cases := []struct {
		name     string
		fraction float64
		maps     [][]float32
		want     float64
	}{
		{"half", 0.5, [][]float32{{1, 4, 2, 3}}, 3.5},
		{"truncated", 0.74, [][]float32{{1, 4, 2, 3}}, 3.5},
		{"pooled, not a mean of means", 0.25, [][]float32{{1, 2, 3, 4}, {10, 11, 12, 13}}, 12.5},
		{"int(0.01*199) = 1", 0.01, [][]float32{tenths(199)}, float64(float32(199) / 10)},
		{"at least one pixel", 0.01, [][]float32{{1, 4, 2, 3}}, 4},
		{"fraction 0", 0, [][]float32{{1, 4, 2, 3}}, 4},
		{"all", 1, [][]float32{{1, 4, 2, 3}}, 2.5},
		{"more than all", 3, [][]float32{{1, 4, 2, 3}}, 2.5},
		{"one pixel", 0.01, [][]float32{{-7}}, -7},
		{"equal", 0.5, [][]float32{{2, 2, 2, 2}}, 2},
		{"negative", 0.5, [][]float32{{-1, -4, -2, -3}}, -1.5},
		{"infinite", 0.5, [][]float32{{1, inf, 2, 3}}, math.Inf(1)},
		{"no pixel", 0.5, [][]float32{{}}, 0},
		{"no map", 0.5, nil, 0},
		{"NaN", 0.5, [][]float32{{1, -nan32, 2, 3}}, nan},
		{"NaN in the second map", 0.1, [][]float32{{1, 2}, {nan32, 3}}, nan},
	}
	for _, c := range cases {
		each, have := Tops(c.fraction, c.maps...)
		if !same(have, c.want) {
			t.Errorf("%s: have %v, want %v", c.name, have, c.want)
		}
		for i, m := range c.maps {
			if want := TopMean(c.fraction, m); !same(each[i].Mean, want) && !math.IsNaN(have) {
				t.Errorf("%s: map %d: have %v, want %v", c.name, i, each[i].Mean, want)
			}
		}
	}
}

// TestTopMeanAgainstSort compares with a sort, for int(0.01*256*256) = 655 pixels of a map and 3276 of five, and holds
// it to the same bits in any order.
func TestTopMeanAgainstSort(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	maps := make([][]float32, 5)
	var all []float32
	for i := range maps {
		maps[i] = make([]float32, 256*256)
		for j := range maps[i] {
			maps[i][j] = float32(math.Exp(9 * rng.NormFloat64())) // wide, so that the order of a sum shows
		}
		all = append(all, maps[i]...)
	}
	mean := func(values []float32, n int) float64 {
		sorted := slices.Clone(values)
		slices.Sort(sorted)
		total := 0.0
		for _, v := range sorted[len(sorted)-n:] {
			total += float64(v)
		}
		return total / float64(n)
	}
	if have, want := TopMean(0.01, maps[0]), mean(maps[0], 655); have != want {
		t.Errorf("one map: have %v, want %v", have, want)
	}
	if have, want := pooled(0.01, maps...), mean(all, 3276); have != want {
		t.Errorf("five maps: have %v, want %v", have, want)
	}
	want := pooled(0.01, maps...)
	for _, m := range maps {
		rng.Shuffle(len(m), func(i, j int) { m[i], m[j] = m[j], m[i] })
	}
	slices.Reverse(maps)
	if have := pooled(0.01, maps...); have != want {
		t.Errorf("shuffled: have %v, want %v", have, want)
	}
}

// TestTopsWhereASampleMisleads has the highest values where the sample looks, so that too few others seem to be needed.
func TestTopsWhereASampleMisleads(t *testing.T) {
	maps := make([][]float32, 3)
	for i := range maps {
		maps[i] = make([]float32, 64*64)
		for j := range maps[i] {
			maps[i][j] = float32(j%1000) / 1000
			if j%stride == 0 && i != 1 {
				maps[i][j] += float32(10 * (i + 1))
			}
		}
	}
	const fraction = 0.05
	var all []float32
	each, have := Tops(fraction, maps...)
	mean := func(values []float32) float64 {
		sorted := slices.Sorted(slices.Values(values))
		total, n := 0.0, int(fraction*float64(len(sorted)))
		for _, v := range sorted[len(sorted)-n:] {
			total += float64(v)
		}
		return total / float64(n)
	}
	for i, m := range maps {
		all = append(all, m...)
		if want := (Top{mean(m), 0, float64(slices.Max(m))}); each[i] != want {
			t.Errorf("map %d: have %+v, want %+v", i, each[i], want)
		}
	}
	if want := mean(all); have != want {
		t.Errorf("have %v, want %v", have, want)
	}
}

func pooled(fraction float64, maps ...[]float32) float64 {
	_, v := Tops(fraction, maps...)
	return v
}

func BenchmarkTopMean(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	maps := make([][]float32, 5)
	for i := range maps {
		maps[i] = make([]float32, 256*256)
		for j := range maps[i] {
			maps[i][j] = float32(math.Exp(rng.NormFloat64()))
		}
	}
	b.Run("image", func(b *testing.B) {
		for b.Loop() {
			TopMean(0.01, maps[0])
		}
	})
	b.Run("object of 5", func(b *testing.B) {
		for b.Loop() {
			Tops(0.01, maps...)
		}
	})
}
