package train

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/lock"
)

// TestCachedFeatures holds that a run with stored features gives the same bits from memory, from a file, and from the
// file of an earlier run after a death in its middle; and nearly the losses of a run without.
func TestCachedFeatures(t *testing.T) {
	plain := smallConfig(t)
	losses := func(cfg configs.Config) []float64 {
		w := &watcher{}
		if err := runOn(t.Context(), cfg, false, w); err != nil {
			t.Fatal(err)
		}
		var l []float64
		for _, s := range w.steps {
			l = append(l, s.Loss)
		}
		if cfg.Train.CacheFeatures != "off" && w.features[len(w.features)-1].Done != 5 {
			t.Errorf("%s: features: have %+v", cfg.Train.CacheFeatures, w.features)
		}
		return l
	}
	want := losses(plain)
	ram := plain
	ram.Name, ram.Train.CacheFeatures = "ram", "ram"
	inMemory := losses(ram)
	for i := range want {
		if math.Abs(inMemory[i]-want[i]) > 1e-3*want[i] || i == 3 && inMemory[i] == want[i] {
			t.Errorf("step %d: have loss %v, want nearly %v", i, inMemory[i], want[i])
		}
	}
	disk := plain
	disk.Name, disk.Train.CacheFeatures = "disk", "disk"
	ctx, cancel := context.WithCancel(t.Context())
	w := &watcher{stopAt: 2, stop: cancel}
	if err := runOn(ctx, disk, false, w); err == nil || !strings.Contains(err.Error(), "interrupted after 0 of 12") {
		t.Fatalf("have %v", err)
	}
	if have := losses(disk); !slices.Equal(have, inMemory) {
		t.Errorf("file: have losses %v, want %v", have, inMemory)
	}
	part := disk
	part.Name, part.Data.Root = "again", disk.Data.Root
	again := &watcher{after: func(done int) {
		if done == 7 {
			panic("killed")
		}
	}}
	func() {
		defer func() { _ = recover() }()
		_ = runOn(t.Context(), part, false, again)
	}()
	if len(again.features) != 1 || again.features[0].Done != 5 {
		t.Errorf("features of an earlier run: have %+v, want all there", again.features)
	}
	part.Train.CacheFeatures = "ram" // may change
	if err := runOn(t.Context(), part, true, &watcher{}); err != nil {
		t.Fatal(err)
	}
	if a, b := journalOf(t, ram), journalOf(t, part); a != b {
		t.Errorf("journals differ:\n%s\n%s", a, b)
	}
	part.Train.CacheFeatures = "off"
	if err := runOn(t.Context(), part, true, &watcher{}); err == nil || !strings.Contains(err.Error(), "train.cache_features") {
		t.Errorf("resumed without features: have %v", err)
	}
}

// TestSkippedImagesAreNotShared: an object with an image that was skipped is not in the shared file, so that later runs
// behave as without a cache: with data.on_error: skip they list the image, with stop they name it and end.
func TestSkippedImagesAreNotShared(t *testing.T) {
	cfg := smallConfig(t)
	cfg.Train.CacheFeatures, cfg.Data.OnError, cfg.Data.MaxUnreadable = "disk", "skip", 1
	broken := imageOf(cfg, 3, 2)
	if err := os.WriteFile(broken, []byte("no image"), 0o600); err != nil {
		t.Fatal(err)
	}
	var journals []string
	for _, name := range []string{"first", "second"} {
		cfg.Name = name
		data, err := dataset.Open(cfg.Data)
		if err == nil {
			err = Run(t.Context(), cfg, data, Options{}, &watcher{})
		}
		if err != nil {
			t.Fatal(err)
		}
		if lines := data.Source.Skipped.Lines(); len(lines) != 1 || !strings.HasPrefix(lines[0], broken) {
			t.Errorf("%s run: have %q left out, want %s", name, lines, broken)
		}
		journals = append(journals, journalOf(t, cfg))
	}
	if journals[0] != journals[1] {
		t.Errorf("the journals differ:\n%s\n%s", journals[0], journals[1])
	}
	cfg.Name, cfg.Data.OnError = "third", "stop"
	if err := runOn(t.Context(), cfg, false, &watcher{}); err == nil || !strings.Contains(err.Error(), broken) {
		t.Errorf("data.on_error: stop: have %v, want an error that names %s", err, broken)
	}
}

