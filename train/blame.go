package train

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"mvag-torch/internal/tensor"
	"mvag-torch/model"
)

// mostSkipped is how many steps of a run train.on_nan skip leaves out.
const mostSkipped = 3

// unsound deals with the step p, whose loss or gradient norm is not finite: the optimizer has changed nothing in it
// ([tensor.StableAdamW]). It returns the error that ends the run, or nil where the batch is left out.
func (r *run) unsound(p *record) error {
	p.Skipped = r.blame(p.Iteration)
	if r.cfg.Train.OnNaN != "skip" || len(r.skipped) == mostSkipped {
		after := "train.on_nan: skip leaves out up to three such batches"
		if r.cfg.Train.OnNaN == "skip" {
			after = fmt.Sprintf("iterations %d, %d and %d were left out before, and three at most are", r.skipped[0], r.skipped[1], r.skipped[2])
		}
		return fmt.Errorf("iteration %d: loss %v, gradient norm %v, learning rate %.3g, want finite values; the first tensor that is not is %s; %s; %s",
			p.Iteration, p.Loss, p.GradNorm, p.LR, p.Skipped, r.lastGood(), after)
	}
	r.skipped = append(slices.Clone(r.skipped), p.Iteration)
	r.sink.Skipped(Skipped{p.Iteration, p.LR, float64(p.Loss), float64(p.GradNorm), p.Skipped, len(r.skipped), mostSkipped})
	return nil
}

// lastGood says where the latest checkpoint is.
func (r *run) lastGood() string {
	if r.saved < 0 {
		return "there is no checkpoint yet"
	}
	return fmt.Sprintf("the last good checkpoint is %s (iteration %d)", r.path, r.saved)
}

// blame names the first tensor of iteration it that is not finite. It takes the step again on the same batch, with what
// was drawn in it and without updating anything: with the weights that it met, or, on a GPU, where losses are read back
// now and then, with those of the steps since (train.log_every). All ranks call it; the first in the order of a step
// counts.
func (r *run) blame(it int) string {
	const none = math.MaxUint32
	mine := finding{at: none}
	batch, err := r.again(it)
	if err = r.call(batch, err); err == nil {
		err = tensor.Run(func(s *tensor.Scope) error {
			mine = r.stepper.retrace(s, batch, it)
			return nil
		})
	}
	said, err := r.team.Meet(mine.encode(), err)
	if err != nil {
		return fmt.Sprintf("not found: %v", err)
	}
	first := finding{at: none}
	for rank, text := range said {
		if at := binary.LittleEndian.Uint32(text); at < first.at {
			first = finding{at, string(text[4:])}
			if r.team.Size() > 1 {
				first.name += fmt.Sprintf(" on rank %d", rank)
			}
		}
	}
	switch later := r.done - 1 - it; {
	case first.at == none:
		return fmt.Sprintf("not found: all are finite with the weights of %d steps later", later)
	case later > 0:
		return fmt.Sprintf("%s (found with the weights of %d steps later)", first.name, later)
	}
	return first.name
}

// finding is the first tensor that is not finite, if there is one.
type finding struct {
	at   uint32 // its number in the order of a step, the largest without one
	name string
}

func (f finding) encode() []byte {
	return append(binary.LittleEndian.AppendUint32(nil, f.at), f.name...)
}

// tracer looks at the tensors of a step in order and keeps the first that is not finite.
type tracer struct {
	scope *tensor.Scope
	batch *Batch
	seen  uint32
	first finding
}

// look names element values of x. Of a tensor with a row for each image it names the image, too.
func (t *tracer) look(x *tensor.Tensor, name string, args ...any) {
	t.seen++
	if x == nil || t.first.at != math.MaxUint32 {
		return
	}
	values := x.Detach(t.scope).To(t.scope, tensor.Float).Floats()
	i := unsound(values)
	if i < 0 {
		return
	}
	t.first = finding{t.seen, fmt.Sprintf(name, args...)}
	if images := len(t.batch.Present); len(x.Shape()) > 1 && x.Dim(0) == int64(images) {
		row := i / (len(values) / images)
		t.first.name += fmt.Sprintf(" (%q, camera %d)", t.batch.Objects[row/t.batch.Views].ID, row%t.batch.Views+1)
	}
	t.first.name += fmt.Sprintf(": %v", values[i])
}

// retrace takes the step of iteration it again without changing anything, with each tensor of it in sight. Other ranks
// do, too, which takes all of it, whatever is found.
func (t *Stepper) retrace(s *tensor.Scope, batch *Batch, it int) finding {
	steps := t.Optimizer.Steps
	in := t.inputs(s, batch, it)
	t.Optimizer.Steps = steps
	see := &tracer{scope: s, batch: batch, first: finding{at: math.MaxUint32}}
	for _, p := range t.Model.Params {
		see.look(p.Value, "the weight %s", p.Name)
	}
	views := t.viewsOf(s, batch)
	p := t.forward(s, in, views, t.easy(it))
	for g, target := range p.features.Targets {
		see.look(target, "target %d of the encoder", g+1)
	}
	see.look(p.features.Mean, "the encoder's mean")
	see.look(p.bottleneck, "the output of the bottleneck")
	blocks := t.Model.BlockOutputs(p.reconstructions)
	for i, x := range blocks {
		see.look(x, "the output of decoder block %d of %d", i+1, len(blocks))
	}
	see.distances(t.Model, p)
	see.look(p.loss.Total, "the loss")
	p.loss.Total.Backward()
	see.gradients(t.Model.Params, "the gradient of %s")
	if t.group != nil {
		t.gradients.Reduce()
		see.gradients(t.Model.Params, "the gradient of %s, summed over the ranks")
	}
	see.largest(t.Model.Params)
	tensor.ClearGrads(t.Optimizer.params)
	return see.first
}

// distances looks at how far each target is from its reconstruction.
func (t *tracer) distances(m *model.Model, p pass) {
	for g, r := range p.reconstructions {
		tensor.NoGrad(func() {
			patches := r.Patches(t.scope, m.Kernels.Losses)
			t.look(model.Distance(t.scope, p.features.Targets[g], patches), "the distances to target %d", g+1)
		})
	}
}

// gradients looks at the gradients in the order of a backward pass.
func (t *tracer) gradients(params model.Params, name string) {
	for _, p := range slices.Backward(params) {
		t.look(p.Value.Grad(t.scope), name, p.Name)
	}
}

// largest names the largest gradient, where all are finite and their norm is not.
func (t *tracer) largest(params model.Params) {
	t.seen++
	var sum, most float64
	var name string
	for _, p := range params {
		if g := p.Value.Grad(t.scope); g != nil {
			for _, v := range g.To(t.scope, tensor.Float).Floats() {
				x := math.Abs(float64(v))
				sum += x * x
				if x > most {
					most, name = x, p.Name
				}
			}
		}
	}
	if t.first.at == math.MaxUint32 && sum > math.MaxFloat32 {
		t.first = finding{t.seen, fmt.Sprintf("the norm of the gradients, whose squares add up to %.3g; the largest is of %s: %.3g", sum, name, most)}
	}
}

// unsound is the index of the first value that is not finite, -1 without one.
func unsound(values []float32) int {
	return slices.IndexFunc(values, func(v float32) bool { return v-v != 0 })
}
