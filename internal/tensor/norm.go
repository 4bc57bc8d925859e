package tensor

// #include "bridge.h"
import "C"

// AddNorm is sum = x + y + bias for a residual stream x [.., C] of float32 and the matmul y [.., C] of bfloat16 that
// ends a branch, and sum normalised over its last dimension, in bfloat16 for the matmuls of the next branch, in one
// kernel on CUDA ([Kernels].Norm). bias may be nil; so may y, with which sum is x.
func (x *Tensor) AddNorm(s *Scope, y, bias, gamma, beta *Tensor, eps float64) (sum, normed *Tensor) {
	var out [2]C.handle
	check("add_norm", C.mvag_add_norm(&out[0], C.handle(x.c), C.handle(optional(y)), C.handle(optional(bias)), C.handle(gamma.c),
		C.handle(beta.c), C.double(eps)), x, y, bias, gamma, beta)
	return s.own("add_norm", out[0]), s.own("add_norm", out[1])
}
