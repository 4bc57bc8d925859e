package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/tensor"
	"mvag-torch/model/checkpoint"
	"mvag-torch/model/memory"
	"mvag-torch/model/modeltest"
	"mvag-torch/model/weights"
)

// TestMain keeps LibTorch to one thread: the tensors are too small to share.
func TestMain(m *testing.M) {
	tensor.SetThreads(1)
	os.Exit(m.Run())
}

// backboneFile is a ViT-S/14 with random weights, written once.
var backboneFile = func() func(t *testing.T) string {
	var text []byte
	return func(t *testing.T) string {
		path := filepath.Join(t.TempDir(), "backbone.safetensors")
		if text != nil {
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}
		if err := weights.WriteSafetensors(path, modeltest.RandomViT(4, 2), nil); err != nil {
			t.Fatal(err)
		}
		text, _ = os.ReadFile(path)
		return path
	}
}()

// smallSet writes a Real-IAD set of one class with 5 good objects of 3 views; object 2 has no third image.
func smallSet(t *testing.T) string {
	root := t.TempDir()
	type entry struct {
		Category string  `json:"category"`
		Anomaly  string  `json:"anomaly_class"`
		Image    string  `json:"image_path"`
		Mask     *string `json:"mask_path"`
	}
	var entries []entry
	rng := rand.New(rand.NewPCG(3, 4))
	for o := range 5 {
		for v := range 3 {
			if o == 2 && v == 2 {
				continue
			}
			name := fmt.Sprintf("OK/S%04d/part_%04d_OK_C%d_20260101000000.jpg", o, o, v+1)
			writeJPEG(t, filepath.Join(root, "images", "part", name), rng)
			entries = append(entries, entry{"part", "OK", name, nil})
		}
	}
	index := map[string]any{
		"meta":  map[string]any{"prefix": "part/", "normal_class": "OK", "pre_transform": false},
		"train": entries, "test": []entry{},
	}
	text, err := json.Marshal(index)
	if err == nil {
		err = os.MkdirAll(filepath.Join(root, "index"), 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(root, "index", "part.json"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func writeJPEG(t *testing.T, path string, rng *rand.Rand) {
	img := image.NewRGBA(image.Rect(0, 0, 32, 32))
	r, g, b := rng.Float64(), rng.Float64(), rng.Float64()
	for y := range 32 {
		for x := range 32 {
			img.Set(x, y, color.RGBA{uint8(8 * float64(x) * r), uint8(8 * float64(y) * g), uint8(4 * float64(x+y) * b), 255})
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err == nil {
		err = errors.Join(jpeg.Encode(f, img, nil), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// smallConfig trains a decoder of 2 blocks on 28x28 pixels.
func smallConfig(t *testing.T) configs.Config {
	cfg := configs.Default()
	cfg.Name, cfg.Output, cfg.Device = "small", t.TempDir(), "cpu"
	cfg.Backbone = configs.Backbone{Mode: "native", Name: "vit_small_patch14_dinov2", Weights: backboneFile(t), Layers: []int{1, 3}}
	cfg.Data.Root, cfg.Data.Index, cfg.Data.Images = smallSet(t), "index", "images"
	cfg.Data.Views, cfg.Data.Resize, cfg.Data.Crop = 3, configs.Square(30), configs.Square(28)
	cfg.Model.DecoderDepth = 2
	cfg.Train.Iterations, cfg.Train.Warmup, cfg.Train.CheckpointEvery = 12, 3, 5
	cfg.Train.CacheFeatures = "off"
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// watcher keeps what a run reports and may stop it.
type watcher struct {
	steps    []Step
	saved    []int
	features []Features
	after    func(done int) // called after each step
	inside   func(Begin)
	stopAt   int // objects with features
	stop     func()

	uncaptured []error
	mended     []error
	remembered *memory.Memory
	skipped    []Skipped
	notices    []string
	notice     func()
}

func (w *watcher) Begin(b Begin) {
	if w.inside != nil {
		w.inside(b)
	}
}
func (w *watcher) Features(f Features) {
	w.features = append(w.features, f)
	if w.stop != nil && f.Done == w.stopAt {
		w.stop()
	}
}
func (w *watcher) Remembered(m *memory.Memory) { w.remembered = m }

func (w *watcher) Skipped(k Skipped)   { w.skipped = append(w.skipped, k) }
func (w *watcher) Mended(damage error) { w.mended = append(w.mended, damage) }
func (w *watcher) Notice(line string) {
	w.notices = append(w.notices, line)
	if w.notice != nil {
		w.notice()
	}
}
func (w *watcher) Uncaptured(why error) { w.uncaptured = append(w.uncaptured, why) }
func (w *watcher) Step(s Step) {
	w.steps = append(w.steps, s)
	if w.after != nil {
		w.after(s.Done)
	}
}
func (w *watcher) Saved(_ string, iteration int) { w.saved = append(w.saved, iteration) }

func runOn(ctx context.Context, cfg configs.Config, resume bool, w *watcher) error {
	data, err := dataset.Open(cfg.Data)
	if err != nil {
		return err
	}
	return Run(ctx, cfg, data, Options{Resume: resume}, w)
}

// journalOf are the lines of train.jsonl for steps.
func journalOf(t *testing.T, cfg configs.Config) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(Folder(cfg), "train.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var steps strings.Builder
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, `"start"`) {
			steps.WriteString(line)
		}
	}
	return steps.String()
}

func checkpointOf(t *testing.T, cfg configs.Config) (weights map[string][]float32, info checkpoint.Info) {
	t.Helper()
	f, err := checkpoint.Open(filepath.Join(Folder(cfg), CheckpointName))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	trained, err := f.Weights()
	if err != nil {
		t.Fatal(err)
	}
	moments, err := f.Below(checkpoint.Optimizer)
	if err != nil {
		t.Fatal(err)
	}
	weights = map[string][]float32{}
	for name, w := range trained {
		weights[name] = w.Data
	}
	for name, w := range moments {
		weights["optimizer."+name] = w.Data
	}
	return weights, *f.Info
}
