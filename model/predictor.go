package model

import (
	"fmt"
	"slices"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/tensor"
	"mvag-torch/model/imagescore"
	"mvag-torch/model/memory"
)

// Predictor turns batches into anomaly maps and image scores.
type Predictor struct {
	model  *Model
	mapper *Mapper
	memory *Memory // empty where there is none
	crop   int64   // side length of an image in pixels
	top    float64
	views  map[string]*Views // of batches without absent images, by their grouping
	scope  *tensor.Scope
	replay *tensor.Replayer
}

// Prediction is what a model says of the images of a batch.
type Prediction struct {
	Maps   [][]float32 // anomaly maps [size, size] by rows; nil where an image is absent
	Memory [][]float32 // maps of the distance to the memory; nil also where the class is not remembered

	top float64
}

// NewPredictor prepares m and its memory, which may be nil, for inference; what it needs lives in s. Where cuda_graph is
// on and a prediction cannot be captured, uncaptured is told why, once.
func NewPredictor(s *tensor.Scope, m *Model, remembered *memory.Memory, cfg configs.Config, uncaptured func(why error)) *Predictor {
	return &Predictor{
		model: m, mapper: NewMapper(s, m.Device, cfg), memory: NewMemory(s, m, remembered), crop: int64(cfg.Data.Crop.Height()), top: cfg.Eval.Top,
		views: map[string]*Views{}, scope: s, replay: tensor.NewReplayer(s, m.Device, cfg.CUDAGraph, uncaptured),
	}
}

// Predict runs the model on a batch, which may have any number of objects and views. The result is ordinary Go memory,
// for any goroutine.
func (p *Predictor) Predict(s *tensor.Scope, batch *dataset.Batch) Prediction {
	n := len(batch.Present)
	out := Prediction{Maps: make([][]float32, n), Memory: make([][]float32, n), top: p.top}
	if !slices.Contains(batch.Present, true) {
		return out
	}
	s.Local(func(s *tensor.Scope) *tensor.Tensor {
		tensor.NoGrad(func() {
			maps, targets := p.forward(s, batch)
			rows, distances := p.memory.Distances(s, targets, batch)
			if len(rows) > 0 {
				split(p.mapper.smooth(s, distances), func(i int, values []float32) { out.Memory[rows[i]] = values })
			}
			split(maps, func(i int, values []float32) {
				if batch.Present[i] {
					out.Maps[i] = values
				}
			})
		})
		return nil
	})
	return out
}

// split hands out the maps [B, size, size].
func split(maps *tensor.Tensor, use func(i int, values []float32)) {
	values, area := maps.Floats(), int(maps.Dim(1)*maps.Dim(2))
	for i := range int(maps.Dim(0)) {
		use(i, values[i*area:(i+1)*area])
	}
}

// Score returns the score of image i, which is present: the mean of its map's highest values, eval.top of them.
func (p Prediction) Score(i int) float64 { return imagescore.TopMean(p.top, p.Maps[i]) }

// forward maps a batch to anomaly maps [B, size, size] and targets [B, P, C], replayed where no image is absent.
func (p *Predictor) forward(s *tensor.Scope, batch *dataset.Batch) (maps *tensor.Tensor, targets []*tensor.Tensor) {
	images := tensor.Upload(s, p.model.Device, tensor.Uint8, batch.Pixels, int64(len(batch.Present)), 3, p.crop, p.crop)
	if slices.Contains(batch.Present, false) {
		return p.maps(s, images, NewViews(s, p.model.Device, len(batch.Objects), batch.Views, batch.Present))
	}
	grouping := fmt.Sprint(len(batch.Objects), "x", batch.Views)
	views := p.views[grouping]
	if views == nil {
		views = NewViews(p.scope, p.model.Device, len(batch.Objects), batch.Views, nil)
		p.views[grouping] = views
	}
	all := p.replay.Call(s, grouping, []*tensor.Tensor{images}, func(s *tensor.Scope, in []*tensor.Tensor) *tensor.Tensor {
		maps, targets := p.maps(s, in[0], views)
		if p.memory.Empty() {
			return maps
		}
		return p.join(s, maps, targets)
	})
	if p.memory.Empty() {
		return all, nil
	}
	return p.unjoin(s, all)
}

// join lays maps [B, size, size] and targets [B, P, C] out as one tensor [B, size² + targets·P·C], as a replay returns
// one.
func (p *Predictor) join(s *tensor.Scope, maps *tensor.Tensor, targets []*tensor.Tensor) *tensor.Tensor {
	b := maps.Dim(0)
	parts := []*tensor.Tensor{maps.Reshape(s, b, -1)}
	for _, t := range targets {
		parts = append(parts, t.To(s, maps.DType()).Reshape(s, b, -1))
	}
	return tensor.Cat(s, 1, parts...)
}

// unjoin is the inverse of join.
func (p *Predictor) unjoin(s *tensor.Scope, all *tensor.Tensor) (maps *tensor.Tensor, targets []*tensor.Tensor) {
	b, area, patches := all.Dim(0), p.mapper.size*p.mapper.size, p.model.Encoder.Rows*p.model.Encoder.Columns
	maps = all.Slice(s, 1, 0, area).Reshape(s, b, p.mapper.size, p.mapper.size)
	n := (all.Dim(1) - area) / int64(len(p.model.fuse))
	for i := range p.model.fuse {
		targets = append(targets, all.Slice(s, 1, area+int64(i)*n, n).Reshape(s, b, patches, n/patches))
	}
	return maps, targets
}

// maps maps uint8 images [B, 3, H, W] to anomaly maps [B, size, size], and returns the targets [B, P, C]. Those of a model
// that was never trained are zeros.
func (p *Predictor) maps(s *tensor.Scope, images *tensor.Tensor, views *Views) (maps *tensor.Tensor, targets []*tensor.Tensor) {
	features := p.model.Encode(s, images)
	if p.memory.Untrained() {
		return tensor.Zeros(s, images.Device(), tensor.Float, images.Dim(0), p.mapper.size, p.mapper.size), features.Targets
	}
	x := p.model.Bottleneck.Forward(s, features.Mean, false) // [B, N, C]
	return p.mapper.Forward(s, features.Targets, p.model.Decode(s, x, views)), features.Targets
}
