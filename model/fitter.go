package model

import (
	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/model/memory"
)

// Fitter fits a memory to the packed features of good objects, a class as soon as its last object has come. A nil Fitter
// does nothing.
type Fitter struct {
	Memory *memory.Memory // what is fitted so far

	model   *Model
	samples *memory.Samples
	size    memory.Size
	alone   bool
}

// NewFitter expects the given objects; alone says that the model is not trained on their classes.
func (m *Model) NewFitter(objects []dataset.Object, size configs.Memory, alone bool) *Fitter {
	return &Fitter{
		Memory: &memory.Memory{Only: alone, Classes: map[string]*memory.Class{}},
		model:  m, samples: m.NewSamples(objects), size: memory.Size{Dims: size.Dims, Codes: size.Codes}, alone: alone,
	}
}

// NewSamples prepares for the packed features of objects.
func (m *Model) NewSamples(objects []dataset.Object) *memory.Samples {
	return memory.NewSamples(memory.Layout{
		Prefix: m.Encoder.Arch.Prefix(), Patches: int(m.Encoder.Rows * m.Encoder.Columns),
		Targets: len(m.Fuse), Channels: m.Encoder.Arch.Dim,
	}, objects)
}

// Add takes an object with its packed features [V, PackedRows, C]; present says which of its images were read.
func (f *Fitter) Add(o *dataset.Object, present []bool, packed []byte) error {
	if f == nil {
		return nil
	}
	complete, err := f.samples.Add(o, present, packed)
	if err != nil || !complete {
		return err
	}
	class, err := memory.Fit(Algebra{f.model}, f.samples, o.Class, f.size, nil)
	if err != nil {
		return err
	}
	class.Alone = f.alone
	f.Memory.Classes[o.Class] = class
	f.samples.Forget(o.Class)
	return nil
}
