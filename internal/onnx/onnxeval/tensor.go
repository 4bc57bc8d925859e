package onnxeval

import (
	"encoding/binary"
	"fmt"
	"slices"

	"mvag-torch/internal/onnx"
)

// Tensor is a value. The elements are in Floats for FLOAT and FLOAT16, in Ints for INT64, UINT8 and BOOL (0 or 1).
type Tensor struct {
	Type   onnx.DataType
	Shape  []int64
	Floats []float32
	Ints   []int64
}

// Floats is a tensor of FLOAT.
func Floats(values []float32, shape ...int64) Tensor {
	return Tensor{Type: onnx.Float, Shape: shape, Floats: values}
}

// Ints is a tensor of INT64.
func Ints(values []int64, shape ...int64) Tensor {
	return Tensor{Type: onnx.Int64, Shape: shape, Ints: values}
}

// Bytes is a tensor of UINT8.
func Bytes(values []uint8, shape ...int64) Tensor {
	t := Tensor{Type: onnx.Uint8, Shape: shape, Ints: make([]int64, len(values))}
	for i, v := range values {
		t.Ints[i] = int64(v)
	}
	return t
}

// Bools is a tensor of BOOL.
func Bools(values []bool, shape ...int64) Tensor {
	t := Tensor{Type: onnx.Bool, Shape: shape, Ints: make([]int64, len(values))}
	for i, v := range values {
		t.Ints[i] = number(v)
	}
	return t
}

// Bools are the elements of a tensor of BOOL.
func (t Tensor) Bools() []bool {
	out := make([]bool, len(t.Ints))
	for i, v := range t.Ints {
		out[i] = v != 0
	}
	return out
}

func number(v bool) int64 {
	if v {
		return 1
	}
	return 0
}

// real says whether the elements are in Floats.
func (t Tensor) real() bool { return t.Type == onnx.Float || t.Type == onnx.Float16 }

// len is the number of elements.
func (t Tensor) len() int64 {
	if t.real() {
		return int64(len(t.Floats))
	}
	return int64(len(t.Ints))
}

// read returns an initialiser.
func read(from *onnx.Tensor) (Tensor, error) {
	t := Tensor{Type: from.DataType, Shape: from.Dims}
	if t.real() {
		values, err := from.Float32()
		t.Floats = values
		return t, err
	}
	raw, err := from.Raw()
	if err != nil {
		return t, err
	}
	if t.Type == onnx.Int64 {
		for part := range slices.Chunk(raw, 8) {
			t.Ints = append(t.Ints, int64(binary.LittleEndian.Uint64(part)))
		}
		return t, nil
	}
	for _, b := range raw {
		t.Ints = append(t.Ints, int64(b))
	}
	return t, nil
}

// size is the number of elements of a shape.
func size(shape []int64) int64 {
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	return n
}

// strides are the distances between neighbours in each dimension.
func strides(shape []int64) []int64 {
	out := make([]int64, len(shape))
	n := int64(1)
	for i, d := range slices.Backward(shape) {
		out[i], n = n, n*d
	}
	return out
}

// view is a way to look at the elements of a tensor: index i is at offset + Σ i·stride.
type view struct {
	shape, strides []int64
	offset         int64
}

// positions are where the elements of the view are, in order.
func (v view) positions() []int64 {
	out := make([]int64, 1, max(1, size(v.shape)))
	out[0] = v.offset
	for axis, n := range v.shape {
		outer := out
		out = make([]int64, 0, int64(len(outer))*n)
		for _, at := range outer {
			for i := range n {
				out = append(out, at+i*v.strides[axis])
			}
		}
	}
	return out
}

// pick returns a tensor of these elements of t.
func (t Tensor) pick(positions []int64, shape []int64) Tensor {
	out := Tensor{Type: t.Type, Shape: shape}
	if t.real() {
		out.Floats = make([]float32, len(positions))
		for i, at := range positions {
			out.Floats[i] = t.Floats[at]
		}
		return out
	}
	out.Ints = make([]int64, len(positions))
	for i, at := range positions {
		out.Ints[i] = t.Ints[at]
	}
	return out
}

// broadcast is the shape in which elementwise operations on values of these shapes result.
func broadcast(shapes ...[]int64) ([]int64, error) {
	var out []int64
	for _, s := range shapes {
		if missing := len(s) - len(out); missing > 0 {
			out = append(slices.Repeat([]int64{1}, missing), out...)
		}
		for i, d := range s {
			switch at := len(out) - len(s) + i; {
			case out[at] == 1:
				out[at] = d
			case d != 1 && d != out[at]:
				return nil, fmt.Errorf("have shapes %v, want those that broadcast", shapes)
			}
		}
	}
	return out, nil
}

// expand is the view of a tensor of a shape that repeats it up to another, to which it broadcasts.
func expand(shape, to []int64) view {
	v := view{to, make([]int64, len(to)), 0}
	for i, stride := range strides(shape) {
		if shape[i] != 1 {
			v.strides[len(to)-len(shape)+i] = stride
		}
	}
	return v
}

// around splits the number of elements of a shape at an axis: before it, of it, after it.
func around(shape []int64, axis int64) (outer, n, inner int64) {
	return size(shape[:axis]), shape[axis], size(shape[axis+1:])
}
