package train

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/checkpoint"
	"mvag-torch/model/weights"
)

// CheckpointName is the name of the checkpoint in a run folder.
const CheckpointName = "checkpoint.safetensors"

// Folder is the run folder of a configuration.
func Folder(cfg configs.Config) string { return filepath.Join(cfg.Output, cfg.Name) }

// Run trains cfg on the training objects of data, those held out excepted
// (train.holdout, [dataset.Set.HoldOut]), and leaves the run folder
// with config.yaml, train.jsonl and the checkpoint. A run folder that holds a
// checkpoint is an error unless resume is set; then training goes on from it,
// with the same results as if it had never stopped. When ctx ends, or a picture
// cannot be read, a checkpoint is written first.
func Run(ctx context.Context, cfg configs.Config, data *dataset.Set, resume bool, sink Sink) error {
	if err := data.CheckTrain(); err != nil {
		return err
	}
	data, _ = data.HoldOut(cfg.Train.Holdout, cfg.Seed)
	device, err := tensor.PickDevice(cfg.Device)
	if err != nil {
		return err
	}
	arch, err := weights.OfConfig(cfg.Backbone)
	if err != nil {
		return err
	}
	hash, err := model.FileSHA256(cfg.Backbone.Weights)
	if err != nil {
		return fmt.Errorf("backbone: %w", err)
	}
	r := &run{ctx: ctx, cfg: cfg, data: data, sink: sink, device: device, hash: hash, path: filepath.Join(Folder(cfg), CheckpointName)}
	earlier, err := r.prepareFolder(resume)
	if err != nil {
		return err
	}
	if earlier != nil {
		defer earlier.Close()
	}
	backbone, err := model.LoadFor(arch, cfg.Backbone.Weights)
	if err != nil {
		return fmt.Errorf("backbone: %w", err)
	}
	return tensor.Run(func(s *tensor.Scope) error {
		if cfg.Threads > 0 {
			tensor.SetThreads(cfg.Threads)
		}
		if err := tensor.SetPrecision(cfg.Precision); err != nil {
			return err
		}
		tensor.Seed(cfg.Seed)
		m, err := model.New(s, device, cfg, arch, backbone)
		if err != nil {
			return fmt.Errorf("backbone: %s: %w", cfg.Backbone.Weights, err)
		}
		backbone = nil // its memory is the model's now
		r.stepper = NewStepper(s, cfg, m, r.sink.Unrecorded)
		if earlier != nil {
			if err := r.restore(earlier); err != nil {
				return err
			}
		}
		return r.loop(s)
	})
}

// run is the state of a training run.
type run struct {
	ctx    context.Context
	cfg    configs.Config
	data   *dataset.Set
	sink   Sink
	device tensor.Device
	hash   string // of the backbone's file
	path   string // of the checkpoint

	stepper *Stepper
	journal *journal
	done    int // steps taken
	saved   int // steps in the checkpoint on disk; -1 without one

	ring    *tensor.Tensor // loss and gradient norm of steps not yet read back [k, 2]
	pending []record       // the same steps, without those two numbers
	loss    float64        // latest read back
}

// prepareFolder makes the run folder, and opens the checkpoint to resume from:
// nil where the run starts afresh.
func (r *run) prepareFolder(resume bool) (*checkpoint.File, error) {
	folder := filepath.Dir(r.path)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	r.saved = -1
	var earlier *checkpoint.File
	if _, err := os.Stat(r.path); err == nil {
		if earlier, err = checkpoint.Open(r.path); err != nil {
			return nil, err
		}
		if err := r.accept(earlier, resume); err != nil {
			earlier.Close()
			return nil, err
		}
	}
	text, err := configs.Marshal(r.cfg)
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "config.yaml"), text, 0o644)
	}
	return earlier, err
}

// accept checks that the checkpoint belongs to this run.
func (r *run) accept(f *checkpoint.File, resume bool) error {
	switch {
	case f.Info == nil:
		return fmt.Errorf("%s: have bare weights, want a checkpoint", f.Path)
	case !resume:
		return fmt.Errorf("%s: have a checkpoint of iteration %d; go on with --resume, or choose another name with --set name=…",
			f.Path, f.Info.Iteration)
	case f.Info.BackboneSHA256 != r.hash:
		return fmt.Errorf("%s: backbone: have a checkpoint made with weights of SHA-256 %.12s…, want those of %s (%.12s…)",
			f.Path, f.Info.BackboneSHA256, r.cfg.Backbone.Weights, r.hash)
	}
	trained := f.Info.Config
	if trained.Train.CacheFeatures != "off" && r.cfg.Train.CacheFeatures != "off" {
		trained.Train.CacheFeatures = r.cfg.Train.CacheFeatures // memory and file hold the same bits
	}
	if diff := configs.Diff(trained, r.cfg, configs.Layout, configs.Features, configs.Training); len(diff) > 0 {
		return fmt.Errorf("%s: have a checkpoint of another configuration: %s", f.Path, diff[0])
	}
	r.done, r.saved = f.Info.Iteration, f.Info.Iteration
	return nil
}
