package model

import (
	"fmt"
	"slices"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/tensor"
	"mvag-torch/model/imagescore"
)

// Predictor turns batches into anomaly maps and image scores.
type Predictor struct {
	model  *Model
	mapper *Mapper
	crop   int64 // side length of an image in pixels
	top    float64
	views  map[string]*Views // of batches without absent images, by their grouping
	scope  *tensor.Scope
	replay *tensor.Replayer
}

// Prediction is what a model says of the images of a batch.
type Prediction struct {
	Maps [][]float32 // anomaly maps [size, size] by rows; nil where an image is absent

	top float64
}

// NewPredictor prepares m for inference; what it needs lives in s. Where cuda_graph is on and a prediction cannot be
// captured, uncaptured is told why, once.
func NewPredictor(s *tensor.Scope, m *Model, cfg configs.Config, uncaptured func(why error)) *Predictor {
	return &Predictor{
		model: m, mapper: NewMapper(s, m.Device, cfg), crop: int64(cfg.Data.Crop), top: cfg.Eval.Top,
		views: map[string]*Views{}, scope: s, replay: tensor.NewReplayer(s, m.Device, cfg.CUDAGraph, uncaptured),
	}
}

// Predict runs the model on a batch, which may have any number of objects and views. The result is ordinary Go memory,
// for any goroutine.
func (p *Predictor) Predict(s *tensor.Scope, batch *dataset.Batch) Prediction {
	out := Prediction{Maps: make([][]float32, len(batch.Present)), top: p.top}
	if !slices.Contains(batch.Present, true) {
		return out
	}
	var maps []float32
	s.Local(func(s *tensor.Scope) *tensor.Tensor {
		tensor.NoGrad(func() { maps = p.forward(s, batch).Floats() })
		return nil
	})
	area := len(maps) / len(batch.Present)
	for i, present := range batch.Present {
		if present {
			out.Maps[i] = maps[i*area : (i+1)*area]
		}
	}
	return out
}

// Score returns the score of image i, which is present: the mean of its map's highest values, eval.top of them.
func (p Prediction) Score(i int) float64 { return imagescore.TopMean(p.top, p.Maps[i]) }

// forward maps a batch to anomaly maps [B, size, size], replayed where no image is absent.
func (p *Predictor) forward(s *tensor.Scope, batch *dataset.Batch) *tensor.Tensor {
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
	return p.replay.Call(s, grouping, []*tensor.Tensor{images}, func(s *tensor.Scope, in []*tensor.Tensor) *tensor.Tensor {
		return p.maps(s, in[0], views)
	})
}

// maps maps uint8 images [B, 3, H, W] to anomaly maps [B, size, size].
func (p *Predictor) maps(s *tensor.Scope, images *tensor.Tensor, views *Views) *tensor.Tensor {
	features := p.model.Encode(s, images)
	x := p.model.Bottleneck.Forward(s, features.Mean, false) // [B, N, C]
	return p.mapper.Forward(s, features.Targets, p.model.Decode(s, x, views))
}
