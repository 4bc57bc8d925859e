package eval

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/eval/metric"
	"mvag-torch/eval/picture"
	"mvag-torch/eval/score"
	"mvag-torch/internal/npy"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/modeltest"
	"mvag-torch/model/weights"
)

// smallConfig is for a random model that maps images of 28 x 28 pixels.
func smallConfig() configs.Config {
	cfg := configs.Default()
	cfg.Backbone = configs.Backbone{Mode: "native", Name: "vit_small_patch14_dinov2", Layers: []int{1, 3}}
	cfg.Data.Views, cfg.Data.Resize, cfg.Data.Crop = 2, configs.Square(30), configs.Square(28)
	cfg.Model.DecoderDepth = 2
	cfg.Eval.MapSize = 16
	return cfg
}

// smallSet has for each class two good objects and one whose first view has a defect.
func smallSet(t *testing.T, cfg configs.Config, classes ...string) *dataset.Set {
	t.Helper()
	folder := t.TempDir()
	set := &dataset.Set{Classes: classes, Source: dataset.NewSource(cfg.Data)}
	for c, class := range classes {
		for i := range 3 {
			o := dataset.Object{Class: class, ID: fmt.Sprintf("%s/%d", class, i)}
			for camera := range 2 {
				v := dataset.View{Camera: camera, Path: filepath.Join(folder, fmt.Sprintf("%d_%d_C%d.png", c, i, camera))}
				drawImage(t, v.Path, uint8(40*i+20*camera+10*c), -1)
				if i == 1 && camera == 0 {
					v.Code, v.Mask = "dent", strings.TrimSuffix(v.Path, ".png")+"_mask.png"
					drawImage(t, v.Mask, 0, 12)
				}
				o.Views = append(o.Views, v)
			}
			set.Test = append(set.Test, o)
		}
	}
	return set
}

// drawImage writes a PNG of 40 x 40 pixels: noise about a level, or a white square at an offset in black.
func drawImage(t *testing.T, path string, level uint8, square int) {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, 40, 40))
	for y := range 40 {
		for x := range 40 {
			v := level + uint8(x*y%7*9)
			if square >= 0 {
				v = 0
				if x >= square && x < square+8 && y >= square && y < square+8 {
					v = 255
				}
			}
			img.SetGray(x, y, color.Gray{Y: v})
		}
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, img); err != nil {
		t.Fatal(err)
	}
}

// planned is a sink that keeps the plan and what is drawn of all objects, and stops the evaluation in a class.
type planned struct {
	plan   Plan
	maps   string // folder of saved maps, "" for none
	stop   string
	cancel context.CancelFunc
	drawn  map[string][]picture.Tile // by object
}

func (p *planned) Begin(plan Plan)                              { p.plan = plan }
func (p *planned) Uncaptured(error)                             {}
func (p *planned) Wants(*dataset.Object, float64) bool          { return p.drawn != nil }
func (p *planned) Draw(o *dataset.Object, views []picture.Tile) { p.drawn[o.ID] = views }

func (p *planned) Batch(class string, _, _ int) {
	if class == p.stop {
		p.cancel()
	}
}

// randomEncoder is what takes time.
var randomEncoder = sync.OnceValue(func() weights.Map { return modeltest.RandomViT(4, 2) })

// evaluate runs the small model; its checkpoint has the given hash. The evaluation is interrupted in the class stop.
func evaluate(t *testing.T, cfg configs.Config, set *dataset.Set, sha, partial, stop string) (Plan, Outcome, error) {
	t.Helper()
	sink := &planned{stop: stop}
	out, err := evaluateInto(t, cfg, set, sha, partial, sink)
	return sink.plan, out, err
}

func evaluateInto(t *testing.T, cfg configs.Config, set *dataset.Set, sha, partial string, sink *planned) (Outcome, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sink.cancel = cancel
	arch, err := weights.OfConfig(cfg.Backbone)
	if err != nil {
		t.Fatal(err)
	}
	var out Outcome
	err = tensor.Run(func(s *tensor.Scope) error {
		tensor.SetThreads(1) // so small a model waits for its threads only
		m, err := model.New(s, tensor.CPU, cfg, arch, randomEncoder())
		if err != nil {
			return err
		}
		out, err = Run(ctx, cfg, &model.Trained{Model: m, SHA256: sha, BackboneSHA256: "b"}, set, Options{Sink: sink, Partial: partial, Maps: sink.maps})
		return err
	})
	return out, err
}

