package doctor

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mvag-torch/configs"
)

// FuzzDriver holds that whatever the files of a driver hold, the report on it has no line more.
func FuzzDriver(f *testing.F) {
	f.Add([]byte("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27\n"), []byte("Model: \t\t NVIDIA H100\nIRQ: 1\n"))
	f.Add([]byte("Kernel Module \n 1.\n.2"), []byte("Model:\n\x1b[31m\n"))
	f.Add([]byte("\xff"), []byte("Model: \xff\x00"))
	dir := f.TempDir()
	gpu := filepath.Join(dir, "gpus", "0")
	if err := os.MkdirAll(gpu, 0o755); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, version, information []byte) {
		err := errors.Join(os.WriteFile(filepath.Join(dir, "version"), version, 0o644), os.WriteFile(filepath.Join(gpu, "information"), information, 0o644))
		if err != nil {
			t.Fatal(err)
		}
		d := readDriver(dir)
		for _, p := range []*Probe{nil, {CUDA: CUDA{Driver: 13000}}} {
			if c := cudaCheck(d, p, "auto"); strings.ContainsAny(c.Detail+c.Remedy, "\n\x1b\x00") {
				t.Errorf("have %+v of %q, %q", c, version, information)
			}
		}
	})
}

// TestWeightsOfAPipe: a pipe in place of the weights is a failure, for whose writer nobody waits.
func TestWeightsOfAPipe(t *testing.T) {
	cfg := configs.Default()
	cfg.Backbone.Weights = filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(cfg.Backbone.Weights, 0o600); err != nil {
		t.Fatal(err)
	}
	if c := backboneCheck(cfg, nil); c.Status != Fail || !strings.Contains(c.Detail, cfg.Backbone.Weights) {
		t.Errorf("have %+v", c)
	}
}
