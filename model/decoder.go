package model

import "mvag-torch/internal/tensor"

// Decoder is a stack of pre-norm blocks with multi-view attention (docs/model.md section 3).
type Decoder struct {
	Blocks []DecoderBlock

	kernels *tensor.Kernels
}

// DecoderBlock is x + MVA(norm1(x)), then x + mlp(norm2(x)).
type DecoderBlock struct {
	Norm1, Norm2 LayerNorm
	Attn         Attention
	MLP          MLP
}

// Bottleneck is the noisy two-layer MLP between encoder and decoder (docs/model.md section 2).
type Bottleneck struct {
	FC1, FC2 Linear
	Dropout  float64 // probability, in training only
}

const decoderEps = 1e-8

func newBottleneck(w binder, dim int64, dropout float64) Bottleneck {
	return Bottleneck{newLinear(w.Sub("fc1"), dim, 4*dim), newLinear(w.Sub("fc2"), 4*dim, dim), dropout}
}

func newDecoder(w binder, depth int, dim, heads, views int64, opt AttentionOptions, near *tensor.Tensor) Decoder {
	d := Decoder{kernels: w.kernels}
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

// Forward maps x [B, N, C] to the outputs [B, N, C] of all blocks, in order of evaluation.
func (d *Decoder) Forward(s *tensor.Scope, x *tensor.Tensor, v *Views) []*tensor.Tensor {
	stream := newResidual(x, d.kernels)
	for i := range d.Blocks {
		d.Blocks[i].Forward(s, stream, v)
		stream.Keep()
	}
	return stream.Outputs(s)
}

// Forward passes the stream x [B, N, C] through the block.
func (b *DecoderBlock) Forward(s *tensor.Scope, x *Residual, v *Views) {
	x.Add(b.Attn.Forward(s, x.Norm(s, b.Norm1), v))
	x.Add(b.MLP.Forward(s, x.Norm(s, b.Norm2)))
}

// Forward maps x [B, N, C] to [B, N, C] of float32, the type of the decoder's stream. draws are those of a training
// step, nil for no dropout.
func (b *Bottleneck) Forward(s *tensor.Scope, x *tensor.Tensor, draws *tensor.Draws) *tensor.Tensor {
	drop := func(x *tensor.Tensor) *tensor.Tensor {
		if draws == nil || b.Dropout == 0 {
			return x
		}
		return x.Dropout(s, b.Dropout, draws)
	}
	x = drop(b.FC1.GELU(s, drop(x))) // [B, N, 4C]
	return drop(b.FC2.Forward(s, x).To(s, tensor.Float))
}

// Jitter adds noise [B, N, C], standard normal, to x [B, N, C], times the norm of x over channels, over C, times scale
// [1]. The gradient passes through the norm.
func Jitter(s *tensor.Scope, x, noise, scale *tensor.Tensor) *tensor.Tensor {
	strength := x.Norm(s, -1).MulScalar(s, 1/float64(x.Dim(-1))).Mul(s, scale) // [B, N, 1]
	return x.Add(s, noise.Mul(s, strength))
}
