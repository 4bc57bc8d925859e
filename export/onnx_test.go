package export_test

import (
	"fmt"
	"image"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/export"
	"mvag-torch/internal/golden"
	"mvag-torch/internal/onnx"
	"mvag-torch/internal/onnx/onnxeval"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/calibration"
)

// TestGraph evaluates exported graphs and compares them with the model, stage by stage, and with the decisions of the
// calibration, for all that changes a graph.
func TestGraph(t *testing.T) {
	for _, c := range []rigCase{
		{name: "three classes"},
		{name: "reconstruction", change: func(c *configs.Config) { c.Inspect.Head = calibration.Reconstruction }},
		{name: "memory", change: func(c *configs.Config) { c.Inspect.Head = calibration.Memory }},
		{name: "the highest tokens", change: func(c *configs.Config) { c.Model.Select = "highest" }},
		{name: "all tokens", change: func(c *configs.Config) { c.Model.Select = "all" }},
		{name: "no tokens", change: func(c *configs.Config) { c.Model.Keep = 0.01 }},
		{name: "neighbour mask", change: func(c *configs.Config) { c.Model.NeighborMask = 3 }},
		{name: "one view", change: func(c *configs.Config) { c.Data.Views = 1 }},
		{name: "two views", change: func(c *configs.Config) { c.Data.Views = 2 }},
		{name: "one class", classes: 1},
		{name: "enrolled only", classes: -1},
		{name: "no square", change: func(c *configs.Config) { c.Data.Resize, c.Data.Crop = configs.Size{16, 24}, configs.Size{12, 20} }},
		{name: "padded", size: image.Pt(40, 30), change: func(c *configs.Config) { c.Data.Fit = "pad" }},
		{name: "tiles", size: image.Pt(50, 40), change: func(c *configs.Config) {
			c.Data.Fit, c.Data.Resize, c.Data.Overlap = "tiles", configs.Size{28, 28}, 0.25
			c.Model.Select = "all"
		}},
		{name: "opset 20", opset: 20},
		{name: "opset 18, float16", opset: 18, half: true},
		{name: "registers", arch: "dinov2_reg4"}, {name: "SwiGLU", arch: "dinov2_swiglu"}, {name: "rotary", arch: "dinov3"},
		{name: "rotary with bias", arch: "dinov3_qkvb"}, {name: "ViT", arch: "vit"}, {name: "CLIP", arch: "clip"},
		{name: "QuickGELU", arch: "clip_quickgelu"},
	} {
		t.Run(c.name, func(t *testing.T) {
			withRig(t, c, func(r *rig) {
				m := r.export()
				r.compareStages(m)
				r.compare(m, r.inputs([]int{4, 9, 10, 11}, "gear", "nut", "bolt", "no such class"))
				r.compare(m, r.inputs([]int{1, 2}, "bolt"))
			})
		})
	}
}

// evaluate runs the graph on a batch.
func (r *rig) evaluate(m *onnx.Model, in inputs, settings map[string]onnxeval.Tensor, outputs ...string) map[string]onnxeval.Tensor {
	r.t.Helper()
	view := r.cfg.Data.Viewport()
	s, v := int64(len(in.classes)), int64(r.cfg.Data.Views)
	feed := map[string]onnxeval.Tensor{
		"images":  onnxeval.Bytes(in.pixels, s, v, 3, int64(view.Height()), int64(view.Width())),
		"present": onnxeval.Bools(in.present, s, v),
	}
	if len(r.names) > 1 {
		feed["class"] = onnxeval.Ints(in.rows(r.names), s)
	}
	for name, value := range settings {
		feed[name] = value
	}
	out, err := onnxeval.Run(m, feed, outputs...)
	if err != nil {
		panic(err)
	}
	return out
}

// compareStages compares named stages with the model's tensors.
func (r *rig) compareStages(m *onnx.Model) {
	r.t.Helper()
	if r.cfg.Data.Fit == "tiles" {
		return // tiles are objects there; the maps are compared
	}
	in := r.inputs([]int{1}, "gear", "nut")
	want := r.stages(in)
	have := r.evaluate(m, in, nil, slices.Collect(maps(want))...)
	tolerance := 1e-4
	if r.half {
		tolerance = 2e-2 // weights are rounded to 11 bits
	}
	for name, values := range want {
		largest := golden.MaxDiff(values, make([]float32, len(values)))
		rows := len(values) / len(in.present) // of an absent image there is nothing to compare
		for i, present := range in.present {
			if !present {
				continue
			}
			if err := golden.Compare(have[name].Floats[i*rows:(i+1)*rows], values[i*rows:(i+1)*rows], tolerance*max(1, largest), 0); err != nil {
				r.t.Errorf("%s of image %d: %v", name, i, err)
			}
		}
	}
}

