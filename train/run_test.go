package train

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/internal/safetensors"
	"mvag-torch/internal/tensor"
	"mvag-torch/model/checkpoint"
	"mvag-torch/model/modeltest"
	"mvag-torch/model/weights"
)

func TestResumeGivesTheSameBits(t *testing.T) {
	for _, precision := range []string{"fp32", "tf32", "bf16"} {
		t.Run(precision, func(t *testing.T) {
			cfg := smallConfig(t)
			cfg.Precision = precision
			resumeGivesTheSameBits(t, cfg, precision == "tf32")
		})
	}
}

// resumeGivesTheSameBits compares a run that was killed and resumed with one that was not. Where old is set, the
// checkpoint between has states of generators, as earlier versions wrote.
func resumeGivesTheSameBits(t *testing.T, whole configs.Config, old bool) {
	t.Helper()
	w := &watcher{}
	if err := runOn(t.Context(), whole, false, w); err != nil {
		t.Fatal(err)
	}
	if want := []int{5, 10, 12}; !slices.Equal(w.saved, want) {
		t.Errorf("checkpoints after %v, want %v", w.saved, want)
	}

	// Dies without warning two steps after the checkpoint of iteration 5.
	parted := whole
	parted.Output = t.TempDir()
	func() {
		defer func() { _ = recover() }()
		_ = runOn(t.Context(), parted, false, &watcher{after: func(done int) {
			if done == 7 {
				panic("killed")
			}
		}})
	}()
	if lines := strings.Count(journalOf(t, parted), "\n"); lines != 7 {
		t.Fatalf("journal of the killed run: have %d lines, want 7", lines)
	}
	if old {
		addGenerators(t, filepath.Join(Folder(parted), CheckpointName))
	}
	if err := runOn(t.Context(), parted, true, &watcher{inside: func(b Begin) {
		if b.Start != 5 {
			t.Errorf("resumed after %d steps, want 5", b.Start)
		}
	}}); err != nil {
		t.Fatal(err)
	}
	if a, b := journalOf(t, whole), journalOf(t, parted); a != b {
		t.Errorf("journals differ:\n%s\n%s", a, b)
	}
	a, _ := checkpointOf(t, whole)
	b, info := checkpointOf(t, parted)
	if info.Iteration != 12 || len(a) != len(b) {
		t.Fatalf("have iteration %d and %d tensors, want 12 and %d", info.Iteration, len(b), len(a))
	}
	for name := range a {
		if !slices.Equal(a[name], b[name]) {
			t.Errorf("%s differs after resuming", name)
		}
	}
}

// addGenerators adds the tensors of generators to a checkpoint.
func addGenerators(t *testing.T, path string) {
	t.Helper()
	f, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var tensors []safetensors.Tensor
	for _, name := range f.Names() {
		tensors = append(tensors, f.Tensor(name))
	}
	for _, name := range []string{"cpu", "cuda"} {
		tensors = append(tensors, safetensors.Raw(checkpoint.RNG+name, safetensors.U8, []int64{3}, []byte{1, 2, 3}))
	}
	if err := checkpoint.Write(path, *f.Info, tensors); err != nil {
		t.Fatal(err)
	}
}

func TestLossFalls(t *testing.T) {
	cfg := smallConfig(t)
	cfg.Train.Iterations, cfg.Train.CheckpointEvery = 60, 1000
	w := &watcher{}
	if err := runOn(t.Context(), cfg, false, w); err != nil {
		t.Fatal(err)
	}
	if first, last := w.steps[0].Loss, w.steps[59].Loss; !(last < 0.8*first) {
		t.Errorf("loss went from %v to %v, want below 80 %%", first, last)
	}
}

func TestStopsCleanly(t *testing.T) {
	cfg := smallConfig(t)
	ctx, cancel := context.WithCancel(t.Context())
	w := &watcher{after: func(done int) {
		if done == 7 {
			cancel()
		}
	}}
	err := runOn(ctx, cfg, false, w)
	if err == nil || !strings.Contains(err.Error(), "interrupted after 7 of 12 iterations; go on with --resume") {
		t.Fatalf("have %v", err)
	}
	if _, info := checkpointOf(t, cfg); info.Iteration != 7 {
		t.Errorf("checkpoint of iteration %d, want 7", info.Iteration)
	}
}

