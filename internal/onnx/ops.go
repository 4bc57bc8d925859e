package onnx

import (
	"fmt"
	"slices"
)

// Attribute is a constant of an operation: an int64, float32, string or []int64.
type Attribute struct {
	Name  string
	Value any
}

// want reports a fault unless all values have this type.
func (b *Builder) want(op string, t DataType, values ...*Value) bool {
	if b.graph.err != nil {
		return false
	}
	for _, v := range values {
		if v.Type != t {
			b.fail(op, fmt.Errorf("have %s %v (%s), want %s", v.Type, v.Shape, v.name, t))
			return false
		}
	}
	return true
}

// elementwise adds an operation on two values of one type that broadcast.
func (b *Builder) elementwise(op string, x, y *Value, result DataType) *Value {
	if !b.want(op, x.Type, y) {
		return &Value{}
	}
	shape, err := broadcast(x.Shape, y.Shape)
	if err != nil {
		return b.fail(op, err)
	}
	return b.add(op, result, shape, []*Value{x, y})
}

// Add is x + y.
func (b *Builder) Add(x, y *Value) *Value { return b.elementwise("Add", x, y, x.Type) }

// Minus is x - y.
func (b *Builder) Minus(x, y *Value) *Value { return b.elementwise("Sub", x, y, x.Type) }

// Mul is x · y, element by element.
func (b *Builder) Mul(x, y *Value) *Value { return b.elementwise("Mul", x, y, x.Type) }

// Div is x / y.
func (b *Builder) Div(x, y *Value) *Value { return b.elementwise("Div", x, y, x.Type) }

// Min is the smaller of x and y.
func (b *Builder) Min(x, y *Value) *Value { return b.elementwise("Min", x, y, x.Type) }

// Max is the larger of x and y.
func (b *Builder) Max(x, y *Value) *Value { return b.elementwise("Max", x, y, x.Type) }

// Less is x < y.
func (b *Builder) Less(x, y *Value) *Value { return b.elementwise("Less", x, y, Bool) }

// LessOrEqual is x <= y.
func (b *Builder) LessOrEqual(x, y *Value) *Value { return b.elementwise("LessOrEqual", x, y, Bool) }

// And is true where both are.
func (b *Builder) And(x, y *Value) *Value {
	if !b.want("And", Bool, x, y) {
		return &Value{}
	}
	return b.elementwise("And", x, y, Bool)
}

// Where is x where condition is true, else y.
func (b *Builder) Where(condition, x, y *Value) *Value {
	if !b.want("Where", Bool, condition) || !b.want("Where", x.Type, y) {
		return &Value{}
	}
	shape, err := broadcast(x.Shape, y.Shape)
	if err == nil {
		shape, err = broadcast(condition.Shape, shape)
	}
	if err != nil {
		return b.fail("Where", err)
	}
	return b.add("Where", x.Type, shape, []*Value{condition, x, y})
}

// unary adds an operation that keeps type and shape.
func (b *Builder) unary(op string, x *Value, attributes ...Attribute) *Value {
	if b.graph.err != nil {
		return &Value{}
	}
	return b.add(op, x.Type, x.Shape, []*Value{x}, attributes...)
}

// Not is the negation.
func (b *Builder) Not(x *Value) *Value {
	if !b.want("Not", Bool, x) {
		return &Value{}
	}
	return b.unary("Not", x)
}

// Neg is -x.
func (b *Builder) Neg(x *Value) *Value { return b.unary("Neg", x) }

// Sqrt is the square root.
func (b *Builder) Sqrt(x *Value) *Value { return b.unary("Sqrt", x) }

// Log is the natural logarithm.
func (b *Builder) Log(x *Value) *Value { return b.unary("Log", x) }

// Asinh is the inverse hyperbolic sine.
func (b *Builder) Asinh(x *Value) *Value { return b.unary("Asinh", x) }

// Floor rounds down.
func (b *Builder) Floor(x *Value) *Value { return b.unary("Floor", x) }

