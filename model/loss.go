package model

import "mvag-torch/internal/tensor"

// GroupLoss is what one group of layers adds to the losses (docs/model.md section 4), scalars on the device.
type GroupLoss struct {
	Global, Regional *tensor.Tensor // of ranks, the share of this one: their sum is the loss of the batch
	Tau              *tensor.Tensor // the smallest distance of a hard patch
}

// Loss compares the reconstruction with its target [B, P, C]. The hard most distant patches are the hard ones; the
// gradient that reaches the reconstruction of the others is multiplied by easyScale. Absent images take no part; hard,
// and the means of the losses, are over all ranks.
func (r Reconstruction) Loss(s *tensor.Scope, target *tensor.Tensor, v *Views, hard int64, easyScale float64) GroupLoss {
	if r.model.Kernels.Losses && v.Rows == nil {
		global, regional, tau := tensor.GroupLosses(s, target, r.Outputs, hard, easyScale, int64(v.PresentCount()), v.Ranks.Group)
		return GroupLoss{global, regional, tau}
	}
	return groupLoss(s, v.Present(s, target), v.Present(s, r.Patches(s, false)), v, hard, easyScale)
}

// groupLoss compares target and rec, both [b, P, C], of the present images.
func groupLoss(s *tensor.Scope, target, rec *tensor.Tensor, v *Views, hard int64, easyScale float64) GroupLoss {
	var tau, factor, focus *tensor.Tensor
	tensor.NoGrad(func() { tau, factor, focus = mine(s, Distance(s, target, rec), v, hard, easyScale) })
	rec = rec.ScaleGrad(s, factor)
	b, patches, size := rec.Dim(0), rec.Dim(1), rec.Dim(1)*rec.Dim(2)
	images := float64(v.PresentCount())
	global := Distance(s, target.Reshape(s, b, size), rec.Reshape(s, b, size)) // over all P·C elements of an image [b]
	regional := Distance(s, target, rec).Mul(s, focus)                         // [b, P]
	return GroupLoss{
		Global:   global.Sum(s, false, 0).DivScalar(s, images),
		Regional: regional.Sum(s, false, 0, 1).DivScalar(s, images*float64(patches)),
		Tau:      tau,
	}
}

// mine ranks the distances c [b, P]. tau is the smallest of the hard patches of all ranks; factor [b, P, 1] scales
// gradients: 1, or easyScale where c < tau; focus [b, P] is (min(c, tau)/tau)², or 1 where tau is 0.
func mine(s *tensor.Scope, c *tensor.Tensor, v *Views, hard int64, easyScale float64) (tau, factor, focus *tensor.Tensor) {
	all := v.gather(s, c)
	n := all.Numel()
	tau = all.Reshape(s, n).Kthvalue(s, n-hard+1, 0)
	ones := tensor.Full(s, c.Device(), tensor.Float, 1, c.Shape()...)
	factor = ones.MaskedFill(s, c.Lt(s, tau), easyScale).Unsqueeze(s, -1)
	focus = c.Minimum(s, tau).Div(s, tau).Square(s).MaskedFill(s, tau.LeScalar(s, 0), 1)
	return tau, factor, focus
}

// Distance is 1 - cos over the last dimension of [..., C], each norm at least 1e-8.
func Distance(s *tensor.Scope, a, b *tensor.Tensor) *tensor.Tensor {
	return a.CosineSimilarity(s, b, -1, 1e-8).Neg(s).AddScalar(s, 1)
}
