package train

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/dataset"
)

// imageOf is a file of smallSet.
func imageOf(cfg configs.Config, object, camera int) string {
	return filepath.Join(cfg.Data.Root, "images", "part", fmt.Sprintf("OK/S%04d/part_%04d_OK_C%d_20260101000000.jpg", object, object, camera))
}

// TestCacheGivesTheSameLosses trains from JPEGs and from their cache, which refuses an image that has changed.
func TestCacheGivesTheSameLosses(t *testing.T) {
	cfg := smallConfig(t)
	files, cached := cfg, cfg
	if err := runOn(t.Context(), files, false, &watcher{inside: func(b Begin) {
		if want := int64((4 + 2) * 2 * 3 * 3 * 28 * 28); b.Batches != want {
			t.Errorf("batches: have %d bytes, want %d", b.Batches, want)
		}
	}}); err != nil {
		t.Fatal(err)
	}
	data, err := dataset.Open(cfg.Data)
	if err != nil {
		t.Fatal(err)
	}
	cached.Output, cached.Data.Cache = t.TempDir(), t.TempDir()
	if err := dataset.Prepare(t.Context(), cached.Data, data, dataset.PrepareOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := runOn(t.Context(), cached, false, &watcher{}); err != nil {
		t.Fatal(err)
	}
	if a, b := journalOf(t, files), journalOf(t, cached); a != b {
		t.Errorf("the journals differ:\n%s\n%s", a, b)
	}
	cached.Name = "changed"
	if err := os.Truncate(imageOf(cfg, 1, 1), 100); err != nil {
		t.Fatal(err)
	}
	err = runOn(t.Context(), cached, false, &watcher{})
	if err == nil || !strings.Contains(err.Error(), imageOf(cfg, 1, 1)+" has changed since it was prepared") {
		t.Errorf("have %v, want an error about the changed image", err)
	}
}

// TestSkippedImages: images that cannot be read are left out, all of one object and one of another, and a run that was
// resumed has the same bits.
func TestSkippedImages(t *testing.T) {
	cfg := smallConfig(t)
	cfg.Data.OnError = "skip"
	for _, path := range []string{imageOf(cfg, 0, 2), imageOf(cfg, 3, 1), imageOf(cfg, 3, 2), imageOf(cfg, 3, 3)} {
		if err := os.WriteFile(path, []byte("no image"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	whole, parted := cfg, cfg
	data, err := dataset.Open(cfg.Data)
	if err == nil {
		err = Run(t.Context(), whole, data, false, &watcher{})
	}
	if err != nil {
		t.Fatal(err)
	}
	if lines := data.Source.Skipped.Lines(); len(lines) != 4 || !strings.HasPrefix(lines[0], imageOf(cfg, 0, 2)+": ") {
		t.Errorf("have %q left out, want four images", lines)
	}
	parted.Output = t.TempDir()
	func() {
		defer func() { _ = recover() }()
		_ = runOn(t.Context(), parted, false, &watcher{after: func(done int) {
			if done == 7 {
				panic("killed")
			}
		}})
	}()
	if err := runOn(t.Context(), parted, true, &watcher{}); err != nil {
		t.Fatal(err)
	}
	if a, b := journalOf(t, whole), journalOf(t, parted); a != b {
		t.Errorf("the journals differ:\n%s\n%s", a, b)
	}
}

// TestSetMovedWhileTraining: the error names a file, after a checkpoint, whatever data.on_error says.
func TestSetMovedWhileTraining(t *testing.T) {
	for _, onError := range []string{"stop", "skip"} {
		t.Run(onError, func(t *testing.T) {
			cfg := smallConfig(t)
			cfg.Data.OnError, cfg.Data.Prefetch = onError, 1
			err := runOn(t.Context(), cfg, false, &watcher{after: func(done int) {
				if done == 3 {
					if err := os.Rename(filepath.Join(cfg.Data.Root, "images"), filepath.Join(cfg.Data.Root, "moved")); err != nil {
						t.Error(err)
					}
				}
			}})
			if err == nil || !strings.Contains(err.Error(), filepath.Join(cfg.Data.Root, "images")) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("have %v, want one line naming an image", err)
			}
			if _, info := checkpointOf(t, cfg); info.Iteration < 3 {
				t.Errorf("checkpoint of iteration %d, want 3 or later", info.Iteration)
			}
		})
	}
}
