// Package modeltest builds the small model of the trace "tiny" of package golden, for tests of the model and of
// training.
package modeltest

import (
	"image"
	"slices"
	"strings"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/internal/golden"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/weights"
)

// Tiny is the model with the initial weights of the trace, and the trace.
type Tiny struct {
	*golden.Trace
	Scope *tensor.Scope
	Model *model.Model
	Views *model.Views // 2 objects of 5 views
	cfg   configs.Config
}

// Objects and Views are the batch of the trace.
const (
	Objects = 2
	Views   = 5
)

// Config is the configuration of the trace.
func Config() configs.Config {
	var cfg configs.Config
	cfg.Backbone = configs.Backbone{Layers: []int{1, 2, 3, 4}, Fuse: [][]int{{0, 1}, {2, 3}}}
	cfg.Data = configs.Data{Views: Views, Fit: "squash", Resize: configs.Square(64), Crop: configs.Square(56)}
	cfg.Model = configs.Model{DecoderDepth: 4, Keep: 0.3, Select: "lowest", Eps: 1e-6}
	cfg.Train = configs.Train{
		Iterations: 40, Warmup: 4, Objects: Objects, LR: 2e-3, LRFinal: 2e-4, WeightDecay: 1e-4, Clip: 0.1,
		HardFraction: 0.8, HardWarmup: 1000, EasyScale: 0.1,
	}
	cfg.Eval = configs.Eval{MapSize: 64, Blur: configs.Blur{Size: 5, Sigma: 4}, Top: 0.01}
	return cfg
}

// Arch is the encoder's architecture.
var Arch = weights.Arch{Name: "tiny", Patch: 14, Dim: 32, Depth: 5, Heads: 2, Registers: 2}

// Run calls f with the tiny model on the LibTorch thread. change, which may be nil, edits the configuration first.
func Run(t *testing.T, change func(*configs.Config), f func(m *Tiny)) {
	t.Helper()
	trace, cfg := golden.Open(t, "tiny"), Config()
	if change != nil {
		change(&cfg)
	}
	err := tensor.Run(func(s *tensor.Scope) error {
		threads := tensor.Threads()
		tensor.SetThreads(1) // the tensors are too small to share
		defer tensor.SetThreads(threads)
		m, err := model.New(s, tensor.CPU, cfg, Arch, Weights(trace, "encoder."))
		if err != nil {
			return err
		}
		if err := m.Params.Load(Weights(trace, "init.")); err != nil {
			return err
		}
		f(&Tiny{trace, s, m, model.NewViews(s, tensor.CPU, Objects, Views, nil), cfg})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Weights returns the tensors of a trace whose names begin with prefix, under what follows it.
func Weights(trace *golden.Trace, prefix string) weights.Map {
	m := weights.Map{}
	for _, name := range trace.Names() {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			data, shape := trace.Tensor(name)
			m[rest] = weights.Tensor{Shape: shape, Data: data}
		}
	}
	return m
}

// Load returns a tensor of the trace.
func (m *Tiny) Load(name string) *tensor.Tensor {
	data, shape := m.Tensor(name)
	return tensor.FromFloats(m.Scope, tensor.CPU, data, shape...)
}

// Forward maps images to targets and reconstructions, without dropout and jitter.
func (m *Tiny) Forward(images *tensor.Tensor, v *model.Views) ([]*tensor.Tensor, []model.Reconstruction) {
	f := m.Model.Encode(m.Scope, images)
	x := m.Model.Bottleneck.Forward(m.Scope, f.Mean, nil)
	return f.Targets, m.Model.Decode(m.Scope, x, v)
}

// Missing is the batch of the case missing.*, whose second object has no views 2 and 4, and its input, where absent
// rows are zeros.
func (m *Tiny) Missing() (v *model.Views, present []bool, images *tensor.Tensor) {
	flags, _ := m.Tensor("missing.present")
	data, shape := m.Tensor("input")
	data = slices.Clone(data)
	row := len(data) / len(flags)
	for i, f := range flags {
		present = append(present, f != 0)
		if f == 0 {
			clear(data[i*row : (i+1)*row])
		}
	}
	return model.NewViews(m.Scope, tensor.CPU, Objects, Views, present), present, tensor.FromFloats(m.Scope, tensor.CPU, data, shape...)
}

// Mapper makes the maps of the trace.
func (m *Tiny) Mapper() *model.Mapper { return model.NewMapper(m.Scope, m.Model, m.cfg) }

// Content is where its images lie.
func (m *Tiny) Content() image.Rectangle { return m.cfg.Data.Crop.Bounds() }
