package eval

import (
	"slices"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
)

// Predictor turns batches into anomaly maps.
type Predictor struct {
	model  *model.Model
	mapper *model.Mapper
	side   int64
	views  map[int]*model.Views // by number of objects, without missing pictures
	scope  *tensor.Scope
}

// NewPredictor prepares m for inference; what it needs lives in s.
func NewPredictor(s *tensor.Scope, m *model.Model, cfg configs.Config) *Predictor {
	return &Predictor{m, model.NewMapper(s, m.Device, cfg), int64(cfg.Data.Crop), map[int]*model.Views{}, s}
}

// Maps returns the anomaly maps of a batch, [B, size, size], row by row. The
// maps of absent pictures mean nothing.
func (p *Predictor) Maps(s *tensor.Scope, batch *dataset.Batch) []float32 {
	var maps []float32
	tensor.NoGrad(func() {
		b := int64(len(batch.Present))
		pixels := tensor.FromBytes(s, p.model.Device, tensor.Uint8, batch.Pixels, b, 3, p.side, p.side)
		features := p.model.Encode(s, p.model.Normalize(s, pixels))
		x := p.model.Bottleneck.Forward(s, features.Mean, false)
		reconstructions := p.model.Decode(s, x, p.grouping(s, batch))
		maps = p.mapper.Forward(s, features.Targets, reconstructions).Floats()
	})
	return maps
}

func (p *Predictor) grouping(s *tensor.Scope, batch *dataset.Batch) *model.Views {
	objects := len(batch.Objects)
	if slices.Contains(batch.Present, false) {
		return model.NewViews(s, p.model.Device, objects, batch.Views, batch.Present)
	}
	if p.views[objects] == nil {
		p.views[objects] = model.NewViews(p.scope, p.model.Device, objects, batch.Views, nil)
	}
	return p.views[objects]
}
