package model

import (
	"fmt"
	"math"

	"mvag-torch/internal/tensor"
	"mvag-torch/model/weights"
)

// Encoder is a frozen ViT (model.md section 1; timm's vision_transformer.py and
// eva.py) of one of the families of [weights.Arch]. Only the blocks up to the
// last layer asked for are evaluated.
type Encoder struct {
	Arch          weights.Arch
	Layers        []int // 0-based blocks whose outputs Forward returns, ascending
	Rows, Columns int64 // of patches: P = Rows·Columns

	patches  Linear         // as a convolution: weight [C, 3, patch, patch]
	prefix   *tensor.Tensor // class token with its position, registers: [1, 1+R, C]
	position *tensor.Tensor // [1, P, C]; nil where positions are rotary
	product  *patchProduct  // these three as a product of bfloat16 on CUDA; else nil
	norm     *LayerNorm     // in front of the blocks; nil where there is none
	blocks   []encoderBlock

	module *tensor.Module // computes all of it; nil where the above does
}

// encoderBlock has its LayerScale folded into the last layer of each branch.
type encoderBlock struct {
	norm1, norm2 LayerNorm
	attn         selfAttention
	mlp          encoderMLP
}

type selfAttention struct {
	qkv, proj Linear
	heads     int64
	rotary    *rotary // nil where positions are added to the tokens
}

// encoderMLP has the activation of the architecture between its layers.
type encoderMLP struct {
	fc1, fc2   Linear
	activation func(*tensor.Scope, *tensor.Tensor) *tensor.Tensor
}

// NewEncoder builds the encoder for pictures of the given height and width in
// pixels; its linear layers and attention compute as k says. Its
// tensors live in s on device d.
func NewEncoder(s *tensor.Scope, d tensor.Device, arch weights.Arch, source weights.Map, layers []int, height, width int, k tensor.Kernels) (*Encoder, error) {
	if arch.Module != nil {
		return newModuleEncoder(s, d, arch, layers, height, width)
	}
	if height%arch.Patch != 0 || width%arch.Patch != 0 {
		return nil, fmt.Errorf("crop: have %d x %d pixels, want multiples of the patch (%d)", height, width, arch.Patch)
	}
	last := layers[len(layers)-1]
	if err := arch.Check(source.Shapes(), last); err != nil {
		return nil, err
	}
	if err := source.CheckFinite(); err != nil {
		return nil, err
	}
	e := &Encoder{Arch: arch, Layers: layers, Rows: int64(height / arch.Patch), Columns: int64(width / arch.Patch)}
	w, dim := frozen(s, d, source, k), int64(arch.Dim)
	e.patches.Weight = w.Tensor("patch_embed.proj.weight", nil)
	if arch.Family == weights.CLIP {
		norm := newLayerNorm(w.Sub("norm_pre"), dim, arch.Eps())
		e.norm = &norm
	} else {
		e.patches.Bias = w.Tensor("patch_embed.proj.bias", nil)
	}
	e.bindTokens(s, w)
	var turn *rotary
	if arch.Family == weights.DINOv3 {
		turn = newRotary(s, d, arch, e.Rows, e.Columns)
	}
	for i := range last + 1 {
		b := w.Sub("blocks").At(i)
		qkv := Linear{Weight: b.Sub("attn").Tensor("qkv.weight", nil), Compute: k.Compute, Fused: k}
		if _, ok := source[b.Sub("attn").prefix+"qkv.bias"]; ok {
			qkv.Bias = b.Sub("attn").Tensor("qkv.bias", nil)
		}
		e.blocks = append(e.blocks, encoderBlock{
			norm1: newLayerNorm(b.Sub("norm1"), dim, arch.Eps()),
			attn: selfAttention{
				qkv:    qkv.stored(s),
				proj:   scaledLinear(s, d, source, b.Sub("attn").Sub("proj"), b.Sub("ls1")).stored(s),
				heads:  int64(arch.Heads),
				rotary: turn,
			},
			norm2: newLayerNorm(b.Sub("norm2"), dim, arch.Eps()),
			mlp: encoderMLP{
				fc1:        newLinear(b.Sub("mlp").Sub("fc1"), dim, 4*dim).stored(s),
				fc2:        scaledLinear(s, d, source, b.Sub("mlp").Sub("fc2"), b.Sub("ls2")).stored(s),
				activation: activation(arch),
			},
		})
	}
	return e, nil
}

// scaledLinear is the linear layer at path whose output is multiplied by the
// gamma [C] at scale, where there is one.
func scaledLinear(s *tensor.Scope, d tensor.Device, source weights.Map, path, scale binder) Linear {
	scaled := func(name string, gammaShape ...int64) *tensor.Tensor {
		return s.Local(func(s *tensor.Scope) *tensor.Tensor {
			w := frozen(s, d, source, path.kernels)
			if _, ok := source[scale.prefix+"gamma"]; !ok {
				return w.Tensor(path.prefix+name, nil)
			}
			gamma := w.Tensor(scale.prefix+"gamma", nil)
			return w.Tensor(path.prefix+name, nil).Mul(s, gamma.Reshape(s, gammaShape...))
		})
	}
	return Linear{scaled("weight", -1, 1), scaled("bias", -1), path.kernels.Compute, path.kernels}
}