// TestResume changes something between an evaluation that was interrupted in its second class and the next: the first
// class is taken over only if nothing that decides its metrics differs.
func TestResume(t *testing.T) {
	rewrite := func(t *testing.T, path string, change func()) {
		t.Helper()
		before, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		change()
		later := before.ModTime().Add(time.Second)
		if err := os.Chtimes(path, later, later); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		change func(t *testing.T, cfg *configs.Config, set *dataset.Set, sha *string)
		same   bool
	}{
		"nothing":       {func(*testing.T, *configs.Config, *dataset.Set, *string) {}, true},
		"prefetch":      {func(_ *testing.T, cfg *configs.Config, _ *dataset.Set, _ *string) { cfg.Data.Prefetch++ }, true},
		"precision":     {func(_ *testing.T, cfg *configs.Config, _ *dataset.Set, _ *string) { cfg.Precision = "bf16" }, false},
		"exif":          {func(_ *testing.T, cfg *configs.Config, _ *dataset.Set, _ *string) { cfg.Data.Exif = !cfg.Data.Exif }, false},
		"model.keep":    {func(_ *testing.T, cfg *configs.Config, _ *dataset.Set, _ *string) { cfg.Model.Keep = 0.5 }, false},
		"mask rule":     {func(_ *testing.T, cfg *configs.Config, _ *dataset.Set, _ *string) { cfg.Eval.MaskRule = "gt0.5" }, false},
		"other weights": {func(_ *testing.T, _ *configs.Config, _ *dataset.Set, sha *string) { *sha = "other" }, false},
		"an image": {func(t *testing.T, _ *configs.Config, set *dataset.Set, _ *string) {
			path := set.Test[0].Views[0].Path
			rewrite(t, path, func() { drawImage(t, path, 200, -1) })
		}, false},
		"a mask": {func(t *testing.T, _ *configs.Config, set *dataset.Set, _ *string) {
			path := set.Test[1].Views[0].Mask
			rewrite(t, path, func() { drawImage(t, path, 0, 20) })
		}, false},
		"a missing view": {func(_ *testing.T, _ *configs.Config, set *dataset.Set, _ *string) {
			set.Test[0].Views[1] = dataset.View{Camera: 1}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, sha := smallConfig(), "a"
			set := smallSet(t, cfg, "gear", "nut")
			partial := filepath.Join(t.TempDir(), "partial.jsonl")
			if _, _, err := evaluate(t, cfg, set, sha, partial, "nut"); !errors.Is(err, context.Canceled) {
				t.Fatalf("have %v, want an interrupted evaluation", err)
			}
			c.change(t, &cfg, set, &sha)
			plan, out, err := evaluate(t, cfg, set, sha, partial, "")
			if err != nil {
				t.Fatal(err)
			}
			if have := slices.Equal(plan.Restored, []string{"gear"}); have != c.same || (plan.Ignored == nil) != c.same {
				t.Errorf("have restored %q, ignored %v, want restored: %v", plan.Restored, plan.Ignored, c.same)
			}
			if _, fresh, err := evaluate(t, cfg, set, sha, "", ""); err != nil || fmt.Sprint(fresh.Objects) != fmt.Sprint(out.Objects) {
				t.Errorf("have %v, want as without an interruption %v (%v)", out.Objects, fresh.Objects, err)
			}
		})
	}
}

