package eval

import (
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

// again stands for a recorded graph on the CPU: its replay calls the work anew.
type again func()

func (work again) Replay() { work() }

// TestReplayedMaps holds that recorded predictions give the same maps, by the
// number of objects in a batch, and that a batch without some picture is not
// replayed.
func TestReplayedMaps(t *testing.T) {
	cfg := configs.Default()
	cfg.Backbone = configs.Backbone{Mode: "native", Name: "vit_small_patch14_dinov2", Layers: []int{1, 3}}
	cfg.Data.Views, cfg.Data.Resize, cfg.Data.Crop = 3, 30, 28
	cfg.Model.DecoderDepth = 2
	cfg.Eval.MapSize = 40
	arch, err := weights.OfConfig(cfg.Backbone)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 6))
	batches := make([]*dataset.Batch, 12)
	for i := range batches {
		objects := []int{2, 2, 2, 1}[i%4]
		b := &dataset.Batch{Objects: make([]*dataset.Object, objects), Views: 3,
			Pixels: make([]uint8, objects*3*3*28*28), Present: slices.Repeat([]bool{true}, 3*objects)}
		for j := range b.Pixels {
			b.Pixels[j] = uint8(rng.Uint32())
		}
		b.Present[1] = i != 9
		batches[i] = b
	}
	err = tensor.Run(func(s *tensor.Scope) error {
		m, err := model.New(s, tensor.CPU, cfg, arch, modeltest.RandomViT(4, 2))
		if err != nil {
			return err
		}
		plain, replaying := NewPredictor(s, m, cfg), NewPredictor(s, m, cfg)
		recordings, replays := 0, 0
		replaying.replay.Record = func(_ *tensor.Scope, _ tensor.Device, _ tensor.Recording, work func()) (tensor.Recording, error) {
			recordings++
			return again(func() { replays++; work() }), nil
		}
		for i, b := range batches {
			if have, want := replaying.Maps(s, b), plain.Maps(s, b); !slices.Equal(have, want) {
				t.Errorf("batch %d: maps differ", i)
			}
		}
		// Of 2 objects there are 9 batches, one lacking a picture; of 1 there are 3.
		if recordings != 2 || replays != 6+1 {
			t.Errorf("have %d recordings and %d replays, want 2 and 7", recordings, replays)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
