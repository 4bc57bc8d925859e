package train

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/model/checkpoint"
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
	cfg.Data.OnError, cfg.Data.MaxUnreadable = "skip", 1
	for _, path := range []string{imageOf(cfg, 0, 2), imageOf(cfg, 3, 1), imageOf(cfg, 3, 2), imageOf(cfg, 3, 3)} {
		if err := os.WriteFile(path, []byte("no image"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	whole, parted := cfg, cfg
	data, err := dataset.Open(cfg.Data)
	if err == nil {
		err = Run(t.Context(), whole, data, Options{}, &watcher{})
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

// hashesOf are the hashes of the images of all objects but those left out.
func hashesOf(t *testing.T, objects []dataset.Object, without ...string) (list dataset.FileHashes) {
	t.Helper()
	for _, o := range objects {
		for _, v := range o.Views {
			if !v.Present() || slices.Contains(without, v.Path) {
				continue
			}
			data, err := os.ReadFile(v.Path)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(data)
			list = append(list, dataset.FileHash(sum[:8]))
		}
	}
	slices.SortFunc(list, func(a, b dataset.FileHash) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(list)
}

// TestCheckpointKnowsTrainingImages holds that a checkpoint has the hashes of the images that training read: not those
// of the hold-out and not those that could not be read; also where a run was interrupted and resumed, where images come
// from a cache, and where features were computed by an earlier run. A run resumed from a checkpoint without hashes
// knows none.
func TestCheckpointKnowsTrainingImages(t *testing.T) {
	cfg := smallConfig(t)
	cfg.Train.Holdout, cfg.Data.OnError = 0.3, "skip"
	data, err := dataset.Open(cfg.Data)
	if err != nil {
		t.Fatal(err)
	}
	trained, heldOut := data.HoldOut(cfg.Train.Holdout, cfg.Seed)
	broken := trained.Train[0].Views[0].Path
	if err := os.WriteFile(broken, []byte("no image"), 0o600); err != nil || len(heldOut) != 1 {
		t.Fatalf("have %d held out, error %v, want 1", len(heldOut), err)
	}
	want := hashesOf(t, trained.Train, broken)
	check := func(cfg configs.Config, want dataset.FileHashes) {
		t.Helper()
		if _, info := checkpointOf(t, cfg); !slices.Equal(info.TrainImages, want) || len(want) == 0 && info.TrainImages != nil {
			t.Errorf("%s: have %d hashes, want %d", cfg.Name, len(info.TrainImages), len(want))
		}
	}
	run := func(name string, change func(*configs.Config)) configs.Config {
		t.Helper()
		cfg := cfg
		cfg.Name = name
		change(&cfg)
		if err := runOn(t.Context(), cfg, false, &watcher{}); err != nil {
			t.Fatal(err)
		}
		check(cfg, want)
		return cfg
	}
	run("files", func(*configs.Config) {})
	run("ram", func(c *configs.Config) { c.Train.CacheFeatures = "ram" })
	run("disk", func(c *configs.Config) { c.Train.CacheFeatures = "disk" })
	run("found", func(c *configs.Config) { c.Train.CacheFeatures = "disk" })
	run("cache", func(c *configs.Config) {
		c.Data.Cache = t.TempDir()
		if err := dataset.Prepare(t.Context(), c.Data, data, dataset.PrepareOptions{}); err != nil {
			t.Fatal(err)
		}
	})

	parted := cfg
	parted.Name, parted.Data.Prefetch = "parted", 1
	ctx, cancel := context.WithCancel(t.Context())
	if err := runOn(ctx, parted, false, &watcher{after: func(int) { cancel() }}); err == nil {
		t.Fatal("not interrupted")
	}
	if _, info := checkpointOf(t, parted); info.TrainImages == nil {
		t.Error("interrupted: have no hashes")
	}
	if err := runOn(t.Context(), parted, true, &watcher{}); err != nil {
		t.Fatal(err)
	}
	check(parted, want)

	old := parted
	old.Name = "old"
	ctx, cancel = context.WithCancel(t.Context())
	if err := runOn(ctx, old, false, &watcher{after: func(int) { cancel() }}); err == nil {
		t.Fatal("not interrupted")
	}
	forget(t, filepath.Join(Folder(old), CheckpointName), "train.images")
	if err := runOn(t.Context(), old, true, &watcher{}); err != nil {
		t.Fatal(err)
	}
	check(old, nil)
}

// forget removes a key from the metadata of a checkpoint, as if it had been written before there was one.
func forget(t *testing.T, path, key string) {
	t.Helper()
	f, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Rewrite(map[string]string{key: ""}, "", nil); err != nil {
		t.Fatal(err)
	}
}
