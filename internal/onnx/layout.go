package onnx

import (
	"errors"
	"fmt"
	"slices"
)

// Reshape gives x other dimensions for the same elements.
func (b *Builder) Reshape(x *Value, dims ...Dim) *Value {
	if b.graph.err != nil {
		return &Value{}
	}
	have, known := x.Shape.elements()
	want, ok := Shape(dims).elements()
	if !known || !ok || have != want || Shape(dims).check() != nil {
		return b.fail("Reshape", fmt.Errorf("have %v, want as many elements as %v", x.Shape, Shape(dims)))
	}
	values := make([]int64, len(dims))
	for i, d := range dims {
		values[i] = d.N
		if d.Objects {
			values[i] = -1
		}
	}
	return b.add("Reshape", x.Type, dims, []*Value{x, b.Ints(values...)})
}

// Transpose reorders the axes.
func (b *Builder) Transpose(x *Value, perm ...int64) *Value {
	if b.graph.err != nil {
		return &Value{}
	}
	shape := make(Shape, len(perm))
	for axis := range x.Shape {
		i := slices.Index(perm, int64(axis))
		if i < 0 || len(perm) != len(x.Shape) {
			return b.fail("Transpose", fmt.Errorf("have axes %v of %v, want each once", perm, x.Shape))
		}
		shape[i] = x.Shape[axis]
	}
	if len(x.Shape) == 0 {
		return b.fail("Transpose", errors.New("have no dimensions, want some"))
	}
	return b.add("Transpose", x.Type, shape, []*Value{x}, Attribute{"perm", slices.Clone(perm)})
}

// Slice takes n elements of an axis, from one on.
func (b *Builder) Slice(x *Value, axis int, from, n int64) *Value {
	at, err := x.Shape.axis(axis)
	if err == nil && (x.Shape[at].Objects || from < 0 || n < 1 || from+n > x.Shape[at].N) {
		err = fmt.Errorf("have elements %d to %d of axis %d of %v, want fewer", from, from+n, axis, x.Shape)
	}
	if err != nil {
		return b.fail("Slice", err)
	}
	return b.add("Slice", x.Type, x.Shape.with(at, Dim{N: n}),
		[]*Value{x, b.Ints(from), b.Ints(from + n), b.Ints(int64(at))})
}

// Split cuts an axis into n equal parts.
func (b *Builder) Split(x *Value, axis int, n int64) []*Value {
	out := make([]*Value, max(n, 1))
	for i := range out {
		out[i] = &Value{}
	}
	at, err := x.Shape.axis(axis)
	if err == nil && (x.Shape[at].Objects || n < 1 || x.Shape[at].N%n != 0) {
		err = fmt.Errorf("have axis %d of %v, want %d equal parts", axis, x.Shape, n)
	}
	if err != nil {
		b.fail("Split", err)
		return out
	}
	part := x.Shape[at].N / n
	for i := range out {
		out[i] = &Value{Type: x.Type, Shape: x.Shape.with(at, Dim{N: part})}
	}
	parts := b.Ints(slices.Repeat([]int64{part}, int(n))...)
	return b.addAll("Split", out, []*Value{x, parts}, Attribute{"axis", int64(at)})
}

// Concat joins values along an axis.
func (b *Builder) Concat(axis int, xs ...*Value) *Value {
	if len(xs) == 0 {
		return b.fail("Concat", errors.New("have no value, want some"))
	}
	if !b.want("Concat", xs[0].Type, xs...) {
		return &Value{}
	}
	at, err := xs[0].Shape.axis(axis)
	if err != nil {
		return b.fail("Concat", err)
	}
	n, like := int64(0), xs[0].Shape
	for _, x := range xs {
		if len(x.Shape) != len(like) || x.Shape[at].Objects || !slices.Equal(x.Shape.with(at, Dim{}), like.with(at, Dim{})) {
			return b.fail("Concat", fmt.Errorf("have %v and %v, want equal dimensions but for axis %d", like, x.Shape, axis))
		}
		n += x.Shape[at].N
	}
	return b.add("Concat", xs[0].Type, like.with(at, Dim{N: n}), slices.Clone(xs), Attribute{"axis", int64(at)})
}

// Gather takes the elements of an axis that indices, int64, name: their dimensions stand for the axis.
func (b *Builder) Gather(x *Value, axis int, indices *Value) *Value {
	at, err := x.Shape.axis(axis)
	if err != nil {
		return b.fail("Gather", err)
	}
	if !b.want("Gather", Int64, indices) {
		return &Value{}
	}
	shape := slices.Concat(x.Shape[:at], indices.Shape, x.Shape[at+1:])
	return b.add("Gather", x.Type, shape, []*Value{x, indices}, Attribute{"axis", int64(at)})
}

// Repeat repeats x, whose first dimension is 1, as often as like has elements in its first.
func (b *Builder) Repeat(x, like *Value) *Value {
	if b.graph.err != nil {
		return &Value{}
	}
	if len(x.Shape) == 0 || x.Shape[0] != (Dim{N: 1}) {
		return b.fail("Expand", fmt.Errorf("have %v, want a first dimension of 1", x.Shape))
	}
	if len(like.Shape) == 0 {
		return b.fail("Expand", fmt.Errorf("have %v, want a first dimension", like.Shape))
	}
	sizes := make([]int64, len(x.Shape)-1)
	for i, d := range x.Shape[1:] {
		if sizes[i] = d.N; d.Objects {
			return b.fail("Expand", fmt.Errorf("have %v, want fixed dimensions", x.Shape))
		}
	}
	dims := b.Slice(b.shape(like), 0, 0, 1)
	if len(sizes) > 0 {
		dims = b.Concat(0, dims, b.Ints(sizes...))
	}
	return b.add("Expand", x.Type, x.Shape.with(0, like.Shape[0]), []*Value{x, dims})
}

