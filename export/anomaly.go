package export

import (
	"image"

	"mvag-torch/internal/onnx"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
)

// maps turns distances d [S, V, T, P] into anomaly maps [S, V, h, w] of images that lie at content in the viewport: two
// matrices do what [model.Mapper.Forward] does.
func (g *graph) maps(d *onnx.Value, content image.Rectangle) *onnx.Value {
	var down, across []float32
	g.scope.Local(func(s *tensor.Scope) *tensor.Tensor {
		down, across = model.NewMapper(s, g.model.Model, g.cfg).Matrices(content)
		return nil
	})
	size, v := g.cfg.MapSize(), onnx.Dim{N: g.views}
	h, w := int64(size.Height()), int64(size.Width())
	e := g.model.Encoder
	d = g.Reshape(d, append([]onnx.Dim{onnx.Objects(1), v}, dims(g.rows, g.columns, e.Rows, e.Columns)...)...)
	d = g.Transpose(d, 0, 1, 2, 4, 3, 5)
	d = g.Reshape(d, onnx.Objects(1), v, onnx.Dim{N: g.rows * e.Rows}, onnx.Dim{N: g.columns * e.Columns})
	d = g.Name(d, "grid", "distances of patches where they lie in the image")
	x := g.MatMul(d, g.Floats("map.across", transposed(across, int(w)), g.columns*e.Columns, w)) // [S, V, rows, w]
	x = g.MatMul(g.Floats("map.down", down, h, g.rows*e.Rows), x)                                // [S, V, h, w]
	return g.Name(x, "map.all", "resized and smoothed, which is linear along each axis; absent images have one, too")
}

// transposed is a matrix of so many rows, row by row, with its axes swapped.
func transposed(m []float32, rows int) []float32 {
	columns, out := len(m)/rows, make([]float32, len(m))
	for i, v := range m {
		out[i%columns*rows+i/columns] = v
	}
	return out
}
