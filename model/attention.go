package model

import "mvag-torch/internal/tensor"

// Attention is the decoder's multi-view linear attention (docs/model.md section 3): each view attends to itself, then,
// with the same weights, to the other views of its object. ViewLogits weigh those, and Gate mixes the two.
type Attention struct {
	QKV, Proj  Linear
	ViewLogits *tensor.Tensor // [V-1]
	Gate       *tensor.Tensor // scalar

	Heads   int64
	Options AttentionOptions
	Near    *tensor.Tensor // bool [N, N], pairs that the neighbour mask removes; nil where it is off
	kernels *tensor.Kernels
}

// AttentionOptions are the settings of multi-view attention.
type AttentionOptions struct {
	Keep         float64 // fraction of tokens kept across views
	Select       string  // which: "lowest", "highest" or "all"
	NeighborMask int     // odd side length of the masked neighbourhood; 0 is off
	Eps          float64 // added to every denominator
}

func newAttention(w binder, dim, heads, views int64, opt AttentionOptions, near *tensor.Tensor) Attention {
	return Attention{
		QKV:        newLinear(w.Sub("qkv"), dim, 3*dim),
		Proj:       newLinear(w.Sub("proj"), dim, dim),
		ViewLogits: w.Tensor("view_logits", constant(0.25), views-1),
		Gate:       w.Tensor("gate", constant(0.5)),
		Heads:      heads, Options: opt, Near: near, kernels: w.kernels,
	}
}

// Forward maps the normalised stream x [B, N, C] to the branch [B, N, C].
func (a *Attention) Forward(s *tensor.Scope, x *tensor.Tensor, v *Views) Branch {
	y := s.Local(func(s *tensor.Scope) *tensor.Tensor {
		qkv, bias := a.QKV.withoutBias(s, x) // [B, N, 3C], [3C]
		y := a.within(s, qkv, bias, v)       // [B, N, C]
		if v.Count == 1 {
			return y
		}
		// out = σ(gate)·y + (1-σ(gate))·f with f = y + u: the weights of the views sum to 1, so that the residual y
		// leaves the sum.
		qkv, bias = a.QKV.withoutBias(s, y)                        // [B, N, 3C], [3C]
		return a.mix(s, qkv, bias, y, a.Gate.Neg(s).Sigmoid(s), v) // [B, N, C]
	})
	return Branch{a.Proj, y}
}

// within is linear attention within each view, q·(Σ k⊗v) / (q·Σ k): the matmul qkv [B, N, 3C] and its bias give [B, N,
// C].
func (a *Attention) within(s *tensor.Scope, qkv, bias *tensor.Tensor, views *Views) *tensor.Tensor {
	if a.Near == nil && a.kernels.Attention {
		opt := tensor.LinearAttentionOptions{Select: "all", Eps: a.Options.Eps}
		return qkv.LinearAttention(s, bias, views.self, nil, nil, opt)
	}
	// q, k [B, H, 1, N, D]; v with a column of ones [B, H, 1, N, D+1]
	q, k, v := qkv.SplitLinearHeads(s, bias, 1, a.Heads, a.kernels.Heads)
	k = k.Transpose(s, -2, -1) // [B, H, 1, D, N]
	var sums *tensor.Tensor    // numerators and denominator [B, H, 1, N, D+1]
	if a.Near != nil {
		sums = q.Matmul(s, k).MaskedFill(s, a.Near, 0).Matmul(s, v)
	} else {
		sums = q.Matmul(s, k.Matmul(s, v))
	}
	return sums.MergeLinearHeads(s, a.Options.Eps, a.kernels.Heads) // [B, N, C]
}

// mix returns y + rest·u for y [B, N, C], where u [B, N, C] is what each view gathers from the other views by the
// matmul qkv [B, N, 3C] of y and its bias.
func (a *Attention) mix(s *tensor.Scope, qkv, bias, y, rest *tensor.Tensor, v *Views) *tensor.Tensor {
	if a.kernels.Attention {
		opt := tensor.LinearAttentionOptions{Select: a.Options.Select, Count: a.Count(y.Dim(1)), Eps: a.Options.Eps}
		return qkv.LinearAttention(s, bias, v.weights(s, a.ViewLogits), y.To(s, qkv.DType()), rest, opt)
	}
	return y.Add(s, a.across(s, qkv, bias, v).Mul(s, rest))
}

