package export_test

import (
	"cmp"
	"fmt"
	"image"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/calibration"
	"mvag-torch/model/checkpoint"
	"mvag-torch/model/imagescore"
	"mvag-torch/model/memory"
	"mvag-torch/model/modeltest"
	"mvag-torch/model/weights"
)

// rigCase is a model to export.
type rigCase struct {
	name, arch string
	change     func(*configs.Config)
	size       image.Point // of images, where they keep their aspect ratio
	opset      int
	half       bool
	// classes is 0 for gear, trained and remembered, nut, trained only, and bolt, enrolled only; 1 for gear alone; -1 for gear
	// enrolled in a model that was never trained.
	classes int
}

// rig is a small model with random weights, a memory and a calibration.
type rig struct {
	rigCase
	t      *testing.T
	cfg    configs.Config
	model  *model.Trained
	heads  calibration.Heads
	info   checkpoint.Info
	names  []string // of the classes in the export
	margin float64
}

// withRig calls f with the model of a case, on the device thread.
func withRig(t *testing.T, c rigCase, f func(*rig)) {
	t.Helper()
	err := tensor.Run(func(s *tensor.Scope) error {
		threads := tensor.Threads()
		tensor.SetThreads(1) // the tensors are too small to share
		defer tensor.SetThreads(threads)
		r := &rig{rigCase: c, t: t, cfg: rigConfig(c)}
		arch := modeltest.Families()[cmp.Or(c.arch, "dinov2")]
		m, err := model.New(s, tensor.CPU, r.cfg, arch, arch.Random(1, 4, 3))
		if err != nil {
			return err
		}
		if err := m.Params.Load(randomParams(m)); err != nil {
			return err
		}
		iteration := 7
		r.model = &model.Trained{Model: m, BackboneSHA256: "backbone", SHA256: "checkpoint", Iteration: &iteration}
		r.info = checkpoint.Info{Config: r.cfg, Iteration: iteration, TrainLists: map[string]string{"gear": "a"}}
		if c.classes == 0 {
			r.info.TrainLists["nut"] = "b"
		}
		r.remember()
		r.calibrate()
		f(r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func rigConfig(c rigCase) configs.Config {
	cfg := configs.Default()
	cfg.Name, cfg.Precision, cfg.Inspect.Head = "small", "fp32", calibration.Both
	cfg.Backbone.Layers, cfg.Backbone.Fuse = []int{0, 1}, [][]int{{0}, {1}}
	cfg.Data.Views, cfg.Data.Fit, cfg.Data.Resize, cfg.Data.Crop = 3, "squash", configs.Square(18), configs.Square(16)
	cfg.Model = configs.Model{DecoderDepth: 2, Keep: 0.3, Select: "lowest", Eps: 1e-6}
	cfg.Eval.MapSize, cfg.Eval.Blur, cfg.Eval.Top = 24, configs.Blur{Size: 5, Sigma: 4}, 0.02
	if c.change != nil {
		c.change(&cfg)
	}
	return cfg
}

// randomParams are trainable weights that leave nothing at its initial value. They are large, so that the tokens of a view
// differ: of near equals another evaluation keeps others.
func randomParams(m *model.Model) weights.Map {
	rng, out := rand.New(rand.NewPCG(11, 0)), weights.Map{}
	for _, p := range m.Params {
		data := p.Value.Floats()
		for i := range data {
			data[i] += float32(0.3 * rng.NormFloat64())
		}
		out[p.Name] = weights.Tensor{Shape: p.Value.Shape(), Data: data}
	}
	return out
}

// remember fits memories of different sizes.
func (r *rig) remember() {
	r.model.Memory = &memory.Memory{Only: r.classes < 0, Classes: map[string]*memory.Class{}}
	sizes := map[string]configs.Memory{"gear": {Codes: 9, Dims: 3}, "bolt": {Codes: 5, Dims: 4}}
	if r.classes != 0 {
		delete(sizes, "bolt")
	}
	for class, size := range sizes {
		in := r.inputs(nil, class, class)
		in.pixels = slices.Clone(in.pixels)
		rng := rand.New(rand.NewPCG(uint64(len(class)), 1))
		for i := range in.pixels {
			in.pixels[i] = uint8(rng.IntN(256))
		}
		b := in.batch(r)
		var objects []dataset.Object // a tile of all views each
		for _, o := range b.Objects {
			for tile := range b.Tiles {
				of := *o
				of.Tile = tile + 1
				objects = append(objects, of)
			}
		}
		fitter := r.model.NewFitter(objects, size, r.classes < 0 || class == "bolt")
		s, per := tensor.NewScope(), len(b.Pixels)/len(b.Objects)
		for i := range b.Objects {
			packed := r.model.PackImages(s, b.Pixels[i*per:(i+1)*per], b.Views*b.Tiles) // [V, T, rows, C]
			n := len(packed) / (b.Views * b.Tiles)
			for tile := range b.Tiles {
				var of []byte
				for j := range b.Views {
					of = append(of, packed[(j*b.Tiles+tile)*n:][:n]...)
				}
				if err := fitter.Add(&objects[i*b.Tiles+tile], b.Present[:b.Views], of); err != nil {
					panic(err)
				}
			}
		}
		s.Close()
		r.model.Memory.Classes[class] = fitter.Memory.Classes[class]
	}
}

// calibrate makes thresholds in the midst of the scores that the model gives, so that decisions differ.
func (r *rig) calibrate() {
	p := func(head string, classes ...string) *calibration.Calibration {
		var samples []calibration.Sample
		rng := rand.New(rand.NewPCG(2, uint64(len(head))))
		for k, class := range classes {
			for range 12 {
				center := r.typical(head, class) * math.Exp(0.1*float64(k)+0.2*rng.NormFloat64())
				samples = append(samples, calibration.Sample{Class: class, Images: []float64{center * 0.97, center}, Object: center, Pixel: 2 * center})
			}
		}
		c, err := calibration.Fit(samples, 0.2, "random")
		if err != nil {
			panic(err)
		}
		return c
	}
	levels := calibration.Levels{Reconstruction: r.typical(calibration.Reconstruction, "gear"), Memory: r.typical(calibration.Memory, "gear")}
	r.heads.Levels = map[string]calibration.Levels{"gear": levels, "": levels}
	switch r.classes {
	case 0:
		r.heads.Reconstruction, r.heads.Memory = p(calibration.Reconstruction, "gear", "nut"), p(calibration.Memory, "gear", "bolt")
		r.heads.Both = p(calibration.Both, "gear")
	case 1:
		r.heads.Reconstruction, r.heads.Memory = p(calibration.Reconstruction, "gear"), p(calibration.Memory, "gear")
		r.heads.Both = p(calibration.Both, "gear")
	default:
		r.heads.Memory = p(calibration.Memory, "gear")
	}
}

// typical is the median score of random images of a class by a head.
func (r *rig) typical(head, class string) float64 {
	if head == calibration.Both {
		return 1
	}
	s := tensor.NewScope()
	defer s.Close()
	in := r.inputs(nil, class, class)
	prediction := model.NewPredictor(s, r.model.Model, r.model.Memory, r.cfg, nil).Predict(s, in.batch(r))
	all := prediction.Maps
	if head == calibration.Memory {
		all = prediction.Memory
	}
	var scores []float64
	for _, m := range all {
		scores = append(scores, imagescore.TopMean(r.cfg.Top(), m))
	}
	slices.Sort(scores)
	return scores[len(scores)/2]
}

// maps are the keys of a map.
func maps[V any](m map[string]V) iter.Seq[string] {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// inputs are objects as the graph takes them.
type inputs struct {
	classes []string
	present []bool  // [S, V]
	pixels  []uint8 // [S, V, 3, h, w] of the viewport
}

// inputs makes random images of objects of these classes; those with the numbers in absent are.
func (r *rig) inputs(absent []int, classes ...string) inputs {
	in := inputs{classes: slices.Clone(classes)}
	if r.classes != 0 { // a model of one class takes all for it
		for i := range in.classes {
			in.classes[i] = "gear"
		}
	}
	view, rng := r.cfg.Data.Viewport(), rand.New(rand.NewPCG(5, uint64(len(absent))))
	for i := range len(classes) * r.cfg.Data.Views {
		in.present = append(in.present, !slices.Contains(absent, i))
		level := rng.IntN(200)
		for range 3 * view.Area() {
			in.pixels = append(in.pixels, uint8(level+rng.IntN(56)))
		}
	}
	return in
}

// rows are the numbers of the classes; the last stands for an unknown one.
func (in inputs) rows(names []string) (rows []int64) {
	for _, class := range in.classes {
		at := slices.Index(names, class)
		if at < 0 {
			at = len(names)
		}
		rows = append(rows, int64(at))
	}
	return rows
}

// first is the number of the first image of the class in a row.
func (in inputs) first(names []string, row int) int {
	return slices.Index(in.rows(names), int64(row)) * len(in.present) / len(in.classes)
}

// batch is the batch of the model with these images, cut into tiles; absent ones are zeros.
func (in inputs) batch(r *rig) *dataset.Batch {
	fit, view, crop := dataset.NewFit(r.cfg.Data), r.cfg.Data.Viewport(), r.cfg.Data.Crop
	content := view.Bounds()
	if r.cfg.Data.Fit != "squash" {
		content = fit.Content(r.size.X, r.size.Y)
	}
	b := &dataset.Batch{Views: r.cfg.Data.Views, Tiles: len(fit.Tiles()), Present: in.present}
	for i, class := range in.classes {
		o := &dataset.Object{Class: class, ID: fmt.Sprint(class, i)}
		for j := range b.Views {
			o.Views = append(o.Views, dataset.View{Camera: j, Path: "x"})
		}
		b.Objects = append(b.Objects, o)
	}
	for i, present := range in.present {
		b.Content = append(b.Content, content)
		plane := in.pixels[i*3*view.Area():]
		for _, at := range fit.Tiles() {
			for y := range 3 * crop.Height() {
				row := ((y/crop.Height())*view.Height()+at.Y+y%crop.Height())*view.Width() + at.X
				line := plane[row : row+crop.Width()]
				if !present {
					line = make([]uint8, len(line))
				}
				b.Pixels = append(b.Pixels, line...)
			}
		}
	}
	return b
}

// judged is what is said of an image or object: nothing where values, of the map, is nil.
type judged struct {
	present bool
	values  []float32
	score   float64
	scale   calibration.Scale
}

type expectation struct{ images, objects []judged }

// expect judges a batch as package inspect does.
func (r *rig) expect(in inputs) (out expectation) {
	s := tensor.NewScope()
	defer s.Close()
	p := model.NewPredictor(s, r.model.Model, r.model.Memory, r.cfg, nil)
	prediction := p.Predict(s, in.batch(r))
	v := r.cfg.Data.Views
	for i, class := range in.classes {
		head, refused := r.heads.Head(r.cfg.Inspect.Head, class, r.model.Memory)
		object := judged{present: true, score: math.Inf(-1)}
		for j := range v {
			at := judged{present: in.present[i*v+j]}
			if at.present && refused == nil {
				at.values = map[string][]float32{calibration.Reconstruction: prediction.Maps[i*v+j], calibration.Memory: prediction.Memory[i*v+j]}[head]
				if head == calibration.Both {
					l, _ := r.heads.LevelsOf(class)
					at.values = l.Mix(prediction.Maps[i*v+j], prediction.Memory[i*v+j])
				}
				at.score, at.scale = imagescore.TopMean(r.cfg.Top(), at.values), r.heads.Of(head).Image.For(class)
				if at.score > object.score {
					object.values, object.score, object.scale = at.values, at.score, r.heads.Of(head).Object.For(class)
				}
			}
			out.images = append(out.images, at)
		}
		out.objects = append(out.objects, object)
	}
	return out
}
