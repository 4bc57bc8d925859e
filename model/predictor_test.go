package model_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/modeltest"
	"mvag-torch/model/weights"
)

// TestReplayedMaps holds that captured predictions give the same maps, by the number of objects in a batch, and that a
// batch with an absent image is not replayed.
func TestReplayedMaps(t *testing.T) {
	replays := 0
	plain, replayed := mapsOf(t, tensor.CPU, func(_ *tensor.Scope, _ tensor.Device, _ tensor.Recording, work func()) (tensor.Recording, error) {
		return modeltest.Again(func() { replays++; work() }), nil
	})
	if !slices.Equal(plain, replayed) {
		t.Error("maps differ")
	}
	// Of 2 objects there are 9 batches, one with an absent image; of 1 there are 3.
	if replays != 6+1 {
		t.Errorf("have %d replays, want 7", replays)
	}
}

// TestMapsOnCUDA predicts on a GPU, or on the stub of make dry-cuda, where values mean nothing.
func TestMapsOnCUDA(t *testing.T) {
	computes := modeltest.CUDA(t)
	if !computes {
		t.Setenv("MVAG_STUB_IDLE", "1")
	}
	captures := 0
	plain, replayed := mapsOf(t, 0, func(s *tensor.Scope, d tensor.Device, like tensor.Recording, work func()) (tensor.Recording, error) {
		captures++
		g, err := tensor.RecordGraph(s, d, like, work)
		if err != nil {
			t.Error(err)
		}
		return g, err
	})
	if captures != 2 {
		t.Errorf("have %d captures, want 2", captures)
	}
	if !computes {
		return
	}
	onCPU, _ := mapsOf(t, tensor.CPU, nil)
	for i := range onCPU {
		for _, have := range []float32{plain[i], replayed[i]} {
			if math.Abs(float64(have-onCPU[i])) > 1e-3 {
				t.Fatalf("element %d: have %v, want the CPU's %v", i, have, onCPU[i])
			}
		}
	}
}

// mapsOf returns the maps of 12 batches, without replays and with.
func mapsOf(t *testing.T, d tensor.Device, record modeltest.Record) (plain, replayed []float32) {
	t.Helper()
	cfg := configs.Default()
	cfg.Backbone = configs.Backbone{Mode: "native", Name: "vit_small_patch14_dinov2", Layers: []int{1, 3}}
	cfg.Data.Views, cfg.Data.Resize, cfg.Data.Crop = 3, configs.Square(30), configs.Square(28)
	cfg.Model.DecoderDepth = 2
	cfg.Eval.MapSize = 40
	arch, err := weights.OfConfig(cfg.Backbone)
	if err != nil {
		t.Fatal(err)
	}
	err = tensor.Run(func(s *tensor.Scope) error {
		m, err := model.New(s, d, cfg, arch, modeltest.RandomViT(4, 2))
		if err != nil {
			return err
		}
		uncaptured := func(why error) { t.Errorf("not captured: %v", why) }
		calling, replaying := model.NewPredictor(s, m, nil, cfg, uncaptured), model.NewPredictor(s, m, nil, cfg, uncaptured)
		model.SetRecord(calling, nil)
		model.SetRecord(replaying, record)
		rng := rand.New(rand.NewPCG(5, 6))
		for i := range 12 {
			objects := []int{2, 2, 2, 1}[i%4]
			b := &dataset.Batch{Objects: make([]*dataset.Object, objects), Views: 3,
				Pixels: make([]uint8, objects*3*3*28*28), Present: slices.Repeat([]bool{true}, 3*objects)}
			for j := range b.Pixels {
				b.Pixels[j] = uint8(rng.Uint32())
			}
			b.Present[1] = i != 9
			plain = append(plain, slices.Concat(calling.Predict(s, b).Maps...)...)
			replayed = append(replayed, slices.Concat(replaying.Predict(s, b).Maps...)...)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return plain, replayed
}
