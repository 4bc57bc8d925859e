package export

import (
	"errors"
	"fmt"
	"image"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/onnx"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/calibration"
	"mvag-torch/model/checkpoint"
)

// Options of ONNX.
type Options struct {
	Opset   int         // the operator set, onnx.MinOpset to onnx.MaxOpset
	Half    bool        // store weights as float16
	Image   image.Point // width and height in pixels of all images; wanted where data.fit is pad or tiles, else ignored
	Program string      // the version of this program
}

// graph builds the graph of a model. Its methods follow the methods Forward of package model, from which they take the
// weights, and have their shapes: S objects, V views, B = S·V images, T tiles of an image, N tokens, P patches, C
// channels, H heads of D channels. Where images have several tiles, a tile of all views is an object for encoder and
// decoder, S is objects·T there, and "S·T" is said where the tiles are told apart.
type graph struct {
	*onnx.Builder
	scope *tensor.Scope // for weights on their way

	model         *model.Trained
	cfg           configs.Config
	rows, columns int64 // of tiles; T = rows·columns
	views         int64 // V

	cos, sin *onnx.Value // of rotary positions [N, D], nil without
	near     *onnx.Value // pairs that the neighbour mask removes, nil without
}

// sub is the graph with names below name.
func (g *graph) sub(name string) *graph {
	below := *g
	below.Builder = g.Sub(name)
	return &below
}

// tiles is their number in an image, T.
func (g *graph) tiles() int64 { return g.rows * g.columns }

// ONNX makes the graph of a model that computes in float32 and what is said about it. trained and heads are those of its
// checkpoint; cfg decides the head that judges (inspect.head). What has no thresholds is exported without decisions.
// Errors: a backbone that is a TorchScript archive, whose code ONNX cannot hold; an operator set; an image of unknown
// size; a model that can judge nothing by the head. It runs on the device thread.
func ONNX(
	t *model.Trained, cfg configs.Config, trained checkpoint.Info, heads calibration.Heads, opt Options,
) (*onnx.Model, *Description, error) {
	if err := CheckONNX(cfg); err != nil {
		return nil, nil, err
	}
	content, err := contentOf(cfg, opt.Image)
	if err != nil {
		return nil, nil, err
	}
	judges, err := newJudges(cfg, t.Memory, trained, heads)
	if err != nil {
		return nil, nil, err
	}
	s := tensor.NewScope()
	defer s.Close()
	g := &graph{
		Builder: onnx.NewBuilder(opt.Opset, opt.Half), scope: s, model: t, cfg: cfg, views: int64(cfg.Data.Views),
	}
	g.rows, g.columns = grid(dataset.NewFit(cfg.Data).Tiles())
	g.build(judges, content)
	m, err := g.Model()
	if err != nil {
		return nil, nil, err
	}
	d := describe(t, cfg, trained, judges, opt)
	m.Name, m.Producer, m.Version = d.Name, "mvag-torch", opt.Program
	m.Doc = "MVAG-FL: anomaly maps, scores and decisions for objects of several views. The metadata, key " + MetadataKey +
		", say how to prepare images, in JSON."
	text, err := d.Marshal()
	if err != nil {
		return nil, nil, err
	}
	m.Metadata = map[string]string{MetadataKey: text}
	return m, d, nil
}

// CheckONNX returns why ONNX cannot hold a model of this configuration, nil where it can.
func CheckONNX(cfg configs.Config) error {
	if cfg.Backbone.Mode != "module" {
		return nil
	}
	return errors.New("backbone.mode: have module, want native: ONNX cannot hold the code of a TorchScript archive. " +
		"Export with the tool that the archive came from, or train with an architecture that \"mvag-torch backbone list\" shows")
}

// contentOf is where images lie in the viewport.
func contentOf(cfg configs.Config, size image.Point) (image.Rectangle, error) {
	if cfg.Data.Fit == "squash" {
		return cfg.Data.Viewport().Bounds(), nil
	}
	if size.X < 1 || size.Y < 1 {
		return image.Rectangle{}, fmt.Errorf("data.fit: have %s, where maps depend on the shape of images: "+
			"want --image WIDTHxHEIGHT, which all images have", cfg.Data.Fit)
	}
	return dataset.NewFit(cfg.Data).Content(size.X, size.Y), nil
}

