package tensor

// #include "bridge.h"
import "C"

// The element-wise parts of linear attention (model.md section 3), in float32
// whatever the type of the input, each one operation so that memory is passed
// over once. phi is elu + 1.

// SplitLinearHeads maps tokens [S·V, N, 3C], groups of V views, plus bias [3C],
// to q and k [S, H, V, N, D], phi taken, and to v with a column of ones behind
// it [S, H, V, N, D+1]: kᵀ·v then holds Σ k⊗v and Σ k side by side.
func (x *Tensor) SplitLinearHeads(s *Scope, bias *Tensor, views, heads int64) (q, k, v *Tensor) {
	var out [3]C.handle
	check("split_linear_heads", C.mvag_split_heads(&out[0], C.handle(x.c), C.handle(bias.c), C.int64_t(views), C.int64_t(heads)), x, bias)
	adopt := func(h C.handle) *Tensor {
		t := s.slot()
		*(*C.handle)(&t.c) = h
		return t.done("split_linear_heads", x, bias)
	}
	return adopt(out[0]), adopt(out[1]), adopt(out[2])
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
