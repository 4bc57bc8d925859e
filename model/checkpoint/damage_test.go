package checkpoint

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/safetensors"
	"mvag-torch/internal/testenv"
)

// wholeCheckpoint writes a checkpoint of all that one can hold, over another of iteration 8, and returns its path.
func wholeCheckpoint(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "checkpoint.safetensors")
	info := Info{Config: configs.Default(), Iteration: 8, BackboneSHA256: "0123", Naming: dataset.Naming{Pattern: "{object}-{camera}", Cameras: []string{"left"}},
		TrainLists: map[string]string{"nut": "4567"}, TrainImages: dataset.FileHashes{{1}, {1, 2}, {255}}, Depths: dataset.Depths{"nut": 12}, Memory: `{"nut":{}}`}
	tensors := []safetensors.Tensor{
		safetensors.Float32("decoder.0.weight", []int64{2, 2}, []float32{1, 2, 3, 4}), safetensors.Float32(Optimizer+"m.decoder.0.weight", []int64{2, 2}, []float32{5, 6, 7, 8}),
		safetensors.Raw(Memory+"nut.C1.codes", safetensors.U8, []int64{5}, []byte{1, 2, 3, 4, 5}),
	}
	for range 2 {
		if err := Write(path, info, tensors); err != nil {
			t.Fatal(err)
		}
		info.Iteration = 16
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Rewrite(map[string]string{CalibrationKey: `{"threshold":0.3125}`, SamplesKey: `[0.25,0.5]`}, "", nil); err != nil {
		t.Fatal(err)
	}
	return path
}

// damages visits a file with a bit of each byte flipped, and cut at each 64th byte; with MVAG_FAULTS=all with each bit
// flipped, and cut at each byte.
func damages(t *testing.T, path string, visit func(what string, at int)) {
	t.Helper()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	put := func(b byte, at int) {
		if _, err := f.WriteAt([]byte{b}, int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	all, step := os.Getenv("MVAG_FAULTS") == "all", 64
	if all {
		step = 1
	}
	for at := range whole {
		for bit := range 8 {
			if !all && bit != at%8 {
				continue
			}
			put(whole[at]^1<<bit, at)
			visit("a flipped bit", at)
		}
		put(whole[at], at)
	}
	for at := len(whole) - 1; at >= 0; at -= step {
		if err := f.Truncate(int64(at)); err != nil {
			t.Fatal(err)
		}
		visit("a cut", at)
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestEachBit flips bits of a checkpoint and of a bundle, and cuts them: they are refused in one line that names the file,
// and a run goes on from the checkpoint before.
func TestEachBit(t *testing.T) {
	path := wholeCheckpoint(t)
	var sum testenv.Tally
	damages(t, path, func(what string, at int) {
		sum.Injected++
		sum.Refused++
		f, err := Open(path)
		if err == nil {
			f.Close()
			t.Fatalf("%s at byte %d: the checkpoint was taken", what, at)
		}
		if !errors.Is(err, ErrDamaged) || !strings.HasPrefix(err.Error(), path+": ") || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), Previous(path)) {
			t.Fatalf("%s at byte %d: have %q, want one line that names the file and the one before", what, at, err)
		}
		if at%16 != 0 {
			return // what follows takes most of the time
		}
		f, why, err := OpenLast(path)
		if err != nil || why == nil || f.Info.Iteration != 8 {
			t.Fatalf("%s at byte %d: have %v, %v, want the checkpoint before", what, at, why, err)
		}
		f.Close()
		sum.Repaired++
	})
	bundle := sealedBundle(t)
	damages(t, bundle, func(what string, at int) {
		sum.Injected++
		sum.Refused++
		f, err := Open(bundle)
		if err == nil {
			f.Close()
			t.Fatalf("%s at byte %d: the bundle was taken", what, at)
		}
		if !errors.Is(err, ErrDamaged) || !strings.HasPrefix(err.Error(), bundle+": ") || strings.Contains(err.Error(), "\n") {
			t.Fatalf("%s at byte %d: have %q, want one line that names the file", what, at, err)
		}
	})
	sum.Log(t, "a checkpoint and a bundle")
}

// TestKeepWhereItCannotLook: a checkpoint that cannot be looked at is not taken for one that is not there, which would
// lose it as the previous one.
func TestKeepWhereItCannotLook(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file", "checkpoint.safetensors")
	if err := os.WriteFile(filepath.Dir(path), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := keep(path); err == nil || errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), path+": ") {
		t.Errorf("have %v", err)
	}
}
