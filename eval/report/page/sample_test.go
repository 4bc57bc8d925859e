package page

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	imagejpeg "image/jpeg"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/eval/picture"
	"mvag-torch/eval/report"
	"mvag-torch/eval/score"
	"mvag-torch/internal/safetensors"
	"mvag-torch/model/calibration"
	"mvag-torch/model/checkpoint"
)

// nasty is a class whose name would end a tag, an attribute and a script.
const nasty = `</script><b onclick='x("1")'>&amp;`

// sampleRun makes a run folder as train, calibrate and eval leave it, from random maps of objects with so many cameras.
func sampleRun(t testing.TB, cameras int, classes ...string) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "run")
	r := rand.New(rand.NewPCG(1, 2))
	results := report.Results{Protocol: map[string]any{"data": "random", "map_size": 24, "iteration": 300, "excluded": map[string]any{}}}
	var images []score.Image
	var objects []score.Object
	var curves []score.Curve
	var exhibits []picture.Exhibit
	for _, name := range classes {
		c := score.NewClass(name, score.Options{Top: 0.02, AuproLimit: 0.3})
		for i := range 24 {
			id := fmt.Sprintf("%s/%s/S%04d", name, []string{"OK", "NG/dent", "NG/scratch"}[i%3], i)
			if _, err := c.Add(i, id, sampleViews(r, id, cameras, i%3)); err != nil {
				t.Fatal(err)
			}
			if i < 6 {
				exhibits = append(exhibits, sampleExhibit(t, name, id, cameras, i%3 > 0))
			}
		}
		found, err := c.Finish()
		if err != nil {
			t.Fatal(err)
		}
		results.Classes = append(results.Classes, found.Class)
		images, objects, curves = append(images, found.Images...), append(objects, found.Objects...), append(curves, found.Curve)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(folder, 0o755))
	must(report.Write(filepath.Join(folder, "results.json"), results))
	must(score.WriteLines(filepath.Join(folder, "scores.jsonl"), images))
	must(score.WriteLines(filepath.Join(folder, "objects.jsonl"), objects))
	must(score.WriteLines(filepath.Join(folder, "curves.jsonl"), curves))
	must(score.WriteLines(filepath.Join(folder, "gallery.jsonl"), exhibits))
	sampleTraining(t, folder, classes)
	return folder
}

// sampleViews are the maps of one object: smooth noise, higher in defects.
func sampleViews(r *rand.Rand, id string, cameras, kind int) []score.View {
	const side = 24
	var views []score.View
	for camera := range cameras {
		v := score.View{Camera: camera + 1, Path: fmt.Sprintf("%s_C%d.jpg", id, camera+1), Height: side, Width: side, Scores: make([]float32, side*side)}
		v.Defective = kind > 0 && camera%2 == 0
		if v.Defective {
			v.Code, v.Mask = []string{"", "dent", "scratch"}[kind], make([]bool, side*side)
		}
		base := 0.04 + 0.02*r.Float64()
		for i := range v.Scores {
			v.Scores[i] = float32(base + 0.03*r.Float64())
			if x, y := i%side-8-camera, i/side-12; v.Defective && x*x+kind*kind*y*y < 16 {
				v.Mask[i] = true
				v.Scores[i] += float32(0.06 * r.Float64())
			}
		}
		views = append(views, v)
	}
	return views
}

func sampleExhibit(t testing.TB, class, id string, cameras int, defective bool) picture.Exhibit {
	t.Helper()
	draw := func(c color.RGBA) []byte {
		img := image.NewRGBA(image.Rect(0, 0, 32, 20))
		for i := range 32 * 32 {
			img.SetRGBA(i%32, i/32, color.RGBA{c.R + uint8(i%32), c.G + uint8(i/32), c.B, 255})
		}
		var out bytes.Buffer
		if err := imagejpeg.Encode(&out, img, nil); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	e := picture.Exhibit{Class: class, Object: id, Calibrated: true}
	for camera := range cameras {
		p := picture.Plate{Camera: camera + 1, Image: draw(color.RGBA{120, 130, 140, 255}), Map: draw(color.RGBA{60, 20, 80, 255})}
		if defective && camera%2 == 0 {
			p.Mask = draw(color.RGBA{20, 160, 200, 255})
		}
		e.Views = append(e.Views, p)
	}
	return e
}

// sampleTraining leaves train.jsonl, config.yaml and a calibrated checkpoint.
func sampleTraining(t testing.TB, folder string, classes []string) {
	t.Helper()
	cfg := configs.Default()
	cfg.Name, cfg.Train.Iterations, cfg.Train.Warmup = "sample", 300, 50
	var steps strings.Builder
	r := rand.New(rand.NewPCG(3, 4))
	for i := range cfg.Train.Iterations {
		line, err := json.Marshal(step{Iteration: i, LR: cfg.Train.LR * math.Min(1, float64(i)/50), Loss: math.Exp(-float64(i)/60) + 0.1*r.Float64(),
			GradNorm: 0.2 + r.Float64()})
		if err != nil {
			t.Fatal(err)
		}
		steps.Write(append(line, '\n'))
	}
	put(t, filepath.Join(folder, "train.jsonl"), steps.String())
	text, err := configs.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(folder, "config.yaml"), string(text))
	var samples []calibration.Sample
	for _, class := range classes {
		for range 4 {
			v := 0.065 + 0.015*r.Float64()
			samples = append(samples, calibration.Sample{Class: class, Images: []float64{v, 0.9 * v}, Object: v, Pixel: 1.1 * v})
		}
	}
	c, err := calibration.Fit(samples, 0.05, "held-out training objects")
	if err != nil {
		t.Fatal(err)
	}
	model := filepath.Join(folder, "checkpoint.safetensors")
	if err := checkpoint.Write(model, checkpoint.Info{Config: cfg, Iteration: 300}, []safetensors.Tensor{safetensors.Float32("x", []int64{1}, []float32{1})}); err != nil {
		t.Fatal(err)
	}
	f, err := checkpoint.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if text, err := c.Marshal(); err != nil {
		t.Fatal(err)
	} else if err := f.Rewrite(map[string]string{checkpoint.CalibrationKey: text}, "", nil); err != nil {
		t.Fatal(err)
	}
}

func put(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
