package tensor

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

func value(s *Scope, d Device, v float32) *Tensor { return FromFloats(s, d, []float32{v}) }

// TestUnsoundStepChangesNothing takes two steps, then one whose loss, gradients or their norm are not finite, and one
// more: the third leaves all as it was to the bit, and the fourth goes on from there.
func TestUnsoundStepChangesNothing(t *testing.T) {
	for _, fused := range []bool{true, false} {
		t.Run(fmt.Sprintf("fused %v", fused), func(t *testing.T) { unsoundSteps(t, CPU, fused) })
	}
}

func TestUnsoundStepChangesNothingOnCUDA(t *testing.T) {
	gpu := beside(t)
	for _, fused := range []bool{true, false} {
		if !fused && gpu == "stub" {
			continue // it computes our kernels only
		}
		t.Run(fmt.Sprintf("fused %v", fused), func(t *testing.T) { unsoundSteps(t, 0, fused) })
	}
}

func unsoundSteps(t *testing.T, d Device, fused bool) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		name       string
		loss, grad float32 // grad of one element
		changes    bool
	}{
		{"sound", 1, 1, true}, {"loss NaN", nan, 1, false}, {"loss +Inf", inf, 1, false}, {"loss -Inf", -inf, 1, false},
		{"gradient NaN", 1, nan, false}, {"gradient Inf", 1, -inf, false}, {"norm beyond float32", 1, 1e30, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			must(t, func(s *Scope) {
				Seed(5)
				var p, m, v, x []*Tensor
				for _, n := range []int64{3, 5000, 17} {
					p = append(p, FromFloats(s, d, Rand(s, CPU, n).Floats(), n).RequireGrad())
					zero := func() *Tensor { return FromFloats(s, d, make([]float32, n), n) }
					m, v, x = append(m, zero()), append(v, zero()), append(x, zero())
				}
				opt := AdamW{Beta1: 0.9, Beta2: 0.999, Eps: 1e-10, WeightDecay: 0.5, Clip: 1, Fused: fused}
				step := func(number int64, loss, grad float32) (norm float64, state []float32) {
					for i, q := range p {
						g := slices.Repeat([]float32{0.1}, int(q.Numel()))
						if i == 1 {
							g[4097] = grad
						}
						q.BackwardFrom(FromFloats(s, d, g, q.Numel()))
					}
					norm = StableAdamW(s, p, m, v, x, opt.Rates(s, d, 0.1, number), value(s, d, loss), opt).Item()
					ClearGrads(p)
					for _, q := range slices.Concat(p, m, v, x) {
						state = append(state, q.Floats()...)
					}
					return norm, state
				}
				step(1, 1, 1)
				_, before := step(2, 1, 1)
				norm, after := step(3, c.loss, c.grad)
				if slices.Equal(before, after) == c.changes {
					t.Errorf("norm %v: changed %v, want %v", norm, !c.changes, c.changes)
				}
				_, next := step(4, 1, 1)
				if slices.Equal(after, next) || slices.ContainsFunc(next, func(f float32) bool { return f-f != 0 }) {
					t.Errorf("the step after it: nothing changed, or not to finite values")
				}
			})
		})
	}
}

// TestStableAdamWOnCUDA compares the kernels for CUDA with the loops for the CPU over three steps. There are more
// parameters than one launch takes, one is no multiple of 16 bytes into its memory, and one has no gradient.
func TestStableAdamWOnCUDA(t *testing.T) {
	beside(t)
	for _, clip := range []float64{1, 1e6} {
		have, want := stepsOn(t, 0, clip), stepsOn(t, CPU, clip)
		for name := range want {
			compare(t, name, have[name], want[name], 1e-5)
		}
	}
}

// stepsOn returns gradient norms, and parameters and moments after the last step.
func stepsOn(t *testing.T, d Device, clip float64) map[string][]float32 {
	out := map[string][]float32{}
	must(t, func(s *Scope) {
		Seed(5)
		random := func(n int64) *Tensor { return FromFloats(s, d, Rand(s, CPU, n).AddScalar(s, -0.5).Floats(), n) }
		zero := func(n int64) *Tensor { return FromFloats(s, d, make([]float32, n), n) }
		var p, m, v, x []*Tensor
		sizes := []int64{1, 4, 5, 4096, 4097, 3*4096 + 7, 60000}
		for len(sizes) < 70 {
			sizes = append(sizes, 9)
		}
		for _, n := range sizes {
			p = append(p, random(n).RequireGrad())
			m, v, x = append(m, zero(n)), append(v, zero(n)), append(x, zero(n))
		}
		p = append(p, random(12).Slice(s, 0, 1, 10).Detach(s).RequireGrad())
		m, v, x = append(m, zero(10)), append(v, zero(10)), append(x, zero(10))
		opt := AdamW{Beta1: 0.9, Beta2: 0.999, Eps: 1e-10, WeightDecay: 0.5, Clip: clip, Fused: true}
		for step := range int64(3) {
			for i, q := range p {
				if i != 9 {
					q.BackwardFrom(random(q.Numel()))
				}
			}
			out["norm"] = append(out["norm"], StableAdamW(s, p, m, v, x, opt.Rates(s, d, 0.1, step+1), value(s, d, 1), opt).Floats()...)
			ClearGrads(p)
		}
		for name, list := range map[string][]*Tensor{"p": p, "m": m, "v": v, "vmax": x} {
			for _, q := range list {
				out[name] = append(out[name], q.Floats()...)
			}
		}
	})
	return out
}
