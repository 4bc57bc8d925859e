package tensor

import "testing"

// TestMeansOnCUDA compares the kernel for means with what is composed on the CPU.
func TestMeansOnCUDA(t *testing.T) {
	beside(t)
	of := [][]int{{0, 1, 2}, {3, 4}, {0, 1, 2, 3, 4}}
	means := func(d Device) (values []float32) {
		must(t, func(s *Scope) {
			Seed(2)
			var xs []*Tensor
			for range 5 {
				xs = append(xs, FromFloats(s, d, Rand(s, CPU, 7, 11, 12).Floats(), 7, 11, 12))
			}
			for _, x := range Means(s, d != CPU, xs, of...) {
				values = append(values, x.Floats()...)
			}
		})
		return values
	}
	compare(t, "means", means(0), means(CPU), 1e-7)
}
