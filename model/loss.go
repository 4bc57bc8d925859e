package model

import "mvag-torch/internal/tensor"

// GroupLoss is what one group of layers adds to the losses (docs/model.md section 4), scalars on the device.
type GroupLoss struct {
	Global, Regional *tensor.Tensor
	Tau              *tensor.Tensor // the smallest distance of a hard patch
}

// Loss compares the reconstruction with its target [B, P, C]. The hard most distant patches are the hard ones; the
// gradient that reaches the reconstruction of the others is multiplied by easyScale. Absent images take no part.
func (r Reconstruction) Loss(s *tensor.Scope, target *tensor.Tensor, v *Views, hard int64, easyScale float64) GroupLoss {
	if r.model.Kernels.Losses && v.Rows == nil {
		global, regional, tau := tensor.GroupLosses(s, target, r.Outputs, hard, easyScale)
		return GroupLoss{global, regional, tau}
	}
	return groupLoss(s, v.Present(s, target), v.Present(s, r.Patches(s, false)), hard, easyScale)
}

// groupLoss compares target and rec, both [B, P, C].
func groupLoss(s *tensor.Scope, target, rec *tensor.Tensor, hard int64, easyScale float64) GroupLoss {
	var tau, factor, focus *tensor.Tensor
	tensor.NoGrad(func() { tau, factor, focus = mine(s, Distance(s, target, rec), hard, easyScale) })
	rec = rec.ScaleGrad(s, factor)
	b := rec.Dim(0)
	return GroupLoss{
		Global:   Distance(s, target.Reshape(s, b, -1), rec.Reshape(s, b, -1)).Mean(s), // over all P·C elements of an image
		Regional: Distance(s, target, rec).Mul(s, focus).Mean(s),
		Tau:      tau,
	}
}

// mine ranks the distances c [B, P]. tau is the smallest of the hard patches; factor [B, P, 1] scales gradients: 1, or
// easyScale where c < tau; focus [B, P] is (min(c, tau)/tau)², or 1 where tau is 0.
func mine(s *tensor.Scope, c *tensor.Tensor, hard int64, easyScale float64) (tau, factor, focus *tensor.Tensor) {
	n := c.Numel()
	tau = c.Reshape(s, n).Kthvalue(s, n-hard+1, 0)
	ones := tensor.Full(s, c.Device(), tensor.Float, 1, c.Shape()...)
	factor = ones.MaskedFill(s, c.Lt(s, tau), easyScale).Unsqueeze(s, -1)
	focus = c.Minimum(s, tau).Div(s, tau).Square(s).MaskedFill(s, tau.LeScalar(s, 0), 1)
	return tau, factor, focus
}

// Distance is 1 - cos over the last dimension of [..., C], each norm at least 1e-8.
func Distance(s *tensor.Scope, a, b *tensor.Tensor) *tensor.Tensor {
	return a.CosineSimilarity(s, b, -1, 1e-8).Neg(s).AddScalar(s, 1)
}
