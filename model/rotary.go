package model

import (
	"math"

	"mvag-torch/internal/tensor"
	"mvag-torch/model/weights"
)

// Rotary rotates pairs of channels by angles that depend on the position of a patch (DINOv3; timm's
// RotaryEmbeddingDinoV3). Channel i of the first half of a head is paired with channel i of the second. In the first
// half, the first quarter of the channels goes by the row, the second by the column. Class token and registers stay as
// they are.
type Rotary struct {
	Cos, Sin *tensor.Tensor // [N, D]
}

// rotaryBase is the longest period, in half-widths of the image.
const rotaryBase = 100

// newRotary computes the angles 2π·u/period, where u is the centre of the patch, from -1 to 1 across the image, and the
// period is rotaryBase^(i/(D/4)), i = 0 … D/4-1. Both are float32, as in timm; the release stores periods rounded to
// bfloat16.
func newRotary(s *tensor.Scope, d tensor.Device, arch weights.Arch, rows, columns int64) *Rotary {
	dim := arch.Dim / arch.Heads // D
	n := arch.Prefix() + int(rows*columns)
	cos, sin := make([]float32, n*dim), make([]float32, n*dim)
	for i := range arch.Prefix() * dim {
		cos[i] = 1
	}
	quarter := dim / 4
	for p := range int(rows * columns) {
		row, column := p/int(columns), p%int(columns)
		at := (arch.Prefix() + p) * dim
		for i := range quarter {
			period := float32(math.Pow(rotaryBase, float64(i)/float64(quarter)))
			for axis, u := range []float32{centre(row, rows), centre(column, columns)} {
				angle := float64(2 * math.Pi * u / period)
				for _, c := range []int{axis*quarter + i, dim/2 + axis*quarter + i} {
					cos[at+c], sin[at+c] = float32(math.Cos(angle)), float32(math.Sin(angle))
				}
			}
		}
	}
	shape := []int64{int64(n), int64(dim)}
	return &Rotary{tensor.FromFloats(s, d, cos, shape...), tensor.FromFloats(s, d, sin, shape...)}
}

// centre is the middle of cell i of n in [-1, 1].
func centre(i int, n int64) float32 { return 2*((float32(i)+0.5)/float32(n)) - 1 }

// Forward maps x [B, H, N, D] to [B, H, N, D] of its type, by way of float32.
func (r *Rotary) Forward(s *tensor.Scope, x *tensor.Tensor) *tensor.Tensor {
	half := x.Dim(3) / 2
	across := tensor.Cat(s, 3, x.Slice(s, 3, half, half).Neg(s), x.Slice(s, 3, 0, half))
	return x.Mul(s, r.Cos).Add(s, across.Mul(s, r.Sin)).To(s, x.DType())
}
