package tensor

// #include "bridge.h"
import "C"

import "slices"

// The element-wise parts of linear attention (docs/model.md section 3), in float32 whatever the type of the input. Fused
// ([Kernels].Heads), each is one pass over memory: a kernel on CUDA, a loop for float32 on the CPU. φ is elu + 1.

// SplitLinearHeads maps tokens [S·V, N, 3C], groups of V views, plus bias [3C] to φ(q) and φ(k) [S, H, V, N, D] and to
// v with a column of ones behind it [S, H, V, N, D+1]: kᵀ·v then holds Σ k⊗v and Σ k side by side.
func (x *Tensor) SplitLinearHeads(s *Scope, bias *Tensor, views, heads int64, fused bool) (q, k, v *Tensor) {
	var out [3]C.handle
	check("split_linear_heads", C.mvag_split_heads(&out[0], C.handle(x.c), C.handle(bias.c), C.int64_t(views), C.int64_t(heads),
		C.bool(fused)), x, bias)
	take := func(h C.handle) *Tensor { return s.own("split_linear_heads", h, x, bias) }
	return take(out[0]), take(out[1]), take(out[2])
}

// MergeLinearHeads maps [S, H, V, N, D+1], numerators and their denominator, to tokens [S·V, N, C]: numerators /
// (denominator + eps).
func (x *Tensor) MergeLinearHeads(s *Scope, eps float64, fused bool) *Tensor {
	out := s.slot()
	check("merge_linear_heads", C.mvag_merge_heads((*C.handle)(&out.c), C.handle(x.c), C.double(eps), C.bool(fused)), x)
	return out.done("merge_linear_heads", x)
}

// Spread multiplies q [.., D] by each of scale [.., V]: [.., V, D].
func (q *Tensor) Spread(s *Scope, scale *Tensor, fused bool) *Tensor {
	out := s.slot()
	check("spread", C.mvag_spread((*C.handle)(&out.c), C.handle(q.c), C.handle(scale.c), C.bool(fused)), q, scale)
	return out.done("spread", q, scale)
}

// LinearAttentionOptions are the settings of [Tensor.LinearAttention].
type LinearAttentionOptions struct {
	Select string  // "all" tokens of a pair of views, or those of the "lowest" or "highest" denominator
	Count  int64   // how many tokens, unless all
	Eps    float64 // added to every denominator
}

// LinearAttention is linear attention over views (docs/model.md section 3) in one operation, for bfloat16 on CUDA and heads
// of 64 channels ([Kernels].Attention): qkv [S·V, N, 3C] plus bias [3C] give [S·V, N, C], where the tokens of query
// view j gather Σ weights(j, i)·q·(Σ k⊗v)/(q·Σ k + eps) from the key views i of weights [1 or S, V, V]. It returns base
// + factor times that, or that where base [S·V, N, C] of bfloat16 and factor, a scalar, are nil.
func (qkv *Tensor) LinearAttention(s *Scope, bias, weights, base, factor *Tensor, opt LinearAttentionOptions) *Tensor {
	out := s.slot()
	o := C.mvag_attention{eps: C.double(opt.Eps), _select: C.int(slices.Index(selections, opt.Select)), count: C.int64_t(opt.Count)}
	check("linear_attention", C.mvag_attend((*C.handle)(&out.c), C.handle(qkv.c), C.handle(bias.c), C.handle(weights.c),
		C.handle(optional(base)), C.handle(optional(factor)), o), qkv, bias, weights, base, factor)
	return out.done("linear_attention", qkv, bias, weights)
}

// selections are the values of LinearAttentionOptions.Select, in the order of attend.hpp.
var selections = []string{"all", "lowest", "highest"}
