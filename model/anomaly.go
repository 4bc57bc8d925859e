package model

import (
	"image"
	"math"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/tensor"
)

// Mapper turns distances of patches into anomaly maps (docs/model.md section 6).
type Mapper struct {
	size         configs.Size // of a map
	view         image.Rectangle
	down, across axis
	squash       bool           // images fill the viewport, whatever their shape
	kernel       *tensor.Tensor // Gaussian [1, 1, k, k]
	filter       []float64      // one axis of it [k]
}

// NewMapper makes maps of cfg.MapSize from the distances of m.
func NewMapper(s *tensor.Scope, m *Model, cfg configs.Config) *Mapper {
	n, filter := int64(cfg.Eval.Blur.Size), gaussian(cfg.Eval.Blur.Size, cfg.Eval.Blur.Sigma)
	p := &Mapper{
		size: cfg.MapSize(), view: cfg.Data.Viewport().Bounds(), squash: cfg.Data.Fit == "squash",
		down:   axis{tile: cfg.Data.Crop.Height(), patches: int(m.Encoder.Rows)},
		across: axis{tile: cfg.Data.Crop.Width(), patches: int(m.Encoder.Columns)},
		kernel: tensor.FromFloats(s, m.Device, outer(filter), 1, 1, n, n), filter: filter,
	}
	for _, at := range dataset.NewFit(cfg.Data).Tiles() { // row by row
		if at.X == 0 {
			p.down.starts = append(p.down.starts, at.Y)
		}
		if at.Y == 0 {
			p.across.starts = append(p.across.starts, at.X)
		}
	}
	return p
}

// tiles is their number, T.
func (m *Mapper) tiles() int { return len(m.down.starts) * len(m.across.starts) }

// gaussian is a filter of size weights that sum to 1.
func gaussian(size int, sigma float64) []float64 {
	line, sum := make([]float64, size), 0.0
	for i := range line {
		x := float64(i) - float64(size-1)/2
		line[i] = math.Exp(-x * x / (2 * sigma * sigma))
		sum += line[i]
	}
	for i := range line {
		line[i] /= sum
	}
	return line
}

// outer is the kernel that filters along both axes.
func outer(filter []float64) []float32 {
	kernel := make([]float32, 0, len(filter)*len(filter))
	for _, a := range filter {
		for _, b := range filter {
			kernel = append(kernel, float32(a*b))
		}
	}
	return kernel
}

// Matrices returns all that Forward does as two matrices, because resizing and smoothing are linear along each axis: the
// map is down · d · acrossᵀ, where d are the mean distances of the targets with the patches of all tiles where they lie
// [tile rows · patch rows, tile columns · patch columns]. down is [h, rows of d] and across [w, columns of d].
func (m *Mapper) Matrices(content image.Rectangle) (down, across []float32) {
	antialiased := func(n, size int) bool { return !m.squash && reduces(n, size) }
	rows := m.down.rows(content.Min.Y, content.Max.Y, m.size.Height(), antialiased(content.Dy(), m.size.Height()))
	columns := m.across.rows(content.Min.X, content.Max.X, m.size.Width(), antialiased(content.Dx(), m.size.Width()))
	return flat(blurred(rows, m.filter)), flat(blurred(columns, m.filter))
}

// Forward makes the maps [B, h, w] of images that lie at content in the viewport, in pixels, from their distances
// [B, T, P], one tensor a target. It has no gradient.
func (m *Mapper) Forward(s *tensor.Scope, distances []*tensor.Tensor, content image.Rectangle) *tensor.Tensor {
	var x *tensor.Tensor // [B, 1, h, w]
	if m.tiles() == 1 && content == m.view && (m.squash || !m.skips()) {
		x = m.resized(s, distances)
	} else {
		x = m.stitched(s, mean(s, false, distances), content)
	}
	x = x.Conv2dExact(s, m.kernel, (m.kernel.Dim(-1)-1)/2) // [B, 1, h, w]
	return x.Reshape(s, x.Dim(0), x.Dim(2), x.Dim(3))
}

// skips says whether bilinear interpolation would leave out pixels of the viewport.
func (m *Mapper) skips() bool {
	return reduces(m.view.Dy(), m.size.Height()) || reduces(m.view.Dx(), m.size.Width())
}

// resized brings distances [B, 1, P] to the size of the image, averages the targets and resizes to the size of the map:
// [B, 1, h, w].
func (m *Mapper) resized(s *tensor.Scope, distances []*tensor.Tensor) *tensor.Tensor {
	full := make([]*tensor.Tensor, len(distances))
	for i, d := range distances {
		d = d.Reshape(s, d.Dim(0), 1, int64(m.down.patches), int64(m.across.patches))
		full[i] = d.Bilinear(s, int64(m.down.tile), int64(m.across.tile), true) // [B, 1, H, W]
	}
	return mean(s, false, full).Bilinear(s, int64(m.size.Height()), int64(m.size.Width()), false)
}

// stitched joins the distances d [B, T, P] of the tiles of a viewport and resizes what lies in content to the size of
// the map: [B, 1, h, w]. All of this is linear along each axis, so that two matrices do it, and the viewport itself,
// which may be large, takes no memory.
func (m *Mapper) stitched(s *tensor.Scope, d *tensor.Tensor, content image.Rectangle) *tensor.Tensor {
	b, h, w := d.Dim(0), int64(m.size.Height()), int64(m.size.Width())
	rows, columns := int64(len(m.down.starts)), int64(len(m.across.starts))
	r, c := int64(m.down.patches), int64(m.across.patches)
	d = d.Reshape(s, b, rows, columns, r, c).Permute(s, 0, 1, 3, 2, 4) // [B, rows, r, columns, c]
	down := m.down.matrix(content.Min.Y, content.Max.Y, int(h))
	across := m.across.matrix(content.Min.X, content.Max.X, int(w))
	// A convolution with a kernel of one pixel is a matmul over channels that stays in float32 at every precision.
	x := d.Reshape(s, b, rows*r, columns*c, 1)
	x = x.Conv2dExact(s, tensor.FromFloats(s, d.Device(), down, h, rows*r, 1, 1), 0) // [B, h, columns·c, 1]
	x = x.Permute(s, 0, 2, 1, 3)
	x = x.Conv2dExact(s, tensor.FromFloats(s, d.Device(), across, w, columns*c, 1, 1), 0) // [B, w, h, 1]
	return x.Permute(s, 0, 3, 2, 1)                                                       // [B, 1, h, w]
}
