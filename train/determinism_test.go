package train

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/tensor"
)

// several lets LibTorch use some threads in a test.
func several(t *testing.T, cfg *configs.Config) {
	before := tensor.Threads()
	t.Cleanup(func() { tensor.SetThreads(before) })
	cfg.Threads, cfg.Data.Workers, cfg.Data.Prefetch = 2, 3, 3
}

// bytesOf trains in a fresh folder, twice where it is interrupted after so many steps, and returns the checkpoint.
func bytesOf(t *testing.T, cfg configs.Config, interrupt int) []byte {
	t.Helper()
	if err := os.RemoveAll(Folder(cfg)); err != nil {
		t.Fatal(err)
	}
	if interrupt > 0 {
		ctx, cancel := context.WithCancel(t.Context())
		err := runOn(ctx, cfg, false, &watcher{after: func(done int) {
			if done == interrupt {
				cancel()
			}
		}})
		if err == nil || !strings.Contains(err.Error(), "interrupted after") {
			t.Fatalf("have %v", err)
		}
	}
	if err := runOn(t.Context(), cfg, interrupt > 0, &watcher{}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(Folder(cfg), CheckpointName))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestRunsHaveTheSameBytes trains several times with two threads of LibTorch and three that decode: the checkpoints are
// equal byte by byte, also of a run that was interrupted, whether features are cached or not. deterministic changes
// nothing on a CPU but its own line in the checkpoint.
func TestRunsHaveTheSameBytes(t *testing.T) {
	for cached, deterministic := range map[string]bool{"off": false, "ram": true} { // each is compared with the other value, too
		t.Run(cached, func(t *testing.T) {
			cfg := smallConfig(t)
			several(t, &cfg)
			cfg.Train.CacheFeatures, cfg.Deterministic = cached, deterministic
			defer func() {
				if err := tensor.SetDeterministic(false); err != nil {
					t.Error(err)
				}
			}()
			want := bytesOf(t, cfg, 0)
			if have := bytesOf(t, cfg, 0); !bytes.Equal(have, want) {
				t.Error("a second run has other bytes")
			}
			if have := bytesOf(t, cfg, 7); !bytes.Equal(have, want) {
				t.Error("an interrupted run has other bytes")
			}
			weights, _ := checkpointOf(t, cfg)
			cfg.Deterministic = !deterministic
			bytesOf(t, cfg, 0)
			other, _ := checkpointOf(t, cfg)
			for name := range weights {
				if !slices.Equal(weights[name], other[name]) {
					t.Fatalf("%s differs with deterministic %v", name, cfg.Deterministic)
				}
			}
		})
	}
}

// startsOf are the lines of train.jsonl for starts.
func startsOf(t *testing.T, cfg configs.Config) (list []began) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(Folder(cfg), "train.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var b began
		if err := json.Unmarshal([]byte(line), &b); err != nil {
			t.Fatal(err)
		}
		if b.Start != nil {
			list = append(list, b)
		}
	}
	return list
}

// TestJournalSaysWhatARunDependsOn resumes a run with another number of threads and by another version, once without a
// step and once with all of them.
func TestJournalSaysWhatARunDependsOn(t *testing.T) {
	cfg := smallConfig(t)
	several(t, &cfg)
	at := func(program string, stopAt int, resume bool) (differs []string) {
		data, err := dataset.Open(cfg.Data)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w := &watcher{inside: func(b Begin) {
			if differs = b.Differs; b.Start == stopAt {
				cancel()
			}
		}, after: func(done int) {
			if done == stopAt {
				cancel()
			}
		}}
		if err := Run(ctx, cfg, data, Options{Resume: resume, Program: program}, w); (err == nil) != (stopAt == 12) {
			t.Fatalf("have %v", err)
		}
		return differs
	}
	if have := at("v1", 7, false); have != nil {
		t.Errorf("first start: differs in %q", have)
	}
	first := startsOf(t, cfg)
	if len(first) != 1 || first[0].Iteration != 0 {
		t.Fatalf("have %+v", first)
	}
	s := first[0].Start
	if s.Program != "v1" || s.LibTorch == "" || s.Device != "cpu" || s.Instructions == "" || s.Threads != 2 || s.Ranks != 1 || s.Kernels == "" ||
		s.Precision != "fp32" || s.Seed != cfg.Seed || len(s.Backbone) != 64 || len(s.Data) != 16 || s.Deterministic {
		t.Errorf("have %+v", s)
	}
	cfg.Threads = 1
	want := []string{"program v2, was v1", "threads 1, was 2"}
	if have := at("v2", 7, true); !slices.Equal(have, want) { // without a step
		t.Errorf("differs in %q, want %q", have, want)
	}
	if have := at("v2", 12, true); !slices.Equal(have, want) {
		t.Errorf("resumed again: differs in %q, want %q", have, want)
	}
	if all := startsOf(t, cfg); len(all) != 2 || all[1].Iteration != 7 || all[1].Start.Threads != 1 {
		t.Errorf("have %+v", all)
	}
	if lines := strings.Count(journalOf(t, cfg), "\n"); lines != 12 {
		t.Errorf("have %d lines of steps, want 12", lines)
	}
}
