package train

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/model/checkpoint"
	"mvag-torch/model/memory"
)

// memoryOf is the memory in the checkpoint of a run, and the number of trained tensors beside it.
func memoryOf(t *testing.T, cfg configs.Config) (*memory.Memory, int) {
	t.Helper()
	f, err := checkpoint.Open(filepath.Join(Folder(cfg), CheckpointName))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := memory.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	trained, err := f.Weights()
	if err != nil {
		t.Fatal(err)
	}
	return m, len(trained)
}

// TestEnroll holds that a run that goes on from what was enrolled is the same as one that was not, to the bit, and that
// the memory does not depend on where features are kept.
func TestEnroll(t *testing.T) {
	plain := smallConfig(t)
	plain.Train.Iterations, plain.Train.Warmup = 4, 2
	plain.Memory = configs.Memory{Codes: 6, Dims: 2}
	if err := runOn(t.Context(), plain, false, &watcher{}); err != nil {
		t.Fatal(err)
	}
	want, _ := memoryOf(t, plain)
	if len(want.Names()) != 1 || want.Untrained() || want.Alone(want.Names()[0]) || want.Classes[want.Names()[0]].Objects != 5 {
		t.Fatalf("have a memory of %+v", want.Classes)
	}
	enrolled := plain
	enrolled.Name, enrolled.Train.Iterations, enrolled.Model.Keep = "enrolled", 9, 0.5 // what training alone needs may change
	data, err := dataset.Open(enrolled.Data)
	if err != nil {
		t.Fatal(err)
	}
	w := &watcher{}
	if err := Enroll(t.Context(), enrolled, data, w); err != nil {
		t.Fatal(err)
	}
	m, weights := memoryOf(t, enrolled)
	if !m.Untrained() || !m.Alone(m.Names()[0]) || weights > 0 || len(w.steps) > 0 || w.remembered.Bytes() != m.Bytes() {
		t.Errorf("enrolled: have %d weights, memory %+v", weights, m.Classes)
	}
	before, err := os.ReadFile(filepath.Join(Folder(enrolled), CheckpointName))
	if err != nil {
		t.Fatal(err)
	}
	again := &watcher{} // as after a kill before the thresholds
	if err := Enroll(t.Context(), enrolled, data, again); err != nil || again.features != nil || again.remembered.Bytes() != m.Bytes() {
		t.Errorf("enrolled again: have %v, %v, want that the memory is there", err, again.features)
	}
	after, err := os.ReadFile(filepath.Join(Folder(enrolled), CheckpointName))
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("enrolled again: have another checkpoint (%v)", err)
	}
	enrolled.Train, enrolled.Model = plain.Train, plain.Model
	other := enrolled
	other.Memory.Codes, other.Train.Holdout = 5, 0.5
	if err := runOn(t.Context(), other, true, &watcher{}); err == nil || !strings.Contains(err.Error(), "train.holdout: have") {
		t.Errorf("of another hold-out: have %v", err)
	}
	if err := runOn(t.Context(), enrolled, true, &watcher{}); err != nil {
		t.Fatal(err)
	}
	if m, _ := memoryOf(t, enrolled); !reflect.DeepEqual(m, want) {
		t.Error("trained after it was enrolled: have another memory")
	}
	if a, b := journalOf(t, plain), journalOf(t, enrolled); a != b {
		t.Errorf("journals differ:\n%s\n%s", a, b)
	}
	cached := plain
	cached.Name, cached.Train.CacheFeatures = "cached", "disk"
	second := cached
	second.Name = "second" // finds all features in the file
	for _, cfg := range []configs.Config{cached, second} {
		if err := runOn(t.Context(), cfg, false, &watcher{}); err != nil {
			t.Fatal(err)
		}
		if m, _ := memoryOf(t, cfg); !reflect.DeepEqual(m, want) {
			t.Errorf("%s: have another memory than without stored features", cfg.Name)
		}
	}
	none := plain
	none.Name, none.Memory.Codes = "none", 0
	if err := Enroll(t.Context(), none, data, w); err == nil || !strings.Contains(err.Error(), "memory.codes: have 0") {
		t.Errorf("without codes: have %v", err)
	}
}