// grid is the number of rows and columns of tiles with these corners.
func grid(corners []image.Point) (rows, columns int64) {
	for _, at := range corners {
		if at.X == 0 {
			rows++
		}
		if at.Y == 0 {
			columns++
		}
	}
	return rows, columns
}

// build adds inputs, the model, and outputs.
func (g *graph) build(j *judges, content image.Rectangle) {
	view := g.cfg.Data.Viewport()
	one, v, h, w := onnx.Objects(1), onnx.Dim{N: g.views}, int64(view.Height()), int64(view.Width())
	doc := fmt.Sprintf("%d views of each object, %d x %d pixels (height x width): planes of red, green and blue", g.views, h, w)
	images := g.Input("images", doc,
		onnx.Uint8, one, v, onnx.Dim{N: 3}, onnx.Dim{N: h}, onnx.Dim{N: w})
	present := g.Input("present", "which views there are, each at the index of its camera", onnx.Bool, one, v)
	present = g.Require(present, images)
	row := g.row(j, images)

	outputs := g.sub("encoder").encode(g.cut(images)) // [S·T·V, N, C] each
	var targets []*onnx.Value                         // [S·T·V, P, C] each
	for i, group := range g.model.Fuse {
		targets = append(targets, g.patches(g.Name(g.mean(pick(outputs, group)), fmt.Sprint("target.", i),
			fmt.Sprintf("mean over the layers of group %d", i))))
	}
	var d *onnx.Value // [S, V, T, P]
	weights := g.weights(j, row)
	if j.uses(0) {
		d = g.addWeighted(d, g.reconstruct(outputs, targets, present), weights, 0)
	}
	if j.uses(1) {
		d = g.addWeighted(d, g.sub("memory").remember(targets, j, row), weights, 1)
	}
	maps := g.maps(d, content) // [S, V, h, w]
	g.judge(maps, present, row, j)
}

// pick returns the values with these indices.
func pick(values []*onnx.Value, indices []int) (list []*onnx.Value) {
	for _, i := range indices {
		list = append(list, values[i])
	}
	return list
}

// addWeighted adds x, times the weight of a head, to sum, which may be nil.
func (g *graph) addWeighted(sum, x *onnx.Value, weights []*onnx.Value, head int) *onnx.Value {
	if weights[head] != nil {
		x = g.Mul(x, weights[head])
	}
	if sum == nil {
		return x
	}
	return g.Name(g.Add(sum, x), "distances", "distances of patches by the head that judges the class")
}

// cut cuts images [S, V, 3, h, w] into tiles: [S·T·V, 3, H, W].
func (g *graph) cut(images *onnx.Value) *onnx.Value {
	crop, t := g.cfg.Data.Crop, g.tiles()
	h, w := int64(crop.Height()), int64(crop.Width())
	if t > 1 {
		var tiles []*onnx.Value // [S, 1, V, 3, H, W] each
		for _, at := range dataset.NewFit(g.cfg.Data).Tiles() {
			x := g.Slice(g.Slice(images, 3, int64(at.Y), h), 4, int64(at.X), w)
			tiles = append(tiles, g.Reshape(x, append([]onnx.Dim{onnx.Objects(1)}, dims(1, g.views, 3, h, w)...)...))
		}
		images = g.Name(g.Concat(1, tiles...), "tiles",
			"overlapping tiles of each image [objects, tiles, views, 3, height, width]")
	}
	return g.Reshape(images, onnx.Objects(t*g.views), onnx.Dim{N: 3}, onnx.Dim{N: h}, onnx.Dim{N: w})
}

// mean averages values of one shape.
func (g *graph) mean(xs []*onnx.Value) *onnx.Value {
	sum := xs[0]
	for _, x := range xs[1:] {
		sum = g.Add(sum, x)
	}
	if len(xs) == 1 {
		return sum
	}
	return g.Mul(sum, g.Scalar(1/float32(len(xs))))
}

// patches drops the class token and registers of x [B, N, C]: [B, P, C].
func (g *graph) patches(x *onnx.Value) *onnx.Value {
	prefix := int64(g.model.Encoder.Arch.Prefix())
	return g.Slice(x, 1, prefix, x.Dim(1).N-prefix)
}
