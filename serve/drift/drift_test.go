package drift

import (
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// scores are n of good objects: lognormal with the spread of scores on rendered parts, shifted by so many standard
// deviations of the logarithm, and rounded to so many steps of it, unless steps is 0.
func scores(rng *rand.Rand, n int, shift, steps float64) []float64 {
	list := make([]float64, n)
	for i := range list {
		v := rng.NormFloat64() + shift
		if steps > 0 {
			v = math.Round(v*steps) / steps
		}
		list[i] = 0.1 * math.Exp(0.2*v)
	}
	return list
}

// rate is the part of windows that drift, each with a calibration of its own, where change changes the recent scores.
func rate(t *testing.T, rng *rand.Rand, windows, calibrated, window int, shift, steps float64, side Side, change func([]float64)) float64 {
	t.Helper()
	n := 0
	for i := range windows {
		recent, calibration := scores(rng, window, shift, steps), scores(rng, calibrated, 0, steps)
		if change != nil {
			change(recent)
		}
		// The exact test takes a millisecond. It is asked for all of the first windows, and then where it may say drift.
		central := math.Abs(deviation(calibration, recent)) < 2.6
		if central && i >= 500 {
			continue
		}
		r, err := Test(calibration, recent, side)
		if err != nil {
			t.Fatal(err)
		}
		if r.Drift {
			n++
		}
		if r.Drift && central {
			t.Errorf("window %d: drifts at %v deviations, want at least 2.6", i, deviation(calibration, recent))
		}
	}
	return float64(n) / float64(windows)
}

// deviation is how many standard deviations U lies from its mean, without regard to ties.
func deviation(calibration, recent []float64) float64 {
	u := 0.
	for _, a := range recent {
		for _, b := range calibration {
			switch {
			case a > b:
				u++
			case a == b:
				u += 0.5
			}
		}
	}
	n, m := float64(len(recent)), float64(len(calibration))
	return (u - n*m/2) / math.Sqrt(n*m*(n+m+1)/12)
}

// TestFalseAlarms measures the rate of false alarms of 20,000 windows each, or as many as MVAG_TEST_WINDOWS says.
func TestFalseAlarms(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	windows := 20000
	if n, err := strconv.Atoi(os.Getenv("MVAG_TEST_WINDOWS")); err == nil {
		windows = n
	}
	for _, c := range []struct {
		name       string
		calibrated int
		steps      float64
		side       Side
	}{
		{"12", 12, 0, Both}, {"40", 40, 0, Both}, {"200", 200, 0, Both}, {"12, higher", 12, 0, Higher}, {"200, higher", 200, 0, Higher},
		{"12 with ties", 12, 2, Both}, {"40 with ties", 40, 2, Both}, {"200 with ties", 200, 2, Both}, {"12 with many ties", 12, 0.7, Both},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			have := rate(t, rand.New(rand.NewPCG(7, uint64(c.calibrated))), windows, c.calibrated, Window, 0, c.steps, c.side, nil)
			t.Logf("calibrated with %s: %.5f of windows drift", c.name, have)
			// Three standard deviations of a count at the stated rate.
			if most := FalseAlarm + 3*math.Sqrt(FalseAlarm/float64(windows)); have > most {
				t.Errorf("have a rate of %.5f, want at most %.5f", have, most)
			}
		})
	}
}

// TestPower measures how many windows drift where scores have moved by one standard deviation. The least and most are three
// standard deviations of the measurement from what it gave when it was written.
func TestPower(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 9))
	for _, c := range []struct {
		calibrated, window int
		shift              float64
		side               Side
		least, most        float64
	}{
		{12, Window, 1, Both, 0.25, 0.35}, {40, Window, 1, Both, 0.85, 0.92}, {200, Window, 1, Both, 0.98, 1}, {40, Window, -1, Both, 0.85, 0.92},
		{40, Window, 1, Higher, 0.90, 0.96}, {40, Window, -1, Higher, 0, 0}, {12, 20, 1, Both, 0.14, 0.23}, {40, 20, 1, Both, 0.46, 0.57}, {200, 20, 1, Both, 0.71, 0.81},
	} {
		have := rate(t, rng, 1000, c.calibrated, c.window, c.shift, 0, c.side, nil)
		t.Logf("%d calibrated, window of %d, shift of %v: %.3f", c.calibrated, c.window, c.shift, have)
		if have < c.least || have > c.most {
			t.Errorf("%d calibrated, window of %d, shift of %v: have %.3f, want %v to %v", c.calibrated, c.window, c.shift, have, c.least, c.most)
		}
	}
}

// TestDefects measures how often windows drift because of defective objects that nobody has reviewed, whose scores lie
// above all good ones.
func TestDefects(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	for _, c := range []struct {
		calibrated    int
		defects, most float64
	}{{12, 0.05, 0.002}, {40, 0.05, 0.003}, {200, 0.02, 0.004}, {200, 0.05, 0.008}, {12, 0.2, 0.008}, {40, 0.1, 0.008}, {40, 0.2, 0.05}, {200, 0.1, 0.026}, {200, 0.2, 0.18}} {
		have := rate(t, rng, 2000, c.calibrated, Window, 0, 0, Both, func(recent []float64) {
			for i := range recent {
				if rng.Float64() < c.defects {
					recent[i] = 10
				}
			}
		})
		t.Logf("%d calibrated, %v of objects defective: %.4f", c.calibrated, c.defects, have)
		if have > c.most {
			t.Errorf("%d calibrated, %v of objects defective: have %.4f, want at most %v", c.calibrated, c.defects, have, c.most)
		}
	}
}

// TestSameCalibration: windows compared with one calibration are no independent chances. Over lines of 20 windows and 12
// calibrated objects each, the rate is as stated, and the alarms come in a row on few of the lines. Independent ones would
// be on about as many lines as there are alarms.
func TestSameCalibration(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	rng := rand.New(rand.NewPCG(10, 11))
	const lines, windows = 1000, 20
	alarms, lined := 0, 0
	for range lines {
		calibration, n := scores(rng, 12, 0, 0), 0
		for range windows {
			r, err := Test(calibration, scores(rng, Window, 0, 0), Both)
			if err != nil {
				t.Fatal(err)
			}
			if r.Drift {
				n++
			}
		}
		if alarms += n; n > 0 {
			lined++
		}
	}
	t.Logf("%d false alarms of %d windows, on %d of %d lines", alarms, lines*windows, lined, lines)
	if float64(lined) > 0.9*float64(alarms) {
		t.Errorf("have %d alarms on %d lines, want them on fewer", alarms, lined)
	}
	// In the worst case all alarms of a line come together.
	if have := float64(alarms) / (lines * windows); have > FalseAlarm+3*math.Sqrt(FalseAlarm*windows/(lines*windows)) {
		t.Errorf("have a rate of %v", have)
	}
}

func TestCases(t *testing.T) {
	same := []float64{1, 1, 1, 1}
	if r, err := Test(same, same, Both); err != nil || r.Drift || r.P != 1 {
		t.Errorf("all equal: have %+v, %v", r, err)
	}
	if _, err := Test([]float64{1, 2}, same, Both); !errors.Is(err, ErrFew) {
		t.Errorf("two calibrated objects: have %v", err)
	}
	if _, err := Test(same, nil, Both); err == nil {
		t.Error("without recent scores: have no error")
	}
}
