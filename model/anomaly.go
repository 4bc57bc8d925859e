package model

import (
	"math"

	"mvag-torch/configs"
	"mvag-torch/internal/tensor"
)

// Mapper turns features and their reconstructions into anomaly maps
// (model.md section 6).
type Mapper struct {
	side, size int64          // picture and map, pixels
	kernel     *tensor.Tensor // Gaussian [1, 1, k, k]
}

// NewMapper makes maps of cfg.Eval.MapSize pixels for pictures of
// cfg.Data.Crop pixels.
func NewMapper(s *tensor.Scope, d tensor.Device, cfg configs.Config) *Mapper {
	n := int64(cfg.Eval.Blur.Size)
	kernel := gaussian(cfg.Eval.Blur.Size, cfg.Eval.Blur.Sigma)
	return &Mapper{int64(cfg.Data.Crop), int64(cfg.Eval.MapSize), tensor.FromFloats(s, d, kernel, 1, 1, n, n)}
}

// gaussian is a size x size kernel that sums to 1, computed in float64.
func gaussian(size int, sigma float64) []float32 {
	line, sum := make([]float64, size), 0.0
	for i := range line {
		x := float64(i) - float64(size-1)/2
		line[i] = math.Exp(-x * x / (2 * sigma * sigma))
		sum += line[i]
	}
	kernel := make([]float32, 0, size*size)
	for _, a := range line {
		for _, b := range line {
			kernel = append(kernel, float32(a/sum*b/sum))
		}
	}
	return kernel
}

// Forward maps targets and reconstructions, [B, P, C] a group, to maps
// [B, size, size].
func (m *Mapper) Forward(s *tensor.Scope, targets, reconstructions []*tensor.Tensor) *tensor.Tensor {
	distances := make([]*tensor.Tensor, len(targets))
	for g := range targets {
		distances[g] = Distance(s, targets[g], reconstructions[g])
	}
	return m.smooth(s, distances)
}

// Distance is 1 - cos over channels of [B, P, C], each norm at least 1e-8: [B, P].
func Distance(s *tensor.Scope, a, b *tensor.Tensor) *tensor.Tensor {
	return a.CosineSimilarity(s, b, -1, 1e-8).Neg(s).AddScalar(s, 1)
}

// smooth brings distances [B, P], one a group, to the size of the picture,
// averages the groups, resizes to the size of the map and blurs: [B, size, size].
func (m *Mapper) smooth(s *tensor.Scope, distances []*tensor.Tensor) *tensor.Tensor {
	full := make([]*tensor.Tensor, len(distances))
	for i, d := range distances {
		b, g := d.Dim(0), isqrt(d.Dim(1))
		full[i] = d.Reshape(s, b, 1, g, g).Bilinear(s, m.side, m.side, true) // [B, 1, H, W]
	}
	x := mean(s, false, full).Bilinear(s, m.size, m.size, false) // [B, 1, size, size]
	x = x.Conv2d(s, m.kernel, nil, 1, (m.kernel.Dim(-1)-1)/2)    // [B, 1, size, size]
	return x.Reshape(s, x.Dim(0), m.size, m.size)
}
