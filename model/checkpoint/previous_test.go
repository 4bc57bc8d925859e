package checkpoint

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/internal/safetensors"
)

// writeIteration writes a checkpoint of that iteration.
func writeIteration(t *testing.T, path string, iteration int) {
	t.Helper()
	info := Info{Config: configs.Default(), Iteration: iteration}
	if err := Write(path, info, []safetensors.Tensor{safetensors.Float32("x", []int64{1}, []float32{float32(iteration)})}); err != nil {
		t.Fatal(err)
	}
}

// damage changes a bit of the last tensor.
func damage(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 4
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestOpenLast: what can be gone on from after each bad day, and what Open says.
func TestOpenLast(t *testing.T) {
	for name, test := range map[string]struct {
		writes int
		then   func(t *testing.T, path string)
		want   int    // the iteration; -1 where there is an error
		why    string // of the previous one, or the error
	}{
		"whole":            {2, nil, 2, ""},
		"none":             {0, nil, -1, "no such file"},
		"damaged":          {2, damage, 1, "the file is damaged"},
		"the only damaged": {1, damage, -1, "the file is damaged"},
		"both damaged": {2, func(t *testing.T, path string) { damage(t, path); damage(t, Previous(path)) }, -1,
			"and the one before it: "},
		"gone": {2, func(t *testing.T, path string) { remove(t, path) }, 1, "no such file"},
		"cut":  {2, func(t *testing.T, path string) { cut(t, path, 9) }, 1, "cut short"},
		"empty": {2, func(t *testing.T, path string) { cut(t, path, 0) }, 1,
			"have 0 bytes"},
		"another kind":   {2, func(t *testing.T, path string) { write(t, path, "PK\x03\x04 and more") }, 1, "another kind of file"},
		"a later format": {2, later, -1, "mvag-torch checkpoint 9"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "checkpoint.safetensors")
			for i := range test.writes {
				writeIteration(t, path, i+1)
			}
			if test.then != nil {
				test.then(t, path)
			}
			f, why, err := OpenLast(path)
			if f != nil {
				defer f.Close()
			}
			if (err != nil) != (test.want < 0) || f != nil && f.Info.Iteration != test.want {
				t.Fatalf("have %+v, error %v, want iteration %d", f, err, test.want)
			}
			if said := errors.Join(why, err); (said != nil) != (test.why != "") || said != nil && !strings.Contains(said.Error(), test.why) {
				t.Errorf("have %v, want %q", said, test.why)
			}
			opened, err := Open(path)
			if (err == nil) != (test.why == "") {
				t.Errorf("Open: have %v", err)
			}
			if err == nil {
				opened.Close()
			} else if hint := "; the previous checkpoint of the training is " + Previous(path); strings.Contains(err.Error(), hint) != (test.writes == 2 && name != "a later format") {
				t.Errorf("Open: have %v, want %q where there is one", err, hint)
			}
		})
	}
}

func remove(t *testing.T, path string) {
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func cut(t *testing.T, path string, length int64) {
	if err := os.Truncate(path, length); err != nil {
		t.Fatal(err)
	}
}

// write replaces a file, which may have two names, under one of them.
func write(t *testing.T, path, text string) {
	remove(t, path)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func later(t *testing.T, path string) {
	meta := map[string]string{"format": "mvag-torch checkpoint 9"}
	if err := errors.Join(Seal(meta, nil), safetensors.Write(path, nil, meta)); err != nil {
		t.Fatal(err)
	}
}

// TestKeep: the previous one outlives what is written after a damaged one was set aside, until the next is whole.
func TestKeep(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoint.safetensors")
	for i := range 3 {
		writeIteration(t, path, i)
	}
	damage(t, path)
	if err := errors.Join(SetAside(path), SetAside(path)); err != nil { // the second finds nothing
		t.Fatal(err)
	}
	failing := safetensors.Tensor{Name: "y", DType: safetensors.U8, Shape: []int64{1}, Data: safetensors.Raw("", "", nil, nil).Data}
	if err := Write(path, Info{Config: configs.Default()}, []safetensors.Tensor{failing}); err == nil {
		t.Error("a tensor without its data was written")
	}
	f, _, err := OpenLast(path)
	if err != nil || f.Info.Iteration != 1 {
		t.Fatalf("have %v, %v, want iteration 1", f, err)
	}
	f.Close()
	writeIteration(t, path, 4)
	writeIteration(t, path, 5)
	for at, want := range map[string]int{path: 5, Previous(path): 4} {
		f, err := Open(at)
		if err != nil || f.Info.Iteration != want {
			t.Fatalf("%s: have %v, %v, want iteration %d", at, f, err, want)
		}
		f.Close()
	}
	if _, err := Open(Damaged(path)); !errors.Is(err, ErrDamaged) {
		t.Errorf("have %v, want the damaged one", err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); len(entries) != 3 {
		t.Errorf("have %v, %v, want three files", entries, err)
	}
	if _, err := Open(filepath.Join(filepath.Dir(path), "no")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("have %v", err)
	}
}