// across is what each view gathers from the other views of its object: the weighted sum over key views i of
// q_j·(Σ k_i⊗v_i) / (q_j·Σ k_i) on the kept tokens. It maps the matmul qkv [B, N, 3C] and its bias to [B, N, C].
//
// One matmul sums over views and channels at once: the weight of key view i scales the query, [.., V·D], and meets the
// stacked Σ k_i⊗v_i, [V·D, D].
func (a *Attention) across(s *tensor.Scope, qkv, bias *tensor.Tensor, v *Views) *tensor.Tensor {
	n, c, h := qkv.Dim(1), qkv.Dim(2)/3, a.Heads
	objects, views, d := v.Objects, v.Count, c/a.Heads
	q, sums := a.splitViews(s, qkv, bias, v)                         // [S, H, V·N, D], [S, H, V, D, D+1]
	kv := sums.Slice(s, -1, 0, d).Reshape(s, objects, h, views*d, d) // [S, H, V·D, D]
	z := similarity(s, q, sums.Select(s, -1, d))                     // [S, H, Vi, Vj, N]
	weights := v.weights(s, a.ViewLogits).Transpose(s, 1, 2)         // [1 or S, Vi, Vj]
	weights = weights.Unsqueeze(s, 1).Unsqueeze(s, -1)               // [1 or S, 1, Vi, Vj, 1]
	scale := weights.Div(s, z.AddScalar(s, a.Options.Eps))           // [S, H, Vi, Vj, N]
	if kept := a.kept(s, z); kept != nil {
		scale = scale.Mul(s, kept)
	}
	scale = scale.Permute(s, 0, 1, 3, 4, 2).Reshape(s, objects, h, views*n, views)         // [S, H, Vj·N, Vi]
	scaled := q.Spread(s, scale, a.kernels.Heads).Reshape(s, objects, h, views*n, views*d) // [S, H, V·N, V·D]
	u := scaled.Matmul(s, kv).Reshape(s, objects, h, views, n, d)                          // [S, H, V, N, D]
	return u.Permute(s, 0, 2, 3, 1, 4).Reshape(s, objects*views, n, c)                     // [B, N, C]
}

// splitViews maps the matmul qkv [B, N, 3C] and its bias to φ(q) [S, H, V·N, D] and, for each view, to Σ k⊗v with Σ k
// as its last column [S, H, V, D, D+1].
func (a *Attention) splitViews(s *tensor.Scope, qkv, bias *tensor.Tensor, v *Views) (q, sums *tensor.Tensor) {
	// q, k [S, H, V, N, D]; val with a column of ones [S, H, V, N, D+1]
	q, k, val := qkv.SplitLinearHeads(s, bias, v.Count, a.Heads, a.kernels.Heads)
	return q.Reshape(s, v.Objects, a.Heads, v.Count*qkv.Dim(1), -1), k.Transpose(s, -2, -1).Matmul(s, val)
}

// similarity is z = q_j·Σ k_i for each token of each query view j and each key view i: q [S, H, V·N, D] and Σ k
// [S, H, V, D] give [S, H, Vi, Vj, N].
func similarity(s *tensor.Scope, q, ksum *tensor.Tensor) *tensor.Tensor {
	objects, h, views := ksum.Dim(0), ksum.Dim(1), ksum.Dim(2)
	z := ksum.Matmul(s, q.Transpose(s, -2, -1)) // [S, H, V, V·N]
	return z.Reshape(s, objects, h, views, views, -1)
}

// kept is 1 for the int(keep·N) tokens of each head and pair of views with the smallest (or largest) z, else 0; nil
// keeps all. z and the result are [S, H, V, V, N]. No gradient passes.
func (a *Attention) kept(s *tensor.Scope, z *tensor.Tensor) *tensor.Tensor {
	if a.Options.Select == "all" {
		return nil
	}
	z = z.Detach(s)
	mask := tensor.Zeros(s, z.Device(), z.DType(), z.Shape()...)
	count := a.Count(z.Dim(-1))
	if count == 0 {
		return mask
	}
	_, indices := z.Topk(s, count, -1, a.Options.Select == "highest")
	return mask.ScatterValue(s, -1, indices, 1)
}

// Count is how many of n tokens are kept across views.
func (a *Attention) Count(n int64) int64 { return int64(a.Options.Keep * float64(n)) }

// neighborMask is true for pairs of patches at most (side-1)/2 rows and columns apart, a patch and itself included. The
// class token and registers are never masked. The result is a bool tensor [N, N].
func neighborMask(s *tensor.Scope, d tensor.Device, side int, prefix, rows, columns int64) *tensor.Tensor {
	patches, reach := rows*columns, int64(side-1)/2
	n := prefix + patches
	mask := make([]byte, n*n)
	for a := range patches {
		for b := range patches {
			if abs(a/columns-b/columns) <= reach && abs(a%columns-b%columns) <= reach {
				mask[(prefix+a)*n+prefix+b] = 1
			}
		}
	}
	return tensor.FromBytes(s, d, tensor.Bool, mask, n, n)
}

func abs(x int64) int64 { return max(x, -x) }
