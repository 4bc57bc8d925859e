package export

import (
	"fmt"
	"math"
	"slices"

	"mvag-torch/internal/onnx"
	"mvag-torch/model"
)

func sqrt(n int64) float64 { return math.Sqrt(float64(n)) }

// reconstruct maps the encoder's outputs [S·T·V, N, C] and targets [S·T·V, P, C] to the distances between targets and
// reconstructions, mean over the targets: [S, V, T, P]. present is [S, V].
func (g *graph) reconstruct(outputs, targets []*onnx.Value, present *onnx.Value) *onnx.Value {
	x := g.Name(g.mean(outputs), "bottleneck.input", "mean over the layers")
	x = g.mlp("bottleneck", x, model.MLP{FC1: g.model.Bottleneck.FC1, FC2: g.model.Bottleneck.FC2}, gelu)
	x = g.Name(x, "bottleneck.output", "what the decoder begins with") // [S·T·V, N, C]
	valid := g.valid(present)
	if near := g.model.Decoder.Blocks[0].Attn.Near; near != nil {
		n := x.Dim(1).N
		g.near = g.Bools("near", bools(near.Bytes()), 1, 1, n, n)
	}
	var decoded []*onnx.Value
	for i := range g.model.Decoder.Blocks {
		b := g.sub(fmt.Sprint("decoder.", i))
		x = b.Name(b.decoderBlock(x, &g.model.Decoder.Blocks[i], valid), "output", "output of the block")
		decoded = append(decoded, x)
	}
	slices.Reverse(decoded)
	var each []*onnx.Value // [S·T·V, P] each
	for i, group := range g.model.Fuse {
		r := g.patches(g.Name(g.mean(pick(decoded, group)), fmt.Sprint("reconstruction.", i),
			fmt.Sprintf("what answers to target %d, mean over blocks", i)))
		each = append(each, g.Name(g.distance(targets[i], r), fmt.Sprint("distance.", i),
			fmt.Sprintf("1 - cos between target %d and its reconstruction", i)))
	}
	d := g.mean(each)
	p := d.Dim(1)
	d = g.Reshape(d, onnx.Objects(1), onnx.Dim{N: g.tiles()}, onnx.Dim{N: g.views}, p) // [S, T, V, P]
	return g.Name(g.Transpose(d, 0, 2, 1, 3), "reconstruction.distances",
		"mean over the targets [objects, views, tiles, patches]")
}

// distance is 1 - cos over the last dimension of [B, P, C], each norm at least 1e-8: [B, P] ([model.Distance]).
func (g *graph) distance(x, y *onnx.Value) *onnx.Value {
	norm := func(x *onnx.Value) *onnx.Value {
		return g.Max(g.Sqrt(g.ReduceSum(g.Mul(x, x), -1, false)), g.Scalar(1e-8))
	}
	dot := g.ReduceSum(g.Mul(x, y), -1, false)
	return g.Minus(g.Scalar(1), g.Div(dot, g.Mul(norm(x), norm(y))))
}

// valid says which views can look at which: bool [S·T, V, V], by query and key ([model.NewViews]). present is [S, V].
func (g *graph) valid(present *onnx.Value) *onnx.Value {
	if g.views == 1 {
		return nil
	}
	t, v := g.tiles(), onnx.Dim{N: g.views}
	if t > 1 {
		each := g.Reshape(present, onnx.Objects(1), onnx.Dim{N: 1}, v)
		present = g.Reshape(g.Concat(1, slices.Repeat([]*onnx.Value{each}, int(t))...), onnx.Objects(t), v)
	}
	query := g.Reshape(present, onnx.Objects(t), v, onnx.Dim{N: 1})
	key := g.Reshape(present, onnx.Objects(t), onnx.Dim{N: 1}, v)
	others := make([]bool, g.views*g.views)
	for i := range others {
		others[i] = int64(i)/g.views != int64(i)%g.views
	}
	return g.Name(g.And(g.And(query, key), g.Bools("others", others, 1, g.views, g.views)),
		"valid", "which view, by row, looks at which")
}

// decoderBlock passes the stream x [B, N, C] through a block ([model.DecoderBlock.Forward]).
func (g *graph) decoderBlock(x *onnx.Value, b *model.DecoderBlock, valid *onnx.Value) *onnx.Value {
	x = g.Add(x, g.sub("attn").multiView(g.norm("norm1", x, b.Norm1), &b.Attn, valid))
	return g.Add(x, g.mlp("mlp", g.norm("norm2", x, b.Norm2), b.MLP, gelu))
}

// multiView maps the normalised stream x [B, N, C] to the branch [B, N, C] ([model.Attention.Forward]).
func (g *graph) multiView(x *onnx.Value, a *model.Attention, valid *onnx.Value) *onnx.Value {
	y := g.Name(g.within(x, a), "within", "linear attention within each view")
	if g.views > 1 {
		u := g.sub("across").across(y, a, valid)
		rest := g.Sigmoid(g.Neg(g.weight("gate", a.Gate))) // 1 - σ(gate)
		y = g.Name(g.Add(y, g.Mul(u, rest)), "mixed", "with what the other views add")
	}
	return g.linear("proj", y, a.Proj)
}

// qkv maps x [B, N, C] to φ(q), φ(k) and v, [B, H, N, D] each.
func (g *graph) qkv(x *onnx.Value, a *model.Attention) (q, k, v *onnx.Value) {
	b, n, d := x.Dim(0), x.Dim(1), x.Dim(2).N/a.Heads
	parts := g.Split(g.linear("qkv", x, a.QKV), -1, 3)
	for i, part := range parts {
		parts[i] = g.Transpose(g.Reshape(part, b, n, onnx.Dim{N: a.Heads}, onnx.Dim{N: d}), 0, 2, 1, 3)
	}
	return g.phi(parts[0]), g.phi(parts[1]), parts[2]
}

