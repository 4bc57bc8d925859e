package train

import (
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"path/filepath"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/calibration"
	"mvag-torch/model/checkpoint"
	"mvag-torch/model/modeltest"
)

// degenerate are sets of images in which nothing varies, or nothing between views.
var degenerate = []struct {
	name string
	at   func(object, x, y int) uint8
}{
	{"black", func(int, int, int) uint8 { return 0 }},
	{"white", func(int, int, int) uint8 { return 255 }},
	{"gray", func(int, int, int) uint8 { return 119 }},
	{"the same in all views", func(o, x, y int) uint8 { return uint8(31*o + 3*x + 5*y) }},
}

// TestDegenerateImages trains and judges on them, and on one object alone, in each precision: losses, norms, maps and
// scores are finite by every head.
func TestDegenerateImages(t *testing.T) { degenerateImages(t, "cpu") }

func TestDegenerateImagesOnCUDA(t *testing.T) {
	if !modeltest.CUDA(t) {
		t.Skip("the stub computes nothing")
	}
	degenerateImages(t, "cuda")
}

func degenerateImages(t *testing.T, device string) {
	precisions := []string{"fp32", "bf16"}
	if device != "cpu" { // where tf32 computes as fp32 does
		precisions = append(precisions, "tf32")
	}
	for i, precision := range precisions {
		kinds := degenerate
		if i > 0 && device == "cpu" { // where it differs in rounding alone
			kinds = kinds[:1]
		}
		for _, kind := range kinds {
			t.Run(precision+"/"+kind.name, func(t *testing.T) {
				cfg := smallConfig(t)
				cfg.Device, cfg.Precision = device, precision
				for object := range 5 {
					for camera := 1; camera <= 3; camera++ {
						if object != 2 || camera != 3 {
							paint(t, imageOf(cfg, object, camera), func(x, y int) uint8 { return kind.at(object, x, y) })
						}
					}
				}
				staysFinite(t, cfg)
			})
		}
		t.Run(precision+"/one object", func(t *testing.T) {
			cfg := smallConfig(t)
			cfg.Device, cfg.Precision = device, precision
			cfg.Train.Holdout, cfg.Train.Objects = 0.8, 1
			staysFinite(t, cfg)
		})
	}
}

func paint(t *testing.T, path string, at func(x, y int) uint8) {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, 32, 32))
	for y := range 32 {
		for x := range 32 {
			img.SetGray(x, y, color.Gray{Y: at(x, y)})
		}
	}
	f, err := os.Create(path)
	if err == nil {
		err = jpeg.Encode(f, img, nil)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// staysFinite trains some steps, with every patch hard and with most of them easy, and predicts with what comes of it.
func staysFinite(t *testing.T, cfg configs.Config) {
	t.Helper()
	cfg.Train.Iterations, cfg.Train.Warmup, cfg.Train.HardWarmup = 8, 2, 4
	cfg.Eval.MapSize, cfg.Train.OnNaN = 32, "stop"
	if err := runOn(t.Context(), cfg, false, &watcher{}); err != nil {
		t.Fatal(err)
	}
	for i, v := range lossesOf(t, cfg) {
		if v-v != 0 || v < 0 {
			t.Errorf("loss or norm %d: have %v", i, v)
		}
	}
	data, err := dataset.Open(cfg.Data)
	if err != nil {
		t.Fatal(err)
	}
	f, err := checkpoint.Open(filepath.Join(Folder(cfg), CheckpointName))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	err = tensor.Run(func(s *tensor.Scope) error {
		m, err := model.Open(s, cfg, f)
		if err != nil {
			return err
		}
		p := model.NewPredictor(s, m.Model, m.Memory, cfg, func(why error) { t.Error(why) })
		loader, err := dataset.NewEvalLoader(t.Context(), data.Train, dataset.LoaderOptions{Source: data.Source, Objects: 2, Prefetch: 1})
		if err != nil {
			return err
		}
		defer loader.Close()
		batch, err := loader.Next()
		if err != nil {
			return err
		}
		out := p.Predict(s, batch)
		levels := calibration.Levels{Reconstruction: 1e-9, Memory: 1e-9} // the least that a calibration takes
		for i := range batch.Present {
			if unsound(out.Maps[i]) >= 0 || unsound(out.Memory[i]) >= 0 || len(out.Memory[i]) == 0 {
				t.Errorf("image %d: a map of %d and %d values is not finite", i, len(out.Maps[i]), len(out.Memory[i]))
			} else if unsound(levels.Mix(out.Maps[i], out.Memory[i])) >= 0 {
				t.Errorf("image %d: the mean of both maps is not finite", i)
			}
			if v := out.Score(i); v-v != 0 {
				t.Errorf("image %d: score %v", i, v)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