func TestUnreadableImageSavesFirst(t *testing.T) {
	cfg := smallConfig(t)
	cfg.Data.Prefetch = 1
	broken := filepath.Join(cfg.Data.Root, "images", "part", "OK/S0003/part_0003_OK_C2_20260101000000.jpg")
	err := runOn(t.Context(), cfg, false, &watcher{after: func(done int) {
		if done == 3 {
			if err := os.Truncate(broken, 100); err != nil {
				t.Error(err)
			}
		}
	}})
	if err == nil || !strings.Contains(err.Error(), broken) || strings.Contains(err.Error(), "\n") {
		t.Fatalf("have %v, want one line naming %s", err, broken)
	}
	if _, info := checkpointOf(t, cfg); info.Iteration < 3 {
		t.Errorf("checkpoint of iteration %d, want 3 or later", info.Iteration)
	}
}

func TestNonFiniteLossStops(t *testing.T) {
	cfg := smallConfig(t)
	cfg.Train.LR = 1e30
	err := runOn(t.Context(), cfg, false, &watcher{})
	if err == nil || !strings.Contains(err.Error(), "; there is no checkpoint yet") {
		t.Fatalf("have %v", err)
	}
	lines := strings.Count(journalOf(t, cfg), "\n")
	if !strings.Contains(err.Error(), fmt.Sprintf("iteration %d: loss NaN", lines)) {
		t.Errorf("have %v after %d good steps", err, lines)
	}
}

func TestRefusals(t *testing.T) {
	done := smallConfig(t)
	if err := runOn(t.Context(), done, false, &watcher{}); err != nil {
		t.Fatal(err)
	}
	nan := modeltest.RandomViT(4, 2)
	nan["blocks.2.mlp.fc1.bias"].Data[7] = float32(math.NaN())
	nanFile := filepath.Join(t.TempDir(), "nan.safetensors")
	otherFile := filepath.Join(t.TempDir(), "other.safetensors")
	shortFile := filepath.Join(t.TempDir(), "short.safetensors")
	other := modeltest.RandomViT(4, 2)
	other["cls_token"].Data[0]++
	for path, m := range map[string]weights.Map{nanFile: nan, otherFile: other, shortFile: modeltest.RandomViT(2, 2)} {
		if err := weights.WriteSafetensors(path, m, nil); err != nil {
			t.Fatal(err)
		}
	}
	cut := filepath.Join(t.TempDir(), "cut.safetensors")
	text, err := os.ReadFile(done.Backbone.Weights)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cut, text[:len(text)-1000], 0o600); err != nil {
		t.Fatal(err)
	}
	readOnly := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(readOnly, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		change func(*configs.Config)
		resume bool
		want   []string
	}{
		{"checkpoint without --resume", func(*configs.Config) {}, false, []string{"checkpoint of iteration 12", "--resume"}},
		{"another configuration", func(c *configs.Config) { c.Train.Warmup = 4 }, true, []string{"another configuration", "train.warmup: have 3, want 4"}},
		{"another backbone", func(c *configs.Config) { c.Backbone.Weights = otherFile }, true, []string{CheckpointName, "backbone", otherFile}},
		{"NaN in the backbone", func(c *configs.Config) { c.Name, c.Backbone.Weights = "b", nanFile }, false, []string{nanFile, "blocks.2.mlp.fc1.bias", "NaN"}},
		{"missing blocks", func(c *configs.Config) { c.Name, c.Backbone.Weights = "c", shortFile }, false, []string{shortFile, "blocks.3.attn.qkv.weight"}},
		{"truncated backbone", func(c *configs.Config) { c.Name, c.Backbone.Weights = "d", cut }, false, []string{cut}},
		{"no backbone", func(c *configs.Config) { c.Name, c.Backbone.Weights = "e", cut+"x" }, false, []string{cut + "x", "no such file"}},
		{"another architecture", func(c *configs.Config) { c.Name, c.Backbone.Name = "f", "vit_base_patch14_dinov2" }, false, []string{"vit_small_patch14_dinov2", "vit_base_patch14_dinov2"}},
		{"output is a file", func(c *configs.Config) { c.Output = readOnly }, false, []string{readOnly}},
		{"no CUDA", func(c *configs.Config) { c.Name, c.Device = "g", "cuda:9" }, false, []string{"cuda:9"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := done
			test.change(&cfg)
			before := tensor.Live()
			err := runOn(t.Context(), cfg, test.resume, &watcher{})
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("have %q, want %q in it", err, want)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("have several lines: %q", err)
			}
			if tensor.Live() != before {
				t.Errorf("live tensors: have %d, want %d", tensor.Live(), before)
			}
		})
	}
	if _, info := checkpointOf(t, done); info.Iteration != 12 {
		t.Error("a refused run changed the checkpoint")
	}
}