// Sigmoid is 1 / (1 + exp(-x)).
func (b *Builder) Sigmoid(x *Value) *Value { return b.unary("Sigmoid", x) }

// Elu is x where x is above 0, else exp(x) - 1.
func (b *Builder) Elu(x *Value) *Value { return b.unary("Elu", x) }

// Softmax is over an axis.
func (b *Builder) Softmax(x *Value, axis int) *Value {
	at, err := x.Shape.axis(axis)
	if err != nil {
		return b.fail("Softmax", err)
	}
	return b.unary("Softmax", x, Attribute{"axis", int64(at)})
}

// GELU is the exact one: x·Φ(x). Operator set 20 has it; before, it is made of Erf, which runtimes recognise.
func (b *Builder) GELU(x *Value) *Value {
	if b.graph.opset >= 20 {
		return b.unary("Gelu", x)
	}
	phi := b.Add(b.unary("Erf", b.Div(x, b.Scalar(1.4142135623730951))), b.Scalar(1))
	return b.Mul(b.Mul(x, phi), b.Scalar(0.5))
}

// LayerNorm normalises the last dimension.
func (b *Builder) LayerNorm(x, weight, bias *Value, eps float64) *Value {
	if !b.want("LayerNormalization", Float, x, weight, bias) {
		return &Value{}
	}
	last := Shape{x.Shape[len(x.Shape)-1]}
	if !slices.Equal(weight.Shape, last) || !slices.Equal(bias.Shape, last) {
		return b.fail("LayerNormalization", fmt.Errorf("have weight %v and bias %v, want %v", weight.Shape, bias.Shape, last))
	}
	return b.add("LayerNormalization", Float, x.Shape, []*Value{x, weight, bias},
		Attribute{"axis", int64(-1)}, Attribute{"epsilon", float32(eps)})
}

// Cast converts elements.
func (b *Builder) Cast(x *Value, to DataType) *Value {
	if b.graph.err != nil {
		return &Value{}
	}
	return b.add("Cast", to, x.Shape, []*Value{x}, Attribute{"to", int64(to)})
}

// MatMul multiplies the matrices of the last two dimensions; those before broadcast.
func (b *Builder) MatMul(x, y *Value) *Value {
	if !b.want("MatMul", Float, x, y) {
		return &Value{}
	}
	m, n := len(x.Shape), len(y.Shape)
	if m < 2 || n < 2 || x.Shape[m-1] != y.Shape[n-2] {
		return b.fail("MatMul", fmt.Errorf("have %v and %v (%s), want matrices that multiply", x.Shape, y.Shape, y.name))
	}
	shape, err := broadcast(x.Shape[:m-2], y.Shape[:n-2])
	if err != nil {
		return b.fail("MatMul", err)
	}
	return b.add("MatMul", Float, append(slices.Clone(shape), x.Shape[m-2], y.Shape[n-1]), []*Value{x, y})
}

// Conv is a convolution without padding of x [B, C, H, W] by weight [D, C, k, k] that moves by stride, k pixels where
// patches do not overlap. bias [D] may be nil.
func (b *Builder) Conv(x, weight, bias *Value, stride int64) *Value {
	in := []*Value{x, weight}
	if bias != nil {
		in = append(in, bias)
	}
	if !b.want("Conv", Float, in...) {
		return &Value{}
	}
	w := weight.Shape
	if len(x.Shape) != 4 || len(w) != 4 || x.Shape[1] != w[1] || bias != nil && !slices.Equal(bias.Shape, w[:1]) {
		return b.fail("Conv", fmt.Errorf("have %v and weight %v, want [B, C, H, W] and [D, C, k, k]", x.Shape, w))
	}
	side := func(n, k Dim) Dim { return Dim{N: (n.N-k.N)/stride + 1} }
	shape := Shape{x.Shape[0], w[0], side(x.Shape[2], w[2]), side(x.Shape[3], w[3])}
	return b.add("Conv", Float, shape, in,
		Attribute{"kernel_shape", []int64{w[2].N, w[3].N}}, Attribute{"strides", []int64{stride, stride}})
}

