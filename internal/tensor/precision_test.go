package tensor

import (
	"slices"
	"testing"
)

// TestConv2dExact: the exact convolution has the bits of Conv2d on the CPU.
func TestConv2dExact(t *testing.T) {
	must(t, func(s *Scope) {
		Seed(9)
		x, w := Rand(s, CPU, 2, 1, 12, 12), Rand(s, CPU, 1, 1, 5, 5)
		if have, want := x.Conv2dExact(s, w, 2).Floats(), x.Conv2d(s, w, nil, 1, 2).Floats(); !slices.Equal(have, want) {
			t.Errorf("have %v, want %v", have[:5], want[:5])
		}
	})
}

// TestConv2dExactOnCUDA has the runtime without a GPU refuse what may be computed in TF32.
func TestConv2dExactOnCUDA(t *testing.T) {
	if beside(t) != "stub" {
		t.Skip("a GPU does not refuse TF32")
	}
	if err := SetPrecision("tf32"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = SetPrecision("fp32") })
	t.Setenv("MVAG_STUB_EXACT", "1")
	convolve := func(exact bool) error {
		return Run(func(s *Scope) error {
			x, w := Zeros(s, 0, Float, 2, 1, 12, 12), Zeros(s, 0, Float, 1, 1, 5, 5)
			if exact {
				x.Conv2dExact(s, w, 2)
			} else {
				x.Conv2d(s, w, nil, 1, 2)
			}
			return nil
		})
	}
	if err := convolve(false); err == nil {
		t.Error("the runtime does not see TF32")
	}
	if err := convolve(true); err != nil {
		t.Error(err)
	}
}