// TestRunFolderIsGone: a run whose folder is removed, renamed or replaced ends with the next step, makes no other and leaves
// what is in its place alone.
func TestRunFolderIsGone(t *testing.T) {
	for name, gone := range map[string]func(folder string) error{
		"renamed": func(folder string) error { return os.Rename(folder, folder+"-moved") },
		"removed": os.RemoveAll,
		"replaced": func(folder string) error {
			return errors.Join(os.Rename(folder, folder+"-moved"), os.Mkdir(folder, 0o755))
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := smallConfig(t)
			w := &watcher{}
			w.after = func(done int) {
				if done == 6 {
					if err := gone(Folder(cfg)); err != nil {
						t.Error(err)
					}
				}
			}
			err := runOn(t.Context(), cfg, false, w)
			if err == nil || !strings.HasPrefix(err.Error(), Folder(cfg)+": the run folder was removed, renamed or replaced") || strings.Contains(err.Error(), "\n") {
				t.Errorf("have %v, want a line that names the folder", err)
			}
			if n := len(w.steps); n != 6 {
				t.Errorf("have %d steps, want the end of the run after the next", n)
			}
			entries, err := os.ReadDir(Folder(cfg))
			if errors.Is(err, fs.ErrNotExist) == (name == "replaced") || len(entries) > 0 {
				t.Errorf("have %v, %v in its place", entries, err)
			}
			if cfg.Name += "-moved"; name != "removed" {
				if _, info := checkpointOf(t, cfg); info.Iteration != 5 {
					t.Errorf("checkpoint of iteration %d, want 5", info.Iteration)
				}
			}
		})
	}
}

// TestConfigIsReplacedWhole: config.yaml is written anew, not over the old one, and only when nothing speaks against
// the run.
func TestConfigIsReplacedWhole(t *testing.T) {
	cfg := smallConfig(t)
	if err := runOn(t.Context(), cfg, false, &watcher{}); err != nil {
		t.Fatal(err)
	}
	path, link := filepath.Join(Folder(cfg), "config.yaml"), filepath.Join(t.TempDir(), "link")
	if err := os.Link(path, link); err != nil {
		t.Fatal(err)
	}
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	before, journal := read(path), filepath.Join(Folder(cfg), "train.jsonl")
	lines := read(journal)
	if err := errors.Join(os.Remove(journal), os.Mkdir(journal, 0o700)); err != nil {
		t.Fatal(err)
	}
	cfg.Train.LogEvery++ // may change
	err := runOn(t.Context(), cfg, true, &watcher{})
	if err == nil || !strings.Contains(err.Error(), journal) {
		t.Errorf("a folder for a journal: have %v", err)
	}
	if read(path) != before {
		t.Error("a refused run changed config.yaml")
	}
	if err := errors.Join(os.Remove(journal), os.WriteFile(journal, []byte(lines), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := runOn(t.Context(), cfg, true, &watcher{}); err != nil {
		t.Fatal(err)
	}
	if read(link) != before || read(path) == before {
		t.Error("config.yaml was written over")
	}
}
