package inspect

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"io/fs"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/npy"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/calibration"
	"mvag-torch/model/checkpoint"
	"mvag-torch/model/imagescore"
	"mvag-torch/model/modeltest"
	"mvag-torch/model/weights"
)

func TestMain(m *testing.M) {
	tensor.SetThreads(1) // small tensors
	os.Exit(m.Run())
}

const views = modeltest.CheckpointViews

// calibrated writes a checkpoint that is calibrated with objects.
func calibrated(t *testing.T, objects []dataset.Object, changes ...func(*checkpoint.Info)) string {
	t.Helper()
	path := modeltest.WriteCheckpoint(t, changes...)
	u, err := Read(path, Options{Uncalibrated: true})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	images := 0
	if err := u.Calibrate(t.Context(), objects, dataset.NewSource(u.Config.Data), "test", func(done int) { images = done }); err != nil {
		t.Fatal(err)
	}
	if c := u.Calibration; c.Objects != len(objects) || c.Images != images {
		t.Errorf("have %d objects and %d images, want %d and %d", c.Objects, c.Images, len(objects), images)
	}
	return path
}

// open opens an inspector until the end of the test.
func open(t *testing.T, path string, set ...string) *Inspector {
	t.Helper()
	i, err := Open(path, Options{Set: set})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	})
	return i
}

