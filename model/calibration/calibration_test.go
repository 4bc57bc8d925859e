package calibration

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// normal makes n good objects of a class with log-normal scores about exp(level); the images of an object depend on
// each other.
func normal(rng *rand.Rand, class string, n int, level float64) []Sample {
	samples := make([]Sample, n)
	for i := range samples {
		s := Sample{Class: class, Object: math.Inf(-1)}
		common := rng.NormFloat64()
		for range 5 {
			v := math.Exp(level + 0.1*(common+0.5*rng.NormFloat64()))
			s.Images = append(s.Images, v)
			s.Object = max(s.Object, v)
		}
		s.Pixel = 2 * s.Object * math.Exp(0.1*rng.NormFloat64())
		samples[i] = s
	}
	return samples
}

func TestThresholdIsTheConformalQuantile(t *testing.T) {
	for _, test := range []struct {
		n       int
		alpha   float64
		want    float64 // the k-th smallest of 1..n
		rate    float64
		limited bool
	}{
		{2, 0.01, 2, 1. / 3, true},
		{12, 0.01, 12, 1. / 13, true},
		{98, 0.01, 98, 1. / 99, true},
		{99, 0.01, 99, 0.01, false}, // k = ceil(100*0.99)
		{100, 0.01, 100, 1. / 101, false},
		{199, 0.01, 198, 0.01, false},
		{9, 0.1, 9, 0.1, false},
		{19, 0.1, 18, 0.1, false},
		{10, 0.5, 6, 5. / 11, false},
	} {
		var samples []Sample
		for i := range test.n {
			v := float64(1 + (i*7919)%test.n) // 1..n where n and 7919 have no common factor
			samples = append(samples, Sample{Images: []float64{v}, Object: v, Pixel: v})
		}
		c, err := Fit(samples, test.alpha, "test")
		if err != nil {
			t.Fatal(err)
		}
		for name, s := range map[string]Scale{"image": c.Image.Pooled, "object": c.Object.Pooled, "pixel": c.Pixel.Pooled} {
			if math.Abs(s.Threshold-test.want) > 1e-6 || math.Abs(s.Rate-test.rate) > 1e-12 || s.Short(test.alpha) != test.limited {
				t.Errorf("%s, n %d, alpha %v: have %v at rate %v (short %v), want %v at %v (%v)",
					name, test.n, test.alpha, s.Threshold, s.Rate, s.Short(test.alpha), test.want, test.rate, test.limited)
			}
			if s.Defective(test.want) {
				t.Errorf("n %d: the object that gave the threshold lies above it", test.n)
			}
			if !(s.Interval[0] < s.Rate && s.Rate < s.Interval[1]) {
				t.Errorf("n %d: rate %v outside of its interval %v", test.n, s.Rate, s.Interval)
			}
		}
	}
}

// The largest of n: the rate is Beta(1, n), whose quantiles have a closed form.
func TestIntervalOfTheMaximum(t *testing.T) {
	s := newScale(limit{value: 0, n: 12, rate: 1. / 13}, ByClass)
	for i, p := range []float64{0.025, 0.975} {
		if want := 1 - math.Pow(1-p, 1./12); math.Abs(s.Interval[i]-want) > 1e-9 {
			t.Errorf("quantile %v: have %v, want %v", p, s.Interval[i], want)
		}
	}
}

