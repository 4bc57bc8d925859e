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

	// Mark, if set, is called after each phase of a step; benchmarks wait for
	// the device there and read the clock. Then no step is replayed.
	Mark func(phase string)

	cfg    configs.Config
	views  *model.Views // of batches without missing pictures
	replay *tensor.Replayer
}

// NewStepper prepares the first step; what it needs lives in s. Where cuda_graph
// is in vain, unrecorded is told why, once.
func NewStepper(s *tensor.Scope, cfg configs.Config, m *model.Model, unrecorded func(why error)) *Stepper {
	t := &Stepper{Model: m, Optimizer: NewOptimizer(s, m.Params, cfg.Train, m.Kernels.Optimizer), cfg: cfg,
		views:  model.NewViews(s, m.Device, cfg.Train.Objects, cfg.Data.Views, nil),
		replay: tensor.NewReplayer(s, m.Device, cfg.CUDAGraph)}
	t.replay.Failed = unrecorded
	return t
}

// Step takes the step of iteration it on a batch: forward, losses, backward,
// update. It returns the total loss before the update and the gradient norm
// before clipping, [2] on the device, which the next step may overwrite; nothing
// waits for the device.
func (t *Stepper) Step(s *tensor.Scope, batch *Batch, it int) *tensor.Tensor {
	cfg := t.cfg.Train
	in, kind := t.inputs(s, batch, it)
	easy, views := schedule.EasyFraction(it, cfg.HardWarmup, cfg.HardFraction), t.views
	complete := !slices.Contains(batch.Present, false)
	if !complete {
		views = model.NewViews(s, t.Model.Device, len(batch.Objects), batch.Views, batch.Present)
	}
	step := func(s *tensor.Scope, in []*tensor.Tensor) *tensor.Tensor { return t.advance(s, in, views, easy) }
	if it < cfg.HardWarmup { // easy is another in each step
		t.replay.Count(kind)
		return step(s, in)
	}
	if !complete || t.Mark != nil {
		return step(s, in)
	}
	return t.replay.Call(s, kind, in, step)
}

// inputs is what differs from one step to the next, on the model's device: the
// optimizer's rates; pictures [B, 3, H, W] of uint8, or what Pack made of them;
// and the scale of the noise [1], where the step is jittered.
func (t *Stepper) inputs(s *tensor.Scope, batch *Batch, it int) (in []*tensor.Tensor, kind string) {
	in = append(in, t.Optimizer.next(s, t.LR(it)))
	jitter := t.jitter(s, it)
	if batch.Features == nil {
		in = append(in, t.pixels(s, batch.Batch))
	} else {
		in = append(in, tensor.Upload(s, t.Model.Device, tensor.Half, batch.Features,
			int64(len(batch.Present)), t.Model.PackedRows(), int64(t.Model.Encoder.Arch.Dim)))
	}
	if jitter == nil {
		return in, "plain"
	}
	return append(in, jitter), "jittered"
}

// advance does a step's work on the device.
func (t *Stepper) advance(s *tensor.Scope, in []*tensor.Tensor, views *model.Views, easy float64) *tensor.Tensor {
	features := t.features(s, in[1])
	t.mark("encoder")
	x := t.Model.Bottleneck.Forward(s, features.Mean, true)
	if len(in) > 2 {
		x = model.Jitter(s, x, x.RandnLike(s), in[2])
	}
	l := NewLoss(s, features.Targets, t.Model.Reconstruct(s, x, views), views, easy, t.cfg.Train.EasyScale, t.Model.Kernels.Losses)
	t.mark("forward")
	l.Total.Backward()
	t.mark("backward")
	norm := t.Optimizer.update(s, in[0])
	t.mark("optimizer")
	return tensor.Stack(s, 0, l.Total.Detach(s), norm)
}

func (t *Stepper) mark(phase string) {
	if t.Mark != nil {
		t.Mark(phase)
	}
}

// features are those of the pictures, unless the batch holds features.
func (t *Stepper) features(s *tensor.Scope, batch *tensor.Tensor) model.Features {
	if batch.DType() == tensor.Half {
		return t.Model.Unpack(s, batch)
	}
	return t.Model.EncodePixels(s, batch)
}

// pixels are the pictures of a batch [B, 3, H, W] of uint8.
func (t *Stepper) pixels(s *tensor.Scope, batch *dataset.Batch) *tensor.Tensor {
	side := int64(t.cfg.Data.Crop)
	return tensor.Upload(s, t.Model.Device, tensor.Uint8, batch.Pixels, int64(len(batch.Present)), 3, side, side)
}

// Pack returns the features of a batch's pictures as a step takes them in.
func (t *Stepper) Pack(s *tensor.Scope, batch *dataset.Batch) []byte {
	var packed []byte
	s.Local(func(s *tensor.Scope) *tensor.Tensor {
		packed = t.Model.Pack(s, t.features(s, t.pixels(s, batch))).Bytes()
		return nil
	})
	return packed
}

// LR is the learning rate of iteration it.
func (t *Stepper) LR(it int) float64 {
	cfg := t.cfg.Train
	return schedule.LR(it, cfg.Warmup, cfg.Iterations, cfg.LR, cfg.LRFinal)
}

// jitter draws whether this step is jittered and returns its scale [1], or nil.
// The draw is on the host and costs no synchronisation.
func (t *Stepper) jitter(s *tensor.Scope, it int) *tensor.Tensor {
	j, total := t.cfg.Model.Jitter, t.cfg.Train.Iterations
	if !j.Enabled || tensor.Rand(s, tensor.CPU, 1).Item() > schedule.Linear(it, total, j.Prob[0], j.Prob[1]) {
		return nil
	}
	scale := float32(schedule.Linear(it, total, j.Scale[0], j.Scale[1]))
	return tensor.FromFloats(s, t.Model.Device, []float32{scale}, 1)
}
