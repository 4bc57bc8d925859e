package calibration

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
)

// scored are good objects of a class with random scores of one image.
func scored(rng *rand.Rand, class string, n int) (list []Good) {
	for i := range n {
		v := math.Exp(rng.NormFloat64() - 3)
		list = append(list, NewGood(fmt.Sprint(class, rng.Uint32(), i), class, map[string]Sample{
			Reconstruction: {Class: class, Images: []float64{v}, Object: v, Pixel: 2 * v}}))
	}
	return list
}

// samplesOf are samples of one group, and what they give.
func samplesOf(t *testing.T, objects []Good, falseAlarm float64) (*Samples, Heads) {
	t.Helper()
	s := &Samples{Groups: []Group{{Source: "test", FalseAlarm: falseAlarm, Heads: map[string][]string{Reconstruction: nil}, Objects: objects}}}
	h, err := s.Fit(Heads{})
	if err != nil {
		t.Fatal(err)
	}
	return s, h
}

// TestUndo adds to two classes several times and takes all back: each step is that of before, bit for bit.
func TestUndo(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	s, h := samplesOf(t, append(scored(rng, "nut", 9), scored(rng, "bolt", 5)...), 0.1)
	type state struct {
		s *Samples
		h Heads
	}
	states := []state{{s, h}}
	for i := range 6 {
		var err error
		s, h, err = s.Add(h, append(scored(rng, "nut", 1+3*(i%2)), scored(rng, "bolt", 2)...), "more", time.Unix(int64(i), 0))
		if err != nil {
			t.Fatal(err)
		}
		states = append(states, state{s, h})
	}
	for i := len(states) - 2; i >= 0; i-- {
		var undone Addition
		var err error
		if s, h, undone, err = s.Undo(h); err != nil || undone.Number != i+1 {
			t.Fatalf("have addition %d undone, error %v, want %d", undone.Number, err, i+1)
		}
		if !reflect.DeepEqual(h, states[i].h) || len(s.Additions) != i {
			t.Errorf("after undoing %d: have %+v, want %+v", i+1, h.Reconstruction, states[i].h.Reconstruction)
		}
	}
	if _, _, _, err := s.Undo(h); !errors.Is(err, ErrNoHistory) {
		t.Errorf("have %v, want no history", err)
	}
}

func TestAddChecks(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	s, h := samplesOf(t, scored(rng, "nut", 5), 0.1)
	known, one := s.Groups[0].Objects[3], scored(rng, "nut", 1)
	with := func(key string, scores Scores) Good {
		return Good{Key: key, Class: "nut", Scores: map[string]Scores{Reconstruction: scores}}
	}
	for name, c := range map[string]struct {
		good []Good
		want string
	}{
		"none":              {nil, "have no good objects"},
		"known":             {[]Good{one[0], known}, "is in the calibration already"},
		"twice":             {append(one, one...), "is in the calibration already"},
		"no scores":         {[]Good{with("a", nil)}, "have 0 numbers"},
		"not a number":      {[]Good{with("a", Scores{1, math.NaN()})}, "finite"},
		"infinite":          {[]Good{with("a", Scores{math.Inf(1), 1})}, "finite"},
		"of another head":   {[]Good{{Class: "nut", Scores: map[string]Scores{Memory: {1, 1}}}}, `class "nut": have no scores by a head`},
		"without any score": {[]Good{{Class: "nut"}}, "have no scores"},
	} {
		if _, _, err := s.Add(h, c.good, "test", time.Now()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: have %v, want %q", name, err, c.want)
		}
	}
	if len(s.Additions) != 0 {
		t.Error("an addition that was refused is there")
	}
	s.Groups[0].Objects = append(s.Groups[0].Objects, with(strings.Repeat("x", MaxSamples), Scores{1, 1}))
	if _, err := s.Marshal(); !errors.Is(err, ErrTooMany) {
		t.Errorf("have %v, want too many", err)
	}
}

// TestSelectedAdditions adds objects of a line of 200 good ones to a calibration, one by one, and measures the rate of the
// last threshold on further good objects. Where false alarms are added, it is at most the rate that is stated, and no
// addition lowers the threshold. Where objects below the threshold are added and false alarms are not, it is not.
func TestSelectedAdditions(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	const length = 200
	alarms := func(score, threshold float64) bool { return score > threshold }
	for _, c := range []struct {
		name       string
		lines      int
		objects    int
		falseAlarm float64
		add        func(score, threshold float64) bool
		holds      bool
	}{
		{"false alarms", 400, 12, 0.01, alarms, true},
		{"false alarms", 400, 40, 0.05, alarms, true},
		{"false alarms", 400, 120, 0.02, alarms, true},
		{"close to the threshold on both sides", 400, 40, 0.05, func(v, at float64) bool { return v > 0.7*at }, true},
		{"below the threshold", 40, 40, 0.05, func(v, at float64) bool { return v <= at }, false},
	} {
		first, stated, measured, added, lines := 0., 0., 0., 0, float64(c.lines)
		for range c.lines {
			s, h := samplesOf(t, scored(rng, "nut", c.objects), c.falseAlarm)
			first += h.Reconstruction.Object.For("nut").Rate / lines
			for _, o := range scored(rng, "nut", length) {
				at := h.Reconstruction.Object.For("nut").Threshold
				v := o.Scores[Reconstruction][1]
				if !c.add(v, at) {
					continue
				}
				var err error
				if s, h, err = s.Add(h, []Good{o}, "review", time.Now()); err != nil {
					t.Fatal(err)
				}
				if now := h.Reconstruction.Object.For("nut").Threshold; v > at && now < at {
					t.Fatalf("a false alarm has lowered the threshold from %v to %v", at, now)
				}
			}
			last := h.Reconstruction.Object.For("nut")
			stated += last.Rate / lines
			// scores are exp(normal - 3)
			measured += 0.5 * math.Erfc((math.Log(last.Threshold)+3)/math.Sqrt2) / lines
			added += len(s.Additions)
		}
		t.Logf("%d objects at %v, %.1f %s added: stated %.4f before, %.4f after, measured %.4f",
			c.objects, c.falseAlarm, float64(added)/lines, c.name, first, stated, measured)
		if c.holds != (measured <= stated) {
			t.Errorf("%d objects at %v, %s: have a rate of %.4f where %.4f is stated", c.objects, c.falseAlarm, c.name, measured, stated)
		}
	}
}