// The number of false alarms among m further objects has a closed form when the threshold is the largest of n: each of
// the n+m objects is equally likely to be the k+1st largest.
func TestAlarmsOfTheMaximum(t *testing.T) {
	for _, test := range []struct{ n, m int }{{12, 56}, {24, 56}, {99, 100}, {2, 7}, {12, 1}} {
		low, high := newScale(limit{value: 0, n: test.n, rate: 1 / float64(test.n+1)}, ByClass).Alarms(test.m)
		// chance of at least k: the k largest are all further ones
		atLeast := func(k int) float64 {
			p := 1.
			for i := range k {
				p *= float64(test.m-i) / float64(test.n+test.m-i)
			}
			return p
		}
		if low != 0 || atLeast(high+1) > 0.025+1e-9 || high > 0 && atLeast(high) <= 0.025 {
			t.Errorf("%+v: have %d to %d, with chances of %.4f for more and %.4f for as many", test, low, high, atLeast(high+1), atLeast(high))
		}
	}
	// The median of many: variances of the rate and of the count add up.
	low, high := newScale(limit{value: 0, n: 999, rate: 0.5}, ByClass).Alarms(1000)
	if want := 500 - 1.96*math.Sqrt(250+250); math.Abs(float64(low)-want) > 1 || high != 1000-low {
		t.Errorf("median of 999: have %d to %d of 1000, want %.0f and as far from 500", low, high, want)
	}
}

// The mean rate of false alarms over many calibrations is at most the stated one and near it, for every kind of score
// and basis. The number of false alarms after a single calibration is in its interval in 95 % of cases.
func TestFalseAlarmsOfFurtherGoodObjects(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	levels := map[string]float64{"a": -2, "b": -1.2, "c": 0}
	for _, test := range []struct {
		perClass int
		alpha    float64
		basis    string
	}{{4, 0.05, ByShift}, {10, 0.05, ByShift}, {30, 0.05, ByClass}, {60, 0.02, ByClass}} {
		const rounds, further = 1000, 60
		var rates [3]float64 // image, object, pixel
		stated, inside := [3]float64{}, 0
		for range rounds {
			var samples []Sample
			for _, class := range []string{"a", "b", "c"} {
				samples = append(samples, normal(rng, class, test.perClass, levels[class])...)
			}
			c, err := Fit(samples, test.alpha, "test")
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Object.For("b").Basis; got != test.basis {
				t.Fatalf("%d a class: have basis %q, want %q", test.perClass, got, test.basis)
			}
			var mine float64
			for _, s := range normal(rng, "b", further, levels["b"]) {
				for _, v := range s.Images {
					rates[0] += flag(c.Image.For("b").Defective(v)) / (5 * rounds * further)
				}
				mine += flag(c.Object.For("b").Defective(s.Object)) / further
				rates[2] += flag(c.Pixel.For("b").Defective(s.Pixel)) / (rounds * further)
			}
			rates[1] += mine / rounds
			if c.Image.For("b").Threshold > c.Object.For("b").Threshold {
				t.Fatal("an object can be defective without a defective image")
			}
			for i, l := range []Level{c.Image, c.Object, c.Pixel} {
				stated[i] = l.For("b").Rate
			}
			low, high := c.Object.For("b").Alarms(further)
			if count := int(math.Round(mine * further)); count >= low && count <= high {
				inside++
			}
		}
		t.Logf("%d a class, %v asked for: have %.4f, stated %.4f; %d of %d inside the interval", test.perClass, test.alpha, rates, stated, inside, rounds)
		for i, kind := range []string{"image", "object", "pixel"} {
			if rates[i] > stated[i]*1.1 || rates[i] < stated[i]*0.35 {
				t.Errorf("%d a class, %s: have a rate of %.4f, want about %.4f", test.perClass, kind, rates[i], stated[i])
			}
		}
		if float64(inside) < 0.93*rounds {
			t.Errorf("%d a class: have %d of %d counts in the interval, want 95 %%", test.perClass, inside, rounds)
		}
	}
}

