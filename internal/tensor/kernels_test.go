package tensor

import (
	"fmt"
	"testing"
)

// TestKernelsOnCUDA compares our kernels with our loops on the CPU, and with LibTorch's operations where the type is
// bfloat16, forward and backward. What stands for a GPU (make dry-cuda) runs the kernels and copies, nothing else.
func TestKernelsOnCUDA(t *testing.T) {
	gpu := beside(t)
	for _, dtype := range []DType{Float, BFloat16} {
		share := map[DType]float64{Float: 1e-5, BFloat16: 0.01}[dtype]
		onCPU, onCUDA := headsOn(t, CPU, dtype), headsOn(t, 0, dtype)
		for name, want := range onCPU {
			if gpu == "stub" && (name == "bias" || name == "spread") {
				continue // LibTorch's own operations
			}
			compare(t, fmt.Sprint(dtype, " ", name), onCUDA[name], want, share)
		}
	}
}

// headsOn computes what heads.hpp has on device d, from tokens of dtype, and its gradients.
func headsOn(t *testing.T, d Device, dtype DType) map[string][]float32 {
	const objects, views, heads, tokens, dim = 2, 3, 2, 5, 7
	const b, c = objects * views, heads * dim
	out := map[string][]float32{}
	must(t, func(s *Scope) {
		Seed(3)
		random := func(as DType, shape ...int64) *Tensor { return drawn(s, d, as, shape...) }
		host := func(x *Tensor) *Tensor { return FromBytes(s, CPU, x.DType(), x.Bytes(), x.Shape()...) }
		keep := func(name string, x *Tensor) { out[name] = onHost(s, x) }
		qkv, bias := random(dtype, b, tokens, 3*c), random(Float, 3*c)
		for i, columns := range []int64{dim, dim, dim + 1} {
			x, by := qkv.Detach(s).RequireGrad(), bias.Detach(s).RequireGrad()
			q, k, v := x.SplitLinearHeads(s, by, views, heads, true)
			part := []*Tensor{q, k, v}[i]
			keep(fmt.Sprint("split ", i), part)
			part.BackwardFrom(random(Float, objects, heads, views, tokens, columns))
			// The gradient of the other two parts is zero, which LibTorch fills in.
			keep(fmt.Sprint("split backward ", i), host(x.Grad(s)).Slice(s, -1, int64(i)*c, c))
			keep("bias", by.Grad(s))
		}
		sums := random(Float, objects, heads, views, tokens, dim+1).RequireGrad()
		merged := sums.MergeLinearHeads(s, 10, true)
		keep("merge", merged)
		merged.BackwardFrom(random(Float, b, tokens, c))
		keep("merge backward", sums.Grad(s))
		q, scale := random(Float, b, tokens, dim).RequireGrad(), random(Float, b, tokens, views).RequireGrad()
		spread := q.Spread(s, scale, true)
		keep("spread", spread)
		spread.BackwardFrom(random(Float, b, tokens, views, dim))
		keep("spread backward q", q.Grad(s))
		keep("spread backward scale", scale.Grad(s))
	})
	return out
}
