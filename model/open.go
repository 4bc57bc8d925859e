package model

import (
	"cmp"
	"fmt"

	"mvag-torch/configs"
	"mvag-torch/internal/tensor"
	"mvag-torch/model/checkpoint"
	"mvag-torch/model/memory"
	"mvag-torch/model/weights"
)

// Trained is a model and where its weights come from.
type Trained struct {
	*Model
	BackboneSHA256 string         // of the file of encoder weights, see [BackboneOf]
	SHA256         string         // of the file of trainable weights; "" where they are initial ones
	Iteration      *int           // steps taken; nil where that file holds bare weights
	Memory         *memory.Memory // nil without one
}

// Open prepares LibTorch as cfg says (device, threads, precision) and builds the model with the encoder weights of
// [BackboneOf] and the trainable weights of f, or initial ones where f is nil. A precision that is [configs.Auto] is that
// of the checkpoint, or what suits the device. The tensors live in s.
func Open(s *tensor.Scope, cfg configs.Config, f *checkpoint.File) (*Trained, error) {
	t := &Trained{}
	if f != nil && f.Info != nil {
		cfg.Adopt(f.Info.Config)
	}
	if f != nil && f.Bundle != nil {
		if cfg.Backbone.Mode == "module" {
			return nil, fmt.Errorf("%s: backbone.mode: have module, want native: the backbone is in the bundle", f.Path)
		}
		cfg.Backbone.Weights = f.Path
	}
	err := t.build(s, cfg, func(arch weights.Arch) (weights.Map, error) {
		if arch.Module != nil { // New runs the archive
			var err error
			t.BackboneSHA256, err = FileSHA256(cfg.Backbone.Weights)
			return nil, cmp.Or(err, sameBackbone(f, cfg.Backbone.Weights, t.BackboneSHA256))
		}
		b, err := BackboneOf(f, cfg.Backbone)
		if err != nil {
			return nil, err
		}
		t.BackboneSHA256 = b.SHA256
		return b.Tensors, nil
	})
	if err != nil || f == nil {
		return t, err
	}
	if f.Info != nil {
		t.Iteration = &f.Info.Iteration
	}
	if t.Memory, err = memory.Read(f); err != nil {
		return nil, err
	}
	trained, err := f.Weights()
	if err == nil && !(len(trained) == 0 && t.Memory.Untrained()) { // else it has initial weights
		err = t.Params.Load(trained)
	}
	if err == nil {
		err = t.Memory.Check(len(t.Fuse), t.Encoder.Arch.Dim)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path, err)
	}
	t.SHA256, err = FileSHA256(f.Path)
	return t, err
}

// OpenRandom is Open with random encoder weights, to measure time and memory.
func OpenRandom(s *tensor.Scope, cfg configs.Config) (*Model, error) {
	t := &Trained{}
	err := t.build(s, cfg, func(arch weights.Arch) (weights.Map, error) {
		layers, _, err := Layers(cfg, arch)
		if err != nil || arch.Module != nil {
			return nil, err
		}
		return arch.Random(layers[len(layers)-1], cfg.Data.Crop.Height()/arch.Patch, 1), nil
	})
	return t.Model, err
}

// build prepares LibTorch and builds the model with the encoder weights that load returns.
func (t *Trained) build(s *tensor.Scope, cfg configs.Config, load func(weights.Arch) (weights.Map, error)) error {
	if err := tensor.SetDeterministic(cfg.Deterministic); err != nil {
		return err
	}
	device, err := pickDevice(cfg.Device)
	if err != nil {
		return err
	}
	if cfg.Threads > 0 {
		tensor.SetThreads(cfg.Threads)
	}
	if cfg.Precision == configs.Auto {
		cfg.Precision = precisionOf(device)
	}
	if err := tensor.SetPrecision(cfg.Precision); err != nil {
		return err
	}
	arch, err := weights.OfConfig(cfg.Backbone)
	if err != nil {
		return err
	}
	backbone, err := load(arch)
	if err != nil {
		return fmt.Errorf("backbone: %w", err)
	}
	if t.Model, err = New(s, device, cfg, arch, backbone); err != nil {
		return fmt.Errorf("backbone: %s: %w", cfg.Backbone.Weights, err)
	}
	return nil
}

// AutoPrecision is what precision auto is on the device that a setting names.
func AutoPrecision(device string) (string, error) {
	d, err := pickDevice(device)
	if err != nil {
		return "", err
	}
	return precisionOf(d), nil
}

// pickDevice is [tensor.PickDevice] with what a person can do about its error.
func pickDevice(name string) (tensor.Device, error) {
	d, err := tensor.PickDevice(name)
	if err != nil {
		err = fmt.Errorf("%w; device: auto takes the CPU where there is no GPU, and mvag-torch doctor says what is missing", err)
	}
	return d, err
}

// precisionOf is what precision auto is on a device: bf16 on GPUs that multiply in it (compute capability 8.0 and newer).
func precisionOf(d tensor.Device) string {
	if d != tensor.CPU {
		if _, capability, _, _, err := tensor.DeviceInfo(d); err == nil {
			var major int
			if _, err := fmt.Sscanf(capability, "%d.", &major); err == nil && major >= 8 {
				return "bf16"
			}
		}
	}
	return "fp32"
}
