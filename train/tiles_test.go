package train

import (
	"context"
	"math"
	"os"
	"strings"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/dataset"
)

// tiledConfig is smallConfig with two tiles of 28 x 42 pixels of each image.
func tiledConfig(t *testing.T) configs.Config {
	cfg := smallConfig(t)
	cfg.Data.Fit, cfg.Data.Resize, cfg.Data.Crop = dataset.Tiles, configs.Size{28, 70}, configs.Size{28, 42}
	return cfg
}

// TestTiles: tiles are trained on as objects, with the same bits from files and from a cache, and nearly the same losses
// from cached features, which an interrupted run goes on computing. All counts are of images and whole objects.
func TestTiles(t *testing.T) {
	files := tiledConfig(t)
	var begin Begin
	w := &watcher{inside: func(b Begin) { begin = b }}
	if err := runOn(t.Context(), files, false, w); err != nil {
		t.Fatal(err)
	}
	const line = "tiles: each image becomes 1 x 2 tiles of 28 x 42 pixels, 2 times the work of one; 60 % of data.resize is empty at images of 32x32"
	if !strings.HasPrefix(begin.Tiles, line+"; each image is decoded again") || begin.Objects != 5 || begin.Images != 14 {
		t.Errorf("have %+v", begin)
	}
	if want := int64((4 + 2) * 2 * 3 * 3 * 28 * 42); begin.Batches != want {
		t.Errorf("have batches of %d bytes, want %d", begin.Batches, want)
	}
	if f := w.features[len(w.features)-1]; f.Objects != 5 || f.Done != 5 || len(w.features) != 6 {
		t.Errorf("have %+v", w.features)
	}
	if n := w.remembered.Classes["part"].Objects; n != 5 {
		t.Errorf("remembers %d objects, want 5", n)
	}
	if _, info := checkpointOf(t, files); len(info.TrainImages) != 14 {
		t.Errorf("have %d training images, want 14", len(info.TrainImages))
	}
	cached := files
	cached.Output, cached.Data.Cache = t.TempDir(), t.TempDir()
	data, err := dataset.Open(files.Data)
	if err == nil {
		err = dataset.Prepare(t.Context(), cached.Data, data, dataset.PrepareOptions{})
	}
	if err == nil {
		err = runOn(t.Context(), cached, false, &watcher{inside: func(b Begin) { begin = b }})
	}
	if err != nil {
		t.Fatal(err)
	}
	if begin.Tiles != line {
		t.Errorf("have %q, want no advice", begin.Tiles)
	}
	if a, b := journalOf(t, files), journalOf(t, cached); a != b {
		t.Errorf("the journals differ:\n%s\n%s", a, b)
	}
	features := files
	features.Output, features.Train.CacheFeatures = t.TempDir(), "disk"
	ctx, cancel := context.WithCancel(t.Context())
	if err := runOn(ctx, features, false, &watcher{stopAt: 2, stop: cancel}); err == nil || !strings.Contains(err.Error(), "interrupted after 0 of 12") {
		t.Fatalf("have %v", err)
	}
	again := &watcher{}
	if err := runOn(t.Context(), features, false, again); err != nil {
		t.Fatal(err)
	}
	if f := again.features; f[len(f)-1].Done != 5 {
		t.Errorf("have %+v", f)
	}
	for i, s := range w.steps {
		if math.Abs(again.steps[i].Loss-s.Loss) > 1e-3*s.Loss {
			t.Errorf("step %d: have loss %v with cached features, want nearly %v", i, again.steps[i].Loss, s.Loss)
		}
	}
	ram := features
	ram.Output, ram.Train.CacheFeatures = t.TempDir(), "ram"
	if err := runOn(t.Context(), ram, false, &watcher{}); err != nil {
		t.Fatal(err)
	}
	if a, b := journalOf(t, ram), journalOf(t, features); a != b {
		t.Errorf("the journals differ:\n%s\n%s", a, b)
	}
}

// TestTilesWithoutAnImage: an image that cannot be read lacks all its tiles and is listed once, with cached features and
// without.
func TestTilesWithoutAnImage(t *testing.T) {
	cfg := tiledConfig(t)
	cfg.Data.OnError, cfg.Data.MaxUnreadable = "skip", 0.1
	if err := os.WriteFile(imageOf(cfg, 0, 2), []byte("no image"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, keep := range []string{"off", "ram"} {
		cfg.Output, cfg.Train.CacheFeatures = t.TempDir(), keep
		data, err := dataset.Open(cfg.Data)
		if err == nil {
			err = Run(t.Context(), cfg, data, Options{}, &watcher{})
		}
		if err != nil {
			t.Fatal(err)
		}
		if lines := data.Source.Skipped.Lines(); len(lines) != 1 || !strings.HasPrefix(lines[0], imageOf(cfg, 0, 2)+": ") {
			t.Errorf("%s: have %q left out", keep, lines)
		}
		if _, info := checkpointOf(t, cfg); len(info.TrainImages) != 13 {
			t.Errorf("%s: have %d training images, want 13", keep, len(info.TrainImages))
		}
	}
}
