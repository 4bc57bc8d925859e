package tensor

// #include "bridge.h"
import "C"

import "slices"

// The element-wise parts of linear attention (model.md section 3), in float32
// whatever the type of the input, each one operation so that memory is passed
// over once. phi is elu + 1.

// SplitLinearHeads maps tokens [S·V, N, 3C], groups of V views, plus bias [3C],
// to q and k [S, H, V, N, D], phi taken, and to v with a column of ones behind
// it [S, H, V, N, D+1]: kᵀ·v then holds Σ k⊗v and Σ k side by side.
func (x *Tensor) SplitLinearHeads(s *Scope, bias *Tensor, views, heads int64) (q, k, v *Tensor) {
	var out [3]C.handle
	check("split_linear_heads", C.mvag_split_heads(&out[0], C.handle(x.c), C.handle(bias.c), C.int64_t(views), C.int64_t(heads)), x, bias)
	take := func(h C.handle) *Tensor { return s.given("split_linear_heads", h, x, bias) }
	return take(out[0]), take(out[1]), take(out[2])
}

// MergeLinearHeads maps [S, H, V, N, D+1], numerators and their denominator, to
// tokens [S·V, N, C]: numerators / (denominator + eps).
func (x *Tensor) MergeLinearHeads(s *Scope, eps float64) *Tensor {
	out := s.slot()
	check("merge_linear_heads", C.mvag_merge_heads((*C.handle)(&out.c), C.handle(x.c), C.double(eps)), x)
	return out.done("merge_linear_heads", x)
}

// Spread multiplies q [.., D] by each of scale [.., V]: [.., V, D].
func (q *Tensor) Spread(s *Scope, scale *Tensor) *Tensor {
	out := s.slot()
	check("spread", C.mvag_spread((*C.handle)(&out.c), C.handle(q.c), C.handle(scale.c)), q, scale)
	return out.done("spread", q, scale)
}

// LinearAttentionOptions are the settings of [Tensor.LinearAttention].
type LinearAttentionOptions struct {
	Select string  // "all" tokens of a pair of views, or those of the "lowest" or "highest" denominator
	Count  int64   // how many, unless all
	Eps    float64 // added to every denominator
}

// HasLinearAttention tells whether LinearAttention can do qkv, which depends on its
// device, type and width of heads.
func (qkv *Tensor) HasLinearAttention(heads int64) bool {
	return bool(C.mvag_can_attend(C.handle(qkv.c), C.int64_t(heads)))
}

// LinearAttention is linear attention over views (model.md section 3) in one
// operation: qkv [S·V, N, 3C] plus bias [3C] give [S·V, N, C], where the tokens of
// query view j gather Σ share(j, i)·q·(Σ k⊗v)/(q·Σ k + eps) from the key views i of
// share [1 or S, V, V]. It returns base + factor times that, or that where base
// and factor are nil.
func (qkv *Tensor) LinearAttention(s *Scope, bias, share, base, factor *Tensor, opt LinearAttentionOptions) *Tensor {
	out := s.slot()
	o := C.mvag_attention{eps: C.double(opt.Eps), _select: C.int(slices.Index(selections, opt.Select)), count: C.int64_t(opt.Count)}
	check("linear_attention", C.mvag_attend((*C.handle)(&out.c), C.handle(qkv.c), C.handle(bias.c), C.handle(share.c),
		C.handle(optional(base)), C.handle(optional(factor)), o), qkv, bias, share)
	return out.done("linear_attention", qkv, bias, share)
}

// selections are the values of LinearAttentionOptions.Select, in the order of attend.cpp.
var selections = []string{"all", "lowest", "highest"}
