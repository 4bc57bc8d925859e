package train

import (
	"maps"
	"slices"

	"mvag-torch/dataset"
	"mvag-torch/internal/safetensors"
	"mvag-torch/internal/tensor"
	"mvag-torch/model/checkpoint"
)

// restore loads optimizer and generators; the model has its weights. A checkpoint that only enrolled has none of them.
func (r *run) restore(f *checkpoint.File) error {
	if r.done == 0 && r.memory.Untrained() {
		return nil
	}
	if err := r.stepper.Optimizer.restore(f, r.stepper.Model.Params); err != nil {
		return err
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
			return err
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

// trainImages are the images read so far; nil if a run is resumed that did not collect them, since those that it read
// are unknown.
func (r *run) trainImages() dataset.FileHashes {
	if r.earlier == nil {
		return r.data.Source.Read.Hashes(nil)
	}
	if r.earlier.TrainImages == nil {
		return nil
	}
	return r.data.Source.Read.Hashes(r.earlier.TrainImages)
}

// save reads back what is pending and writes the checkpoint.
func (r *run) save() error {
	if err := r.flush(); err != nil {
		return err
	}
	tensors, err := r.memory.Tensors(), error(nil)
	if r.done > 0 {
		r.memory.Train(slices.Collect(maps.Keys(r.lists)))
	}
	info := checkpoint.Info{Config: r.cfg, Iteration: r.done, BackboneSHA256: r.backbone, Naming: r.data.Naming,
		TrainLists: r.lists, TrainImages: r.trainImages(), Depths: r.data.Source.Depths}
	if info.Memory, err = r.memory.Marshal(); err != nil {
		return err
	}
	if !r.alone {
		state, err := r.state()
		if err != nil {
			return err
		}
		tensors = append(tensors, state...)
	}
	if err := checkpoint.Write(r.path, info, tensors); err != nil {
		return err
	}
	r.saved = r.done
	r.sink.Saved(r.path, r.done)
	return nil
}

// state is what training goes on from: weights, optimizer and generators.
func (r *run) state() (tensors []safetensors.Tensor, err error) {
	params, optimizer := r.stepper.Model.Params, r.stepper.Optimizer.state(r.stepper.Model.Params)
	for i := range optimizer {
		optimizer[i].Name = checkpoint.Optimizer + optimizer[i].Name
	}
	for _, p := range append(slices.Clone(params), optimizer...) {
		tensors = append(tensors, safetensors.Float32(p.Name, p.Value.Shape(), p.Value.Floats()))
	}
	for name, device := range r.generators() {
		state, err := tensor.RNGState(device)
		if err != nil {
			return nil, err
		}
		tensors = append(tensors, safetensors.Raw(checkpoint.RNG+name, safetensors.U8, []int64{int64(len(state))}, state))
	}
	return tensors, nil
}
