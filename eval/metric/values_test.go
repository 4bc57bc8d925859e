package metric

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

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
		if !near(have, c.want, 0) {
			t.Errorf("%s: have %v, want %v", c.name, have, c.want)
		}
		for i, m := range c.maps {
			if want := TopMean(c.fraction, m); !near(each[i].Mean, want, 0) && !math.IsNaN(have) {
				t.Errorf("%s: map %d: have %v, want %v", c.name, i, each[i].Mean, want)
			}
		}
	}
}

// TestTopMeanAgainstSort compares with a sort, for int(0.01*256*256) = 655
// pixels of a map and 3276 of five, and holds it to the same bits in any order.
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

// TestTopsWhereASampleMisleads has the highest values where the sample looks, so
// that too few others seem to be needed.
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

func example(aupro float64) Values {
	return NewValues(
		Ranking{AUROC: 0.9, AP: 0.8, F1max: 0.7},
		PixelRanking{Ranking: Ranking{AUROC: 0.6, AP: 0.5, F1max: 0.4}, AUPRO: aupro},
		Ranking{AUROC: 0.95, AP: 0.85, F1max: 0.75})
}

func TestMAD(t *testing.T) {
	if v := example(0.3); !near(v[MAD], 0.6, 1e-15) {
		t.Errorf("have %v, want 0.6", v[MAD])
	}
	if v := example(nan); !math.IsNaN(v[MAD]) {
		t.Errorf("have %v, want NaN without AUPRO", v[MAD])
	}
	v := NewValues(Ranking{1, 1, 1, 0, 1, 1}, PixelRanking{Ranking: Ranking{1, 1, 1, 0, 1, 1}, AUPRO: 1}, Ranking{nan, nan, nan, nan, nan, nan})
	if v[MAD] != 1 {
		t.Errorf("have %v, want 1: objects do not count", v[MAD])
	}
}

func TestMean(t *testing.T) {
	mean, skipped := Mean([]Values{example(0.3), example(nan), example(0.5)})
	if !near(mean[AUPRO], 0.4, 1e-15) || !near(mean[ImageAP], 0.8, 1e-15) {
		t.Errorf("have %v", mean)
	}
	if want := [Count]int{AUPRO: 1, MAD: 1}; skipped != want {
		t.Errorf("skipped: have %v, want %v", skipped, want)
	}
	mean, skipped = Mean([]Values{example(nan)})
	if !math.IsNaN(mean[AUPRO]) || mean[ImageAP] != 0.8 || skipped[AUPRO] != 1 {
		t.Errorf("have %v, %v", mean, skipped)
	}
	if mean, skipped = Mean(nil); !math.IsNaN(mean[ImageAUROC]) || skipped != [Count]int{} {
		t.Errorf("no class: have %v, %v", mean, skipped)
	}
}

func TestValuesJSON(t *testing.T) {
	const want = `{"I-AUROC":0.9,"I-AP":0.8,"I-F1max":0.7,"P-AUROC":0.6,"P-AP":0.5,"P-F1max":0.4,` +
		`"AUPRO":null,"mAD":null,"S-AUROC":0.95,"S-AP":0.85,"S-F1max":0.75}`
	data, err := json.Marshal(example(nan))
	if err != nil || string(data) != want {
		t.Errorf("have %s, %v, want %s", data, err, want)
	}
	var back Values
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if again, err := json.Marshal(back); err != nil || string(again) != want {
		t.Errorf("read back: have %s, %v, want %s", again, err, want)
	}
	for _, c := range []struct{ name, old, new, want string }{
		{"missing", `"mAD":null,`, ``, "mAD: have nothing, want a number or null"},
		{"unknown", `"mAD"`, `"mAD":1,"PRO"`, `"PRO": have an unknown name, want one of`},
		{"not a number", `null`, `"0.3"`, "cannot unmarshal string"},
	} {
		err := json.Unmarshal([]byte(strings.Replace(want, c.old, c.new, 1)), &back)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: have %v, want %s", c.name, err, c.want)
		}
	}
	if _, err := json.Marshal(Values{AUPRO: math.Inf(1)}); err == nil || !strings.Contains(err.Error(), "AUPRO: ") {
		t.Errorf("infinity: have %v, want an error", err)
	}
}

func TestNames(t *testing.T) {
	const want = "I-AUROC I-AP I-F1max P-AUROC P-AP P-F1max AUPRO mAD S-AUROC S-AP S-F1max"
	var have []string
	for n := range Count {
		have = append(have, n.String())
	}
	if s := strings.Join(have, " "); s != want {
		t.Errorf("have %s, want %s", s, want)
	}
	if s := Count.String(); s != "Name(11)" {
		t.Errorf("have %s, want Name(11)", s)
	}
}