// stages are the model's own values of the named stages that the graph has.
func (r *rig) stages(in inputs) map[string][]float32 {
	s, m := tensor.NewScope(), r.model
	defer s.Close()
	out := map[string][]float32{}
	batch := in.batch(r)
	crop := r.cfg.Data.Crop
	x := tensor.FromBytes(s, tensor.CPU, tensor.Uint8, batch.Pixels, int64(len(in.present)), 3, int64(crop.Height()), int64(crop.Width()))
	tensor.NoGrad(func() {
		for i, y := range m.Encoder.Forward(s, x) {
			out[fmt.Sprint("encoder.layer.", m.Encoder.Layers[i])] = y.Floats()
		}
		f := m.Encode(s, x)
		if m.Memory.Untrained() || r.cfg.Inspect.Head == calibration.Memory {
			return // no class is judged by a reconstruction
		}
		y := m.Bottleneck.Forward(s, f.Mean, nil)
		out["bottleneck.output"] = y.Floats()
		v := model.NewViews(s, tensor.CPU, len(in.classes), r.cfg.Data.Views, in.present)
		for i, y := range m.Decoder.Forward(s, y, v) {
			out[fmt.Sprintf("decoder.%d.output", i)] = y.Floats()
		}
		for g, d := range m.Decode(s, y, v) {
			out[fmt.Sprint("distance.", g)] = model.Distance(s, f.Targets[g], d.Patches(s, false)).Floats()
		}
	})
	return out
}

// compare compares maps, scores and decisions with those of the model and its calibration.
func (r *rig) compare(m *onnx.Model, in inputs) {
	r.t.Helper()
	want := r.expect(in)
	names := []string{"map", "score", "object_score", "value", "defective", "object_value", "object_defective"}
	have := r.evaluate(m, in, nil, names...)
	mapTolerance, scoreTolerance := 2e-4, 1e-4
	if r.half {
		mapTolerance, scoreTolerance = 2e-2, 2e-2
	}
	area := r.cfg.MapSize().Area()
	for i, w := range want.images {
		if err := golden.Compare(have["map"].Floats[i*area:(i+1)*area], w.values, mapTolerance*max(1, w.score), 0); w.values != nil && err != nil {
			r.t.Errorf("map of image %d: %v", i, err)
		}
		r.check(fmt.Sprint("image ", i), w, have["score"].Floats[i], have["value"].Floats[i], have["defective"].Bools()[i], scoreTolerance)
	}
	for i, w := range want.objects {
		r.check(fmt.Sprint("object ", i), w, have["object_score"].Floats[i], have["object_value"].Floats[i], have["object_defective"].Bools()[i], scoreTolerance)
	}
}

// check compares a score and what is made of it.
func (r *rig) check(name string, want judged, score, value float32, defective bool, tolerance float64) {
	r.t.Helper()
	if want.values == nil { // not judged
		if score == score || value == value || defective != want.present {
			r.t.Errorf("%s: have score %v, value %v, defective %t, want NaN, NaN, %t", name, score, value, defective, want.present)
		}
		return
	}
	if d := math.Abs(float64(score)/want.score - 1); !(d <= tolerance) {
		r.t.Errorf("%s: have score %v, want %v", name, score, want.score)
	}
	raised := want.scale
	raised.Threshold *= 1 + r.margin
	if exact := raised.Value(float64(score)); !(math.Abs(float64(value)-exact) <= 5e-4) {
		r.t.Errorf("%s: have value %v, want %v for score %v", name, value, exact, score)
	}
	if limit := want.scale.Threshold; math.Abs(want.score/limit-1) > tolerance && defective != (want.score > limit) {
		r.t.Errorf("%s: have defective %t, want score %v above %v", name, defective, want.score, limit)
	}
}