// With three objects a class, thresholds by shift keep the rate and the interval for the classes as a whole: also if
// they scatter differently or have heavy tails, and although the further objects of a class share the error of its
// center.
func TestAlarmsOfManyClasses(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	gumbel := func() float64 { return -math.Log(rng.ExpFloat64()) }
	for name, test := range map[string]struct {
		spreads []float64
		draw    func() float64
	}{
		"alike":       {[]float64{1, 1, 1, 1}, rng.NormFloat64},
		"unequal":     {[]float64{0.3, 1, 1, 2}, rng.NormFloat64},
		"heavy tails": {[]float64{1, 1, 1, 1}, gumbel},
	} {
		const rounds, further = 2000, 14
		draw := func(class, n int) (samples []Sample) {
			for range n {
				v := math.Exp(float64(class) + 0.1*test.spreads[class]*test.draw())
				samples = append(samples, Sample{Class: string(rune('a' + class)), Images: []float64{v}, Object: v, Pixel: v})
			}
			return samples
		}
		var mean, inside, stated float64
		for range rounds {
			var samples, others []Sample
			for class := range test.spreads {
				samples, others = append(samples, draw(class, 3)...), append(others, draw(class, further)...)
			}
			c, err := Fit(samples, 0.01, "test")
			if err != nil {
				t.Fatal(err)
			}
			count := 0
			for _, s := range others {
				if c.Object.For(s.Class).Defective(s.Object) {
					count++
				}
			}
			low, high := c.Object.For("a").Alarms(len(others))
			stated = c.Object.For("a").Rate
			inside += flag(count >= low && count <= high) / rounds
			mean += float64(count) / float64(len(others)) / rounds
		}
		t.Logf("%s: %.4f of further good objects alarm, stated at most %.4f; %.3f of the counts in the interval", name, mean, stated, inside)
		if mean > stated*1.05 || inside < 0.95 {
			t.Errorf("%s: have a rate of %.4f and %.3f in the interval, want at most %.4f and 0.95", name, mean, inside, stated)
		}
	}
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func TestValue(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	samples := slices.Concat(normal(rng, "low", 20, -3), normal(rng, "high", 20, 1), normal(rng, "alone", 1, 0))
	c, err := Fit(samples, 0.01, "test")
	if err != nil {
		t.Fatal(err)
	}
	for _, class := range []string{"low", "high", "alone", "unheard of", ""} {
		for kind, level := range map[string]Level{"image": c.Image, "object": c.Object, "pixel": c.Pixel} {
			s := level.For(class)
			if v := s.Value(s.Threshold); math.Abs(v-0.5) > 1e-9 {
				t.Errorf("%s %s: the threshold has %v, want 0.5", kind, class, v)
			}
			curve, last, lastAt := s.Curve(), -1., float32(-1)
			if v := curve.At(0); class == "low" && v > 0.01 {
				t.Errorf("%s %s: a perfect pixel has %v, want next to nothing", kind, class, v)
			}
			for x := -12.; x < 8; x += 0.001 {
				v, at := s.Value(math.Exp(x)), curve.At(float32(math.Exp(x)))
				if !(v >= 0 && v <= 1) || v < last-1e-12 || at < lastAt-1e-6 {
					t.Fatalf("%s %s: value %v (table %v) of %v after %v (%v), want it rising in [0, 1]", kind, class, v, at, math.Exp(x), last, lastAt)
				}
				if x > curve.low && x < -curve.low && math.Abs(v-float64(at)) > 0.005 {
					t.Fatalf("%s %s: table has %v of %v, want %v", kind, class, at, math.Exp(x), v)
				}
				last, lastAt = v, at
			}
			for _, odd := range []float64{0, -1e-7, math.Inf(1), math.Inf(-1)} {
				if v := s.Value(odd); !(v >= 0 && v <= 1) {
					t.Errorf("%s %s: %v has %v", kind, class, odd, v)
				}
			}
			if !math.IsNaN(s.Value(math.NaN())) || s.Defective(math.NaN()) {
				t.Errorf("%s %s: NaN has a value or a decision", kind, class)
			}
		}
	}
	// Comparable: the same multiple of the threshold has the same value in classes whose scores differ by a factor of
	// 55.
	low, high := c.Object.For("low"), c.Object.For("high")
	for _, excess := range []float64{0.8, 1.1, 1.5} {
		a, b := low.Value(excess*low.Threshold), high.Value(excess*high.Threshold)
		if math.Abs(a-b) > 0.05 {
			t.Errorf("%v of the threshold: have %v and %v, want them alike", excess, a, b)
		}
	}
	if v := low.Value(math.Exp(low.Center)); v > 0.03 {
		t.Errorf("a median good object has %v, want little", v)
	}
}

func TestSameForAnyOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	samples := slices.Concat(normal(rng, "a", 7, 0), normal(rng, "b", 5, 1), normal(rng, "", 3, 2))
	first := ""
	for range 20 {
		c, err := Fit(samples, 0.05, "test")
		if err != nil {
			t.Fatal(err)
		}
		text, err := c.Marshal()
		if err != nil || first != "" && text != first {
			t.Fatalf("have %s, error %v, want %s", text, err, first)
		}
		first = text
	}
	back, err := Parse(first)
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := back.Marshal(); text != first {
		t.Errorf("read back: have %s, want %s", text, first)
	}
	old, err := Parse(strings.Replace(first, `"images":`, `"pictures":`, 1))
	if err != nil || old.Images != back.Images {
		t.Errorf("with the key of earlier files: have %+v, error %v", old, err)
	}
}

