package tensor

import "testing"

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
			out["norm"] = append(out["norm"], StableAdamW(s, p, m, v, x, opt.Rates(s, d, 0.1, step+1), opt).Floats()...)
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
