package train

import (
	"fmt"

	"mvag-torch/internal/safetensors"
	"mvag-torch/internal/tensor"
	"mvag-torch/model/checkpoint"
)

// restore loads weights, optimizer and generators.
func (r *run) restore(f *checkpoint.File) error {
	trained, err := f.Weights()
	if err == nil {
		err = r.stepper.Model.Params.Load(trained)
	}
	if err == nil {
		err = r.stepper.Optimizer.restore(f, r.stepper.Model.Params)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	for name, device := range r.generators() {
		if _, _, ok := f.File.Info(checkpoint.RNG + name); !ok {
			continue // a run may move to another kind of device
		}
		state, err := f.Bytes(checkpoint.RNG + name)
		if err == nil {
			err = tensor.SetRNGState(device, state)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	return nil
}

// generators are the random generators that training draws from.
func (r *run) generators() map[string]tensor.Device {
	g := map[string]tensor.Device{"cpu": tensor.CPU}
	if r.device != tensor.CPU {
		g["cuda"] = r.device
	}
	return g
}

// save reads back what is pending and writes the checkpoint.
func (r *run) save() error {
	if err := r.flush(); err != nil {
		return err
	}
	var tensors []safetensors.Tensor
	add := func(name string, t *tensor.Tensor) {
		tensors = append(tensors, safetensors.Float32(name, t.Shape(), t.Floats()))
	}
	for i, p := range r.stepper.Model.Params {
		add(p.Name, p.Value)
		add(checkpoint.Optimizer+"m."+p.Name, r.stepper.Optimizer.m[i])
		add(checkpoint.Optimizer+"v."+p.Name, r.stepper.Optimizer.v[i])
		add(checkpoint.Optimizer+"vmax."+p.Name, r.stepper.Optimizer.vmax[i])
	}
	for name, device := range r.generators() {
		state, err := tensor.RNGState(device)
		if err != nil {
			return err
		}
		tensors = append(tensors, safetensors.Raw(checkpoint.RNG+name, safetensors.U8, []int64{int64(len(state))}, state))
	}
	info := checkpoint.Info{Config: r.cfg, Iteration: r.done, BackboneSHA256: r.hash, Naming: r.data.Naming}
	if err := checkpoint.Write(r.path, info, tensors); err != nil {
		return err
	}
	r.saved = r.done
	r.sink.Saved(r.path, r.done)
	return nil
}
