// Package drift tests whether the scores of recent objects still fit those that a calibration rests on. Where they do
// not, something has changed: light, lens, position, supplier. Then thresholds no longer promise what they say.
package drift

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/aclements/go-moremath/stats"
)

const (
	// Window is the number of objects that are compared with the calibration at once. A smaller one tells sooner and sees
	// less: of shifts by one standard deviation, against 40 calibrated objects, windows of 50 see 88 %, of 20 see 52 %. A
	// slow line waits longer for its windows, and gets fewer false alarms.
	Window = 50
	// FalseAlarm is the chance, at most, that a window drifts though nothing has changed. Windows are disjoint, but all are
	// compared with the same calibration: where that happens to lie off, false alarms come in a row.
	FalseAlarm = 0.001
	// Name of the test.
	Name = "Mann-Whitney U"
)

// Statement says in a sentence what the test promises.
var Statement = fmt.Sprintf("As long as light, cameras and parts are as they were for the calibration, at most one of %.0f windows of %d objects is called "+
	"drifted on average over calibrations, so that a drifted window means: scores have moved, and thresholds no longer promise their rate.", 1/FalseAlarm, Window)

// Side says which moves count.
type Side int

// The sides.
const (
	Both   Side = iota // higher and lower scores
	Higher             // for calibrations whose scores are rather too high, as those of enrolled classes
)

// Result is what the test says of the scores of a window.
type Result struct {
	P      float64 // chance of scores as far from the calibration or farther, though nothing has changed
	Drift  bool    // P is at most FalseAlarm
	Higher bool    // recent scores are rather higher than those of the calibration
}

// ErrFew is the error of a calibration with so few objects that no window could ever drift.
var ErrFew = errors.New("have too few calibrated objects for a test, want at least 3")

// Test compares recent scores with those of a calibration by the test of Mann and Whitney: exact for up to 50 of each
// without ties, else by the normal distribution. Scores are finite, and there is at least one recent one.
func Test(calibration, recent []float64, side Side) (Result, error) {
	if len(calibration) < 3 {
		return Result{}, ErrFew
	}
	alternative := stats.LocationDiffers
	if side == Higher {
		alternative = stats.LocationGreater
	}
	r, err := stats.MannWhitneyUTest(recent, calibration, alternative)
	switch {
	case errors.Is(err, stats.ErrSamplesEqual):
		return Result{P: 1}, nil
	case err != nil:
		return Result{}, fmt.Errorf("drift: %w", err)
	}
	out := Result{P: math.Min(1, r.P), Higher: r.U > float64(r.N1*r.N2)/2}
	out.Drift = out.P <= FalseAlarm
	return out, nil
}

// Windows divides n objects in the order of time, from the first after a calibration on, into full windows: pairs of the
// first index and the one after the last. Objects after the last window wait for theirs to be full.
func Windows(n int) (list [][2]int) {
	for at := range n / Window {
		list = append(list, [2]int{at * Window, (at + 1) * Window})
	}
	return list
}

// Median of scores, NaN without any.
func Median(scores []float64) float64 {
	if len(scores) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(scores))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}
