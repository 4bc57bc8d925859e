package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mvag-torch/internal/testenv"
)

// TestReadOnly puts a data set, a cache, a model and its results on a file system that can only be read. What writes there
// ends with one line; what only reads works.
func TestReadOnly(t *testing.T) {
	b := newFaultBench(t, testenv.SmallDisk(t, 1<<30))
	train, prepare := b.all[0], b.all[5]
	must(t, prepare.args...)
	must(t, train.args...)
	other, run, set := t.TempDir(), filepath.Join(b.out, "quickstart"), train.args[1:]
	model, cache, parts := filepath.Join(run, "checkpoint.safetensors"), filepath.Join(b.out, "cache"), filepath.Join(b.root, "demo", "realiad_demo", "gear", "OK")
	testenv.Remount(t, b.root, "ro")

	writing := [][]string{
		train.again, append([]string{"train", "--set", "name=other"}, set...),
		{"enroll", "-m", model, "--class", "other", parts}, {"calibrate", "-m", model, "--undo"},
		{"eval", "-m", model}, {"eval", "-m", model, "-o", filepath.Join(b.root, "results")}, {"predict", "-m", model, parts, "-o", b.out},
		{"export", "--format", "onnx", "-m", model, "-o", filepath.Join(b.root, "model.onnx")},
		{"report", run}, {"serve", "-m", model, "--out", b.out, "--addr", "127.0.0.1:0"},
	}
	for _, s := range b.all {
		writing = append(writing, s.args)
	}
	for _, args := range writing {
		b.sum.Injected++
		_, err := command(t, args...)
		if err == nil || !strings.Contains(err.Error(), "read-only file system") || !strings.Contains(err.Error(), b.root) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: have %v, want one line that names a file and its file system as read-only", args, err)
			continue
		}
		b.sum.Refused++
	}
	must(t, "info", model)
	must(t, append([]string{"dataset", "check"}, set...)...)
	must(t, "report", run, "-o", filepath.Join(other, "report.html"))
	must(t, "predict", "-m", model, parts)
	if os.Getenv("MVAG_FAULTS") == "all" {
		must(t, "eval", "-m", model, "-o", other)
		must(t, "export", "--format", "bundle", "-m", model, "-o", filepath.Join(other, "model.mvag"))
		must(t, append([]string{"train", "--set", "data.cache=" + cache, "--set", "name=other"}, append(set, "--set", "output="+other)...)...)
	}
	b.sum.Log(t, "commands on a disk that can only be read")
}
