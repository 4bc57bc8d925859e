package train

import (
	"fmt"

	"mvag-torch/configs"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/checkpoint"
)

// Optimizer is StableAdamW with amsgrad over the trainable parameters
// (model.md section 5).
type Optimizer struct {
	Steps int64 // taken so far

	params     []*tensor.Tensor
	m, v, vmax []*tensor.Tensor // first and second moment, its running maximum
	opt        tensor.AdamW
}

// NewOptimizer makes an optimizer with zero moments, which live in s; fused is of [tensor.AdamW].
func NewOptimizer(s *tensor.Scope, params model.Params, cfg configs.Train, fused bool) *Optimizer {
	o := &Optimizer{params: params.Values(), opt: tensor.AdamW{
		Beta1: 0.9, Beta2: 0.999, Eps: 1e-10, WeightDecay: cfg.WeightDecay, Clip: cfg.Clip, Fused: fused,
	}}
	for _, p := range o.params {
		zeros := func() *tensor.Tensor { return tensor.Zeros(s, p.Device(), tensor.Float, p.Shape()...) }
		o.m, o.v, o.vmax = append(o.m, zeros()), append(o.v, zeros()), append(o.vmax, zeros())
	}
	return o
}

// Step updates the parameters from their gradients, forgets those, and returns
// the gradient norm before clipping.
func (o *Optimizer) Step(s *tensor.Scope, lr float64) *tensor.Tensor {
	return o.update(s, o.next(s, lr))
}

// next begins a step: what update takes from the learning rate and the number of
// the step, on the device.
func (o *Optimizer) next(s *tensor.Scope, lr float64) *tensor.Tensor {
	o.Steps++
	return o.opt.Rates(s, o.params[0].Device(), lr, o.Steps)
}

// update is the part of Step on the device.
func (o *Optimizer) update(s *tensor.Scope, rates *tensor.Tensor) *tensor.Tensor {
	norm := tensor.StableAdamW(s, o.params, o.m, o.v, o.vmax, rates, o.opt)
	tensor.ClearGrads(o.params)
	return norm
}

// restore takes the moments from a checkpoint.
func (o *Optimizer) restore(f *checkpoint.File, params model.Params) error {
	o.Steps = int64(f.Info.Iteration)
	for kind, moments := range map[string][]*tensor.Tensor{"m": o.m, "v": o.v, "vmax": o.vmax} {
		recorded, err := f.Below(checkpoint.Optimizer + kind + ".")
		if err != nil {
			return err
		}
		named := make(model.Params, len(params))
		for i, p := range params {
			named[i] = model.Param{Name: p.Name, Value: moments[i]}
		}
		if err := named.Load(recorded); err != nil {
			return fmt.Errorf("optimizer.%s: %w", kind, err)
		}
	}
	return nil
}