// TestDamagedFeatures: a run whose file of features is damaged, before it starts or while it trains, computes those objects
// anew, says so, ends with the same bits, and leaves a file that is whole. Without the images it ends with one line.
func TestDamagedFeatures(t *testing.T) {
	cfg := smallConfig(t)
	cfg.Train.CacheFeatures, cfg.Data.Prefetch, cfg.Memory.Codes = "disk", 1, 16
	if err := runOn(t.Context(), cfg, false, &watcher{}); err != nil {
		t.Fatal(err)
	}
	want := journalOf(t, cfg)
	files, err := filepath.Glob(filepath.Join(cfg.Output, "features", "*.bin"))
	if err != nil || len(files) != 1 {
		t.Fatalf("have %q, %v", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	flip := func() {
		f, err := os.OpenFile(files[0], os.O_WRONLY, 0)
		if err == nil {
			for i := range 5 { // in each record
				_, err = f.WriteAt([]byte{text[len(text)-1-i*(len(text)-4096)/5] ^ 4}, int64(len(text)-1-i*(len(text)-4096)/5))
			}
			f.Close()
		}
		if err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"before", "while"} {
		cfg.Name = name
		w := &watcher{}
		if name == "before" {
			flip()
		} else {
			w.after = func(done int) {
				if done == 3 {
					flip()
				}
			}
		}
		if err := runOn(t.Context(), cfg, false, w); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if have := journalOf(t, cfg); have != want {
			t.Errorf("%s: have the journal\n%s, want\n%s", name, have, want)
		}
		if len(w.mended) < 4 || !strings.Contains(w.mended[0].Error(), files[0]+": record ") {
			t.Errorf("%s: have %v mended, want all objects", name, w.mended)
		}
		if have, err := os.ReadFile(files[0]); err != nil || string(have) != string(text) {
			t.Errorf("%s: the file differs from what it was, error %v", name, err)
		}
	}
	cfg.Name = "without images"
	err = runOn(t.Context(), cfg, false, &watcher{after: func(done int) {
		if done == 3 {
			flip()
			if err := os.Rename(filepath.Join(cfg.Data.Root, "images"), filepath.Join(cfg.Data.Root, "moved")); err != nil {
				t.Error(err)
			}
		}
	}})
	if err == nil || !strings.Contains(err.Error(), files[0]+": record ") || strings.Contains(err.Error(), "\n") {
		t.Errorf("have %v, want one line that names the file of features", err)
	}
	if _, info := checkpointOf(t, cfg); info.Iteration < 3 {
		t.Errorf("have a checkpoint of iteration %d, want 3 or later", info.Iteration)
	}
}

// TestWaitsForFeatures: a run waits while another one computes the features of the same file, says so, and takes them.
func TestWaitsForFeatures(t *testing.T) {
	cfg := smallConfig(t)
	cfg.Train.CacheFeatures = "disk"
	first := &watcher{}
	if err := runOn(t.Context(), cfg, false, first); err != nil {
		t.Fatal(err)
	}
	list, err := filepath.Glob(filepath.Join(cfg.Output, "features", "*"))
	if err != nil || len(list) != 1 {
		t.Fatalf("have %q, %v, want one file", list, err)
	}
	name := strings.TrimSuffix(list[0], ".bin") + ".lock"
	other, err := lock.Take(name, "")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Name = "second"
	w := &watcher{notice: other.Release}
	if err := runOn(t.Context(), cfg, false, w); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("waiting for the features of another run: %s: used by process %d on ", list[0], os.Getpid())
	if len(w.notices) != 1 || !strings.HasPrefix(w.notices[0], want) {
		t.Errorf("have %q, want %q", w.notices, want)
	}
	ctx, stop := context.WithCancel(t.Context())
	if other, err = lock.Take(name, ""); err != nil {
		t.Fatal(err)
	}
	defer other.Release()
	cfg.Name = "third"
	if err := runOn(ctx, cfg, false, &watcher{notice: stop}); err == nil || !strings.Contains(err.Error(), "interrupted after 0 of 12 iterations") {
		t.Errorf("interrupted: have %v", err)
	}
}
