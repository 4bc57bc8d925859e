package inspect

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/calibration"
	"mvag-torch/model/imagescore"
	"mvag-torch/model/modeltest"
	"mvag-torch/model/weights"
)

func TestMain(m *testing.M) {
	tensor.SetThreads(1) // small tensors
	os.Exit(m.Run())
}

const views = 3

// withModel calls f with a small model of random weights.
func withModel(t *testing.T, f func(s *tensor.Scope, cfg configs.Config, m *model.Model)) {
	t.Helper()
	cfg := configs.Default()
	cfg.Backbone = configs.Backbone{Name: "vit_small_patch14_dinov2", Layers: []int{0, 1}}
	cfg.Data.Views, cfg.Data.Resize, cfg.Data.Crop = views, 48, 42
	cfg.Model.DecoderDepth, cfg.Eval.MapSize, cfg.Eval.Top = 2, 32, 0.05
	arch, err := weights.ParseArch(cfg.Backbone.Name)
	if err != nil {
		t.Fatal(err)
	}
	err = tensor.Run(func(s *tensor.Scope) error {
		m, err := model.New(s, tensor.CPU, cfg, arch, modeltest.RandomViT(1, 3))
		if err != nil {
			return err
		}
		f(s, cfg, m)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// writePicture writes noise of its own strength.
func writePicture(t *testing.T, path string, rng *rand.Rand) string {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, 60, 50))
	strength := rng.Float64()
	for i := range img.Pix {
		img.Pix[i] = uint8(128 + 127*strength*(2*rng.Float64()-1))
		if i%4 == 3 {
			img.Pix[i] = 255
		}
	}
	var b bytes.Buffer
	err := png.Encode(&b, img)
	if err == nil {
		err = os.WriteFile(path, b.Bytes(), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// someObjects are n objects of all views; every fourth lacks its second.
func someObjects(t *testing.T, n int) []dataset.Object {
	t.Helper()
	rng, dir := rand.New(rand.NewPCG(1, 2)), t.TempDir()
	objects := make([]dataset.Object, n)
	for i := range objects {
		objects[i] = dataset.Object{Class: "part", ID: fmt.Sprint("part/", i)}
		for c := range views {
			v := dataset.View{Camera: c}
			if i%4 != 3 || c != 1 {
				v.Path = writePicture(t, filepath.Join(dir, fmt.Sprintf("p%d_%d.png", i, c)), rng)
			}
			objects[i].Views = append(objects[i].Views, v)
		}
	}
	return objects
}

// scoresOf are the scores of all pictures, by path.
func scoresOf(t *testing.T, cfg configs.Config, m *model.Model, objects []dataset.Object) map[string]float64 {
	t.Helper()
	scores := map[string]float64{}
	err := Each(t.Context(), cfg, m, dataset.NewSource(cfg.Data), objects, func(o Scored) error {
		best := math.Inf(-1)
		for j, v := range o.Object.Views {
			if o.Maps[j] != nil {
				scores[v.Path] = o.Scores[j]
				best = max(best, o.Scores[j])
			}
		}
		if best != o.Score {
			t.Errorf("%s: have object score %v, want %v", o.Object.ID, o.Score, best)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return scores
}

// evaluated are the scores by the loader and the arithmetic of evaluation.
func evaluated(t *testing.T, s *tensor.Scope, cfg configs.Config, m *model.Model, objects []dataset.Object) map[string]float64 {
	t.Helper()
	loader, err := dataset.NewEvalLoader(t.Context(), objects, dataset.LoaderOptions{Source: dataset.NewSource(cfg.Data), Objects: cfg.Eval.Objects, Prefetch: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer loader.Close()
	predictor, scores := model.NewPredictor(s, m, cfg), map[string]float64{}
	for {
		batch, err := loader.Next()
		if errors.Is(err, io.EOF) {
			return scores
		}
		if err != nil {
			t.Fatal(err)
		}
		maps := predictor.Maps(s, batch)
		size := len(maps) / len(batch.Present)
		for i, present := range batch.Present {
			if present {
				path := batch.Objects[i/batch.Views].Views[i%batch.Views].Path
				scores[path] = imagescore.TopMean(cfg.Eval.Top, maps[i*size:(i+1)*size])
			}
		}
	}
}

func TestScoresAreThoseOfEvaluation(t *testing.T) {
	objects := someObjects(t, 11)
	withModel(t, func(s *tensor.Scope, cfg configs.Config, m *model.Model) {
		want := evaluated(t, s, cfg, m, objects)
		spread := 0.
		for _, v := range want {
			spread = max(spread, math.Abs(v-want[objects[0].Views[0].Path]))
		}
		if len(want) != 31 || spread < 0.005 {
			t.Fatalf("have %d scores that differ by %v: the test would see nothing", len(want), spread)
		}
		have := scoresOf(t, cfg, m, objects)
		for path, v := range want {
			if have[path] != v {
				t.Errorf("%s: have %v, want %v bit for bit", path, have[path], v)
			}
		}
		shuffled := slices.Clone(objects)
		rand.New(rand.NewPCG(5, 6)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		single := []dataset.Object{{ID: "single", Views: []dataset.View{{Path: objects[4].Views[2].Path}}}}
		worst := 0.
		for name, list := range map[string][]dataset.Object{
			"in order": objects, "shuffled": shuffled, "one": objects[:1], "mixed with single pictures": slices.Concat(single, shuffled),
		} {
			for _, batch := range []int{1, 2, 3, 7, 64} {
				cfg := cfg
				cfg.Eval.Objects = batch
				have := scoresOf(t, cfg, m, list)
				if list[0].ID == "single" {
					delete(have, single[0].Views[0].Path) // one path, two objects
				}
				for path, v := range have {
					worst = max(worst, math.Abs(v-want[path]))
					if !(math.Abs(v-want[path]) <= 1e-4) {
						t.Errorf("%s, %d a batch: %s: have %v, want %v", name, batch, path, v, want[path])
					}
				}
			}
		}
		t.Logf("scores of %v; other batches and orders differ by at most %.2g", spread, worst)

		// A single picture is an object whose other views are absent.
		lonely := dataset.Object{ID: "lonely", Views: []dataset.View{{}, {Camera: 1}, {Camera: 2, Path: single[0].Views[0].Path}}}
		a, b := scoresOf(t, cfg, m, single), scoresOf(t, cfg, m, []dataset.Object{lonely})
		for path := range a {
			if math.Abs(a[path]-b[path]) > 1e-5 {
				t.Errorf("single picture: have %v, want %v as with absent views", a[path], b[path])
			}
		}
	})
}

// calibrated is made of the objects themselves.
func calibrated(t *testing.T, cfg configs.Config, m *model.Model, objects []dataset.Object) *calibration.Calibration {
	t.Helper()
	pictures := 0
	c, err := Calibrate(t.Context(), cfg, m, dataset.NewSource(cfg.Data), objects, "test", func(done int) { pictures = done })
	if err != nil {
		t.Fatal(err)
	}
	if c.Objects != len(objects) || c.Pictures != pictures {
		t.Errorf("have %d objects and %d pictures, want %d and %d", c.Objects, c.Pictures, len(objects), pictures)
	}
	return c
}

func TestLines(t *testing.T) {
	objects := someObjects(t, 6)
	broken := objects[1].Views[2].Path
	withModel(t, func(_ *tensor.Scope, cfg configs.Config, m *model.Model) {
		c := calibrated(t, cfg, m, objects)
		if err := os.WriteFile(broken, []byte("no picture"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Calibrate(t.Context(), cfg, m, dataset.NewSource(cfg.Data), objects, "test", func(int) {}); err == nil || !strings.Contains(err.Error(), broken) {
			t.Errorf("calibration with an unreadable picture: have %v, want its name", err)
		}
		gone := dataset.Object{ID: "gone", Views: []dataset.View{{Path: "gone.png"}}}
		// Half of the highest score, so that there are defects to report.
		scale := c.Pixel.Classes["part"]
		scale.Threshold *= 0.8
		c.Pixel.Classes["part"] = scale
		folder := t.TempDir()
		out, err := NewOutput(folder, true)
		if err != nil {
			t.Fatal(err)
		}
		judge, lines, regions := NewJudge(cfg, c, out), []Line(nil), 0
		err = Each(t.Context(), cfg, m, dataset.NewSource(cfg.Data), append(slices.Clone(objects), gone), func(o Scored) error {
			list, err := judge.Lines(o)
			lines = append(lines, list...)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(lines) != 18 { // 17 pictures of objects, and the one that is gone
			t.Fatalf("have %d lines, want 18", len(lines))
		}
		for _, l := range lines {
			if l.Path == broken || l.Path == "gone.png" {
				if l.Error == "" || l.Verdict != nil || l.Heat != "" || (l.Path == broken) != (l.Whole != nil) {
					t.Errorf("%s: have %+v, want only an error, and the verdict on an object that has other pictures", l.Path, l)
				}
				continue
			}
			if l.Error != "" || l.Decision != Good || l.Whole.Decision != Good || l.Calibrated > 0.5+1e-9 || l.Whole.Score < l.Score {
				t.Errorf("%s: have %+v, want a good picture of a good object: it was calibrated with", l.Path, l)
			}
			regions += len(*l.Regions)
			for _, r := range *l.Regions {
				if r.Box[0] < 0 || r.Box[1] < 0 || r.Box[2] > 60 || r.Box[3] > 50 || r.Box[0] >= r.Box[2] || r.Box[1] >= r.Box[3] ||
					r.Area > float64((r.Box[2]-r.Box[0])*(r.Box[3]-r.Box[1])) || r.Peak < 0.5 {
					t.Errorf("%s: have region %+v in a picture of 60x50", l.Path, r)
				}
			}
			for _, name := range []string{l.Heat, l.Overlay} {
				checkPicture(t, filepath.Join(folder, name), cfg.Eval.MapSize)
			}
			checkMap(t, filepath.Join(folder, l.Map), cfg, l.Score)
		}
		if regions == 0 {
			t.Error("no region anywhere: the test saw nothing")
		}
		text, err := json.Marshal(lines)
		if err != nil || !bytes.Contains(text, []byte(`"decision":"good"`)) || !bytes.Contains(text, []byte(`"of_object":{`)) {
			t.Errorf("have %s, error %v", text, err)
		}
	})
}

func checkPicture(t *testing.T, path string, size int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if img, err := png.Decode(f); err != nil || img.Bounds().Dx() != size || img.Bounds().Dy() != size {
		t.Errorf("%s: have %v, error %v, want a picture of %d pixels", path, img.Bounds(), err, size)
	}
}

// checkMap reads a map as NumPy does; its score is the line's.
func checkMap(t *testing.T, path string, cfg configs.Config, score float64) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := cfg.Eval.MapSize
	length := 10 + int(binary.LittleEndian.Uint16(data[8:]))
	want := fmt.Sprintf("'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d)", n, n)
	if !bytes.HasPrefix(data, []byte("\x93NUMPY\x01\x00")) || !bytes.Contains(data[:length], []byte(want)) || length%64 != 0 || len(data) != length+4*n*n {
		t.Fatalf("%s: have head %q and %d bytes", path, data[:length], len(data))
	}
	values := make([]float32, n*n)
	if _, err := binary.Decode(data[length:], binary.LittleEndian, values); err != nil {
		t.Fatal(err)
	}
	if got := imagescore.TopMean(cfg.Eval.Top, values); got != score {
		t.Errorf("%s: have score %v, want %v", path, got, score)
	}
}

func TestEachStops(t *testing.T) {
	objects := someObjects(t, 8)
	withModel(t, func(_ *tensor.Scope, cfg configs.Config, m *model.Model) {
		ctx, cancel := context.WithCancel(t.Context())
		count := 0
		err := Each(ctx, cfg, m, dataset.NewSource(cfg.Data), objects, func(Scored) error { count++; cancel(); return nil })
		if !errors.Is(err, context.Canceled) || count > cfg.Eval.Objects {
			t.Errorf("have %v after %d objects, want an end after a batch", err, count)
		}
		full := errors.New("disk full")
		if err := Each(t.Context(), cfg, m, dataset.NewSource(cfg.Data), objects, func(Scored) error { return full }); err != full {
			t.Errorf("have %v, want %v", err, full)
		}
	})
}

func TestRegions(t *testing.T) {
	const size = 8
	mask, scores := make([]bool, size*size), make([]float32, size*size)
	set := func(v float32, at ...[2]int) {
		for _, p := range at {
			mask[p[1]*size+p[0]], scores[p[1]*size+p[0]] = true, v
		}
	}
	set(2, [2]int{0, 0}, [2]int{1, 1}, [2]int{2, 0}) // touches by corners
	set(3, [2]int{7, 3})
	set(4, [2]int{4, 6}, [2]int{5, 6}, [2]int{4, 7}, [2]int{5, 7})
	set(5, [2]int{5, 7})
	c, err := calibration.Fit([]calibration.Sample{{Pictures: []float64{1}, Object: 1, Pixel: 1}, {Pictures: []float64{1.1}, Object: 1.1, Pixel: 1.1}}, 0.1, "test")
	if err != nil {
		t.Fatal(err)
	}
	scale := c.Pixel.Pooled
	// Resized to 20, cropped to 16: a pixel of the map is 2 of 20, so 8 x 4 of
	// a picture of 80 x 40; the crop begins at (8, 4).
	have := regions(scores, mask, size, scale, dataset.Fit{Resize: 20, Crop: 16}, 80, 40)
	want := []Region{
		{[4]int{8, 4, 32, 12}, 96, scale.Value(2)},
		{[4]int{64, 16, 72, 20}, 32, scale.Value(3)},
		{[4]int{40, 28, 56, 36}, 128, scale.Value(5)},
	}
	if !slices.Equal(have, want) {
		t.Errorf("have %+v, want %+v", have, want)
	}
	odd := regions(scores, mask, size, scale, dataset.Fit{Resize: 20, Crop: 20}, 100, 50)[1]
	if odd.Box != [4]int{87, 18, 100, 25} { // 87.5, 18.75 to 100, 25: boxes round outwards
		t.Errorf("have %v", odd.Box)
	}
	if none := regions(scores, make([]bool, size*size), size, scale, dataset.Fit{Resize: 8, Crop: 8}, 8, 8); none == nil || len(none) != 0 {
		t.Errorf("have %v, want an empty list", none)
	}
}

// Components agree with a brute force that joins neighbours until nothing
// changes.
func TestComponentsByBruteForce(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	for range 300 {
		const size = 7
		mask, label := make([]bool, size*size), make([]int, size*size)
		for i := range mask {
			mask[i], label[i] = rng.IntN(3) == 0, i
		}
		for changed := true; changed; {
			changed = false
			for i := range mask {
				for j := range mask {
					dx, dy := i%size-j%size, i/size-j/size
					if mask[i] && mask[j] && dx*dx <= 1 && dy*dy <= 1 && label[i] > label[j] {
						label[i], changed = label[j], true
					}
				}
			}
		}
		want := map[int]int{}
		for i := range mask {
			if mask[i] {
				want[label[i]]++
			}
		}
		have := components(mask, size)
		if len(have) != len(want) {
			t.Fatalf("have %d components, want %d", len(have), len(want))
		}
		for _, c := range have {
			if want[c.pixels[0]] != len(c.pixels) {
				t.Fatalf("component at %d: have %d pixels, want %d", c.pixels[0], len(c.pixels), want[c.pixels[0]])
			}
		}
	}
}

func TestGoodPartsStayDark(t *testing.T) {
	objects := someObjects(t, 8)
	withModel(t, func(_ *tensor.Scope, cfg configs.Config, m *model.Model) {
		curve := calibrated(t, cfg, m, objects).Pixel.For("part").Curve()
		if v := curve.At(0); v > 0.01 {
			t.Errorf("a perfect pixel has %v, want next to nothing", v)
		}
	})
}
