package model

import (
	"fmt"
	"slices"

	"mvag-torch/internal/tensor"
	"mvag-torch/model/weights"
)

// Encoder is a frozen ViT (docs/model.md section 1; timm's vision_transformer.py and eva.py) of one of the families of
// [weights.Arch]. Only the blocks up to the last layer are evaluated.
type Encoder struct {
	Arch          weights.Arch
	Layers        []int // 0-based blocks whose outputs Forward returns, ascending
	Rows, Columns int64 // of patches: P = Rows·Columns

	Embedding Embedding
	Norm      *LayerNorm // before the blocks; nil where the family has none
	Blocks    []EncoderBlock
	kernels   *tensor.Kernels

	module *tensor.Module // a TorchScript archive that computes all but normalisation; nil where the above does
}

// EncoderBlock has the LayerScale of each branch folded into the branch's last layer.
type EncoderBlock struct {
	Norm1, Norm2 LayerNorm
	Attn         SelfAttention
	MLP          MLP
}

// SelfAttention is softmax attention of all tokens of an image.
type SelfAttention struct {
	QKV, Proj Linear
	Heads     int64
	Rotary    *Rotary // nil where positions are added to the tokens
}

// NewEncoder builds the encoder for images of the given height and width in pixels, computed by the kernels k. Its
// tensors live in s on device d.
func NewEncoder(s *tensor.Scope, d tensor.Device, arch weights.Arch, source weights.Map,
	layers []int, height, width int, k *tensor.Kernels) (*Encoder, error) {
	if arch.Module != nil {
		return newModuleEncoder(s, d, arch, layers, height, width)
	}
	if height%arch.Patch != 0 || width%arch.Patch != 0 {
		return nil, fmt.Errorf("crop: have %d x %d pixels, want multiples of the patch size (%d)",
			height, width, arch.Patch)
	}
	last := layers[len(layers)-1]
	if err := arch.Check(source.Shapes(), last); err != nil {
		return nil, err
	}
	if err := source.CheckFinite(); err != nil {
		return nil, err
	}
	rows, columns := int64(height/arch.Patch), int64(width/arch.Patch)
	e := &Encoder{Arch: arch, Layers: layers, Rows: rows, Columns: columns, kernels: k}
	w, dim := frozen(s, d, source, k), int64(arch.Dim)
	e.Embedding = newEmbedding(s, w, arch, rows, columns)
	if w.Has("norm_pre.weight") {
		norm := newLayerNorm(w.Sub("norm_pre"), dim, arch.Eps())
		e.Norm = &norm
	}
	var turn *Rotary
	if arch.Family == weights.DINOv3 {
		turn = newRotary(s, d, arch, rows, columns)
	}
	for i := range last + 1 {
		b := w.Sub("blocks").At(i)
		e.Blocks = append(e.Blocks, EncoderBlock{
			Norm1: newLayerNorm(b.Sub("norm1"), dim, arch.Eps()),
			Attn: SelfAttention{
				QKV:    frozenLinear(b, "attn.qkv", ""),
				Proj:   frozenLinear(b, "attn.proj", "ls1"),
				Heads:  int64(arch.Heads),
				Rotary: turn,
			},
			Norm2: newLayerNorm(b.Sub("norm2"), dim, arch.Eps()),
			MLP:   MLP{frozenLinear(b, "mlp.fc1", ""), frozenLinear(b, "mlp.fc2", "ls2"), activation(arch)},
		})
	}
	return e, nil
}

// activation is the one that the architecture has in its MLPs.
func activation(arch weights.Arch) func(Linear, *tensor.Scope, *tensor.Tensor) *tensor.Tensor {
	switch {
	case arch.Gated:
		return swiGLU
	case arch.QuickGELU:
		return quickGELU
	}
	return Linear.GELU
}

// Forward maps images [B, 3, H, W], uint8 as decoded or float32 already normalised, to the outputs [B, N, C] of the
// layers, before the final norm. No gradient is recorded.
func (e *Encoder) Forward(s *tensor.Scope, images *tensor.Tensor) (outputs []*tensor.Tensor) {
	tensor.NoGrad(func() {
		if e.module != nil {
			outputs = e.module.Forward(s, e.Embedding.normalize(s, images))
			return
		}
		x := e.Embedding.Forward(s, images) // [B, N, C]
		if e.Norm != nil {
			x = e.Norm.Forward(s, x)
		}
		stream := newResidual(x, e.kernels)
		for i := range e.Blocks {
			e.Blocks[i].Forward(s, stream)
			if slices.Contains(e.Layers, i) {
				stream.Keep()
			}
		}
		outputs = stream.Outputs(s)
	})
	return outputs
}

// Forward passes the stream x [B, N, C] through the block.
func (b *EncoderBlock) Forward(s *tensor.Scope, x *Residual) {
	x.Add(b.Attn.Forward(s, x.Norm(s, b.Norm1)))
	x.Add(b.MLP.Forward(s, x.Norm(s, b.Norm2)))
}

// Forward maps the normalised stream x [B, N, C] to the branch [B, N, C].
func (a *SelfAttention) Forward(s *tensor.Scope, x *tensor.Tensor) Branch {
	y := s.Local(func(s *tensor.Scope) *tensor.Tensor {
		q, k, v := splitHeads(s, a.QKV.Forward(s, x), a.Heads) // [B, H, N, D]
		if a.Rotary != nil {
			q, k = a.Rotary.Forward(s, q), a.Rotary.Forward(s, k)
		}
		return mergeHeads(s, tensor.Attention(s, q, k, v)) // [B, N, C]
	})
	return Branch{a.Proj, y}
}

// splitHeads maps [B, N, 3C] to q, k and v of [B, H, N, D].
func splitHeads(s *tensor.Scope, qkv *tensor.Tensor, heads int64) (q, k, v *tensor.Tensor) {
	b, n, c := qkv.Dim(0), qkv.Dim(1), qkv.Dim(2)/3
	qkv = qkv.Reshape(s, b, n, 3, heads, c/heads).Permute(s, 2, 0, 3, 1, 4) // [3, B, H, N, D]
	return qkv.Select(s, 0, 0), qkv.Select(s, 0, 1), qkv.Select(s, 0, 2)
}

// mergeHeads maps [B, H, N, D] to [B, N, C].
func mergeHeads(s *tensor.Scope, x *tensor.Tensor) *tensor.Tensor {
	b, h, n, d := x.Dim(0), x.Dim(1), x.Dim(2), x.Dim(3)
	return x.Transpose(s, 1, 2).Reshape(s, b, n, h*d)
}

// swiGLU maps fc1 of x, [..., 2F], to [..., F]: the SiLU of the first half gates the second.
func swiGLU(fc1 Linear, s *tensor.Scope, x *tensor.Tensor) *tensor.Tensor {
	x = fc1.Forward(s, x) // [..., 2F]
	half := x.Dim(-1) / 2
	gate := x.Slice(s, -1, 0, half)
	return gate.Mul(s, gate.Sigmoid(s)).Mul(s, x.Slice(s, -1, half, half)) // [..., F]
}

// quickGELU is the activation of OpenAI's CLIP for y = fc1(x): y·sigmoid(1.702·y).
func quickGELU(fc1 Linear, s *tensor.Scope, x *tensor.Tensor) *tensor.Tensor {
	y := fc1.Forward(s, x)
	return y.Mul(s, y.MulScalar(s, 1.702).Sigmoid(s))
}
