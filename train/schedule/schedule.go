// Package schedule has the values that change over a training run, as pure functions of the iteration (0 for the first
// step).
package schedule

import "math"

// LR is the learning rate: linspace(0, peak, warmup) over the first warmup steps, then a cosine from peak to final
// (docs/model.md section 5).
func LR(iteration, warmup, iterations int, peak, final float64) float64 {
	if iteration < warmup {
		if warmup == 1 {
			return 0
		}
		return peak * float64(iteration) / float64(warmup-1)
	}
	progress := float64(iteration-warmup) / float64(iterations-warmup)
	return final + 0.5*(peak-final)*(1+math.Cos(math.Pi*progress))
}

// Linear goes from first to last over the run and stays there: scale and probability of the jitter (docs/model.md
// section 2).
func Linear(iteration, iterations int, first, last float64) float64 {
	if iteration >= iterations {
		return last
	}
	return first + (last-first)*float64(iteration)/float64(iterations)
}

// EasyFraction is the fraction of patches whose gradient is damped: linear from 0 to final over the first warmup steps
// (docs/model.md section 4).
func EasyFraction(iteration, warmup int, final float64) float64 {
	return min(final*float64(iteration)/float64(warmup), final)
}

// HardCount is how many of n patches are hard when the given fraction is easy, at least 1. It is float64 arithmetic: 31
// of 160 at 0.8, not 32.
func HardCount(n int, fraction float64) int {
	return max(1, int(float64(n)*(1-fraction)))
}
