package train

import (
	"fmt"

	"mvag-torch/configs"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/checkpoint"
)

// Optimizer is StableAdamW with amsgrad over the trainable parameters (docs/model.md section 5).
type Optimizer struct {
	Steps int64 // taken so far, those that changed nothing included: the iteration that comes next

	params  []*tensor.Tensor
	moments [3][]*tensor.Tensor // as momentNames
	opt     tensor.AdamW
}

// momentNames are, in checkpoints, the first and second moment and the running maximum of the second.
var momentNames = [3]string{"m", "v", "vmax"}

// NewOptimizer makes an optimizer for the parameters of m with zero moments, which live in s.
func NewOptimizer(s *tensor.Scope, m *model.Model, cfg configs.Train) *Optimizer {
	o := &Optimizer{params: m.Params.Values(), opt: tensor.AdamW{
		Beta1: 0.9, Beta2: 0.999, Eps: 1e-10, WeightDecay: cfg.WeightDecay, Clip: cfg.Clip, Fused: m.Kernels.Optimizer,
	}}
	for i := range o.moments {
		for _, p := range o.params {
			o.moments[i] = append(o.moments[i], tensor.Zeros(s, p.Device(), tensor.Float, p.Shape()...))
		}
	}
	return o
}

// next begins a step on the host: what update needs to know of the learning rate and the number of the step, [3] on the
// device.
func (o *Optimizer) next(s *tensor.Scope, lr float64) *tensor.Tensor {
	o.Steps++
	return o.opt.Rates(s, o.params[0].Device(), lr, o.Steps)
}

// update is the rest of the step, on the device: it updates the parameters from their gradients, clears those, and
// returns the gradient norm before clipping. Where that or the loss is not finite nothing is updated, but the step
// counts: the bias correction of the next one is that of its iteration, as after a resumption.
func (o *Optimizer) update(s *tensor.Scope, rates, loss *tensor.Tensor) *tensor.Tensor {
	norm := tensor.StableAdamW(s, o.params, o.moments[0], o.moments[1], o.moments[2], rates, loss, o.opt)
	tensor.ClearGrads(o.params)
	return norm
}

// state names the moments as a checkpoint does.
func (o *Optimizer) state(params model.Params) (all model.Params) {
	for i, kind := range momentNames {
		for j, p := range params {
			all = append(all, model.Param{Name: kind + "." + p.Name, Value: o.moments[i][j]})
		}
	}
	return all
}

// restore takes the moments and the number of steps from a checkpoint.
func (o *Optimizer) restore(f *checkpoint.File, params model.Params) error {
	o.Steps = int64(f.Info.Iteration)
	saved, err := f.Below(checkpoint.Optimizer)
	if err == nil {
		err = o.state(params).Load(saved)
	}
	if err != nil {
		return fmt.Errorf("optimizer: %w", err)
	}
	return nil
}
