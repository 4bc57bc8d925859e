package train

import (
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/train/schedule"
)

// Loss is the objective of a batch (model.md section 4), scalars on the device.
type Loss struct {
	Total, Global, Regional *tensor.Tensor
	Tau                     []*tensor.Tensor // one a group: the smallest distance of a hard patch
}

// NewLoss computes the losses between targets [B, P, C] and reconstructions, one
// each a group. easy is the share of patches treated as easy: the gradient that
// reaches their reconstruction, from both losses, is multiplied by scale.
// Absent pictures take no part. Fused, kernels compute them where no picture is absent.
func NewLoss(s *tensor.Scope, targets []*tensor.Tensor, reconstructions []model.Reconstruction, v *model.Views, easy, scale float64, fused bool) Loss {
	var l Loss
	var global, regional *tensor.Tensor
	for g := range targets {
		one := ofGroup(s, targets[g], reconstructions[g], v, easy, scale, fused)
		global, regional = accumulate(s, global, one.global), accumulate(s, regional, one.regional)
		l.Tau = append(l.Tau, one.tau)
	}
	l.Global, l.Regional = global.MulScalar(s, 1/float64(len(targets))), regional
	l.Total = l.Global.Add(s, regional).MulScalar(s, 0.5)
	return l
}

// groupLoss is what a group adds to the losses, scalars.
type groupLoss struct{ global, regional, tau *tensor.Tensor }

// ofGroup computes it by kernels made for it, where there are such, or composes it.
func ofGroup(s *tensor.Scope, target *tensor.Tensor, r model.Reconstruction, v *model.Views, easy, scale float64, fused bool) groupLoss {
	if fused && v.Rows == nil {
		hard := int64(schedule.HardCount(int(target.Dim(0)*target.Dim(1)), easy))
		global, regional, tau := tensor.GroupLosses(s, target, r.Outputs, hard, scale)
		return groupLoss{global, regional, tau}
	}
	return composed(s, v.Present(s, target), v.Present(s, r.Patches(s)), easy, scale)
}

// composed is the loss between target and rec [B, P, C].
func composed(s *tensor.Scope, target, rec *tensor.Tensor, easy, scale float64) groupLoss {
	var tau, factor, focus *tensor.Tensor
	tensor.NoGrad(func() {
		tau, factor, focus = mine(s, model.Distance(s, target, rec), easy, scale)
	})
	rec = rec.ScaleGrad(s, factor)
	return groupLoss{
		global:   pictureDistance(s, target, rec).Mean(s),
		regional: model.Distance(s, target, rec).Mul(s, focus).Mean(s),
		tau:      tau,
	}
}

// mine ranks the distances c [B, P]: tau is the smallest of the hard patches,
// factor [B, P, 1] scales gradients (1, or scale where c < tau), and focus
// [B, P] is (min(c, tau)/tau)², or 1 where tau is 0.
func mine(s *tensor.Scope, c *tensor.Tensor, easy, scale float64) (tau, factor, focus *tensor.Tensor) {
	n := c.Numel()
	hard := int64(schedule.HardCount(int(n), easy))
	tau = c.Reshape(s, n).Kthvalue(s, n-hard+1, 0)
	ones := tensor.Full(s, c.Device(), tensor.Float, 1, c.Shape()...)
	factor = ones.MaskedFill(s, c.Lt(s, tau), scale).Unsqueeze(s, -1)
	focus = c.Minimum(s, tau).Div(s, tau).Square(s).MaskedFill(s, tau.LeScalar(s, 0), 1)
	return tau, factor, focus
}

// pictureDistance is 1 - cos over all P·C numbers of each picture: [B].
func pictureDistance(s *tensor.Scope, a, b *tensor.Tensor) *tensor.Tensor {
	rows := a.Dim(0)
	return model.Distance(s, a.Reshape(s, rows, -1), b.Reshape(s, rows, -1))
}

// accumulate is sum + x, or x where there is no sum yet.
func accumulate(s *tensor.Scope, sum, x *tensor.Tensor) *tensor.Tensor {
	if sum == nil {
		return x
	}
	return sum.Add(s, x)
}
