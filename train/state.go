package train

import (
	"fmt"
	"maps"
	"slices"

	"mvag-torch/dataset"
	"mvag-torch/internal/safetensors"
	"mvag-torch/model/checkpoint"
)

// restore loads the optimizer; the model has its weights. A checkpoint that only enrolled has none of them.
func (r *run) restore(f *checkpoint.File) error {
	if r.done == 0 && r.memory.Untrained() {
		return nil
	}
	return r.stepper.Optimizer.restore(f, r.stepper.Model.Params)
}

// trainImages are the images read so far, with those that other ranks have read; nil if a run is resumed that did not
// collect them, since those that it read are unknown.
func (r *run) trainImages(others dataset.FileHashes) dataset.FileHashes {
	if r.earlier == nil {
		return r.data.Source.Read.Hashes(others)
	}
	if r.earlier.TrainImages == nil {
		return nil
	}
	return r.data.Source.Read.Hashes(append(slices.Clone(r.earlier.TrainImages), others...))
}

// save reads back what is pending and lets rank 0 write the checkpoint, once it is sure that all ranks have the same.
func (r *run) save() error {
	if err := r.flush(); err != nil {
		return err
	}
	others, err := r.agreeOnState()
	if err != nil {
		return err
	}
	if r.team.Rank() == 0 {
		err = r.write(others)
	}
	if err := r.agree(err); err != nil {
		return err
	}
	if err := r.tellMended(); err != nil {
		return err
	}
	r.saved = r.done
	r.sink.Saved(r.path, r.done)
	return nil
}

// write writes the checkpoint. others are hashes of images that other ranks have read.
func (r *run) write(others dataset.FileHashes) error {
	tensors, err := r.memory.Tensors(), error(nil)
	if r.done > 0 {
		r.memory.Train(slices.Collect(maps.Keys(r.lists)))
	}
	info := checkpoint.Info{Config: r.cfg, Iteration: r.done, BackboneSHA256: r.backbone, Naming: r.data.Naming,
		TrainLists: r.lists, TrainImages: r.trainImages(others), Depths: r.data.Source.Depths, Skipped: r.skipped}
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
	if err := r.journal.sync(); err != nil {
		return err
	}
	return checkpoint.Write(r.path, info, tensors)
}

// state is what training goes on from: weights and optimizer. Nothing goes on from values that are not finite, and the
// checkpoint on disk is better than one that has them.
func (r *run) state() (tensors []safetensors.Tensor, err error) {
	params, optimizer := r.stepper.Model.Params, r.stepper.Optimizer.state(r.stepper.Model.Params)
	for i := range optimizer {
		optimizer[i].Name = checkpoint.Optimizer + optimizer[i].Name
	}
	for _, p := range append(slices.Clone(params), optimizer...) {
		values := p.Value.Floats()
		if i := unsound(values); i >= 0 {
			return nil, fmt.Errorf("%s after iteration %d: have %v, want finite values; %s", p.Name, r.done-1, values[i], r.lastGood())
		}
		tensors = append(tensors, safetensors.Float32(p.Name, p.Value.Shape(), values))
	}
	return tensors, nil
}
