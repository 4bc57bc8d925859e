package model

import (
	"slices"
	"strconv"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/tensor"
)

// Predictor turns batches into anomaly maps.
type Predictor struct {
	model  *Model
	mapper *Mapper
	side   int64
	views  map[int]*Views // by number of objects, without missing pictures
	scope  *tensor.Scope
	replay *tensor.Replayer
}

// NewPredictor prepares m for inference; what it needs lives in s.
func NewPredictor(s *tensor.Scope, m *Model, cfg configs.Config) *Predictor {
	return &Predictor{m, NewMapper(s, m.Device, cfg), int64(cfg.Data.Crop), map[int]*Views{}, s,
		tensor.NewReplayer(s, m.Device, cfg.CUDAGraph)}
}

// Maps returns the anomaly maps of a batch, [B, size, size], row by row. The
// maps of absent pictures mean nothing.
func (p *Predictor) Maps(s *tensor.Scope, batch *dataset.Batch) []float32 {
	var maps []float32
	tensor.NoGrad(func() {
		pixels := tensor.Upload(s, p.model.Device, tensor.Uint8, batch.Pixels, int64(len(batch.Present)), 3, p.side, p.side)
		objects := len(batch.Objects)
		if slices.Contains(batch.Present, false) {
			views := NewViews(s, p.model.Device, objects, batch.Views, batch.Present)
			maps = p.maps(s, pixels, views).Floats()
			return
		}
		if p.views[objects] == nil {
			p.views[objects] = NewViews(p.scope, p.model.Device, objects, batch.Views, nil)
		}
		views := p.views[objects]
		maps = p.replay.Call(s, strconv.Itoa(objects), []*tensor.Tensor{pixels}, func(s *tensor.Scope, in []*tensor.Tensor) *tensor.Tensor {
			return p.maps(s, in[0], views)
		}).Floats()
	})
	return maps
}

// maps maps pictures [B, 3, H, W] of uint8 to anomaly maps [B, size, size].
func (p *Predictor) maps(s *tensor.Scope, pixels *tensor.Tensor, views *Views) *tensor.Tensor {
	features := p.model.EncodePixels(s, pixels)
	x := p.model.Bottleneck.Forward(s, features.Mean, false)
	return p.mapper.Forward(s, features.Targets, p.model.Decode(s, x, views))
}
