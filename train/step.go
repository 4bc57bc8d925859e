package train

import (
	"math/rand/v2"
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

	// Mark, if set, is called after each phase of a step; benchmarks wait for the device there and read the clock. No
	// step is replayed then.
	Mark func(phase string)

	cfg       configs.Config
	views     *model.Views // of batches without absent images
	replay    *tensor.Replayer
	group     *tensor.Group // of the ranks that take steps together; nil alone
	gradients *tensor.Gradients
	first     int64 // index in the whole batch of the first image of this rank's part
}

// NewStepper prepares the first step; what it needs lives in s. In a group, each rank takes the steps with its part of
// train.objects. Where cuda_graph is on and a step cannot be captured, uncaptured is told why, once.
func NewStepper(s *tensor.Scope, cfg configs.Config, m *model.Model, group *tensor.Group, uncaptured func(why error)) *Stepper {
	as := tensor.Float
	if cfg.Train.AllReduce == "bfloat16" {
		as = tensor.BFloat16
	}
	t := &Stepper{Model: m, Optimizer: NewOptimizer(s, m, cfg.Train), cfg: cfg,
		views:     model.NewViews(s, m.Device, cfg.Train.Objects/group.Size(), cfg.Data.Views, nil),
		replay:    tensor.NewReplayer(s, m.Device, cfg.CUDAGraph, uncaptured),
		group:     group,
		gradients: tensor.NewGradients(s, group, m.Params.Values(), as),
		first:     int64(group.Rank() * (cfg.Train.Objects / group.Size()) * cfg.Data.Views)}
	t.views.Ranks = t.ranks(cfg.Train.Objects * cfg.Data.Views)
	return t
}

// ranks says of what batch this rank trains on a part: one with so many present images.
func (t *Stepper) ranks(present int) model.Ranks {
	if t.group == nil {
		return model.Ranks{}
	}
	return model.Ranks{Group: t.group, Present: present}
}

// tensors are all that steps change: weights and moments.
func (t *Stepper) tensors() []*tensor.Tensor {
	return slices.Concat(append(t.Optimizer.moments[:], t.Optimizer.params)...)
}

// Step takes the step of iteration it on a batch: forward, losses, backward, update. It returns the total loss before
// the update and the gradient norm before clipping, of all ranks together, [2] on the device, which the next step may
// overwrite. Nothing waits for the device.
func (t *Stepper) Step(s *tensor.Scope, batch *Batch, it int) *tensor.Tensor {
	in, views, easy := t.inputs(s, batch, it), t.viewsOf(s, batch), t.easy(it)
	complete := batch.complete()
	warm := it >= t.cfg.Train.HardWarmup // before, easy changes from step to step
	if !warm {
		t.replay.Count(in.kind())
	}
	if !warm || !complete || t.Mark != nil {
		return t.advance(s, in, views, easy)
	}
	return t.replay.Call(s, in.kind(), in.tensors(), func(s *tensor.Scope, replayed []*tensor.Tensor) *tensor.Tensor {
		return t.advance(s, in.replaced(replayed), views, easy)
	})
}

// viewsOf describes the views of a batch.
func (t *Stepper) viewsOf(s *tensor.Scope, batch *Batch) *model.Views {
	if batch.complete() {
		return t.views
	}
	views := model.NewViews(s, t.Model.Device, len(batch.Objects), batch.Views, batch.Present)
	views.Ranks = t.ranks(batch.presentCount())
	return views
}

// easy is the fraction of patches treated as easy in iteration it.
func (t *Stepper) easy(it int) float64 {
	return schedule.EasyFraction(it, t.cfg.Train.HardWarmup, t.cfg.Train.HardFraction)
}

// inputs are what differs from one step to the next, on the device. Which of them are nil decides what a step launches.
type inputs struct {
	rates    *tensor.Tensor // of the optimizer [3]
	seed     *tensor.Tensor // of what is drawn in the step, int64 [1]
	images   *tensor.Tensor // uint8 [B, 3, H, W]; nil where there are features
	features *tensor.Tensor // float16, as model.Pack has them; nil where there are images
	jitter   *tensor.Tensor // scale of the noise [1]; nil in steps without
}

func (t *Stepper) inputs(s *tensor.Scope, batch *Batch, it int) inputs {
	seed, scale := t.draw(it)
	in := inputs{rates: t.Optimizer.next(s, t.LR(it)), seed: tensor.FromInts(s, t.Model.Device, []int64{seed}, 1)}
	if scale != 0 {
		in.jitter = tensor.FromFloats(s, t.Model.Device, []float32{scale}, 1)
	}
	if batch.Features == nil {
		in.images = t.images(s, batch.Batch)
	} else {
		in.features = tensor.Upload(s, t.Model.Device, tensor.Half, batch.Features,
			int64(len(batch.Present)), t.Model.PackedRows(), int64(t.Model.Encoder.Arch.Dim))
	}
	return in
}

