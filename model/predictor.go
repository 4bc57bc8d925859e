package model

import (
	"fmt"
	"image"
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
	crop   configs.Size
	top    float64
	images int               // that go through the model together, where they have several tiles
	pixels []uint8           // of those
	views  map[string]*Views // of batches without absent images, by their grouping
	scope  *tensor.Scope
	replay *tensor.Replayer
}

// Prediction is what a model says of the images of a batch.
type Prediction struct {
	Maps   [][]float32 // anomaly maps [h, w] by rows; nil where an image is absent
	Memory [][]float32 // maps of the distance to the memory; nil also where the class is not remembered

	top float64
}

// NewPredictor prepares m and its memory, which may be nil, for inference; what it needs lives in s. Where cuda_graph is
// on and a prediction cannot be captured, uncaptured is told why, once.
func NewPredictor(s *tensor.Scope, m *Model, remembered *memory.Memory, cfg configs.Config, uncaptured func(why error)) *Predictor {
	return &Predictor{
		model: m, mapper: NewMapper(s, m, cfg), memory: NewMemory(s, m, remembered), crop: cfg.Data.Crop, top: cfg.Top(),
		images: cfg.Eval.Objects * cfg.Data.Views,
		views:  map[string]*Views{}, scope: s, replay: tensor.NewReplayer(s, m.Device, cfg.CUDAGraph, uncaptured),
	}
}

// Predict runs the model on a batch, which may have any number of objects and views. Views of several tiles go through
// it eval.objects at a time, each tile like an object. The result is ordinary Go memory, for any goroutine.
func (p *Predictor) Predict(s *tensor.Scope, batch *dataset.Batch) Prediction {
	n := len(batch.Present)
	out := Prediction{Maps: make([][]float32, n), Memory: make([][]float32, n), top: p.top}
	if !slices.Contains(batch.Present, true) {
		return out
	}
	s.Local(func(s *tensor.Scope) *tensor.Tensor {
		tensor.NoGrad(func() {
			d := p.distances(s, batch)
			p.maps(s, d.remembered, d.rows, batch, out.Memory)
			p.maps(s, d.reconstructed, indices(n), batch, out.Maps)
		})
		return nil
	})
	return out
}

// Score returns the score of image i, which is present: the mean of its map's highest values ([configs.Config.Top]).
func (p Prediction) Score(i int) float64 { return imagescore.TopMean(p.top, p.Maps[i]) }

// maps enters the maps of the images of these rows, whose distances [rows, T, P] are given for each target. Images that
// lie at the same place in the viewport are computed together.
func (p *Predictor) maps(s *tensor.Scope, distances []*tensor.Tensor, rows []int, batch *dataset.Batch, out [][]float32) {
	first := batch.Content[slices.Index(batch.Present, true)]
	groups, order := map[image.Rectangle][]int64{}, []image.Rectangle(nil)
	for i, row := range rows {
		content := batch.Content[row]
		if !batch.Present[row] {
			content = first // its map is dropped
		}
		if groups[content] == nil {
			order = append(order, content)
		}
		groups[content] = append(groups[content], int64(i))
	}
	for _, content := range order {
		members := groups[content]
		maps := s.Local(func(s *tensor.Scope) *tensor.Tensor {
			of := distances
			if len(order) > 1 {
				index := tensor.FromInts(s, p.model.Device, members, int64(len(members)))
				of = nil
				for _, d := range distances {
					of = append(of, d.IndexSelect(s, 0, index))
				}
			}
			return p.mapper.Forward(s, of, content)
		})
		values, area := maps.Floats(), p.mapper.size.Area()
		for i, member := range members {
			if row := rows[member]; batch.Present[row] {
				out[row] = values[i*area : (i+1)*area]
			}
		}
	}
}

// forward maps a batch of one tile a view to the distances [B, targets, P] between the targets and their
// reconstructions, and the targets [B, P, C], replayed where no image is absent.
func (p *Predictor) forward(s *tensor.Scope, batch *dataset.Batch) (distances *tensor.Tensor, targets []*tensor.Tensor) {
	images := tensor.Upload(s, p.model.Device, tensor.Uint8, batch.Pixels,
		int64(len(batch.Present)), 3, int64(p.crop.Height()), int64(p.crop.Width()))
	if slices.Contains(batch.Present, false) {
		return p.compare(s, images, NewViews(s, p.model.Device, len(batch.Objects), batch.Views, batch.Present))
	}
	grouping := fmt.Sprint(len(batch.Objects), "x", batch.Views)
	views := p.views[grouping]
	if views == nil {
		views = NewViews(p.scope, p.model.Device, len(batch.Objects), batch.Views, nil)
		p.views[grouping] = views
	}
	all := p.replay.Call(s, grouping, []*tensor.Tensor{images}, func(s *tensor.Scope, in []*tensor.Tensor) *tensor.Tensor {
		distances, targets := p.compare(s, in[0], views)
		if p.memory.Empty() {
			return distances
		}
		return p.join(s, distances, targets)
	})
	if p.memory.Empty() {
		return all, nil
	}
	return p.unjoin(s, all)
}

// join lays distances [B, targets, P] and targets [B, P, C] out as one tensor [B, targets·P + targets·P·C], as a replay
// returns one.
func (p *Predictor) join(s *tensor.Scope, distances *tensor.Tensor, targets []*tensor.Tensor) *tensor.Tensor {
	b := distances.Dim(0)
	parts := []*tensor.Tensor{distances.Reshape(s, b, -1)}
	for _, t := range targets {
		parts = append(parts, t.To(s, distances.DType()).Reshape(s, b, -1))
	}
	return tensor.Cat(s, 1, parts...)
}

// unjoin is the inverse of join.
func (p *Predictor) unjoin(s *tensor.Scope, all *tensor.Tensor) (distances *tensor.Tensor, targets []*tensor.Tensor) {
	b, groups, patches := all.Dim(0), int64(len(p.model.Fuse)), p.model.Encoder.Rows*p.model.Encoder.Columns
	at := groups * patches
	distances = all.Slice(s, 1, 0, at).Reshape(s, b, groups, patches)
	n := (all.Dim(1) - at) / groups
	for i := range groups {
		targets = append(targets, all.Slice(s, 1, at+i*n, n).Reshape(s, b, patches, n/patches))
	}
	return distances, targets
}

// compare maps uint8 images [B, 3, H, W] to distances [B, targets, P] and targets [B, P, C]. The distances of a model
// that was never trained are zeros.
func (p *Predictor) compare(s *tensor.Scope, images *tensor.Tensor, views *Views) (distances *tensor.Tensor, targets []*tensor.Tensor) {
	features := p.model.Encode(s, images)
	if p.memory.Untrained() {
		patches := p.model.Encoder.Rows * p.model.Encoder.Columns
		return tensor.Zeros(s, images.Device(), tensor.Float, images.Dim(0), int64(len(p.model.Fuse)), patches), features.Targets
	}
	x := p.model.Bottleneck.Forward(s, features.Mean, nil) // [B, N, C]
	var each []*tensor.Tensor
	for g, r := range p.model.Decode(s, x, views) {
		each = append(each, Distance(s, features.Targets[g], r.Patches(s, p.model.Kernels.Losses))) // [B, P]
	}
	return tensor.Stack(s, 1, each...), features.Targets
}