// bindTokens prepares what is added to or put before the patch tokens. A
// position table of 1+P entries (its length is then no square) has one for the
// class token; registers have none.
func (e *Encoder) bindTokens(s *tensor.Scope, w binder) {
	e.prefix = w.Tensor("cls_token", nil)
	if e.Arch.Family != weights.DINOv3 {
		table := w.Tensor("pos_embed", nil)
		n := table.Dim(1)
		if side := isqrt(n); side*side != n {
			e.prefix = e.prefix.Add(s, table.Narrow(s, 1, 0, 1))
			table = table.Narrow(s, 1, 1, n-1)
		}
		e.position = resamplePosition(s, table, e.Rows, e.Columns)
	}
	if e.Arch.Registers > 0 {
		e.prefix = tensor.Cat(s, 1, e.prefix, w.Tensor("reg_token", nil))
	}
	if w.kernels.Patches {
		e.product = newPatches(s, e, w.kernels)
	}
}

// resamplePosition maps a table [1, n², C] to [1, rows·columns, C] as timm's
// resample_abs_pos_embed: bicubic, antialiased; untouched where the grids agree.
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

// Forward maps normalised pictures [B, 3, H, W] to the outputs [B, N, C] of
// the layers, before the final norm. No gradient is recorded.
func (e *Encoder) Forward(s *tensor.Scope, pictures *tensor.Tensor) []*tensor.Tensor {
	if e.module != nil {
		return e.module.Forward(s, pictures)
	}
	var outputs []*tensor.Tensor
	tensor.NoGrad(func() { outputs = e.outputs(s, e.embed(s, pictures)) })
	return outputs
}

// outputs maps embedded pictures [B, N, C] to the outputs of the layers.
func (e *Encoder) outputs(s *tensor.Scope, x *tensor.Tensor) (outputs []*tensor.Tensor) {
	if e.norm != nil {
		x = e.norm.Forward(s, x)
	}
	x, normed := e.blocks[0].norm1.first(s, x, e.blocks[0].attn.qkv.Fused)
	for i := range e.blocks {
		block, in := &e.blocks[i], normed
		var next *LayerNorm
		if i+1 < len(e.blocks) {
			next = &e.blocks[i+1].norm1
		}
		x, normed = s.LocalPair(func(s *tensor.Scope) (_, _ *tensor.Tensor) { return block.forward(s, x, in, next) })
		s.Free(in)
		if len(outputs) < len(e.Layers) && e.Layers[len(outputs)] == i {
			outputs = append(outputs, x)
		}
	}
	return outputs
}

// embed maps [B, 3, H, W] to tokens [B, N, C].
func (e *Encoder) embed(s *tensor.Scope, pictures *tensor.Tensor) *tensor.Tensor {
	b, dim := pictures.Dim(0), int64(e.Arch.Dim)
	x := pictures.Conv2d(s, e.patches.Weight, e.patches.Bias, int64(e.Arch.Patch), 0) // [B, C, rows, columns]
	x = x.Reshape(s, b, dim, e.Rows*e.Columns).Transpose(s, 1, 2)                     // [B, P, C]
	if e.position != nil {
		x = x.Add(s, e.position)
	}
	return tensor.Cat(s, 1, e.prefix.Expand(s, b, -1, -1), x) // [B, N, C]
}

// forward maps x [B, N, C] and what norm1 makes of it to the block's output, as
// [Linear.Onto].
func (b *encoderBlock) forward(s *tensor.Scope, x, normed *tensor.Tensor, next *LayerNorm) (_, _ *tensor.Tensor) {
	x, normed = b.attn.onto(s, x, normed, &b.norm2)
	return b.mlp.onto(s, x, normed, next)
}

// onto adds the output for x [B, N, C] to base [B, N, C], as [Linear.Onto].
func (a *selfAttention) onto(s *tensor.Scope, base, x *tensor.Tensor, next *LayerNorm) (sum, normed *tensor.Tensor) {
	q, k, v := splitHeads(s, a.qkv.Forward(s, x), a.heads)
	if a.rotary != nil {
		q, k = a.rotary.forward(s, q), a.rotary.forward(s, k)
	}
	return a.proj.Onto(s, base, mergeHeads(s, tensor.Attention(s, q, k, v)), next)
}

// onto adds the output for x [B, N, C] to base [B, N, C], as [Linear.Onto].
func (m *encoderMLP) onto(s *tensor.Scope, base, x *tensor.Tensor, next *LayerNorm) (sum, normed *tensor.Tensor) {
	return m.fc2.Onto(s, base, m.activation(s, m.fc1.Forward(s, x)), next)
}

// activation is what the architecture has between the layers of its MLP.
func activation(arch weights.Arch) func(*tensor.Scope, *tensor.Tensor) *tensor.Tensor {
	switch {
	case arch.Gated:
		return swiGLU
	case arch.QuickGELU:
		return quickGELU
	}
	return func(s *tensor.Scope, x *tensor.Tensor) *tensor.Tensor { return x.Gelu(s) }
}

// swiGLU maps [..., 2F] to [..., F]: the first half, by its SiLU, gates the second.
func swiGLU(s *tensor.Scope, x *tensor.Tensor) *tensor.Tensor {
	half := x.Dim(-1) / 2
	gate := x.Narrow(s, -1, 0, half)
	return gate.Mul(s, gate.Sigmoid(s)).Mul(s, x.Narrow(s, -1, half, half))
}

// quickGELU maps [..., F] to [..., F] as the CLIP of OpenAI: x·sigmoid(1.702x).
func quickGELU(s *tensor.Scope, x *tensor.Tensor) *tensor.Tensor {
	return x.Mul(s, x.MulScalar(s, 1.702).Sigmoid(s))
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
