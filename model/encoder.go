package model

import (
	"fmt"
	"math"

	"mvag-torch/internal/tensor"
	"mvag-torch/model/weights"
)

// Encoder is the frozen ViT (model.md section 1; timm's
// vision_transformer.py): LayerNorm eps 1e-6, LayerScale, exact GELU. Only the
// blocks up to the last layer asked for are evaluated.
type Encoder struct {
	Arch   weights.Arch
	Layers []int // 0-based blocks whose outputs Forward returns, ascending
	Grid   int64 // g

	patches  Linear         // as a convolution: weight [C, 3, patch, patch]
	prefix   *tensor.Tensor // class token with its position, registers: [1, 1+R, C]
	position *tensor.Tensor // [1, P, C]
	blocks   []encoderBlock
}

// encoderBlock has its LayerScale folded into the last layer of each branch.
type encoderBlock struct {
	norm1, norm2 LayerNorm
	attn         selfAttention
	mlp          MLP
}

type selfAttention struct {
	qkv, proj Linear
	heads     int64
}

const encoderEps = 1e-6

// NewEncoder builds the encoder for square pictures of the given side in
// pixels; its linear layers and attention compute in the given type. Its
// tensors live in s on device d.
func NewEncoder(s *tensor.Scope, d tensor.Device, arch weights.Arch, source weights.Map, layers []int, side int, compute tensor.DType) (*Encoder, error) {
	if side%arch.Patch != 0 {
		return nil, fmt.Errorf("crop: have %d pixels, want a multiple of the patch (%d)", side, arch.Patch)
	}
	last := layers[len(layers)-1]
	if err := arch.Check(source.Shapes(), last); err != nil {
		return nil, err
	}
	if err := source.CheckFinite(); err != nil {
		return nil, err
	}
	e := &Encoder{Arch: arch, Layers: layers, Grid: int64(side / arch.Patch)}
	w, dim := frozen(s, d, source, compute), int64(arch.Dim)
	e.patches = Linear{Weight: w.Tensor("patch_embed.proj.weight", nil), Bias: w.Tensor("patch_embed.proj.bias", nil)}
	e.bindTokens(s, w, dim)
	for i := range last + 1 {
		b := w.Sub("blocks").At(i)
		e.blocks = append(e.blocks, encoderBlock{
			norm1: newLayerNorm(b.Sub("norm1"), dim, encoderEps),
			attn: selfAttention{
				qkv:   newLinear(b.Sub("attn").Sub("qkv"), dim, 3*dim),
				proj:  scaledLinear(s, d, source, b.Sub("attn").Sub("proj"), b.Sub("ls1")),
				heads: int64(arch.Heads),
			},
			norm2: newLayerNorm(b.Sub("norm2"), dim, encoderEps),
			mlp: MLP{
				FC1: newLinear(b.Sub("mlp").Sub("fc1"), dim, 4*dim),
				FC2: scaledLinear(s, d, source, b.Sub("mlp").Sub("fc2"), b.Sub("ls2")),
			},
		})
	}
	return e, nil
}

// scaledLinear is the linear layer at path whose output is multiplied by the
// gamma [C] at scale.
func scaledLinear(s *tensor.Scope, d tensor.Device, source weights.Map, path, scale binder) Linear {
	scaled := func(name string, gammaShape ...int64) *tensor.Tensor {
		return s.Local(func(s *tensor.Scope) *tensor.Tensor {
			w := frozen(s, d, source, path.compute)
			gamma := w.Tensor(scale.prefix+"gamma", nil)
			return w.Tensor(path.prefix+name, nil).Mul(s, gamma.Reshape(s, gammaShape...))
		})
	}
	return Linear{scaled("weight", -1, 1), scaled("bias", -1), path.compute}
}

// bindTokens prepares what is added to or put before the patch tokens. A
// position table of 1+P entries (its length is then no square) has one for the
// class token; registers have none.
func (e *Encoder) bindTokens(s *tensor.Scope, w binder, dim int64) {
	class, table := w.Tensor("cls_token", nil), w.Tensor("pos_embed", nil)
	n := table.Dim(1)
	if side := isqrt(n); side*side != n {
		class = class.Add(s, table.Narrow(s, 1, 0, 1))
		table = table.Narrow(s, 1, 1, n-1)
	}
	e.position = resamplePosition(s, table, e.Grid)
	e.prefix = class
	if e.Arch.Registers > 0 {
		e.prefix = tensor.Cat(s, 1, class, w.Tensor("reg_token", nil))
	}
}

// resamplePosition maps a table [1, n², C] to [1, g², C] as timm's
// resample_abs_pos_embed: bicubic, antialiased; untouched where n = g.
func resamplePosition(s *tensor.Scope, table *tensor.Tensor, g int64) *tensor.Tensor {
	n, dim := isqrt(table.Dim(1)), table.Dim(2)
	if n == g {
		return table
	}
	grid := table.Reshape(s, 1, n, n, dim).Permute(s, 0, 3, 1, 2) // [1, C, n, n]
	grid = grid.BicubicAntialiased(s, g, g)                       // [1, C, g, g]
	return grid.Permute(s, 0, 2, 3, 1).Reshape(s, 1, g*g, dim)    // [1, P, C]
}

func isqrt(n int64) int64 { return int64(math.Sqrt(float64(n))) }

// Forward maps normalised pictures [B, 3, H, W] to the outputs [B, N, C] of
// the layers, before the final norm. No gradient is recorded.
func (e *Encoder) Forward(s *tensor.Scope, pictures *tensor.Tensor) []*tensor.Tensor {
	var outputs []*tensor.Tensor
	tensor.NoGrad(func() {
		x := e.embed(s, pictures) // [B, N, C]
		for i, next := range e.blocks {
			x = s.Local(func(s *tensor.Scope) *tensor.Tensor { return next.forward(s, x) })
			if len(outputs) < len(e.Layers) && e.Layers[len(outputs)] == i {
				outputs = append(outputs, x)
			}
		}
	})
	return outputs
}

// embed maps [B, 3, H, W] to tokens [B, N, C].
func (e *Encoder) embed(s *tensor.Scope, pictures *tensor.Tensor) *tensor.Tensor {
	b, dim := pictures.Dim(0), int64(e.Arch.Dim)
	x := pictures.Conv2d(s, e.patches.Weight, e.patches.Bias, int64(e.Arch.Patch), 0) // [B, C, g, g]
	x = x.Reshape(s, b, dim, e.Grid*e.Grid).Transpose(s, 1, 2).Add(s, e.position)     // [B, P, C]
	return tensor.Cat(s, 1, e.prefix.Expand(s, b, -1, -1), x)                         // [B, N, C]
}

// forward maps [B, N, C] to [B, N, C].
func (b *encoderBlock) forward(s *tensor.Scope, x *tensor.Tensor) *tensor.Tensor {
	x = x.Add(s, b.attn.forward(s, b.norm1.Forward(s, x)))
	return x.Add(s, b.mlp.Forward(s, b.norm2.Forward(s, x)))
}

// forward maps [B, N, C] to [B, N, C].
func (a *selfAttention) forward(s *tensor.Scope, x *tensor.Tensor) *tensor.Tensor {
	q, k, v := splitHeads(s, a.qkv.Forward(s, x), a.heads)
	return a.proj.Forward(s, mergeHeads(s, tensor.Attention(s, q, k, v)))
}

// splitHeads maps [B, N, 3C] to q, k, v of [B, H, N, D].
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
