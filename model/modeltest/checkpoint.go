package modeltest

import (
	"path/filepath"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/internal/safetensors"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/checkpoint"
	"mvag-torch/model/weights"
)

// CheckpointViews is the number of cameras of [WriteCheckpoint].
const CheckpointViews = 3

// WriteCheckpoint writes a checkpoint of a small model of random weights, without a calibration, to a folder of its own.
// It judges images of 42 x 42 pixels in milliseconds.
func WriteCheckpoint(t testing.TB, changes ...func(*checkpoint.Info)) string {
	t.Helper()
	dir := t.TempDir()
	path, backbone := filepath.Join(dir, "checkpoint.safetensors"), filepath.Join(dir, "vits14.safetensors")
	if err := weights.WriteSafetensors(backbone, RandomViT(1, 3), nil); err != nil {
		t.Fatal(err)
	}
	hash, err := model.FileSHA256(backbone)
	if err != nil {
		t.Fatal(err)
	}
	cfg := configs.Default()
	cfg.Device, cfg.Backbone.Weights = "cpu", backbone
	cfg.Backbone.Name, cfg.Backbone.Layers = "vit_small_patch14_dinov2", []int{0, 1}
	cfg.Data.Root, cfg.Data.Views, cfg.Data.Resize, cfg.Data.Crop = dir, CheckpointViews, configs.Square(48), configs.Square(42)
	cfg.Model.DecoderDepth, cfg.Eval.MapSize, cfg.Eval.Top = 2, 32, 0.05
	err = tensor.Run(func(s *tensor.Scope) error {
		arch, err := weights.ParseArch(cfg.Backbone.Name)
		if err != nil {
			return err
		}
		m, err := model.New(s, tensor.CPU, cfg, arch, RandomViT(1, 3))
		if err != nil {
			return err
		}
		var tensors []safetensors.Tensor
		for _, p := range m.Params {
			tensors = append(tensors, safetensors.Float32(p.Name, p.Value.Shape(), p.Value.Floats()))
		}
		info := checkpoint.Info{Config: cfg, BackboneSHA256: hash}
		for _, change := range changes {
			change(&info)
		}
		return checkpoint.Write(path, info, tensors)
	})
	if err != nil {
		t.Fatal(err)
	}
	return path
}
