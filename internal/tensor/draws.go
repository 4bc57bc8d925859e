package tensor

// #include "bridge.h"
import "C"

// Draws are the random numbers of one training step. They depend on the seed of the step and on where they are, on
// nothing that was drawn before: element i of the n-th tensor that is drawn in a step on (seed, n, i), where i counts
// the elements of the whole batch (philox.h). So the parts of a batch draw what the whole would, in whatever parts it is
// divided, and a replay of a captured step draws for the seed that it finds.
//
// A seed gives the same dropout on all devices, and the same noise up to rounding.
type Draws struct {
	seed  *Tensor
	first int64
	fused bool
	made  int64
}

// NewDraws begins the draws of a step for images of the whole batch from index first on. seed is int64 [1], on the
// device that draws. Fused, own kernels draw on CUDA, own loops on the CPU ([Kernels].Random); else it is composed.
func NewDraws(seed *Tensor, first int64, fused bool) *Draws {
	return &Draws{seed: seed, first: first, fused: fused}
}

// next is the next draw of the step.
func (d *Draws) next() C.mvag_draw {
	n := d.made
	d.made++
	return C.mvag_draw{seed: C.handle(d.seed.c), first: C.int64_t(d.first), number: C.int64_t(n), fused: C.bool(d.fused)}
}

// Dropout zeroes elements of x [B, …] with probability p and multiplies the rest by 1/(1-p). Fused, x is of float32 or
// bfloat16, and nothing is kept for backward, which draws again.
func (x *Tensor) Dropout(s *Scope, p float64, d *Draws) *Tensor {
	out := s.slot()
	check("dropout", C.mvag_dropout((*C.handle)(&out.c), C.handle(x.c), C.double(p), d.next()), x, d.seed)
	return out.done("dropout", x)
}

// Normal returns standard normal values of x's shape [B, …] in float32, on x's device.
func (x *Tensor) Normal(s *Scope, d *Draws) *Tensor {
	out := s.slot()
	check("normal", C.mvag_normal((*C.handle)(&out.c), C.handle(x.c), d.next()), x, d.seed)
	return out.done("normal", x)
}
