package model

import "mvag-torch/internal/tensor"

// Bottleneck is the noisy two-layer MLP between encoder and decoder
// (model.md section 2).
type Bottleneck struct {
	FC1, FC2 Linear
	Dropout  float64
}

// Forward maps [B, N, C] to [B, N, C] of float32, as all that the decoder adds to
// it and normalises; dropout acts in training only.
func (b *Bottleneck) Forward(s *tensor.Scope, x *tensor.Tensor, training bool) *tensor.Tensor {
	drop := func(x *tensor.Tensor) *tensor.Tensor {
		if !training || b.Dropout == 0 {
			return x
		}
		return x.Dropout(s, b.Dropout)
	}
	x = drop(b.FC1.gelu(s, drop(x))) // [B, N, 4C]
	return drop(b.FC2.Forward(s, x).To(s, tensor.Float))
}

// Jitter adds x's norm over channels, divided by C and times scale [1], of noise
// (standard normal, x's shape) to x [B, N, C]. The gradient passes through the
// norm.
func Jitter(s *tensor.Scope, x, noise, scale *tensor.Tensor) *tensor.Tensor {
	strength := x.Norm(s, -1).MulScalar(s, 1/float64(x.Dim(-1))).Mul(s, scale) // [B, N, 1]
	return x.Add(s, noise.Mul(s, strength))
}

// Decoder is a stack of pre-norm blocks with multi-view attention (model.md
// section 3).
type Decoder struct{ Blocks []DecoderBlock }

// DecoderBlock is x + MVA(norm1(x)), then x + mlp(norm2(x)).
type DecoderBlock struct {
	Norm1, Norm2 LayerNorm
	Attn         Attention
	MLP          MLP
}

const decoderEps = 1e-8

func newDecoder(w binder, depth int, dim, heads, views int64, opt AttentionOptions, near *tensor.Tensor) Decoder {
	var d Decoder
	for i := range depth {
		b := w.At(i)
		d.Blocks = append(d.Blocks, DecoderBlock{
			Norm1: newLayerNorm(b.Sub("norm1"), dim, decoderEps),
			Attn:  newAttention(b.Sub("attn"), dim, heads, views, opt, near),
			Norm2: newLayerNorm(b.Sub("norm2"), dim, decoderEps),
			MLP:   newMLP(b.Sub("mlp"), dim),
		})
	}
	return d
}

// Forward maps [B, N, C] to the outputs [B, N, C] of all blocks, in order of
// evaluation.
func (d *Decoder) Forward(s *tensor.Scope, x *tensor.Tensor, v *Views) []*tensor.Tensor {
	outputs := make([]*tensor.Tensor, len(d.Blocks))
	first := &d.Blocks[0]
	x, normed := first.Norm1.first(s, x, first.Attn.QKV.Fused)
	for i := range d.Blocks {
		block, in := &d.Blocks[i], normed
		var next *LayerNorm
		if i+1 < len(d.Blocks) {
			next = &d.Blocks[i+1].Norm1
		}
		x, normed = s.LocalPair(func(s *tensor.Scope) (_, _ *tensor.Tensor) { return block.forward(s, x, in, v, next) })
		s.Free(in)
		outputs[i] = x
	}
	return outputs
}

// forward maps x [B, N, C] and what Norm1 makes of it to the block's output, as
// [Linear.Onto].
func (b *DecoderBlock) forward(s *tensor.Scope, x, normed *tensor.Tensor, v *Views, next *LayerNorm) (_, _ *tensor.Tensor) {
	x, normed = b.Attn.Onto(s, x, normed, v, &b.Norm2)
	return b.MLP.Onto(s, x, normed, next)
}