// TestThresholds: another threshold turns around the decisions that it should, and no other.
func TestThresholds(t *testing.T) {
	withRig(t, rigCase{}, func(r *rig) {
		m, in := r.export(), r.inputs(nil, "gear", "nut", "bolt", "no such class")
		want := r.expect(in)
		for _, factor := range []float64{0.9, 1, 1.1} {
			var images, objects []float32
			for i := range len(r.names) + 1 { // the classes, then the unknown one
				images = append(images, float32(want.images[in.first(r.names, i)].score*factor))
				objects = append(objects, float32(want.objects[in.first(r.names, i)/r.cfg.Data.Views].score*factor))
			}
			n := int64(len(images))
			have := r.evaluate(m, in, map[string]onnxeval.Tensor{
				"image_threshold": onnxeval.Floats(images, n), "object_threshold": onnxeval.Floats(objects, n),
			}, "score", "defective", "object_score", "object_defective", "object_value")
			for i, at := range in.rows(r.names) {
				if limit := objects[at]; have["object_defective"].Bools()[i] != (have["object_score"].Floats[i] > limit) {
					t.Errorf("object %d: have defective %t, want score %v above %v", i, have["object_defective"].Bools()[i], have["object_score"].Floats[i], limit)
				}
				if v := have["object_value"].Floats[i]; factor == 1 && math.Abs(float64(v)-0.5) > 1e-2 {
					t.Errorf("object %d at its threshold: have value %v, want 0.5", i, v)
				}
				for j := range r.cfg.Data.Views {
					k := i*r.cfg.Data.Views + j
					if have["defective"].Bools()[k] != (have["score"].Floats[k] > images[at]) {
						t.Errorf("image %d: have defective %t, want score %v above %v", k, have["defective"].Bools()[k], have["score"].Floats[k], images[at])
					}
				}
			}
		}
	})
}

// TestRefused holds what cannot be exported, and why.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		name, want string
		rig        rigCase
		change     func(*rig)
	}{
		{"a module", "backbone.mode: have module, want native", rigCase{}, func(r *rig) { r.cfg.Backbone.Mode = "module" }},
		{"images of any size", "data.fit: have pad, where maps depend on the shape of images: want --image WIDTHxHEIGHT",
			rigCase{change: func(c *configs.Config) { c.Data.Fit = "pad" }}, nil},
		{"operator set 16", "opset: have 16, want 17 to 20", rigCase{opset: 16}, nil},
		{"operator set 21", "opset: have 21, want 17 to 20", rigCase{opset: 21}, nil},
		{"no reconstruction", `class "gear": there is no reconstruction of it, want inspect.head memory or both`,
			rigCase{classes: -1, change: func(c *configs.Config) { c.Inspect.Head = calibration.Reconstruction }}, nil},
		{"values beyond float16", "have 1e+06, want values that float16 holds", rigCase{half: true}, func(r *rig) {
			p := r.model.Params[0]
			data := p.Value.Floats()
			data[3] = 1e6
			tensor.NoGrad(func() { p.Value.CopyFrom(tensor.FromFloats(tensor.NewScope(), tensor.CPU, data, p.Value.Shape()...)) })
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			withRig(t, c.rig, func(r *rig) {
				if c.change != nil {
					c.change(r)
				}
				opset := c.rig.opset
				if opset == 0 {
					opset = 17
				}
				_, _, err := export.ONNX(r.model, r.cfg, r.info, r.heads, export.Options{Opset: opset, Half: r.half})
				if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("have error %v, want %q", err, c.want)
				}
			})
		})
	}
}

// TestUncalibrated: without thresholds there are maps and scores, and no decisions.
func TestUncalibrated(t *testing.T) {
	withRig(t, rigCase{}, func(r *rig) {
		r.heads = calibration.Heads{}
		var names []string
		for _, v := range r.export().Outputs {
			names = append(names, v.Name)
		}
		if want := []string{"map", "score", "object_score"}; !slices.Equal(names, want) {
			t.Errorf("have outputs %q, want %q", names, want)
		}
	})
}

