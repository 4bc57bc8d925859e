package train

import (
	"errors"
	"slices"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/modeltest"
	"mvag-torch/model/weights"
)

// again stands for a recorded graph on the CPU: its replay calls the work once
// more, with all that the host had decided when it was recorded.
type again func()

func (work again) Replay() { work() }

// TestReplayGivesTheSameBits holds that a recorded step takes all that differs
// between steps from its inputs: pictures or features, learning rate, number of
// the step, jitter. One object lacks a picture.
func TestReplayGivesTheSameBits(t *testing.T) {
	cfg := smallConfig(t)
	cfg.Train.Iterations, cfg.Train.HardWarmup = 40, 3
	for _, features := range []bool{false, true} {
		want, _ := trainWith(t, cfg, features, nil)
		var recorded []tensor.Recording
		var replays int
		have, _ := trainWith(t, cfg, features, func(s *tensor.Scope, d tensor.Device, like tensor.Recording, work func()) (tensor.Recording, error) {
			if len(recorded) == 1 && like == nil {
				t.Error("the second recording takes memory of its own")
			}
			recorded = append(recorded, like)
			return again(func() { replays++; work() }), nil
		})
		if !slices.Equal(have, want) {
			t.Errorf("features %v: losses or weights differ:\n%v\n%v", features, have[:80], want[:80])
		}
		if len(recorded) != 2 || replays < 10 || replays > 33 {
			t.Errorf("features %v: have %d recordings and %d replays, want 2 and most of the 37 steps after the warm-up", features, len(recorded), replays)
		}
	}
}

func TestGoesOnWhereNothingCanBeRecorded(t *testing.T) {
	cfg := smallConfig(t)
	cfg.Train.Iterations, cfg.Train.HardWarmup = 20, 3
	want, _ := trainWith(t, cfg, false, nil)
	calls := 0
	have, errs := trainWith(t, cfg, false, func(*tensor.Scope, tensor.Device, tensor.Recording, func()) (tensor.Recording, error) {
		calls++
		return nil, errors.New("no graphs here")
	})
	if !slices.Equal(have, want) {
		t.Errorf("losses or weights differ:\n%v\n%v", have[:40], want[:40])
	}
	if calls != 1 || len(errs) != 1 {
		t.Errorf("have %d attempts and errors %v, want one", calls, errs)
	}
}

// trainWith takes all steps of cfg and returns losses, gradient norms and final
// weights, and what it was told of recording. Without record, no step is replayed.
func trainWith(t *testing.T, cfg configs.Config, features bool, record func(*tensor.Scope, tensor.Device, tensor.Recording, func()) (tensor.Recording, error)) (values []float32, errs []error) {
	t.Helper()
	data, err := dataset.Open(cfg.Data)
	if err != nil {
		t.Fatal(err)
	}
	arch, err := weights.OfConfig(cfg.Backbone)
	if err != nil {
		t.Fatal(err)
	}
	loader, err := dataset.NewTrainLoader(t.Context(), data.Train,
		dataset.LoaderOptions{Source: data.Source, Objects: cfg.Train.Objects, Seed: cfg.Seed, Count: cfg.Train.Iterations, Workers: 1, Prefetch: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer loader.Close()
	err = tensor.Run(func(s *tensor.Scope) error {
		tensor.Seed(cfg.Seed)
		m, err := model.New(s, tensor.CPU, cfg, arch, modeltest.RandomViT(4, 2))
		if err != nil {
			return err
		}
		stepper := NewStepper(s, cfg, m, func(why error) { errs = append(errs, why) })
		stepper.replay.Record = record
		for it := range cfg.Train.Iterations {
			b, err := loader.Next()
			if err != nil {
				return err
			}
			batch := &Batch{Batch: b}
			s.Local(func(s *tensor.Scope) *tensor.Tensor {
				if features {
					batch.Features = stepper.Pack(s, b)
				}
				values = append(values, stepper.Step(s, batch, it).Floats()...)
				return nil
			})
			loader.Recycle(b)
		}
		for _, p := range m.Params {
			values = append(values, p.Value.Floats()...)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return values, errs
}
