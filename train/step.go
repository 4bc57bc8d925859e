package train

import (
	"slices"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/train/schedule"
)

// Stepper takes optimisation steps.
type Stepper struct {
	Model     *model.Model
	Optimizer *Optimizer

	// Mark is called after each phase of a step; benchmarks wait
	// for the device there and read the clock.
	Mark func(phase string)

	cfg   configs.Config
	views *model.Views // of batches without missing pictures
}

// NewStepper prepares the first step; what it needs lives in s.
func NewStepper(s *tensor.Scope, cfg configs.Config, m *model.Model) *Stepper {
	return &Stepper{Model: m, Optimizer: NewOptimizer(s, m.Params, cfg.Train), Mark: func(string) {},
		cfg: cfg, views: model.NewViews(s, m.Device, cfg.Train.Objects, cfg.Data.Views, nil)}
}

// Step takes the step of iteration it on a batch: forward, losses, backward,
// update. It returns the total loss before the update and the gradient norm
// before clipping, scalars on the device; nothing waits for the device.
func (t *Stepper) Step(s *tensor.Scope, batch *Batch, it int) (loss, norm *tensor.Tensor) {
	cfg := t.cfg.Train
	features := t.features(s, batch)
	t.Mark("encoder")
	views := t.views
	if slices.Contains(batch.Present, false) {
		views = model.NewViews(s, t.Model.Device, len(batch.Objects), batch.Views, batch.Present)
	}
	x := t.Model.Bottleneck.Forward(s, features.Mean, true)
	if scale := t.jitter(s, it); scale > 0 {
		x = model.Jitter(s, x, x.RandnLike(s), scale)
	}
	easy := schedule.EasyFraction(it, cfg.HardWarmup, cfg.HardFraction)
	l := NewLoss(s, features.Targets, t.Model.Decode(s, x, views), views, easy, cfg.EasyScale)
	t.Mark("forward")
	l.Total.Backward()
	t.Mark("backward")
	norm = t.Optimizer.Step(s, t.LR(it))
	t.Mark("optimizer")
	return l.Total.Detach(s), norm
}

// features are the batch's own, or those of its pictures.
func (t *Stepper) features(s *tensor.Scope, batch *Batch) model.Features {
	if batch.Features == nil {
		return t.encode(s, batch.Batch)
	}
	packed := tensor.FromBytes(s, t.Model.Device, tensor.Half, batch.Features,
		int64(len(batch.Present)), t.Model.PackedRows(), int64(t.Model.Encoder.Arch.Dim))
	return t.Model.Unpack(s, packed)
}

// encode is what the encoder gives for the pictures of a batch.
func (t *Stepper) encode(s *tensor.Scope, batch *dataset.Batch) model.Features {
	side := int64(t.cfg.Data.Crop)
	pixels := tensor.FromBytes(s, t.Model.Device, tensor.Uint8, batch.Pixels, int64(len(batch.Present)), 3, side, side)
	return t.Model.Encode(s, t.Model.Normalize(s, pixels))
}

// Pack returns the features of a batch's pictures as a step takes them in.
func (t *Stepper) Pack(s *tensor.Scope, batch *dataset.Batch) []byte {
	var packed []byte
	s.Local(func(s *tensor.Scope) *tensor.Tensor {
		packed = t.Model.Pack(s, t.encode(s, batch)).Bytes()
		return nil
	})
	return packed
}

// LR is the learning rate of iteration it.
func (t *Stepper) LR(it int) float64 {
	cfg := t.cfg.Train
	return schedule.LR(it, cfg.Warmup, cfg.Iterations, cfg.LR, cfg.LRFinal)
}

// jitter draws whether this step is jittered and returns its scale, or 0. The
// draw is on the host and costs no synchronisation.
func (t *Stepper) jitter(s *tensor.Scope, it int) float64 {
	j, total := t.cfg.Model.Jitter, t.cfg.Train.Iterations
	if !j.Enabled || tensor.Rand(s, tensor.CPU, 1).Item() > schedule.Linear(it, total, j.Prob[0], j.Prob[1]) {
		return 0
	}
	return schedule.Linear(it, total, j.Scale[0], j.Scale[1])
}