// TestDescription holds what people find in the metadata.
func TestDescription(t *testing.T) {
	withRig(t, rigCase{}, func(r *rig) {
		delete(r.model.Memory.Classes["bolt"].Cameras, 2)
		_, d, err := export.ONNX(r.model, r.cfg, r.info, r.heads, export.Options{Opset: 17, Program: "v1"})
		if err != nil {
			panic(err)
		}
		want := "Decode to 8-bit RGB as Pillow's convert(\"RGB\"); ignore the EXIF orientation. Resize to 18 x 18 pixels (width x height), " +
			"whatever the aspect ratio, with Pillow's resize(size, Image.BILINEAR), across first, then down, which antialiases. Cut out 16 x 16 from column 1 and row 1. " +
			"Values stay 0 to 255: the graph normalises."
		if d.Input.Rule != want {
			t.Errorf("have rule %q, want %q", d.Input.Rule, want)
		}
		heads := map[string]string{}
		for _, c := range append(d.Classes, *d.Unknown) {
			heads[c.Name] = c.Head
		}
		if want := map[string]string{"gear": "both", "nut": "reconstruction", "bolt": "memory", "": "reconstruction"}; !reflect.DeepEqual(heads, want) {
			t.Errorf("have heads %v, want %v", heads, want)
		}
		for _, c := range d.Classes {
			if c.Name == "bolt" && (c.Object.Basis != calibration.ByClass || !slices.Equal(c.Cameras, []string{"C1", "C2"})) {
				t.Errorf("have bolt %+v, want its own threshold and two cameras", c)
			}
		}
		text, err := d.Marshal()
		if err != nil {
			panic(err)
		}
		if again, err := export.ParseDescription(text); err != nil || !reflect.DeepEqual(again, d) {
			t.Errorf("have %+v, %v after parsing, want %+v", again, err, d)
		}
	})
}

// TestNumbersOfObjects: inputs of different numbers of objects are refused.
func TestNumbersOfObjects(t *testing.T) {
	withRig(t, rigCase{}, func(r *rig) {
		m, two, one := r.export(), r.inputs(nil, "gear", "nut"), r.inputs(nil, "gear")
		view := r.cfg.Data.Viewport()
		images := onnxeval.Bytes(two.pixels, 2, int64(r.cfg.Data.Views), 3, int64(view.Height()), int64(view.Width()))
		present := onnxeval.Bools(two.present, 2, int64(r.cfg.Data.Views))
		class := onnxeval.Ints(two.rows(r.names), 2)
		for name, in := range map[string]map[string]onnxeval.Tensor{
			"present": {"images": images, "present": onnxeval.Bools(one.present, 1, int64(r.cfg.Data.Views)), "class": class},
			"class":   {"images": images, "present": present, "class": onnxeval.Ints([]int64{0}, 1)},
		} {
			if _, err := onnxeval.Run(m, in, "object_score"); err == nil {
				t.Errorf("one object in %s, two in images: have no error", name)
			}
		}
	})
}

// TestValue holds what the table of odds costs: values are within 1e-4 of those of package calibration.
func TestValue(t *testing.T) {
	for _, freedom := range []float64{1, 2.5, 8, 30} {
		for _, spread := range []float64{0.01, 0.1, 1} {
			s := calibration.Scale{Threshold: 0.1, Center: math.Log(0.08), Spread: spread, Freedom: freedom}
			for score := 0.001; score < 3; score *= 1.01 {
				at := func(x float64) float64 { return export.Odds((math.Log(x)-s.Center)/s.Spread, freedom) }
				have := 1 / (1 + math.Exp(at(s.Threshold)-at(score)))
				if want := s.Value(score); !(math.Abs(have-want) <= 1e-4) {
					t.Errorf("freedom %v, spread %v, score %v: have %v, want %v", freedom, spread, score, have, want)
				}
			}
		}
	}
}

// export makes the graph, writes it, and reads it again.
func (r *rig) export() *onnx.Model {
	r.t.Helper()
	opt := export.Options{Opset: 17, Half: r.half, Image: r.size, Program: "test"}
	if r.opset > 0 {
		opt.Opset = r.opset
	}
	built, d, err := export.ONNX(r.model, r.cfg, r.info, r.heads, opt)
	if err != nil {
		panic(err)
	}
	path := filepath.Join(r.t.TempDir(), "model.onnx")
	if err := onnx.WriteFile(path, built, false); err != nil {
		panic(err)
	}
	m, err := onnx.ReadModel(path)
	if err != nil {
		panic(err)
	}
	parsed, err := export.ParseDescription(m.Metadata[export.MetadataKey])
	if err != nil || len(parsed.Classes) != len(d.Classes) {
		panic(fmt.Sprint(parsed, err))
	}
	r.names, r.margin = nil, d.Margin
	for _, c := range d.Classes {
		r.names = append(r.names, c.Name)
	}
	return m
}
