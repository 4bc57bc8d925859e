package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/train/feature"
)

// TestBlameNamesTheImage: features of an object that are not finite are found in each batch that has it.
func TestBlameNamesTheImage(t *testing.T) {
	cfg := smallConfig(t)
	cfg.Train.OnNaN, cfg.Train.CacheFeatures, cfg.Train.Holdout, cfg.Memory.Codes = "skip", "disk", 0, 0
	cfg.Train.Iterations = 4
	if err := runOn(t.Context(), named(cfg, "first"), false, &watcher{}); err != nil {
		t.Fatal(err)
	}
	bad := spoilFeatures(t, cfg)
	w := &watcher{}
	if err := runOn(t.Context(), named(cfg, "second"), false, w); err != nil {
		t.Fatal(err)
	}
	if len(w.skipped) == 0 {
		t.Fatal("no batch was left out")
	}
	for _, k := range w.skipped {
		if want := fmt.Sprintf("target 2 of the encoder (%q, camera 2): +Inf", bad); k.First != want {
			t.Errorf("iteration %d: have %q, want %q", k.Iteration, k.First, want)
		}
	}
}

// TestBlameReadsLossesBackLate: where losses are read back after several steps, the steps that are blamed are those of a run
// that reads each back, it ends with the same bits, and the line says with which weights the tensor was looked for.
func TestBlameReadsLossesBackLate(t *testing.T) {
	cfg := smallConfig(t)
	cfg.Train.OnNaN, cfg.Train.CacheFeatures, cfg.Train.Holdout, cfg.Memory.Codes = "skip", "disk", 0, 0
	cfg.Train.Iterations = 4
	if err := runOn(t.Context(), named(cfg, "first"), false, &watcher{}); err != nil {
		t.Fatal(err)
	}
	bad := spoilFeatures(t, cfg)
	at, late := named(cfg, "each"), named(cfg, "late")
	w, err := runPoisoned(t, nil, at, false, weight, nil, 0)
	if err != nil || len(w.skipped) == 0 {
		t.Fatalf("have %+v, %v, want batches left out", w.skipped, err)
	}
	v, err := runPoisoned(t, nil, late, false, weight, nil, 0, 3)
	if err != nil || len(v.skipped) != len(w.skipped) {
		t.Fatalf("have %+v, %v, want %+v", v.skipped, err, w.skipped)
	}
	for i, k := range v.skipped {
		want := fmt.Sprintf("target 2 of the encoder (%q, camera 2): +Inf", bad)
		if later := 2 - k.Iteration; later > 0 {
			want += fmt.Sprintf(" (found with the weights of %d steps later)", later)
		}
		if k.Iteration != w.skipped[i].Iteration || k.First != want {
			t.Errorf("have iteration %d, %q, want %d, %q", k.Iteration, k.First, w.skipped[i].Iteration, want)
		}
	}
	have, info := checkpointOf(t, late)
	if want, _ := checkpointOf(t, at); !reflect.DeepEqual(have, want) || len(info.Skipped) != len(w.skipped) {
		t.Errorf("other weights or moments, skipped %v", info.Skipped)
	}

	cfg = smallConfig(t)
	_, err = runPoisoned(t, nil, cfg, false, weight, []int{6}, 0, 4) // the weight is right again when it is looked at
	for _, want := range []string{"iteration 6: loss NaN", "is not found: all are finite with the weights of 2 steps later; ", CheckpointName + " (iteration 5)"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("have %v, want %q", err, want)
		}
	}
	journalHolds(t, cfg, 6, nil)
}

// spoilFeatures writes an infinity into the second view of an object in the file of features and returns its name.
func spoilFeatures(t *testing.T, cfg configs.Config) (id string) {
	t.Helper()
	data, err := dataset.Open(cfg.Data)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w := &watcher{}
	r := &run{ctx: ctx, cfg: named(cfg, "other"), data: data, sink: w}
	w.inside = func(Begin) {
		cancel() // nothing is trained
		folder := filepath.Join(cfg.Output, "features")
		header, err := r.featureHeader()
		if err != nil {
			t.Fatal(err)
		}
		object := &r.tiles[0]
		id = object.ID
		key, err := keyOf(r.data.Source, object)
		if err != nil {
			t.Fatal(err)
		}
		read, packed := make([]bool, header.Views), make([]byte, header.Views*header.ViewBytes)
		before, err := feature.OpenFile(t.Context(), folder, header, nil)
		if err == nil {
			err = errors.Join(before.Seal(), before.Read(key, read, packed), before.Close(), os.Remove(before.Path()))
		}
		if err != nil {
			t.Fatal(err)
		}
		packed[2*header.ViewBytes-2], packed[2*header.ViewBytes-1] = 0, 0x7c // the last value of the last target
		after, err := feature.OpenFile(t.Context(), folder, header, nil)
		if err == nil {
			err = errors.Join(after.Put(key, read, packed, true), after.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := start(r, false); err == nil {
		t.Fatal("was not interrupted")
	}
	return id
}

// TestNormBeyondFloat32: gradients that are finite while their norm is not are named by the largest.
func TestNormBeyondFloat32(t *testing.T) {
	err := tensor.Run(func(s *tensor.Scope) error {
		a, b := tensor.Zeros(s, tensor.CPU, tensor.Float, 2).RequireGrad(), tensor.Zeros(s, tensor.CPU, tensor.Float, 1).RequireGrad()
		a.BackwardFrom(tensor.FromFloats(s, tensor.CPU, []float32{1, 2}, 2))
		b.BackwardFrom(tensor.FromFloats(s, tensor.CPU, []float32{-1e30}, 1))
		see := &tracer{scope: s, batch: &Batch{Batch: &dataset.Batch{}}, first: finding{at: math.MaxUint32}}
		params := model.Params{{Name: "small", Value: a}, {Name: "large", Value: b}}
		see.gradients(params, "the gradient of %s")
		see.largest(params)
		if want := "the norm of the gradients, whose squares add up to 1e+60; the largest is of large: 1e+30"; see.first.name != want {
			t.Errorf("have %q, want %q", see.first.name, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
