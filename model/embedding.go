package model

import (
	"math"

	"mvag-torch/internal/tensor"
	"mvag-torch/model/weights"
)

// Embedding turns images into tokens: normalisation, a matmul over the pixels of each patch, positions.
type Embedding struct {
	arch      weights.Arch
	Mean, Std *tensor.Tensor // of the pretraining [1, 3, 1, 1]

	Weight   *tensor.Tensor  // of the convolution [C, 3, patch, patch]
	Bias     *tensor.Tensor  // [C], or nil
	Prefix   *tensor.Tensor  // class token with its position, then the registers [1, 1+R, C]
	Position *tensor.Tensor  // [1, P, C]; nil where positions are rotary
	fused    *fusedEmbedding // the same for uint8 images, in bfloat16 on CUDA; else nil
}

// newStatistics is an Embedding that only normalises.
func newStatistics(s *tensor.Scope, d tensor.Device, arch weights.Arch) Embedding {
	mean, std := arch.Statistics()
	vector := func(x [3]float32) *tensor.Tensor { return tensor.FromFloats(s, d, x[:], 1, 3, 1, 1) }
	return Embedding{arch: arch, Mean: vector(mean), Std: vector(std)}
}

// newEmbedding binds the embedding for rows x columns patches. A position table of 1+P entries, whose length is then no
// square, has one for the class token; registers have none.
func newEmbedding(s *tensor.Scope, w binder, arch weights.Arch, rows, columns int64) Embedding {
	e := newStatistics(s, w.device, arch)
	e.Weight, e.Bias = w.Tensor("patch_embed.proj.weight", nil), w.Optional("patch_embed.proj.bias")
	e.Prefix = w.Tensor("cls_token", nil) // [1, 1, C]
	if arch.Family != weights.DINOv3 {
		table := w.Tensor("pos_embed", nil)
		if n := table.Dim(1); isqrt(n)*isqrt(n) != n {
			e.Prefix = e.Prefix.Add(s, table.Slice(s, 1, 0, 1))
			table = table.Slice(s, 1, 1, n-1)
		}
		e.Position = resamplePosition(s, table, rows, columns) // [1, P, C]
	}
	if arch.Registers > 0 {
		e.Prefix = tensor.Cat(s, 1, e.Prefix, w.Tensor("reg_token", nil)) // [1, 1+R, C]
	}
	if w.kernels.Patches {
		e.fused = newFusedEmbedding(s, &e, rows*columns, w.kernels)
	}
	return e
}

// Forward maps images [B, 3, H, W], uint8 or normalised float32, to tokens [B, N, C].
func (e *Embedding) Forward(s *tensor.Scope, images *tensor.Tensor) *tensor.Tensor {
	if e.fused != nil && images.DType() == tensor.Uint8 {
		return e.fused.Forward(s, images)
	}
	x := e.normalize(s, images)
	x = x.Conv2d(s, e.Weight, e.Bias, int64(e.arch.Patch), 0)                  // [B, C, rows, columns]
	x = x.Reshape(s, x.Dim(0), x.Dim(1), x.Dim(2)*x.Dim(3)).Transpose(s, 1, 2) // [B, P, C]
	if e.Position != nil {
		x = x.Add(s, e.Position)
	}
	return tensor.Cat(s, 1, e.Prefix.Expand(s, x.Dim(0), -1, -1), x) // [B, N, C]
}

// normalize maps uint8 images [B, 3, H, W] to float32 with the mean and standard deviation of the pretraining; float32
// images are taken as normalised.
func (e *Embedding) normalize(s *tensor.Scope, images *tensor.Tensor) *tensor.Tensor {
	if images.DType() != tensor.Uint8 {
		return images
	}
	return images.To(s, tensor.Float).MulScalar(s, 1.0/255).Sub(s, e.Mean).Div(s, e.Std)
}

// resamplePosition maps a table [1, n², C] to [1, rows·columns, C] as timm's resample_abs_pos_embed: bicubic and
// antialiased. A table of the same grid stays as it is.
func resamplePosition(s *tensor.Scope, table *tensor.Tensor, rows, columns int64) *tensor.Tensor {
	n, dim := isqrt(table.Dim(1)), table.Dim(2)
	if n == rows && n == columns {
		return table
	}
	grid := table.Reshape(s, 1, n, n, dim).Permute(s, 0, 3, 1, 2)       // [1, C, n, n]
	grid = grid.BicubicAntialiased(s, rows, columns)                    // [1, C, rows, columns]
	return grid.Permute(s, 0, 2, 3, 1).Reshape(s, 1, rows*columns, dim) // [1, P, C]
}

func isqrt(n int64) int64 { return int64(math.Sqrt(float64(n))) }

// fusedEmbedding computes normalisation, patches and positions as one matmul in bfloat16 between two kernels.
type fusedEmbedding struct {
	mean, std *tensor.Tensor // of the pixels [3]
	patch     int64          // side in pixels
	linear    Linear         // weight bfloat16 [C, K]: K = 3·patch² and zeros up to a multiple of 8; no bias
	table     *tensor.Tensor // what is the same for all images: the prefix, then position + bias [N, C]
}

func newFusedEmbedding(s *tensor.Scope, e *Embedding, patches int64, k *tensor.Kernels) *fusedEmbedding {
	f := &fusedEmbedding{mean: e.Mean.Reshape(s, 3), std: e.Std.Reshape(s, 3), patch: int64(e.arch.Patch)}
	f.linear.kernels = k
	device, dim, pixels := e.Prefix.Device(), int64(e.arch.Dim), 3*f.patch*f.patch
	f.linear.Weight = s.Local(func(s *tensor.Scope) *tensor.Tensor {
		w := e.Weight.Reshape(s, dim, pixels)
		if over := pixels % 8; over > 0 {
			w = tensor.Cat(s, 1, w, tensor.Zeros(s, device, tensor.Float, dim, 8-over))
		}
		return w.To(s, tensor.BFloat16)
	})
	f.table = s.Local(func(s *tensor.Scope) *tensor.Tensor {
		patch := tensor.Zeros(s, device, tensor.Float, patches, dim)
		if e.Position != nil {
			patch = patch.Add(s, e.Position.Reshape(s, -1, dim))
		}
		if e.Bias != nil {
			patch = patch.Add(s, e.Bias)
		}
		return tensor.Cat(s, 0, e.Prefix.Reshape(s, -1, dim), patch)
	})
	return f
}

// Forward maps uint8 images [B, 3, H, W] to tokens [B, N, C].
func (f *fusedEmbedding) Forward(s *tensor.Scope, images *tensor.Tensor) *tensor.Tensor {
	fused := f.linear.kernels.Patches
	x := images.Patches(s, f.mean, f.std, f.patch, fused)   // [B·P, K]
	x = f.linear.Forward(s, x)                              // [B·P, C]
	return x.PlacePatches(s, f.table, images.Dim(0), fused) // [B, N, C]
}
