package tensor

import "testing"

// TestLinearHeads compares the loops with LibTorch's operations, forward and backward.
func TestLinearHeads(t *testing.T) {
	const views, heads, n, d = 2, 3, 5, 19
	parts := func(fused bool) (values []float32) {
		must(t, func(s *Scope) {
			Seed(3)
			leaf := func(shape ...int64) *Tensor { return Zeros(s, CPU, Float, shape...).RandnLike(s).RequireGrad() }
			weigh := func(x *Tensor) *Tensor { // a scalar with another gradient for each element
				w := Zeros(s, CPU, Float, x.Shape()...).RandnLike(s)
				return x.Mul(s, w).Reshape(s, -1).Sum(s, false, 0)
			}
			keep := func(xs ...*Tensor) {
				for _, x := range xs {
					values = append(values, x.Floats()...)
				}
			}
			qkv, bias := leaf(2*views, n, 3*heads*d), leaf(3*heads*d)
			q, k, v := qkv.SplitLinearHeads(s, bias, views, heads, fused)
			weigh(q).Add(s, weigh(k)).Add(s, weigh(v)).Backward()
			keep(q, k, v, qkv.Grad(s), bias.Grad(s))

			sums := leaf(2, heads, views, n, d+1)
			merged := sums.Square(s).MergeLinearHeads(s, 0.1, fused)
			weigh(merged).Backward()
			keep(merged, sums.Grad(s))

			rows, scale := leaf(2, n, d), leaf(2, n, views)
			spread := rows.Spread(s, scale, fused)
			weigh(spread).Backward()
			keep(spread, rows.Grad(s), scale.Grad(s))
		})
		return values
	}
	compare(t, "fused", parts(true), parts(false), 1e-6)
}

// TestLinearAdd compares a linear layer onto a residual with the operations it stands for, forward and backward.
func TestLinearAdd(t *testing.T) {
	parts := func(composed bool) (values []float32) {
		must(t, func(s *Scope) {
			Seed(4)
			leaf := func(shape ...int64) *Tensor { return Zeros(s, CPU, Float, shape...).RandnLike(s).RequireGrad() }
			base, x, w, b := leaf(2, 5, 3), leaf(2, 5, 7), leaf(3, 7), leaf(3)
			y := x.LinearAdd(s, base, w, b)
			if composed {
				y = base.Add(s, x.Linear(s, w, b))
			}
			y.Square(s).Reshape(s, -1).Sum(s, false, 0).Backward()
			values = y.Floats()
			for _, t := range []*Tensor{base, x, w, b} {
				values = append(values, t.Grad(s).Floats()...)
			}
		})
		return values
	}
	compare(t, "onto a residual", parts(false), parts(true), 1e-5)
}

// TestBFloat16 holds the detour of CPUs without bfloat16 to what LibTorch itself computes there: the last of 8 bits may
// be rounded another way.
func TestBFloat16(t *testing.T) {
	parts := func(slow bool) (values []float32) {
		before := slowBFloat16
		slowBFloat16 = slow
		defer func() { slowBFloat16 = before }()
		must(t, func(s *Scope) {
			Seed(6)
			leaf := func(shape ...int64) *Tensor { return Zeros(s, CPU, Float, shape...).RandnLike(s).RequireGrad() }
			x, w, b := leaf(2, 3, 4, 8), leaf(8, 8), leaf(8)
			y := x.To(s, BFloat16).Linear(s, w.To(s, BFloat16), b.To(s, BFloat16))
			y.To(s, Float).Square(s).Reshape(s, -1).Sum(s, false, 0).Backward()
			for _, t := range []*Tensor{y, w.Grad(s), Attention(s, y, y, y)} {
				values = append(values, t.To(s, Float).Floats()...)
			}
		})
		return values
	}
	compare(t, "bfloat16", parts(true), parts(false), 2e-2)
}

func TestRecordWantsACUDADevice(t *testing.T) {
	must(t, func(s *Scope) {
		called := false
		g, err := RecordGraph(s, CPU, nil, func() { called = true })
		if g != nil || called || err == nil || err.Error() != "cpu: graph(): have the CPU, want a CUDA device" {
			t.Errorf("have %v, called: %v", err, called)
		}
	})
}
