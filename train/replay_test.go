package train

import (
	"errors"
	"math"
	"slices"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/modeltest"
	"mvag-torch/model/weights"
)

// TestReplayGivesTheSameBits: a captured step takes all that differs between steps from its inputs: images or features,
// learning rate, number of the step, seed of its dropout and noise, jitter. One object has an absent image.
func TestReplayGivesTheSameBits(t *testing.T) {
	cfg := smallConfig(t)
	cfg.Train.Iterations, cfg.Train.HardWarmup = 40, 3
	for _, features := range []bool{false, true} {
		want := trainWith(t, cfg, features, nil)
		var captured []tensor.Recording
		var replays int
		have := trainWith(t, cfg, features, func(s *tensor.Scope, d tensor.Device, like tensor.Recording, work func()) (tensor.Recording, error) {
			if len(captured) == 1 && like == nil {
				t.Error("the second graph takes memory of its own")
			}
			captured = append(captured, like)
			return modeltest.Again(func() { replays++; work() }), nil
		})
		have.same(t, want)
		if len(captured) != 2 || replays < 10 || replays > 35 {
			t.Errorf("features %v: have %d captures and %d replays, want 2 and most of the 37 steps after the warm-up", features, len(captured), replays)
		}
	}
}

func TestGoesOnWhereNothingCanBeCaptured(t *testing.T) {
	cfg := smallConfig(t)
	cfg.Train.Iterations, cfg.Train.HardWarmup = 20, 3
	want := trainWith(t, cfg, false, nil)
	calls := 0
	have := trainWith(t, cfg, false, func(*tensor.Scope, tensor.Device, tensor.Recording, func()) (tensor.Recording, error) {
		calls++
		return nil, errors.New("no graphs here")
	})
	have.same(t, want)
	if calls != 1 || len(have.uncaptured) != 1 {
		t.Errorf("have %d attempts and errors %v, want one", calls, have.uncaptured)
	}
}

// TestCUDA takes steps on a GPU, with graphs and without, or on the stub of make dry-cuda, where values mean nothing.
func TestCUDA(t *testing.T) {
	computes := modeltest.CUDA(t)
	if !computes {
		t.Setenv("MVAG_STUB_IDLE", "1") // our kernels would take minutes, of no use here
	}
	cfg := smallConfig(t)
	cfg.Train.Iterations, cfg.Train.HardWarmup = 30, 5
	cfg.Device = "cuda"
	for _, precision := range []string{"fp32", "tf32", "bf16"} {
		for _, features := range []bool{false, true} {
			cfg.Precision = precision
			captures := 0
			record := func(s *tensor.Scope, d tensor.Device, like tensor.Recording, work func()) (tensor.Recording, error) {
				captures++
				return tensor.RecordGraph(s, d, like, work)
			}
			want, have := trainWith(t, cfg, features, nil), trainWith(t, cfg, features, record)
			if captures != 2 || have.uncaptured != nil {
				t.Errorf("%s, features %v: have %d captures, %v, want 2", precision, features, captures, have.uncaptured)
			}
			if computes {
				have.near(t, want, 0.01)
			}
		}
	}
	if computes {
		cfg.Precision = "fp32"
		have := trainWith(t, cfg, false, tensor.RecordGraph)
		cfg.Device = "cpu"
		have.near(t, trainWith(t, cfg, false, nil), 0.01)
		return
	}
	t.Setenv("MVAG_STUB_FAIL", "100")
	if have := trainWith(t, cfg, false, tensor.RecordGraph); len(have.uncaptured) != 1 || len(have.losses) != 60 {
		t.Errorf("where CUDA refuses: have %v and %d values, want one error and 60", have.uncaptured, len(have.losses))
	}
}

// TestNeighborMaskOnCUDA takes steps in bf16 with the neighbour mask, whose attention within views has no kernel and
// meets that of the kernel across views.
func TestNeighborMaskOnCUDA(t *testing.T) {
	if !modeltest.CUDA(t) {
		t.Setenv("MVAG_STUB_IDLE", "1")
	}
	cfg := smallConfig(t)
	cfg.Train.Iterations, cfg.Train.HardWarmup, cfg.Device = 10, 2, "cuda"
	cfg.Precision, cfg.Model.NeighborMask = "bf16", 3
	if have := trainWith(t, cfg, false, tensor.RecordGraph); len(have.losses) != 20 || have.uncaptured != nil {
		t.Errorf("have %d values and errors %v, want 20 and none", len(have.losses), have.uncaptured)
	}
}

// trained is what training gave.
type trained struct {
	losses, weights []float32 // losses with gradient norms
	uncaptured      []error
}

func (have trained) same(t *testing.T, want trained) {
	t.Helper()
	if !slices.Equal(have.losses, want.losses) || !slices.Equal(have.weights, want.weights) {
		t.Errorf("losses or weights differ; losses:\n%v\n%v", have.losses, want.losses)
	}
}

// near wants losses that agree to within a fraction.
func (have trained) near(t *testing.T, want trained, fraction float64) {
	t.Helper()
	for i := 0; i < len(want.losses); i += 2 {
		if off := math.Abs(float64(have.losses[i] - want.losses[i])); !(off <= fraction*float64(want.losses[i])) {
			t.Errorf("step %d: have loss %v, want %v", i/2, have.losses[i], want.losses[i])
		}
	}
}

// trainWith takes all steps of cfg. Without record, no step is replayed.
func trainWith(t *testing.T, cfg configs.Config, features bool, record modeltest.Record) (out trained) {
	t.Helper()
	return trainIn(t, nil, cfg, features, record)
}

// trainIn is trainWith as the one rank of a group, or alone.
func trainIn(t *testing.T, group *tensor.Group, cfg configs.Config, features bool, record modeltest.Record) (out trained) {
	t.Helper()
	data, err := dataset.Open(cfg.Data)
	if err != nil {
		t.Fatal(err)
	}
	arch, err := weights.OfConfig(cfg.Backbone)
	if err != nil {
		t.Fatal(err)
	}
	device, err := tensor.PickDevice(cfg.Device)
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
		if err := tensor.SetPrecision(cfg.Precision); err != nil {
			return err
		}
		m, err := model.New(s, device, cfg, arch, modeltest.RandomViT(4, 2))
		if err != nil {
			return err
		}
		stepper := NewStepper(s, cfg, m, group, func(why error) { out.uncaptured = append(out.uncaptured, why) })
		stepper.replay.Record = record
		for it := range cfg.Train.Iterations {
			b, err := loader.Next()
			if err != nil {
				return err
			}
			batch := &Batch{Batch: b}
			s.Local(func(s *tensor.Scope) *tensor.Tensor {
				if features {
					batch.Features = stepper.Model.PackImages(s, b.Pixels, len(b.Present))
				}
				out.losses = append(out.losses, stepper.Step(s, batch, it).Floats()...)
				return nil
			})
			loader.Recycle(b)
		}
		for _, p := range m.Params {
			out.weights = append(out.weights, p.Value.Floats()...)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
