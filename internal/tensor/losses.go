package tensor

// #include "bridge.h"
import "C"

// Means averages tensors of one shape: a mean for each list of places in xs, in
// one pass over memory where no gradient is wanted on CUDA.
func Means(s *Scope, xs []*Tensor, of ...[]int) []*Tensor {
	in := make([]C.uint, len(xs))
	for k, places := range of {
		for _, at := range places {
			in[at] |= 1 << k
		}
	}
	made := make([]C.handle, len(of))
	check("means", C.mvag_means(&made[0], C.int(len(of)), first(handles(xs)), &in[0], C.int(len(xs))), xs...)
	out := make([]*Tensor, len(of))
	for k, places := range of {
		if made[k] != nil {
			out[k] = s.given("means", made[k], xs...)
			continue
		}
		out[k] = s.Local(func(s *Scope) *Tensor {
			sum := xs[places[0]]
			for _, at := range places[1:] {
				sum = sum.Add(s, xs[at])
			}
			return sum.MulScalar(s, 1/float64(len(places)))
		})
	}
	return out
}

// GroupLosses are the losses (model.md section 4) between target [B, P, C] and the
// mean of members [B, N, C], of which the last P tokens count: the scalars global
// and regional, and tau, the smallest distance of the hard patches that are the
// hard most distant. The gradient of the others is multiplied by easy. It reports
// false where there are no kernels for it.
func GroupLosses(s *Scope, target *Tensor, members []*Tensor, hard int64, easy float64) (global, regional, tau *Tensor, ok bool) {
	var out [3]C.handle
	of := append([]*Tensor{target}, members...)
	check("group_losses", C.mvag_group_losses(&out[0], first(handles(members)), C.int(len(members)), C.handle(target.c),
		C.int64_t(hard), C.double(easy)), of...)
	if out[0] == nil {
		return nil, nil, nil, false
	}
	take := func(h C.handle) *Tensor { return s.given("group_losses", h, of...) }
	return take(out[0]), take(out[1]), take(out[2]), true
}
