package export

import (
	"encoding/binary"
	"fmt"

	"mvag-torch/internal/onnx"
	"mvag-torch/internal/safetensors"
	"mvag-torch/model/memory"
)

// noCode is half the squared norm of a code that fills up a bank with fewer codes than another: it is never the nearest.
const noCode = 1e30

// banks are what is remembered of a target: for each class in rows, each camera. Float16 as stored.
type banks struct {
	mean, basis, codes []byte    // [rows, V, 1, C], [rows, V, D, C], [rows, V, K, D]
	half               []float32 // half the squared norm of the codes [rows, V, 1, K]
}

// bankShape is what the banks of all classes and cameras have room for.
func (g *graph) bankShape(classes []*memory.Class) (d, k, c int64) {
	for _, class := range classes {
		for _, m := range class.Cameras {
			d, k, c = max(d, int64(m.Dims)), max(k, int64(m.Codes)), int64(m.Channels)
		}
	}
	return d, k, c
}

// banks lays the memory of a target out. A camera of which nothing is remembered has zeros and is not judged.
func (g *graph) banks(classes []*memory.Class, target int) banks {
	d, k, c := g.bankShape(classes)
	n := int64(len(classes)) * g.views
	b := banks{make([]byte, 2*n*c), make([]byte, 2*n*d*c), make([]byte, 2*n*k*d), make([]float32, n*k)}
	for i := range b.half {
		b.half[i] = noCode
	}
	for row, class := range classes {
		for camera, m := range class.Cameras {
			if int64(camera) >= g.views {
				continue
			}
			at := int64(row)*g.views + int64(camera)
			basis := m.Basis[2*target*(1+m.Dims)*m.Channels:][:2*(1+m.Dims)*m.Channels]
			copy(b.mean[2*at*c:], basis[:2*c])
			copy(b.basis[2*at*d*c:], basis[2*c:])
			codes := m.Coordinates[2*target*m.Codes*m.Dims:][:2*m.Codes*m.Dims]
			for i := range m.Codes {
				code := codes[2*i*m.Dims : 2*(i+1)*m.Dims]
				copy(b.codes[2*(at*k+int64(i))*d:], code)
				b.half[at*k+int64(i)] = halfSquare(code)
			}
		}
	}
	return b
}

// halfSquare is half the squared norm of a vector of float16.
func halfSquare(code []byte) float32 {
	sum := 0.
	for i := 0; i < len(code); i += 2 {
		v := float64(safetensors.Float16ToFloat32(binary.LittleEndian.Uint16(code[i:])))
		sum += v * v
	}
	return float32(sum / 2)
}

// remember maps targets [S·T·V, P, C] to their distances to what is remembered of their class and camera, mean over the
// targets: [S, V, T, P] (docs/model.md section 8; [model.Memory.Distances]). row [S] is nil where there is one class.
func (g *graph) remember(targets []*onnx.Value, j *judges, row *onnx.Value) *onnx.Value {
	classes, of := j.remembered()
	if row != nil && len(classes) > 1 {
		row = g.Gather(g.Ints(of...), 0, row)
	} else {
		row = nil
	}
	p, t := targets[0].Dim(1).N, g.tiles()
	var each []*onnx.Value
	for i, x := range targets {
		b, at := g.banks(classes, i), g.sub(fmt.Sprint("target.", i))
		d, k, c := g.bankShape(classes)
		one := func(name string, raw []byte, n, m int64) *onnx.Value {
			v := at.Half(name, raw, int64(len(classes)), g.views, n, m)
			return at.Cast(at.rowsOf(v, row), onnx.Float)
		}
		half := at.rowsOf(at.Floats("half_squares", b.half, int64(len(classes)), g.views, 1, k), row)
		x = at.Reshape(x, append([]onnx.Dim{onnx.Objects(1)}, dims(t, g.views, p, c)...)...) // [S, T, V, P, C]
		x = at.Transpose(x, 0, 2, 1, 3, 4)
		x = at.Reshape(x, onnx.Objects(1), onnx.Dim{N: g.views}, onnx.Dim{N: t * p}, onnx.Dim{N: c}) // [S, V, T·P, C]
		d1 := at.nearest(x, one("mean", b.mean, 1, c), one("basis", b.basis, d, c), one("codes", b.codes, k, d), half)
		each = append(each, at.Name(d1, "distance", "to the nearest code, and to the subspace"))
	}
	mean := g.Reshape(g.mean(each), onnx.Objects(1), onnx.Dim{N: g.views}, onnx.Dim{N: t}, onnx.Dim{N: p})
	return g.Name(mean, "distances", "mean over the targets [objects, views, tiles, patches]")
}

// rowsOf takes the rows [S] of x [rows, …]; all where row is nil.
func (g *graph) rowsOf(x, row *onnx.Value) *onnx.Value {
	if row == nil {
		return x
	}
	return g.Gather(x, 0, row)
}

// nearest is half the squared distance of x [S, V, n, C], scaled to length 1, to the nearest code: [S, V, n, 1]. The
// others are [S or 1, V, …].
func (g *graph) nearest(x, mean, basis, codes, half *onnx.Value) *onnx.Value {
	square := func(x *onnx.Value) *onnx.Value { return g.Mul(g.ReduceSum(g.Mul(x, x), -1, true), g.Scalar(0.5)) }
	x = g.Div(x, g.Add(g.Sqrt(g.ReduceSum(g.Mul(x, x), -1, true)), g.Scalar(1e-8)))
	x = g.Minus(x, mean)
	p := g.MatMul(x, g.Transpose(basis, 0, 1, 3, 2))                                          // [S, V, n, D]
	outside := square(g.Minus(x, g.MatMul(p, basis)))                                         // [S, V, n, 1]
	near := g.ReduceMax(g.Minus(g.MatMul(p, g.Transpose(codes, 0, 1, 3, 2)), half), -1, true) // p·c - |c|²/2
	return g.Add(g.Minus(square(p), near), outside)
}
