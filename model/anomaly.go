package model

import (
	"math"

	"mvag-torch/configs"
	"mvag-torch/internal/tensor"
)

// Mapper turns features and their reconstructions into anomaly maps (docs/model.md section 6).
type Mapper struct {
	crop, size int64          // side lengths of image and map in pixels
	kernel     *tensor.Tensor // Gaussian [1, 1, k, k]
}

// NewMapper makes maps of cfg.Eval.MapSize pixels a side for images of cfg.Data.Crop pixels.
func NewMapper(s *tensor.Scope, d tensor.Device, cfg configs.Config) *Mapper {
	n, kernel := int64(cfg.Eval.Blur.Size), gaussian(cfg.Eval.Blur.Size, cfg.Eval.Blur.Sigma)
	return &Mapper{int64(cfg.Data.Crop.Height()), int64(cfg.Eval.MapSize), tensor.FromFloats(s, d, kernel, 1, 1, n, n)}
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

// Forward maps targets [B, P, C] and their reconstructions to maps [B, size, size]. It has no gradient.
func (m *Mapper) Forward(s *tensor.Scope, targets []*tensor.Tensor, reconstructions []Reconstruction) *tensor.Tensor {
	distances := make([]*tensor.Tensor, len(targets))
	for g, r := range reconstructions {
		distances[g] = Distance(s, targets[g], r.Patches(s, r.model.Kernels.Losses)) // [B, P]
	}
	return m.smooth(s, distances)
}

// smooth brings distances [B, P], one a group, to the size of the image, averages the groups, resizes to the size of
// the map and blurs: [B, size, size].
func (m *Mapper) smooth(s *tensor.Scope, distances []*tensor.Tensor) *tensor.Tensor {
	full := make([]*tensor.Tensor, len(distances))
	for i, d := range distances {
		b, g := d.Dim(0), isqrt(d.Dim(1))
		full[i] = d.Reshape(s, b, 1, g, g).Bilinear(s, m.crop, m.crop, true) // [B, 1, H, W]
	}
	x := mean(s, false, full).Bilinear(s, m.size, m.size, false) // [B, 1, size, size]
	x = x.Conv2dExact(s, m.kernel, (m.kernel.Dim(-1)-1)/2)       // [B, 1, size, size]
	return x.Reshape(s, x.Dim(0), m.size, m.size)
}
