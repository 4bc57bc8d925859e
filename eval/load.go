package eval

import (
	"fmt"

	"mvag-torch/configs"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/checkpoint"
	"mvag-torch/model/weights"
)

// Load builds the model of cfg with the trainable weights of f, whose tensors
// live in s, and describes the evaluation. A backbone other than the one the
// checkpoint was trained with is an error.
func Load(s *tensor.Scope, cfg configs.Config, f *checkpoint.File) (*model.Model, Protocol, error) {
	device, err := tensor.PickDevice(cfg.Device)
	if err != nil {
		return nil, Protocol{}, err
	}
	if cfg.Threads > 0 {
		tensor.SetThreads(cfg.Threads)
	}
	if err := tensor.SetPrecision(cfg.Precision); err != nil {
		return nil, Protocol{}, err
	}
	arch, err := weights.OfConfig(cfg.Backbone)
	if err != nil {
		return nil, Protocol{}, err
	}
	hash, err := model.FileSHA256(cfg.Backbone.Weights)
	if err != nil {
		return nil, Protocol{}, fmt.Errorf("backbone: %w", err)
	}
	var iteration *int
	if f.Info != nil {
		iteration = &f.Info.Iteration
		if f.Info.BackboneSHA256 != hash {
			return nil, Protocol{}, fmt.Errorf("%s: backbone: have a checkpoint made with weights of SHA-256 %.12s…, want those of %s (%.12s…)",
				f.Path, f.Info.BackboneSHA256, cfg.Backbone.Weights, hash)
		}
	}
	backbone, err := model.LoadFor(arch, cfg.Backbone.Weights)
	if err != nil {
		return nil, Protocol{}, fmt.Errorf("backbone: %w", err)
	}
	m, err := model.New(s, device, cfg, arch, backbone)
	if err != nil {
		return nil, Protocol{}, fmt.Errorf("backbone: %s: %w", cfg.Backbone.Weights, err)
	}
	trained, err := f.Weights()
	if err == nil {
		err = m.Params.Load(trained)
	}
	if err != nil {
		return nil, Protocol{}, fmt.Errorf("%s: %w", f.Path, err)
	}
	protocol := NewProtocol(cfg, hash, iteration)
	protocol.Device = m.Device.String()
	if protocol.Model, err = model.FileSHA256(f.Path); err != nil {
		return nil, Protocol{}, err
	}
	return m, protocol, nil
}
