package tensor

import "testing"

// TestLinearOnCUDA compares layers of bfloat16 with LibTorch's operations on the CPU, backward too. What stands for a
// GPU computes no product: there the sums of the gradient alone are the same.
func TestLinearOnCUDA(t *testing.T) {
	gpu := beside(t)
	for _, gelu := range []bool{false, true} {
		if gpu == "stub" && gelu {
			continue // of a product
		}
		want, have := linearOn(t, CPU, gelu), linearOn(t, 0, gelu)
		for name := range want {
			if gpu != "stub" || name == "b" {
				compare(t, name, have[name], want[name], 0.02)
			}
		}
	}
}

func linearOn(t *testing.T, d Device, gelu bool) map[string][]float32 {
	const b, n, in, width = 3, 70, 64, 520
	out := map[string][]float32{}
	must(t, func(s *Scope) {
		Seed(7)
		x, w, by := drawn(s, d, BFloat16, b, n, in).RequireGrad(), drawn(s, d, Float, width, in).RequireGrad(), drawn(s, d, Float, width).RequireGrad()
		var y *Tensor
		if d == CPU {
			y = x.Linear(s, w.To(s, BFloat16), by.To(s, BFloat16))
			if gelu {
				y = y.Gelu(s)
			}
		} else {
			y = x.LinearBFloat16(s, w, by, gelu)
		}
		out["y"] = onHost(s, y)
		y.BackwardFrom(drawn(s, d, BFloat16, b, n, width))
		for name, leaf := range map[string]*Tensor{"x": x, "w": w, "b": by} {
			out[name] = onHost(s, leaf.Grad(s))
		}
	})
	return out
}