func TestRefusals(t *testing.T) {
	good := Sample{Images: []float64{1}, Object: 1, Pixel: 1}
	for name, test := range map[string]struct {
		samples []Sample
		want    string
	}{
		"nothing":    {nil, "have 0 good objects, want at least 2"},
		"one object": {[]Sample{good}, "have 1 good objects"},
		"NaN":        {[]Sample{good, {Images: []float64{1}, Object: math.NaN(), Pixel: 1}}, "object 2 of 2: have score NaN"},
		"infinite":   {[]Sample{good, {Images: []float64{math.Inf(1)}, Object: 1, Pixel: 1}}, "have score +Inf"},
	} {
		if _, err := Fit(test.samples, 0.01, "test"); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: have %v, want %q", name, err, test.want)
		}
	}
	c, err := Fit([]Sample{good, good}, 0.01, "test")
	if err != nil {
		t.Fatal(err)
	}
	text, _ := c.Marshal()
	for name, test := range map[string]struct{ text, want string }{
		"empty":          {"", "EOF"},
		"cut":            {text[:len(text)/2], "EOF"},
		"two values":     {text + text, "more than one"},
		"unknown key":    {`{"treshold": 1}`, "treshold"},
		"no levels":      {`{"false_alarm": 0.01}`, "image.pooled: threshold: have 0"},
		"rate of 1":      {strings.Replace(text, `"false_alarm":0.01`, `"false_alarm":1`, 1), "false_alarm: have 1"},
		"no spread":      {strings.Replace(text, `"spread":`, `"spread":-`, 1), "spread"},
		"wrong freedom":  {strings.Replace(text, `"freedom":1`, `"freedom":0`, 1), "freedom"},
		"threshold text": {strings.Replace(text, `"threshold":`, `"threshold":"x`, 1), "invalid"},
	} {
		if _, err := Parse(test.text); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: have %v, want %q", name, err, test.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	rng := rand.New(rand.NewPCG(7, 8))
	c, err := Fit(normal(rng, "a", 5, 0), 0.05, "test")
	if err != nil {
		f.Fatal(err)
	}
	text, _ := c.Marshal()
	f.Add(text)
	extreme := `{"pooled":{"threshold":1e-300,"rate":0.5,"center":99,"spread":0.01,"freedom":30}}`
	f.Add(`{"false_alarm":0.01,"image":` + extreme + `,"object":` + extreme + `,"pixel":` + extreme + `}`)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse(text)
		if err != nil {
			if strings.Contains(fmt.Sprint(err), "\n") {
				t.Errorf("have several lines: %v", err)
			}
			return
		}
		for _, v := range []float64{0, 0.1, 1e300, math.Inf(1)} {
			if x := c.Object.Pooled.Value(v); !(x >= 0 && x <= 1) {
				t.Errorf("value of %v: %v", v, x)
			}
		}
		if _, err := c.Marshal(); err != nil {
			t.Error(err)
		}
	})
}