// Require is x [n] or [n, m], where n is the first dimension of like. Runtimes refuse other inputs here, which they might
// broadcast elsewhere: a column of like is joined to x and cut off again. A Reshape would not do, as optimisers take the
// dimensions for equal and remove it.
func (b *Builder) Require(x, like *Value) *Value {
	if b.graph.err != nil {
		return &Value{}
	}
	if len(x.Shape) < 1 || len(x.Shape) > 2 || len(like.Shape) == 0 || x.Shape[0] != like.Shape[0] {
		return b.fail("Concat", fmt.Errorf("have %v and %v, want [n] or [n, m] and [n, …]", x.Shape, like.Shape))
	}
	column := like
	for axis := range like.Shape[1:] {
		column = b.Slice(column, axis+1, 0, 1)
	}
	n, m := x.Shape[0], Dim{N: 1}
	if len(x.Shape) == 2 {
		m = x.Shape[1]
	}
	joined := b.Concat(1, b.Reshape(x, n, m), b.Cast(b.Reshape(column, n, Dim{N: 1}), x.Type))
	return b.Reshape(b.Slice(joined, 1, 0, m.N), x.Shape...)
}

// Fill is v in the shape of like.
func (b *Builder) Fill(v float32, like *Value) *Value {
	if b.graph.err != nil {
		return &Value{}
	}
	return b.add("Expand", Float, like.Shape, []*Value{b.Scalar(v), b.shape(like)})
}

// shape is the dimensions of x as they are when the model runs.
func (b *Builder) shape(x *Value) *Value {
	return b.add("Shape", Int64, Fixed(int64(len(x.Shape))), []*Value{x})
}

// ReduceSum, ReduceMean and ReduceMax reduce an axis, to length 1 where keep is true, else away.
func (b *Builder) ReduceSum(x *Value, axis int, keep bool) *Value {
	return b.reduce("ReduceSum", x, axis, keep, true)
}

// ReduceMean is the mean over an axis, see ReduceSum.
func (b *Builder) ReduceMean(x *Value, axis int, keep bool) *Value {
	return b.reduce("ReduceMean", x, axis, keep, b.graph.opset >= 18)
}

// ReduceMax is the maximum over an axis, see ReduceSum. OpenVINO's maximum of nothing but -Inf is the least finite
// number.
func (b *Builder) ReduceMax(x *Value, axis int, keep bool) *Value {
	return b.reduce("ReduceMax", x, axis, keep, b.graph.opset >= 18)
}

// reduce adds a reduction, whose axes are an input or, in earlier operator sets, an attribute.
func (b *Builder) reduce(op string, x *Value, axis int, keep, asInput bool) *Value {
	at, err := x.Shape.axis(axis)
	if err != nil {
		return b.fail(op, err)
	}
	if !b.want(op, Float, x) {
		return &Value{}
	}
	attributes, in := []Attribute{{"keepdims", int64(0)}}, []*Value{x}
	shape := slices.Delete(slices.Clone(x.Shape), at, at+1)
	if keep {
		attributes[0].Value, shape = int64(1), x.Shape.with(at, Dim{N: 1})
	}
	if asInput {
		in = append(in, b.Ints(int64(at)))
	} else {
		attributes = append(attributes, Attribute{"axes", []int64{int64(at)}})
	}
	return b.add(op, Float, shape, in, attributes...)
}

// TopK returns the k largest, or smallest, elements of the last axis, in order, and their indices. Of equal elements
// the first comes first; in OpenVINO any.
func (b *Builder) TopK(x *Value, k int64, largest bool) (values, indices *Value) {
	if !b.want("TopK", Float, x) {
		return &Value{}, &Value{}
	}
	at, err := x.Shape.axis(-1)
	if err == nil && (x.Shape[at].Objects || k < 1 || k > x.Shape[at].N) {
		err = fmt.Errorf("have %d of the last axis of %v, want fewer", k, x.Shape)
	}
	if err != nil {
		return b.fail("TopK", err), &Value{}
	}
	which := int64(0)
	if largest {
		which = 1
	}
	shape := x.Shape.with(at, Dim{N: k})
	out := b.addAll("TopK", []*Value{{Type: Float, Shape: shape}, {Type: Int64, Shape: shape}},
		[]*Value{x, b.Ints(k)}, Attribute{"axis", int64(at)}, Attribute{"largest", which}, Attribute{"sorted", int64(1)})
	return out[0], out[1]
}

// Scatter is x with the updates at these indices of the last axis. The other dimensions are those of x.
func (b *Builder) Scatter(x, indices, updates *Value) *Value {
	if !b.want("ScatterElements", x.Type, updates) || !b.want("ScatterElements", Int64, indices) {
		return &Value{}
	}
	at, err := x.Shape.axis(-1)
	if err == nil && (len(indices.Shape) != len(x.Shape) || !slices.Equal(indices.Shape, updates.Shape) ||
		!slices.Equal(indices.Shape[:at], x.Shape[:at])) {
		err = fmt.Errorf("have %v, indices %v and updates %v, want them equal but for the last axis of the first",
			x.Shape, indices.Shape, updates.Shape)
	}
	if err != nil {
		return b.fail("ScatterElements", err)
	}
	return b.add("ScatterElements", x.Type, x.Shape, []*Value{x, indices, updates}, Attribute{"axis", int64(at)})
}