// someObjects are n objects of all views; every fourth has no second one.
func someObjects(t *testing.T, n int) []dataset.Object {
	t.Helper()
	rng, dir := rand.New(rand.NewPCG(1, 2)), t.TempDir()
	objects := make([]dataset.Object, n)
	for i := range objects {
		objects[i] = dataset.Object{Class: "part", ID: fmt.Sprint("part/", i)}
		for c := range views {
			v := dataset.View{Camera: c}
			if i%4 != 3 || c != 1 {
				v.Path = filepath.Join(dir, fmt.Sprintf("p%d_%d.png", i, c))
				if err := os.WriteFile(v.Path, modeltest.Noise(t, rng), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			objects[i].Views = append(objects[i].Views, v)
		}
	}
	return objects
}

// scoresOf are the scores of all images, by object and path.
func scoresOf(t *testing.T, i *Inspector, objects []dataset.Object) map[string]float64 {
	t.Helper()
	scores, count := map[string]float64{}, 0
	err := i.Objects(t.Context(), objects, nil, func(r *Result) error {
		if r.Index != count || r.Object != &objects[count] {
			t.Errorf("have object %d after %d results, want results in the order of objects", r.Index, count)
		}
		count++
		best := math.Inf(-1)
		for _, m := range r.Images {
			scores[m.Object+m.Path] = m.Score
			best = max(best, m.Score)
		}
		if best != r.Verdict.Score {
			t.Errorf("%s: have object score %v, want %v", r.Object.ID, r.Verdict.Score, best)
		}
		return nil
	})
	if err != nil || count != len(objects) {
		t.Fatalf("have %d results of %d objects, error %v", count, len(objects), err)
	}
	return scores
}

// evaluated are the scores by the loader and the arithmetic of evaluation.
func evaluated(t *testing.T, path string, objects []dataset.Object) map[string]float64 {
	t.Helper()
	f, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cfg := f.Info.Config
	loader, err := dataset.NewEvalLoader(t.Context(), objects, dataset.LoaderOptions{Source: dataset.NewSource(cfg.Data), Objects: cfg.Eval.Objects, Prefetch: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer loader.Close()
	scores := map[string]float64{}
	err = tensor.Run(func(s *tensor.Scope) error {
		m, err := model.Open(s, cfg, f)
		if err != nil {
			return err
		}
		predictor := model.NewPredictor(s, m.Model, m.Memory, cfg, func(why error) { t.Error(why) })
		for {
			batch, err := loader.Next()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			prediction := predictor.Predict(s, batch)
			for i, present := range batch.Present {
				if o := batch.Objects[i/batch.Views]; present {
					scores[o.ID+o.Views[i%batch.Views].Path] = prediction.Score(i)
				}
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return scores
}

func TestScoresAreThoseOfEvaluation(t *testing.T) {
	objects := someObjects(t, 11)
	path := calibrated(t, objects)
	want := evaluated(t, path, objects)
	all := slices.Collect(maps.Values(want))
	if len(all) != 31 || slices.Max(all)-slices.Min(all) < 0.005 {
		t.Fatalf("have %d scores from %v to %v: the test would see nothing", len(all), slices.Min(all), slices.Max(all))
	}
	if have := scoresOf(t, open(t, path), objects); !maps.Equal(have, want) {
		t.Errorf("have %v, want %v bit for bit", have, want)
	}
	shuffled := slices.Clone(objects)
	rand.New(rand.NewPCG(5, 6)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	// A single image is an object whose other views are absent.
	image := objects[4].Views[2].Path
	single := dataset.Object{ID: "single", Views: []dataset.View{{Path: image}}}
	lonely := dataset.Object{ID: "lonely", Views: []dataset.View{{}, {Camera: 1}, {Camera: 2, Path: image}}}
	want["single"+image] = scoresOf(t, open(t, path), []dataset.Object{lonely})["lonely"+image]
	worst := 0.
	for _, batch := range []int{1, 2, 3, 7, 64} {
		inspector := open(t, path, fmt.Sprint("eval.objects=", batch))
		for name, list := range map[string][]dataset.Object{
			"in order": objects, "shuffled": shuffled, "one": objects[:1], "mixed": slices.Insert(slices.Clone(shuffled), 4, single),
		} {
			for key, v := range scoresOf(t, inspector, list) {
				worst = max(worst, math.Abs(v-want[key]))
				if !(math.Abs(v-want[key]) <= 1e-4) {
					t.Errorf("%s, %d a batch: %s: have %v, want %v", name, batch, key, v, want[key])
				}
			}
		}
	}
	t.Logf("scores from %v to %v; other batches and orders differ by at most %.2g", slices.Min(all), slices.Max(all), worst)
}

// TestTiles judges images of 60 x 50 pixels in two rows of three tiles: scores are those of evaluation, files have the
// shape of the map, and regions lie in the image.
func TestTiles(t *testing.T) {
	objects := someObjects(t, 5)
	path := calibrated(t, objects, func(info *checkpoint.Info) {
		info.Config.Data.Fit, info.Config.Data.Resize, info.Config.Data.Overlap = "tiles", configs.Size{56, 84}, 0.25
		info.Config.Eval.FalseAlarm = 0.5 // some good images are above the threshold
	})
	if have, want := scoresOf(t, open(t, path), objects), evaluated(t, path, objects); !maps.Equal(have, want) {
		t.Errorf("have %v, want %v bit for bit", have, want)
	}
	inspector, folder, regions := open(t, path), t.TempDir(), 0
	size := configs.Size{21, 32} // of 56 x 84
	for i, o := range objects {
		r, err := inspector.Object(t.Context(), o)
		if err == nil {
			err = Output{Folder: folder, Maps: true}.Write(i, r)
		}
		if err != nil {
			t.Fatal(err)
		}
		gone := filepath.Join(folder, "gone")
		if err := (Output{Folder: gone}).Write(i, r); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), gone) {
			t.Errorf("a folder that is not there: have %v", err)
		}
		for _, m := range r.Images {
			for _, name := range []string{m.HeatFile, m.OverlayFile} {
				f, err := os.Open(filepath.Join(folder, name))
				if err != nil {
					t.Fatal(err)
				}
				if img, err := png.Decode(f); err != nil || img.Bounds() != size.Bounds() {
					t.Errorf("%s: have %v, error %v, want %v pixels", name, img.Bounds(), err, size)
				}
				f.Close()
			}
			f, err := npy.Open(filepath.Join(folder, m.MapFile))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(f.Shape, size[:]) {
				t.Errorf("%s: have %v, want %v", m.MapFile, f.Shape, size)
			}
			f.Close()
			regions += len(*m.Regions)
			for _, r := range *m.Regions {
				if r.Box[0] < 0 || r.Box[1] < 0 || r.Box[2] > 60 || r.Box[3] > 50 || r.Box[0] >= r.Box[2] || r.Box[1] >= r.Box[3] {
					t.Errorf("%s: have region %+v in an image of 60 x 50", m.Path, r)
				}
			}
		}
	}
	if regions == 0 {
		t.Error("no region anywhere: the test saw nothing")
	}
}

// Objects that come from many goroutines get the scores that they have alone.
func TestObject(t *testing.T) {
	objects := someObjects(t, 11)
	path := calibrated(t, objects)
	inspector := open(t, path, "eval.objects=4")
	want := scoresOf(t, inspector, objects)
	single := dataset.Object{ID: "single", Views: []dataset.View{{Path: objects[0].Views[0].Path}}}
	var wg sync.WaitGroup
	for k := range 4 * len(objects) {
		wg.Go(func() {
			object := objects[k%len(objects)]
			if k%5 == 0 {
				object = single
			}
			r, err := inspector.Object(t.Context(), object)
			if err != nil || r.Object.ID != object.ID || r.Verdict == nil {
				t.Errorf("%s: have %+v, error %v", object.ID, r, err)
				return
			}
			for _, m := range r.Images {
				if w, known := want[m.Object+m.Path]; known && !(math.Abs(m.Score-w) <= 1e-4) {
					t.Errorf("%s: have %v, want %v", m.Path, m.Score, w)
				}
			}
		})
	}
	wg.Wait()

	broken := filepath.Join(t.TempDir(), "broken.png")
	if err := os.WriteFile(broken, []byte("no image"), 0o600); err != nil {
		t.Fatal(err)
	}
	object := dataset.Object{ID: "x", Views: []dataset.View{objects[0].Views[0], {Camera: 1, Path: broken}, {Camera: 2}}}
	r, err := inspector.Object(t.Context(), object)
	if err != nil || len(r.Images) != 2 || r.Images[0].Error != "" || r.Verdict.Score != r.Images[0].Score ||
		!strings.Contains(r.Images[1].Error, broken) || r.Images[1].Verdict != nil {
		t.Errorf("have %+v, error %v, want an error of the second image alone", r, err)
	}
	inMemory := dataset.Object{ID: "part/0", Views: slices.Clone(objects[0].Views)}
	for c := range inMemory.Views {
		v := &inMemory.Views[c]
		if v.Data, err = os.ReadFile(v.Path); err != nil {
			t.Fatal(err)
		}
		v.Path = ""
	}
	inMemory.Views[2].Data = []byte("no image")
	r, err = inspector.Object(t.Context(), inMemory)
	if err != nil || len(r.Images) != 3 || r.Images[2].Verdict != nil || !strings.Contains(r.Images[2].Error, "image of camera C3") {
		t.Fatalf("in memory: have %+v, error %v, want an error of camera 3 alone", r, err)
	}
	fromFiles := slices.Clone(objects[0].Views)
	fromFiles[2] = dataset.View{Camera: 2}
	same, err := inspector.Object(t.Context(), dataset.Object{ID: "part/0", Views: fromFiles})
	if err != nil || r.Verdict.Score != same.Verdict.Score {
		t.Errorf("in memory: have %+v, error %v, want %+v as from files", r.Verdict, err, same.Verdict)
	}
	for name, list := range map[string][]dataset.View{"no image": make([]dataset.View, views), "all broken": {{Path: broken}}} {
		if r, err := inspector.Object(t.Context(), dataset.Object{Views: list}); err != nil || r.Verdict != nil {
			t.Errorf("%s: have %+v, error %v, want no verdict", name, r, err)
		}
	}
	if _, err := inspector.Object(t.Context(), dataset.Object{ID: "y", Views: make([]dataset.View, 2)}); err == nil || !strings.Contains(err.Error(), `"y": have 2 views, want 3`) {
		t.Errorf("two views: have %v", err)
	}
}

// TestPixels: an image above Options.Pixels counts as one that cannot be read, and maps say their size.
func TestPixels(t *testing.T) {
	objects := someObjects(t, 5)
	path := calibrated(t, objects)
	for _, tt := range []struct {
		pixels int
		judged bool
	}{{60 * 50, true}, {60*50 - 1, false}} {
		i, err := Open(path, Options{Pixels: tt.pixels})
		if err != nil {
			t.Fatal(err)
		}
		defer i.Close()
		r, err := i.Object(t.Context(), objects[0])
		if err != nil || (r.Verdict != nil) != tt.judged {
			t.Fatalf("at most %d pixels: have %+v, error %v", tt.pixels, r, err)
		}
		if !tt.judged {
			if have := r.Images[0].Error; !strings.Contains(have, "have 60x50 pixels, want at most 2999") {
				t.Errorf("have %q", have)
			}
			continue
		}
		if w, h := r.Images[0].MapSize(); w != 32 || h != 32 || len(r.Images[0].Map) != w*h {
			t.Errorf("have a map of %dx%d and %d values, want 32x32", w, h, len(r.Images[0].Map))
		}
	}
}

// While the device is busy, callers can leave, and those who wait share a batch.
func TestObjectsThatWait(t *testing.T) {
	objects := someObjects(t, 4)
	path := calibrated(t, objects)
	live := tensor.Live()
	inspector := open(t, path)
	busy, release := make(chan struct{}), make(chan struct{})
	go tensor.Run(func(*tensor.Scope) error { close(busy); <-release; return nil })
	<-busy
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	left := make(chan error)
	for range 3 {
		go func() {
			_, err := inspector.Object(ctx, objects[0])
			left <- err
		}()
	}
	cancel(gone)
	for range 3 {
		if err := <-left; err != gone {
			t.Errorf("have %v, want %v", err, gone)
		}
	}
	close(release)
	if r, err := inspector.Object(t.Context(), objects[1]); err != nil || r.Verdict == nil {
		t.Errorf("afterwards: have %+v, error %v", r, err)
	}
	if err := inspector.Close(); err != nil || tensor.Live() != live {
		t.Errorf("closed: have %d tensors, error %v, want %d as before it was opened", tensor.Live(), err, live)
	}
	if _, err := inspector.Object(t.Context(), objects[0]); err != errClosed {
		t.Errorf("closed: have %v, want %v", err, errClosed)
	}
	if err := inspector.Objects(t.Context(), objects, nil, func(*Result) error { return nil }); err != errClosed {
		t.Errorf("closed: have %v, want %v", err, errClosed)
	}

	one, several := &item{views: make([]view, 1)}, &item{views: make([]view, views)}
	for name, test := range map[string]struct {
		waiting []*item
		size    int
		next    *item
	}{
		"alone":        {nil, 1, nil},
		"in company":   {[]*item{several, several}, 3, nil},
		"of two kinds": {[]*item{several, one, several}, 2, one},
		"too many":     {[]*item{several, several, several, several}, 4, nil},
	} {
		i := &Inspector{queue: make(chan *item, len(test.waiting))}
		for _, it := range test.waiting {
			i.queue <- it
		}
		if batch, next := i.gather(several, 4); len(batch) != test.size || next != test.next {
			t.Errorf("%s: have a batch of %d and %v next, want %d and %v", name, len(batch), next, test.size, test.next)
		}
	}
}

func TestObjectsStops(t *testing.T) {
	objects := someObjects(t, 8)
	inspector := open(t, calibrated(t, objects))
	ctx, cancel := context.WithCancel(t.Context())
	count := 0
	err := inspector.Objects(ctx, objects, nil, func(*Result) error { count++; cancel(); return nil })
	if !errors.Is(err, context.Canceled) || count != 1 {
		t.Errorf("have %v after %d results, want an end after one", err, count)
	}
	full := errors.New("disk full")
	fail := func(*Result) error { return full }
	if err := inspector.Objects(t.Context(), objects, nil, fail); err != full {
		t.Errorf("use: have %v, want %v", err, full)
	}
	if err := inspector.Objects(t.Context(), objects, fail, func(*Result) error { return nil }); err != full {
		t.Errorf("draw: have %v, want %v", err, full)
	}
	objects[5].Views = objects[5].Views[:2]
	if err := inspector.Objects(t.Context(), objects, nil, func(*Result) error { return nil }); err == nil || !strings.Contains(err.Error(), "have 2 views") {
		t.Errorf("an object of two views: have %v", err)
	}
}

func TestResults(t *testing.T) {
	objects := someObjects(t, 6)
	path := calibrated(t, objects)
	u, err := Read(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	scale := u.Calibration.Pixel.Classes["part"] // lower, so that good objects have regions
	scale.Threshold *= 0.8
	u.Calibration.Pixel.Classes["part"] = scale
	inspector, err := u.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer inspector.Close()

	broken := objects[1].Views[2].Path
	if err := os.WriteFile(broken, []byte("no image"), 0o600); err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	out := Output{folder, true}
	var lines []Line
	list := append(slices.Clone(objects), dataset.Object{ID: "gone", Views: []dataset.View{{Path: "gone.png"}}})
	err = inspector.Objects(t.Context(), list, func(r *Result) error { return out.Write(r.Index+1, r) },
		func(r *Result) error { lines = append(lines, r.Lines()...); return nil })
	if err != nil || len(lines) != 18 { // 17 images of objects, and the one that is gone
		t.Fatalf("have %d lines, error %v, want 18", len(lines), err)
	}
	regions := 0
	for _, l := range lines {
		if l.Path == broken || l.Path == "gone.png" {
			if !strings.Contains(l.Error, l.Path) || l.Verdict != nil || l.HeatFile != "" || (l.Path == broken) != (l.OfObject != nil) {
				t.Errorf("%s: have %+v, want only an error, and the verdict on an object that has other images", l.Path, l)
			}
			continue
		}
		if l.Error != "" || l.Decision != Good || l.OfObject.Decision != Good || l.Calibrated > 0.5+1e-9 || l.OfObject.Score < l.Score {
			t.Errorf("%s: have %+v, want a good image of a good object: it was calibrated with", l.Path, l)
		}
		regions += len(*l.Regions)
		for _, r := range *l.Regions {
			if r.Box[0] < 0 || r.Box[1] < 0 || r.Box[2] > 60 || r.Box[3] > 50 || r.Box[0] >= r.Box[2] || r.Box[1] >= r.Box[3] ||
				r.Area > float64((r.Box[2]-r.Box[0])*(r.Box[3]-r.Box[1])) || r.Peak < 0.5 {
				t.Errorf("%s: have region %+v in an image of 60x50", l.Path, r)
			}
		}
		for _, name := range []string{l.HeatFile, l.OverlayFile} {
			checkImage(t, filepath.Join(folder, name), u.Config.Eval.MapSize)
		}
		checkMap(t, filepath.Join(folder, l.MapFile), u.Config, l.Score)
	}
	if regions == 0 {
		t.Error("no region anywhere: the test saw nothing")
	}
	text, err := json.Marshal(lines)
	if err != nil || !bytes.Contains(text, []byte(`"decision":"good"`)) || !bytes.Contains(text, []byte(`"of_object":{`)) {
		t.Errorf("have %s, error %v", text, err)
	}
	r, err := inspector.Object(t.Context(), objects[0])
	inTheWay := filepath.Join(folder, "heat", "000099_C1_p0_0.png")
	err = errors.Join(err, os.Mkdir(inTheWay, 0o755))
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Write(99, r); err == nil || !strings.Contains(err.Error(), inTheWay) {
		t.Errorf("a folder in the place of a file: have %v, want its name", err)
	}
	size := u.Config.Eval.MapSize * u.Config.Eval.MapSize
	odd := view{present: true, width: 60, height: 50, values: make([]float32, size), score: math.NaN()}
	fine := odd
	fine.score = 0.5
	r = inspector.judge.result(&item{object: &objects[0], head: calibration.Reconstruction, views: []view{fine, odd, {}}})
	if r.Verdict != nil || r.Images[0].Verdict.Score != 0.5 || r.Images[1].Verdict != nil || !strings.Contains(r.Images[1].Error, "score NaN, want a finite") {
		t.Errorf("a score that is not a number: have %+v, want an error of the second image and no verdict on the object", r.Verdict)
	}
	if err := u.Calibrate(t.Context(), objects, dataset.NewSource(u.Config.Data), "test", func(int) {}); err == nil || !strings.Contains(err.Error(), broken) {
		t.Errorf("calibration with an unreadable image: have %v, want its name", err)
	}
}

func checkImage(t *testing.T, path string, size int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if img, err := png.Decode(f); err != nil || img.Bounds().Dx() != size || img.Bounds().Dy() != size {
		t.Errorf("%s: have %v, error %v, want an image of %d pixels", path, img.Bounds(), err, size)
	}
}

// checkMap reads a map; its score is the line's.
func checkMap(t *testing.T, path string, cfg configs.Config, score float64) {
	t.Helper()
	f, err := npy.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var values []float32
	for i := range cfg.Eval.MapSize {
		row, err := f.Read(i, nil)
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, row...)
	}
	if got := imagescore.TopMean(cfg.Eval.Top, values); got != score || len(values) != cfg.Eval.MapSize*cfg.Eval.MapSize {
		t.Errorf("%s: have score %v of %d values, want %v", path, got, len(values), score)
	}
}

// TestMapThatIsNotFinite: a part with such a map in one of its views is never good, whatever the others are, and the
// error names it. It cannot serve a calibration either.
func TestMapThatIsNotFinite(t *testing.T) {
	objects := someObjects(t, 6)
	path := calibrated(t, objects)
	u := setup(t, path)
	source := dataset.NewSource(u.Config.Data)
	e, err := newEngine(u, source)
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		it, err := e.decode(t.Context(), 0, &objects[0])
		if err == nil {
			err = e.run([]*item{it})
		}
		if err != nil {
			t.Fatal(err)
		}
		judge := newJudge(u)
		if r := judge.result(it); r.Verdict == nil || r.Verdict.Decision != Good {
			t.Fatalf("have %+v, want a good part", r.Verdict)
		}
		it.views[1].values[7] = float32(bad)
		it.views[1].score = imagescore.TopMean(1, it.views[1].values)
		r := judge.result(it)
		if r.Verdict != nil {
			t.Errorf("%v: have the verdict %+v", bad, r.Verdict)
		}
		want := fmt.Sprintf("object %q, camera 2: the anomaly map has score %v, want a finite number", objects[0].ID, bad)
		if m := r.Images[1]; m.Verdict != nil || !strings.Contains(m.Error, want) || r.Images[0].OfObject != nil {
			t.Errorf("%v: have %+v, error %q", bad, m.Verdict, m.Error)
		}
		s, err := sampleOf(it, source, u.Config.Top())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := calibration.Fit([]calibration.Sample{s.scores[it.head], s.scores[it.head]}, 0.1, "test"); err == nil {
			t.Errorf("%v: was calibrated with", bad)
		}
	}
}

// TestDegenerateParts calibrates with parts in which nothing varies and judges them and others, by every head.
func TestDegenerateParts(t *testing.T) {
	same := someObjects(t, 6)
	black := make([]uint8, 48*48*4)
	var text bytes.Buffer
	if err := png.Encode(&text, &image.NRGBA{Pix: black, Stride: 48 * 4, Rect: image.Rect(0, 0, 48, 48)}); err != nil {
		t.Fatal(err)
	}
	for i := range same {
		for j := range same[i].Views {
			same[i].Views[j].Data = text.Bytes()
		}
	}
	path := calibrated(t, same)
	if _, err := enroll(t, path, ofClass(t, "bolt", 10), "bolt", false); err != nil {
		t.Fatal(err)
	}
	for _, head := range []string{"reconstruction", "memory", "both"} {
		i := open(t, path, "inspect.head="+head)
		for _, o := range []dataset.Object{same[0], someObjects(t, 1)[0], ofClass(t, "bolt", 1)[0]} {
			r, err := i.Object(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if v := r.Verdict; v != nil && (v.Score-v.Score != 0 || v.Calibrated-v.Calibrated != 0 || v.Threshold-v.Threshold != 0) {
				t.Errorf("%s, %s: have %+v", head, o.ID, v)
			} else if v == nil && r.Images[0].Error == "" {
				t.Errorf("%s, %s: have neither verdict nor error", head, o.ID)
			}
		}
	}
}

func TestRead(t *testing.T) {
	path := modeltest.WriteCheckpoint(t)
	bare := filepath.Join(t.TempDir(), "bare.safetensors")
	if err := weights.WriteSafetensors(bare, weights.Map{"x": {Shape: []int64{1}, Data: []float32{1}}}, nil); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		path string
		opt  Options
		want string
	}{
		"not there":           {path + "x", Options{}, path + "x"},
		"bare weights":        {bare, Options{}, bare + ": have bare weights, want a checkpoint"},
		"not calibrated":      {path, Options{}, "mvag-torch calibrate -m " + path},
		"another model":       {path, Options{Uncalibrated: true, Set: []string{"model.keep=0.5"}}, "model.keep: have 0.5, want 0.3 as in " + path},
		"other features":      {path, Options{Uncalibrated: true, Set: []string{"data.resize=50"}}, "data.resize: have 50, want 48"},
		"not a setting":       {path, Options{Set: []string{"model.kep=0.5"}}, "model.keep"},
		"another layout":      {path, Options{Uncalibrated: true, Set: []string{"data.format=folder", "data.pattern='{object}_{camera}'", "data.good=ok"}}, ""},
		"speed":               {path, Options{Uncalibrated: true, Set: []string{"cuda_graph=false", "eval.objects=7", "data.workers=1"}}, ""},
		"another false alarm": {path, Options{Uncalibrated: true, Set: []string{"eval.false_alarm=0.2"}}, ""},
	} {
		u, err := Read(test.path, test.opt)
		if err == nil {
			u.Close()
		}
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: have %v, want %q", name, err, test.want)
		}
	}
}

func TestRegions(t *testing.T) {
	const size = 8
	mask, scores := make([]bool, size*size), make([]float32, size*size)
	set := func(v float32, at ...[2]int) {
		for _, p := range at {
			mask[p[1]*size+p[0]], scores[p[1]*size+p[0]] = true, v
		}
	}
	set(2, [2]int{0, 0}, [2]int{1, 1}, [2]int{2, 0}) // touch by corners
	set(3, [2]int{7, 3})
	set(4, [2]int{4, 6}, [2]int{5, 6}, [2]int{4, 7}, [2]int{5, 7})
	set(5, [2]int{5, 7})
	c, err := calibration.Fit([]calibration.Sample{{Images: []float64{1}, Object: 1, Pixel: 1}, {Images: []float64{1.1}, Object: 1.1, Pixel: 1.1}}, 0.1, "test")
	if err != nil {
		t.Fatal(err)
	}
	scale := c.Pixel.Pooled
	// Resized to 20, cropped to 16: a pixel of the map is 2 of 20, so 8 x 4 of an image of 80 x 40; the crop begins at
	// (8, 4).
	have := regions(scores, mask, configs.Square(size), scale, dataset.Fit{Resize: configs.Square(20), Crop: configs.Square(16)}, 80, 40)
	want := []Region{
		{[4]int{8, 4, 32, 12}, 96, scale.Value(2)},
		{[4]int{64, 16, 72, 20}, 32, scale.Value(3)},
		{[4]int{40, 28, 56, 36}, 128, scale.Value(5)},
	}
	if !slices.Equal(have, want) {
		t.Errorf("have %+v, want %+v", have, want)
	}
	odd := regions(scores, mask, configs.Square(size), scale, dataset.Fit{Resize: configs.Square(20), Crop: configs.Square(20)}, 100, 50)[1]
	if odd.Box != [4]int{87, 18, 100, 25} { // 87.5, 18.75 to 100, 25: boxes round outwards
		t.Errorf("have %v", odd.Box)
	}
	// Padded to 40 x 40, an image of 80 x 40 fills the rows 10 to 30; a map of 8 x 8 shows it whole: a pixel is 10 x 5.
	padded := dataset.Fit{Mode: "pad", Resize: configs.Square(40), Crop: configs.Square(40)}
	if have := regions(scores, mask, configs.Square(size), scale, padded, 80, 40)[1].Box; have != [4]int{70, 15, 80, 20} {
		t.Errorf("padded: have %v", have)
	}
	// A map of 4 rows and 16 columns of an image of 160 x 80 is 10 x 20 pixels of it a pixel.
	wide := regions(scores, mask, configs.Size{4, 16}, scale, dataset.Fit{Resize: configs.Size{40, 160}, Crop: configs.Size{40, 160}}, 160, 80)
	if have := wide[0].Box; have != [4]int{0, 0, 10, 20} { // the first pixel, (0, 0)
		t.Errorf("a wide map: have %v", have)
	}
	if none := regions(scores, make([]bool, size*size), configs.Square(size), scale, dataset.Fit{Resize: configs.Square(8), Crop: configs.Square(8)}, 8, 8); none == nil || len(none) != 0 {
		t.Errorf("have %v, want an empty list", none)
	}
}

// TestDepths: 16-bit images have the depth that the checkpoint stores for their class, in calibrate and in predict; where
// classes differ, an image without a known class is an error.
func TestDepths(t *testing.T) {
	path := modeltest.WriteCheckpoint(t, func(info *checkpoint.Info) {
		info.Config.Data.Bits, info.Depths = "auto", dataset.Depths{"low": 12, "high": 14}
	})
	u, err := Read(path, Options{Uncalibrated: true})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	e, err := newEngine(u, dataset.NewSource(u.Config.Data))
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	img := image.NewGray16(image.Rect(0, 0, 8, 8))
	for i := range 64 {
		img.SetGray16(i%8, i/8, color.Gray16{Y: 0x0abc})
	}
	var file bytes.Buffer
	if err := png.Encode(&file, img); err != nil {
		t.Fatal(err)
	}
	for class, want := range map[string]uint8{"low": 0xab, "high": 0xabc >> 6, "other": 0, "": 0} {
		it, err := e.decode(t.Context(), 0, &dataset.Object{Class: class, Views: []dataset.View{{Data: file.Bytes()}}})
		if err != nil {
			t.Fatal(err)
		}
		if failed := it.views[0].err; (failed != nil) != (want == 0) || it.pixels[0] != want {
			t.Errorf("class %q: have %d and error %v, want %d", class, it.pixels[0], failed, want)
		}
	}
}
