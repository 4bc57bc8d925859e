package tensor

// #include "bridge.h"
import "C"

// AddNorm is sum = x + y + bias for a stream x [.., C] of float32 and the product
// y [.., C] of bfloat16 that ends a branch, and sum normalised over its last
// dimension, in bfloat16 for the products of the next branch. bias may be nil; so
// may y, with which sum is x.
func (x *Tensor) AddNorm(s *Scope, y, bias, gamma, beta *Tensor, eps float64) (sum, normed *Tensor) {
	var out [2]C.handle
	check("add_norm", C.mvag_add_norm(&out[0], C.handle(x.c), C.handle(optional(y)), C.handle(optional(bias)), C.handle(gamma.c), C.handle(beta.c), C.double(eps)),
		x, y, bias, gamma, beta)
	sum, normed = s.slot(), s.slot()
	*(*C.handle)(&sum.c), *(*C.handle)(&normed.c) = out[0], out[1]
	return sum.done("add_norm"), normed.done("add_norm")
}
