package export

import (
	"fmt"
	"slices"

	"mvag-torch/internal/onnx"
	"mvag-torch/model"
)

// encode maps images [B, 3, H, W], uint8, to the outputs [B, N, C] of the layers ([model.Encoder.Forward]).
func (g *graph) encode(images *onnx.Value) (outputs []*onnx.Value) {
	e := g.model.Encoder
	x := g.Name(g.sub("embedding").embed(images, &e.Embedding), "tokens", "class token, registers, patches")
	if e.Norm != nil {
		x = g.norm("norm_pre", x, *e.Norm)
	}
	if r := e.Blocks[0].Attn.Rotary; r != nil {
		g.cos = g.Floats("rotary.cos", floats(g.scope, r.Cos), r.Cos.Shape()...) // [N, D]
		g.sin = g.Floats("rotary.sin", floats(g.scope, r.Sin), r.Sin.Shape()...)
	}
	for i := range e.Blocks {
		x = g.sub(fmt.Sprint("blocks.", i)).encoderBlock(x, &e.Blocks[i])
		if slices.Contains(e.Layers, i) {
			doc := fmt.Sprintf("output of block %d, counted from 0", i)
			outputs = append(outputs, g.Name(x, fmt.Sprint("layer.", i), doc))
		}
	}
	return outputs
}

// embed turns images [B, 3, H, W] into tokens [B, N, C] ([model.Embedding.Forward]).
func (g *graph) embed(images *onnx.Value, e *model.Embedding) *onnx.Value {
	patch, p := int64(g.model.Encoder.Arch.Patch), g.model.Encoder.Rows*g.model.Encoder.Columns
	x := g.Mul(g.Cast(images, onnx.Float), g.Scalar(1.0/255))
	mean := g.Floats("mean", floats(g.scope, e.Mean), 1, 3, 1, 1)
	std := g.Floats("std", floats(g.scope, e.Std), 1, 3, 1, 1)
	x = g.Name(g.Div(g.Minus(x, mean), std), "normalized", "pixels less the mean of the pretraining, over its std")
	var bias *onnx.Value
	if e.Bias != nil {
		bias = g.weight("bias", e.Bias)
	}
	x = g.Conv(x, g.weight("weight", e.Weight), bias, patch) // [B, C, rows, columns]
	x = g.Reshape(x, x.Dim(0), x.Dim(1), onnx.Dim{N: p})     // [B, C, P]
	x = g.Transpose(x, 0, 2, 1)                              // [B, P, C]
	if e.Position != nil {
		x = g.Add(x, g.weight("position", e.Position))
	}
	return g.Concat(1, g.Repeat(g.weight("prefix", e.Prefix), x), x) // [B, N, C]
}

// encoderBlock passes the stream x [B, N, C] through a block ([model.EncoderBlock.Forward]).
func (g *graph) encoderBlock(x *onnx.Value, b *model.EncoderBlock) *onnx.Value {
	x = g.Add(x, g.sub("attn").selfAttention(g.norm("norm1", x, b.Norm1), &b.Attn))
	return g.Add(x, g.mlp("mlp", g.norm("norm2", x, b.Norm2), b.MLP, g.activation()))
}

// activation is the one in the MLPs of the encoder.
func (g *graph) activation() func(*graph, *onnx.Value) *onnx.Value {
	switch arch := g.model.Encoder.Arch; {
	case arch.Gated:
		return swiGLU
	case arch.QuickGELU:
		return quickGELU
	}
	return gelu
}

// selfAttention maps the normalised stream x [B, N, C] to the branch [B, N, C] ([model.SelfAttention.Forward]).
func (g *graph) selfAttention(x *onnx.Value, a *model.SelfAttention) *onnx.Value {
	b, n, c, d := x.Dim(0), x.Dim(1), x.Dim(2), x.Dim(2).N/a.Heads
	var qkv [3]*onnx.Value // [B, H, N, D] each
	for i, part := range g.Split(g.linear("qkv", x, a.QKV), -1, 3) {
		part = g.Reshape(part, b, n, onnx.Dim{N: a.Heads}, onnx.Dim{N: d})
		qkv[i] = g.Transpose(part, 0, 2, 1, 3)
	}
	q, k, v := qkv[0], qkv[1], qkv[2]
	if g.cos != nil {
		q, k = g.rotate(q), g.rotate(k)
	}
	q = g.Mul(q, g.Scalar(float32(1/sqrt(d))))
	y := g.MatMul(g.Softmax(g.MatMul(q, g.Transpose(k, 0, 1, 3, 2)), -1), v) // [B, H, N, D]
	y = g.Reshape(g.Transpose(y, 0, 2, 1, 3), b, n, c)                       // [B, N, C]
	return g.linear("proj", y, a.Proj)
}

// rotate rotates pairs of channels of x [B, H, N, D] ([model.Rotary.Forward]).
func (g *graph) rotate(x *onnx.Value) *onnx.Value {
	halves := g.Split(x, 3, 2)
	across := g.Concat(3, g.Neg(halves[1]), halves[0])
	return g.Add(g.Mul(x, g.cos), g.Mul(across, g.sin))
}