// fields are all tensors of in, nil ones included.
func (in *inputs) fields() []**tensor.Tensor {
	return []**tensor.Tensor{&in.rates, &in.seed, &in.images, &in.features, &in.jitter}
}

// tensors are those that there are.
func (in inputs) tensors() (list []*tensor.Tensor) {
	for _, f := range in.fields() {
		if *f != nil {
			list = append(list, *f)
		}
	}
	return list
}

// replaced is in with others for its tensors.
func (in inputs) replaced(tensors []*tensor.Tensor) inputs {
	for _, f := range in.fields() {
		if *f != nil {
			*f, tensors = tensors[0], tensors[1:]
		}
	}
	return in
}

// kind tells inputs apart whose steps launch different work.
func (in inputs) kind() string {
	kind := ""
	for _, f := range in.fields() {
		if *f == nil {
			kind += "-"
		} else {
			kind += "+"
		}
	}
	return kind
}

// advance is the work of a step on the device.
func (t *Stepper) advance(s *tensor.Scope, in inputs, views *model.Views, easy float64) *tensor.Tensor {
	l := t.forward(s, in, views, easy).loss
	t.mark("forward")
	l.Total.Backward()
	t.mark("backward")
	total := l.Total.Detach(s)
	if t.group != nil {
		t.gradients.Reduce()
		t.group.AllReduce(total)
		t.mark("all-reduce")
	}
	norm := t.Optimizer.update(s, in.rates, total)
	t.mark("optimizer")
	return tensor.Stack(s, 0, total, norm) // [2]
}

// pass is what the forward pass of a step computes, in order.
type pass struct {
	features        model.Features
	bottleneck      *tensor.Tensor         // its output, with noise in steps that have it [B, N, C]
	reconstructions []model.Reconstruction // one a group
	loss            Loss
}

func (t *Stepper) forward(s *tensor.Scope, in inputs, views *model.Views, easy float64) (p pass) {
	p.features = t.features(s, in)
	t.mark("encoder")
	draws := tensor.NewDraws(in.seed, t.first, t.Model.Kernels.Random)
	p.bottleneck = t.Model.Bottleneck.Forward(s, p.features.Mean, draws)
	if in.jitter != nil {
		p.bottleneck = model.Jitter(s, p.bottleneck, p.bottleneck.Normal(s, draws), in.jitter)
	}
	p.reconstructions = t.Model.Decode(s, p.bottleneck, views)
	p.loss = NewLoss(s, p.features.Targets, p.reconstructions, views, easy, t.cfg.Train.EasyScale)
	return p
}

func (t *Stepper) mark(phase string) {
	if t.Mark != nil {
		t.Mark(phase)
	}
}

func (t *Stepper) features(s *tensor.Scope, in inputs) model.Features {
	if in.features != nil {
		return t.Model.Unpack(s, in.features)
	}
	return t.Model.Encode(s, in.images)
}

// images uploads the images of a batch: uint8 [B, 3, H, W].
func (t *Stepper) images(s *tensor.Scope, batch *dataset.Batch) *tensor.Tensor {
	crop := t.cfg.Data.Crop
	return tensor.Upload(s, t.Model.Device, tensor.Uint8, batch.Pixels,
		int64(len(batch.Present)), 3, int64(crop.Height()), int64(crop.Width()))
}

// LR is the learning rate of iteration it.
func (t *Stepper) LR(it int) float64 {
	cfg := t.cfg.Train
	return schedule.LR(it, cfg.Warmup, cfg.Iterations, cfg.LR, cfg.LRFinal)
}

// draw returns what step it draws: the seed of its dropout and noise, and the scale of its jitter, 0 in a step without.
// It depends on the seed of the run and on it alone, and uses the generator directly, whose sequence is specified, so
// that a run can be resumed by a program built with another version of Go. The order of the objects has the streams from
// 0 on (package dataset), the steps those from the last one down.
func (t *Stepper) draw(it int) (seed int64, scale float32) {
	random := rand.NewPCG(uint64(t.cfg.Seed), ^uint64(it))
	uniform := float64(random.Uint64()>>11) * 0x1p-53 // in [0, 1)
	seed = int64(random.Uint64())
	j, total := t.cfg.Model.Jitter, t.cfg.Train.Iterations
	if j.Enabled && uniform <= schedule.Linear(it, total, j.Prob[0], j.Prob[1]) {
		scale = float32(schedule.Linear(it, total, j.Scale[0], j.Scale[1]))
	}
	return seed, scale
}