// Reshape gives x other dimensions for the same elements.
func (b *Builder) Reshape(x *Value, dims ...Dim) *Value {
	if b.graph.err != nil {
		return &Value{}
	}
	have, _ := x.Shape.elements()
	want, ok := Shape(dims).elements()
	if !ok || have != want {
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
	seen := map[int64]bool{}
	for i, p := range perm {
		if len(perm) != len(x.Shape) || p < 0 || p >= int64(len(perm)) || seen[p] {
			return b.fail("Transpose", fmt.Errorf("have axes %v of %v, want each once", perm, x.Shape))
		}
		seen[p], shape[i] = true, x.Shape[p]
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
	out := make([]*Value, n)
	for i := range out {
		out[i] = &Value{}
	}
	at, err := x.Shape.axis(axis)
	if err == nil && (x.Shape[at].Objects || x.Shape[at].N%n != 0) {
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
	return b.addAll("Split", out, []*Value{x, b.Ints(slices.Repeat([]int64{part}, int(n))...)}, Attribute{"axis", int64(at)})
}

// Concat joins values along an axis.
func (b *Builder) Concat(axis int, xs ...*Value) *Value {
	if !b.want("Concat", xs[0].Type, xs...) {
		return &Value{}
	}
	at, err := xs[0].Shape.axis(axis)
	if err != nil {
		return b.fail("Concat", err)
	}
	n := int64(0)
	for _, x := range xs {
		if len(x.Shape) != len(xs[0].Shape) || x.Shape[at].Objects || !slices.Equal(x.Shape.with(at, Dim{}), xs[0].Shape.with(at, Dim{})) {
			return b.fail("Concat", fmt.Errorf("have %v and %v, want equal dimensions but for axis %d", xs[0].Shape, x.Shape, axis))
		}
		n += x.Shape[at].N
	}
	return b.add("Concat", xs[0].Type, xs[0].Shape.with(at, Dim{N: n}), xs, Attribute{"axis", int64(at)})
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
	if len(x.Shape) == 0 || len(like.Shape) == 0 || x.Shape[0] != (Dim{N: 1}) {
		return b.fail("Expand", fmt.Errorf("have %v and %v, want a first dimension of 1", x.Shape, like.Shape))
	}
	sizes := make([]int64, len(x.Shape)-1)
	for i, d := range x.Shape[1:] {
		if sizes[i] = d.N; d.Objects {
			return b.fail("Expand", fmt.Errorf("have %v, want fixed dimensions", x.Shape))
		}
	}
	first := b.Slice(b.shape(like), 0, 0, 1)
	return b.add("Expand", x.Type, x.Shape.with(0, like.Shape[0]), []*Value{x, b.Concat(0, first, b.Ints(sizes...))})
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

// ReduceMax is the maximum over an axis, see ReduceSum.
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

// TopK returns the k largest, or smallest, elements of the last axis, in order, and their indices.
func (b *Builder) TopK(x *Value, k int64, largest bool) (values, indices *Value) {
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
	out := b.addAll("TopK", []*Value{{Type: x.Type, Shape: shape}, {Type: Int64, Shape: shape}},
		[]*Value{x, b.Ints(k)}, Attribute{"axis", int64(at)}, Attribute{"largest", which}, Attribute{"sorted", int64(1)})
	return out[0], out[1]
}

// Scatter is x with the updates at these indices of the last axis.
func (b *Builder) Scatter(x, indices, updates *Value) *Value {
	if !b.want("ScatterElements", x.Type, updates) || !b.want("ScatterElements", Int64, indices) {
		return &Value{}
	}
	if len(x.Shape) != len(indices.Shape) || !slices.Equal(indices.Shape, updates.Shape) {
		return b.fail("ScatterElements", fmt.Errorf("have indices %v and updates %v, want equal ones", indices.Shape, updates.Shape))
	}
	return b.add("ScatterElements", x.Type, x.Shape, []*Value{x, indices, updates}, Attribute{"axis", int64(len(x.Shape) - 1)})
}
