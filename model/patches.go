package model

import "mvag-torch/internal/tensor"

// patchProduct embeds pictures as they are decoded by one product of bfloat16, with
// our own kernels before and after it.
type patchProduct struct {
	means, deviations *tensor.Tensor // of the pixels [3]
	side              int64          // of a patch
	layer             Linear         // weight [C, K], K = 3·side² and zeros up to a multiple of 8
	table             *tensor.Tensor // what no picture changes: prefix, then position and bias [N, C]
}

// newPatches is the embedding of e as a product.
func newPatches(s *tensor.Scope, e *Encoder, k tensor.Kernels) *patchProduct {
	mean, std := e.Arch.Statistics()
	device, side, dim := e.prefix.Device(), int64(e.Arch.Patch), int64(e.Arch.Dim)
	p := &patchProduct{
		means:      tensor.FromFloats(s, device, mean[:], 3),
		deviations: tensor.FromFloats(s, device, std[:], 3),
		side:       side,
	}
	p.layer = Linear{Compute: tensor.BFloat16, Fused: k}
	p.layer.Weight = s.Local(func(s *tensor.Scope) *tensor.Tensor {
		w := e.patches.Weight.Reshape(s, dim, 3*side*side)
		if over := 3 * side * side % 8; over > 0 {
			w = tensor.Cat(s, 1, w, tensor.Zeros(s, device, tensor.Float, dim, 8-over))
		}
		return w.To(s, tensor.BFloat16)
	})
	p.table = s.Local(func(s *tensor.Scope) *tensor.Tensor {
		rest := tensor.Zeros(s, device, tensor.Float, e.Rows*e.Columns, dim)
		if e.position != nil {
			rest = rest.Add(s, e.position.Reshape(s, -1, dim))
		}
		if e.patches.Bias != nil {
			rest = rest.Add(s, e.patches.Bias)
		}
		return tensor.Cat(s, 0, e.prefix.Reshape(s, -1, dim), rest)
	})
	return p
}

// forward maps pixels [B, 3, H, W] of uint8 to tokens [B, N, C].
func (p *patchProduct) forward(s *tensor.Scope, pixels *tensor.Tensor) *tensor.Tensor {
	fused := p.layer.Fused.Patches
	x := pixels.Patches(s, p.means, p.deviations, p.side, fused) // [B·P, K]
	x = p.layer.Forward(s, x)                                    // [B·P, C]
	return x.PlacePatches(s, p.table, pixels.Dim(0), fused)      // [B, N, C]
}
