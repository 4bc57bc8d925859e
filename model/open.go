package model

import (
	"fmt"

	"mvag-torch/configs"
	"mvag-torch/internal/tensor"
	"mvag-torch/model/checkpoint"
	"mvag-torch/model/weights"
)

// Trained is a model with the weights of a file, and where they come from.
type Trained struct {
	*Model
	Iteration      *int   // steps taken; nil where the file holds bare weights
	SHA256         string // of the file
	BackboneSHA256 string // of the file of encoder weights
}

// Open builds the model of cfg with the trainable weights of f; its tensors live
// in s. A backbone other than the one the checkpoint was trained with is an
// error.
func Open(s *tensor.Scope, cfg configs.Config, f *checkpoint.File) (*Trained, error) {
	device, err := tensor.PickDevice(cfg.Device)
	if err != nil {
		return nil, err
	}
	if cfg.Threads > 0 {
		tensor.SetThreads(cfg.Threads)
	}
	if err := tensor.SetPrecision(cfg.Precision); err != nil {
		return nil, err
	}
	arch, err := weights.OfConfig(cfg.Backbone)
	if err != nil {
		return nil, err
	}
	t := &Trained{}
	if t.BackboneSHA256, err = FileSHA256(cfg.Backbone.Weights); err != nil {
		return nil, fmt.Errorf("backbone: %w", err)
	}
	if f.Info != nil {
		t.Iteration = &f.Info.Iteration
		if f.Info.BackboneSHA256 != t.BackboneSHA256 {
			return nil, fmt.Errorf("%s: backbone: have a checkpoint made with weights of SHA-256 %.12s…, want those of %s (%.12s…)",
				f.Path, f.Info.BackboneSHA256, cfg.Backbone.Weights, t.BackboneSHA256)
		}
	}
	backbone, err := LoadFor(arch, cfg.Backbone.Weights)
	if err != nil {
		return nil, fmt.Errorf("backbone: %w", err)
	}
	if t.Model, err = New(s, device, cfg, arch, backbone); err != nil {
		return nil, fmt.Errorf("backbone: %s: %w", cfg.Backbone.Weights, err)
	}
	trained, err := f.Weights()
	if err == nil {
		err = t.Params.Load(trained)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path, err)
	}
	t.SHA256, err = FileSHA256(f.Path)
	return t, err
}