// TestResumeNames has run folders and classes whose names mean something to file systems and patterns.
func TestResumeNames(t *testing.T) {
	cfg := smallConfig()
	odd := []string{"a*b", "x/y", "..", "[1]", "%2F"}
	runs := t.TempDir()
	set, other := smallSet(t, cfg, append(odd, "last")...), smallSet(t, cfg, "gear", "last")
	for _, run := range []string{"gear1", "gear[1]", "gear*", `gear\`} {
		if err := os.Mkdir(filepath.Join(runs, run), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	interrupted := filepath.Join(runs, "gear1", "partial.jsonl")
	if _, _, err := evaluate(t, cfg, other, "a", interrupted, "last"); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	for _, run := range []string{"gear[1]", "gear*", `gear\`} {
		partial := filepath.Join(runs, run, "partial.jsonl")
		if _, _, err := evaluate(t, cfg, set, "a", partial, "last"); !errors.Is(err, context.Canceled) {
			t.Fatalf("%s: have %v, want an interrupted evaluation", run, err)
		}
		plan, _, err := evaluate(t, cfg, set, "a", partial, "")
		if err != nil || !slices.Equal(plan.Restored, odd) {
			t.Errorf("%s: have restored %q, ignored %v, error %v, want %q", run, plan.Restored, plan.Ignored, err, odd)
		}
		if err := Forget(partial); err != nil {
			t.Errorf("%s: %v", run, err)
		}
		if left, err := os.ReadDir(filepath.Join(runs, run)); err != nil || len(left) > 0 {
			t.Errorf("%s: have %v left, error %v", run, left, err)
		}
	}
	if plan, _, err := evaluate(t, cfg, other, "a", interrupted, ""); err != nil || !slices.Equal(plan.Restored, []string{"gear"}) {
		t.Errorf("the interrupted run beside: have restored %q, ignored %v, error %v, want its class", plan.Restored, plan.Ignored, err)
	}
}

// TestMapsOfOddNames saves the maps of classes whose names cannot be names of files, and scores them again.
func TestMapsOfOddNames(t *testing.T) {
	cfg := smallConfig()
	odd := []string{"%2F", "..", "[1]", "a*b", "x/y"}
	set := smallSet(t, cfg, odd...)
	sink := &planned{maps: filepath.Join(t.TempDir(), "maps[1]")}
	want, err := evaluateInto(t, cfg, set, "a", "", sink)
	if err != nil {
		t.Fatal(err)
	}
	found, err := score.Folder(t.Context(), sink.maps, score.Options{Top: cfg.Eval.Top, AuproLimit: cfg.Eval.AuproLimit}, func(string, int, int) {})
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, c := range found.Results.Classes {
		have = append(have, c.Name)
	}
	slices.Sort(have)
	if files, err := os.ReadDir(sink.maps); err != nil || len(files) != 3*len(odd) || !slices.Equal(have, odd) {
		t.Errorf("have classes %q in %d files, error %v, want %q", have, len(files), err, odd)
	}
	if len(found.Images) != len(want.Images) || len(found.Objects) != len(want.Objects) {
		t.Errorf("have %d images of %d objects, want %d of %d", len(found.Images), len(found.Objects), len(want.Images), len(want.Objects))
	}
}

// TestSavedMaps: metrics of saved maps are those of the evaluation, bit for bit, also where a defective image has no
// mask, and a view is absent.
func TestSavedMaps(t *testing.T) {
	cfg := smallConfig()
	set := smallSet(t, cfg, "gear", "nut")
	for i, o := range set.Test {
		switch {
		case o.Class == "nut" && o.Defective():
			set.Test[i].Views[1].Code = "scratch" // without a mask
		case o.Class == "gear" && !o.Defective():
			set.Test[i].Views[1] = dataset.View{Camera: 1}
		}
	}
	sink := &planned{maps: t.TempDir()}
	want, err := evaluateInto(t, cfg, set, "a", "", sink)
	if err != nil {
		t.Fatal(err)
	}
	have, err := score.Folder(t.Context(), sink.maps, score.Options{Top: cfg.Eval.Top, AuproLimit: cfg.Eval.AuproLimit}, func(string, int, int) {})
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range want.Results.Classes {
		for name := range c.Details.Compat { // the maps come with one mask
			if strings.Contains(name, "(mask ") {
				delete(c.Details.Compat, name)
			}
		}
		if unmasked := math.IsNaN(c.Values[metric.AUPRO]); unmasked != (c.Name == "nut") {
			t.Errorf("%s: have %v", c.Name, c.Values)
		}
		if have := have.Results.Classes[i]; fmt.Sprint(have.Values, have.Counts) != fmt.Sprint(c.Values, c.Counts) {
			t.Errorf("have %+v\nwant %+v", have, c)
		}
	}
	text := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, x := range [][2]string{
		{text(have.Results.Classes[0].Details), text(want.Results.Classes[0].Details)},
		{text(have.Results.Classes[1].Details), text(want.Results.Classes[1].Details)},
		{text(have.Images), text(want.Images)}, {text(have.Objects), text(want.Objects)}, {text(have.Curves), text(want.Curves)},
	} {
		if x[0] != x[1] {
			t.Errorf("have %s\nwant %s", x[0], x[1])
		}
	}
	if len(have.Notes) != 1 || !strings.HasPrefix(have.Notes[0], "nut: 1 of 6 images are defective without a mask") {
		t.Errorf("have %q", have.Notes)
	}
	files, err := os.ReadDir(sink.maps)
	size := int64(0)
	for _, f := range files {
		if info, err := f.Info(); err == nil && filepath.Ext(f.Name()) == ".npy" {
			size += info.Size() - 128 // of the header
		}
	}
	if err != nil || size != sink.plan.Disk {
		t.Errorf("have %d bytes of arrays, %v, want the %d of the plan", size, err, sink.plan.Disk)
	}
}

// TestTiles evaluates images that are no squares, in tiles and padded: maps have the shape of the viewport and images
// are drawn in it, saved maps give the same metrics, and results of another overlap are not taken over.
func TestTiles(t *testing.T) {
	for _, fit := range []string{"tiles", "pad"} {
		cfg := smallConfig()
		cfg.Data.Fit, cfg.Data.Resize, cfg.Data.Crop, cfg.Data.Overlap = fit, configs.Size{28, 50}, configs.Size{28, 28}, 0.25
		size := configs.Size{9, 16} // of 28 x 50
		if fit == "pad" {
			cfg.Data.Crop, size = configs.Size{28, 42}, configs.Size{11, 16}
		}
		set := smallSet(t, cfg, "gear", "nut")
		partial := filepath.Join(t.TempDir(), "partial.jsonl")
		sink := &planned{maps: t.TempDir(), drawn: map[string][]picture.Tile{}}
		want, err := evaluateInto(t, cfg, set, "a", partial, sink)
		if err != nil {
			t.Fatal(err)
		}
		if disk := int64(12 * 5 * size.Area()); sink.plan.Disk != disk {
			t.Errorf("%s: have %d bytes of maps in the plan, want %d", fit, sink.plan.Disk, disk)
		}
		maps, err := npy.Open(filepath.Join(sink.maps, "gear"+score.MapsSuffix))
		if err != nil {
			t.Fatal(err)
		}
		if shape := maps.Shape; !slices.Equal(shape, []int{6, size.Height(), size.Width()}) {
			t.Errorf("%s: have maps %v, want 6 of %v", fit, shape, size)
		}
		maps.Close()
		have, err := score.Folder(t.Context(), sink.maps, score.Options{Top: cfg.Top(), AuproLimit: cfg.Eval.AuproLimit}, func(string, int, int) {})
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range want.Results.Classes {
			if c.Masks != 1 || fmt.Sprint(have.Results.Classes[i].Values) != fmt.Sprint(c.Values) {
				t.Errorf("%s, %s: have %v of %d masks, saved maps give %v", fit, c.Name, c.Values, c.Masks, have.Results.Classes[i].Values)
			}
		}
		for id, views := range sink.drawn {
			for _, v := range views {
				if v.Image.Rect != size.Bounds() || len(v.Scores) != size.Area() || v.Mask != nil && len(v.Mask) != size.Area() {
					t.Errorf("%s, %s: have %v, %d values and %d of a mask drawn", fit, id, v.Image.Rect, len(v.Scores), len(v.Mask))
				}
				if drawn := v.Image.RGBAAt(0, 0); drawn.A != 255 || drawn == (color.RGBA{124, 116, 104, 255}) {
					t.Errorf("%s, %s: have %v in a corner, want the image without its background", fit, id, drawn)
				}
			}
		}
		if plan, _, err := evaluate(t, cfg, set, "a", partial, ""); err != nil || len(plan.Restored) != 2 {
			t.Errorf("%s: have %v restored, %v, want both classes", fit, plan.Restored, err)
		}
		cfg.Data.Overlap = 0.3
		if plan, _, err := evaluate(t, cfg, set, "a", partial, ""); err != nil || len(plan.Restored) != 0 || plan.Ignored == nil {
			t.Errorf("%s: another overlap: have %v restored, ignored %v, %v", fit, plan.Restored, plan.Ignored, err)
		}
	}
}

// TestNothingReadable has only images that cannot be read and are left out, in one class of two or in all.
func TestNothingReadable(t *testing.T) {
	cfg := smallConfig()
	cfg.Data.OnError = "skip"
	for spoilt, classes := range map[int][]string{6: {"gear", "nut"}, 12: {"gear", "nut"}} {
		set := smallSet(t, cfg, classes...)
		for _, o := range set.Test[:spoilt/2] {
			for _, v := range o.Views {
				if err := os.WriteFile(v.Path, []byte("no image"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		sink := &planned{drawn: map[string][]picture.Tile{}}
		out, err := evaluateInto(t, cfg, set, "a", "", sink)
		if err != nil {
			t.Fatal(err)
		}
		protocol := out.Results.Protocol.(Protocol)
		if protocol.Unreadable != spoilt || len(out.Images) != 12-spoilt || len(out.Results.Classes) != 2 || len(sink.drawn) != 6-spoilt/2 {
			t.Errorf("%d spoilt: have %d unreadable, %d results of images, %d objects drawn", spoilt, protocol.Unreadable, len(out.Images), len(sink.drawn))
		}
		if v := out.Results.Classes[0].Values[metric.ImageAUROC]; !math.IsNaN(v) {
			t.Errorf("%d spoilt: have I-AUROC %v, want it undefined", spoilt, v)
		}
	}
}

// TestCacheAlone evaluates from prepared images whose files are gone: the same results, and the same to be drawn.
func TestCacheAlone(t *testing.T) {
	cfg := smallConfig()
	files := smallSet(t, cfg, "gear")
	root := filepath.Dir(files.Test[0].Views[0].Path)
	list := "path,split,label,object,camera,class,mask\n"
	for i, o := range files.Test {
		for _, v := range o.Views {
			split, mask := "test", ""
			if i == 0 {
				split = "train"
			}
			if v.Mask != "" {
				mask = filepath.Base(v.Mask)
			}
			list += fmt.Sprintf("%s,%s,%s,%d,C%d,gear,%s\n", filepath.Base(v.Path), split, v.Code, i, v.Camera+1, mask)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "list.csv"), []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Data.Format, cfg.Data.Root, cfg.Data.Table, cfg.Data.Pattern = "table", root, "list.csv", ""
	run := func() (Outcome, map[string][]picture.Tile) {
		t.Helper()
		set, err := dataset.Open(cfg.Data)
		if err != nil {
			t.Fatal(err)
		}
		sink := &planned{drawn: map[string][]picture.Tile{}}
		out, err := evaluateInto(t, cfg, set, "a", "", sink)
		if err != nil {
			t.Fatal(err)
		}
		return out, sink.drawn
	}
	want, drawn := run()
	set, err := dataset.Open(cfg.Data)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Data.Cache = t.TempDir()
	if err := dataset.Prepare(t.Context(), cfg.Data, set, dataset.PrepareOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, o := range files.Test {
		for _, v := range o.Views {
			for _, path := range []string{v.Path, v.Mask} {
				if err := os.Remove(path); err != nil && path != "" {
					t.Fatal(err)
				}
			}
		}
	}
	have, again := run()
	if fmt.Sprint(have.Objects, have.Images) != fmt.Sprint(want.Objects, want.Images) {
		t.Errorf("have %v, want %v", have.Objects, want.Objects)
	}
	if len(again) != 2 || !reflect.DeepEqual(again, drawn) {
		t.Errorf("have %d objects drawn, want the %d as from the files", len(again), len(drawn))
	}
}