// phi is elu(x) + 1.
func (g *graph) phi(x *onnx.Value) *onnx.Value { return g.Add(g.Elu(x), g.Scalar(1)) }

// within is linear attention within each view, q·(Σ k⊗v) / (q·Σ k): x [B, N, C] to [B, N, C].
func (g *graph) within(x *onnx.Value, a *model.Attention) *onnx.Value {
	q, k, v := g.qkv(x, a)         // [B, H, N, D]
	k = g.Transpose(k, 0, 1, 3, 2) // [B, H, D, N]
	var numerator, sum *onnx.Value // [B, H, N, D], [B, H, N, 1]
	if g.near != nil {
		pairs := g.Where(g.near, g.Scalar(0), g.MatMul(q, k)) // [B, H, N, N]
		numerator, sum = g.MatMul(pairs, v), g.ReduceSum(pairs, -1, true)
	} else {
		numerator, sum = g.MatMul(q, g.MatMul(k, v)), g.MatMul(q, g.ReduceSum(k, -1, true))
	}
	y := g.Div(numerator, g.Add(sum, g.Scalar(float32(a.Options.Eps))))
	return g.Reshape(g.Transpose(y, 0, 2, 1, 3), x.Shape...)
}

// bools are the elements of a tensor of that type.
func bools(raw []byte) []bool {
	out := make([]bool, len(raw))
	for i, b := range raw {
		out[i] = b != 0
	}
	return out
}

// across is what each view gathers from the other views of its object, from y [B, N, C]: [B, N, C]. As in the model, one
// matmul sums over views and channels ([model.Attention], docs/model.md section 3).
func (g *graph) across(y *onnx.Value, a *model.Attention, valid *onnx.Value) *onnx.Value {
	s, v, h := onnx.Objects(y.Dim(0).N/g.views), g.views, a.Heads
	n, d := y.Dim(1).N, y.Dim(2).N/h
	of := func(x *onnx.Value, tail ...int64) *onnx.Value {
		return g.Reshape(x, append([]onnx.Dim{s}, dims(tail...)...)...)
	}
	q, k, val := g.qkv(y, a)                   // [B, H, N, D] each
	views := func(x *onnx.Value) *onnx.Value { // [S, H, V, N, D]
		return g.Transpose(of(x, v, h, n, d), 0, 2, 1, 3, 4)
	}
	q, k, val = of(views(q), h, v*n, d), g.Transpose(views(k), 0, 1, 2, 4, 3), views(val) // k [S, H, V, D, N]
	kv := of(g.MatMul(k, val), h, v*d, d)                                                 // [S, H, V·D, D]
	sums := g.ReduceSum(k, -1, false)                                                     // Σ k [S, H, V, D]
	z := of(g.MatMul(sums, g.Transpose(q, 0, 1, 3, 2)), h, v, v, n)                       // [S, H, Vi, Vj, N]
	z = g.Name(z, "similarity", "of the tokens to the key views [objects, heads, key views, query views, tokens]")
	scale := g.Div(g.viewWeights(a, valid), g.Add(z, g.Scalar(float32(a.Options.Eps)))) // [S, H, Vi, Vj, N]
	if kept := g.kept(z, a); kept != nil {
		scale = g.Mul(scale, kept)
	}
	scale = of(g.Transpose(scale, 0, 1, 3, 4, 2), h, v*n, v, 1)           // [S, H, Vj·N, Vi, 1]
	scaled := of(g.Mul(of(q, h, v*n, 1, d), scale), h, v*n, v*d)          // [S, H, V·N, V·D]
	u := g.Transpose(of(g.MatMul(scaled, kv), h, v, n, d), 0, 2, 3, 1, 4) // [S, V, N, H, D]
	return g.Reshape(u, y.Shape...)
}

// viewWeights are the weights of key views, [S, 1, Vi, Vj, 1]: softmax of the logits over those that are there
// ([model.Views]). valid is [S, Vj, Vi].
func (g *graph) viewWeights(a *model.Attention, valid *onnx.Value) *onnx.Value {
	v := g.views
	logits, table := floats(g.scope, a.ViewLogits), make([]float32, v*v)
	for query := range v {
		for key := range v {
			table[query*v+key] = logits[model.SlotOf(int(query), int(key))]
		}
	}
	w := g.Where(valid, g.Floats("view_logits", table, 1, v, v), g.Scalar(-1e30))
	w = g.Mul(g.Softmax(w, -1), g.Cast(valid, onnx.Float)) // [S, Vj, Vi]
	w = g.Name(g.Transpose(w, 0, 2, 1), "view_weights", "of the key views, by row, for each query view")
	return g.Reshape(w, w.Dim(0), onnx.Dim{N: 1}, onnx.Dim{N: v}, onnx.Dim{N: v}, onnx.Dim{N: 1})
}

// kept is 1 for the tokens of each head and pair of views that attention across views keeps, else 0; nil keeps all. z and
// the result are [S, H, V, V, N].
func (g *graph) kept(z *onnx.Value, a *model.Attention) *onnx.Value {
	if a.Options.Select == "all" {
		return nil
	}
	none := g.Fill(0, z)
	k := a.Count(z.Dim(4).N)
	if k == 0 {
		return none
	}
	_, indices := g.TopK(z, k, a.Options.Select == "highest")
	return g.Name(g.Scatter(none, indices, g.Fill(1, indices)), "kept", "1 for tokens that are kept")
}
