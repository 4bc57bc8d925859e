package tensor

// #include "bridge.h"
import "C"

// Means averages tensors of one shape: a mean for each list of indices into xs. Fused, it is one kernel, for up to 16
// tensors of float32 on CUDA; else it is composed.
func Means(s *Scope, fused bool, xs []*Tensor, of ...[]int) []*Tensor {
	out := make([]*Tensor, len(of))
	if !fused {
		for k, indices := range of {
			out[k] = s.Local(func(s *Scope) *Tensor {
				sum := xs[indices[0]]
				for _, i := range indices[1:] {
					sum = sum.Add(s, xs[i])
				}
				return sum.MulScalar(s, 1/float64(len(indices)))
			})
		}
		return out
	}
	masks, made := make([]C.int64_t, len(of)), make([]C.handle, len(of))
	for k, indices := range of {
		for _, i := range indices {
			masks[k] |= 1 << i
		}
	}
	check("means", C.mvag_means(&made[0], &masks[0], C.int(len(of)), firstHandle(handles(xs)), C.int(len(xs))), xs...)
	for k := range of {
		out[k] = s.own("means", made[k], xs...)
	}
	return out
}

// GroupLosses are the losses of a group (docs/model.md section 4) by kernels ([Kernels].Losses), between target [B, P, C]
// and the mean of members [B, N, C], of which the last P tokens count: the scalars global and regional, and tau, the
// smallest distance of the hard patches, which are the hard most distant. The gradient of the other patches is
// multiplied by easy. Where the batch is divided among the ranks of a group, the losses are this rank's share of those of
// all its images, and the hard patches are those of all ranks, to which each gives as many images; alone, g is nil and
// all is B.
func GroupLosses(
	s *Scope, target *Tensor, members []*Tensor, hard int64, easy float64, all int64, g *Group,
) (global, regional, tau *Tensor) {
	var out [3]C.handle
	of := append([]*Tensor{target}, members...)
	check("group_losses", C.mvag_group_losses(&out[0], firstHandle(handles(members)), C.int(len(members)), C.handle(target.c),
		C.int64_t(hard), C.double(easy), C.int64_t(all), g.handle()), of...)
	take := func(h C.handle) *Tensor { return s.own("group_losses", h, of...) }
	return take(out[0]), take(out[1]), take(out[2])
}
