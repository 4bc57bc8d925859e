package tensor

import (
	"fmt"
	"testing"
)

// beside returns the GPU's name, or skips the test where there is none.
func beside(t *testing.T) (gpu string) {
	t.Helper()
	if n, err := CUDADevices(); err != nil || n == 0 {
		t.Skip("no CUDA device")
	}
	gpu, _, _, _, err := DeviceInfo(0)
	if err != nil {
		t.Fatal(err)
	}
	if k := ChooseKernels(0, BFloat16, ModelShape{Channels: 128, Heads: 2, Tokens: 1, Layers: 1}); !k.Optimizer {
		t.Fatal(k)
	}
	return gpu
}

// drawn are random numbers around 0 of a type, drawn and rounded on the CPU whatever the device d.
func drawn(s *Scope, d Device, as DType, shape ...int64) *Tensor {
	x := Rand(s, CPU, shape...).AddScalar(s, -0.5).MulScalar(s, 4).To(s, as)
	return FromBytes(s, d, as, x.Bytes(), shape...)
}

// onHost are t's numbers, converted on the CPU.
func onHost(s *Scope, t *Tensor) []float32 {
	return FromBytes(s, CPU, t.DType(), t.Bytes(), t.Shape()...).To(s, Float).Floats()
}

// TestNormOnCUDA compares the kernels of AddNorm with LibTorch's operations on the CPU, forward and backward.
func TestNormOnCUDA(t *testing.T) {
	beside(t)
	for _, c := range []int64{128, 768, 1536} {
		for _, kind := range []string{"branch", "branch, no bias", "first"} {
			want, have := normOn(t, CPU, kind, 3, 7, c), normOn(t, 0, kind, 3, 7, c)
			for name := range want {
				compare(t, fmt.Sprint(c, " ", kind, " ", name), have[name], want[name], map[bool]float64{true: 1e-5, false: 0.01}[name == "sum"])
			}
		}
	}
}

func normOn(t *testing.T, d Device, kind string, b, n, c int64) map[string][]float32 {
	out := map[string][]float32{}
	must(t, func(s *Scope) {
		Seed(5)
		leaf := func(as DType, shape ...int64) *Tensor { return drawn(s, d, as, shape...).RequireGrad() }
		x, gamma, beta := leaf(Float, b, n, c), leaf(Float, c), leaf(Float, c)
		leaves := map[string]*Tensor{"x": x, "gamma": gamma, "beta": beta}
		var y, bias *Tensor
		if kind != "first" {
			y = leaf(BFloat16, b, n, c)
			leaves["y"] = y
		}
		if kind == "branch" {
			bias = leaf(Float, c)
			leaves["bias"] = bias
		}
		sum, normed := addNorm(s, x, y, bias, gamma, beta)
		out["sum"], out["normed"] = onHost(s, sum), onHost(s, normed)
		// The gradient of one alone is zero for the other.
		normed.BackwardFrom(drawn(s, d, BFloat16, b, n, c))
		for name, leaf := range leaves {
			out["gradient of "+name] = onHost(s, leaf.Grad(s))
		}
	})
	return out
}

// TestNormOfBothOnCUDA has gradients arrive by the sum and by what is normalised.
func TestNormOfBothOnCUDA(t *testing.T) {
	beside(t)
	both := func(d Device) (grad []float32) {
		must(t, func(s *Scope) {
			Seed(6)
			x, y := drawn(s, d, Float, 5, 256).RequireGrad(), drawn(s, d, BFloat16, 5, 256)
			one, zero := drawn(s, d, Float, 256), drawn(s, d, Float, 256)
			sum, normed := addNorm(s, x, y, nil, one, zero)
			_, last := addNorm(s, sum, normed, nil, one, zero)
			last.BackwardFrom(drawn(s, d, BFloat16, 5, 256))
			grad = onHost(s, x.Grad(s))
		})
		return grad
	}
	compare(t, "gradient of x", both(0), both(CPU), 0.01)
}

// addNorm is AddNorm on CUDA, and on the CPU what it stands for.
func addNorm(s *Scope, x, y, bias, gamma, beta *Tensor) (sum, normed *Tensor) {
	if x.Device() != CPU {
		return x.AddNorm(s, y, bias, gamma, beta, 1e-6)
	}
	if bias != nil {
		y = y.Add(s, bias)
	}
	if y != nil {
		x = x.Add(s, y)
	}
	return x, x.LayerNorm(s, gamma, beta, 1e-6).To(s, BFloat16)
}
