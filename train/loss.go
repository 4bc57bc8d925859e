package train

import (
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/train/schedule"
)

// Loss is the objective of a batch (docs/model.md section 4), scalars on the device.
type Loss struct {
	Total, Global, Regional *tensor.Tensor
	Tau                     []*tensor.Tensor // one a group: the smallest distance of a hard patch
}

// NewLoss computes the losses between targets [B, P, C] and their reconstructions, one each a group. easy is the
// fraction of patches treated as easy: the gradient that reaches their reconstruction, from both losses, is multiplied
// by easyScale. Absent images take no part.
func NewLoss(s *tensor.Scope, targets []*tensor.Tensor, reconstructions []model.Reconstruction,
	v *model.Views, easy, easyScale float64) Loss {
	var l Loss
	hard := schedule.HardCount(v.PresentCount()*int(targets[0].Dim(1)), easy)
	for g, r := range reconstructions {
		group := r.Loss(s, targets[g], v, int64(hard), easyScale)
		if g == 0 {
			l.Global, l.Regional = group.Global, group.Regional
		} else {
			l.Global, l.Regional = l.Global.Add(s, group.Global), l.Regional.Add(s, group.Regional)
		}
		l.Tau = append(l.Tau, group.Tau)
	}
	l.Global = l.Global.MulScalar(s, 1/float64(len(targets)))
	l.Total = l.Global.Add(s, l.Regional).MulScalar(s, 0.5)
	return l
}
