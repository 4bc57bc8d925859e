package onnx

import (
	"fmt"
	"slices"
)

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

// numbers reports a fault unless x has numbers to compute with.
func (b *Builder) numbers(op string, x *Value) bool {
	return x.Type == Int64 || b.want(op, Float, x)
}

// arithmetic adds an operation on two values of numbers that broadcast.
func (b *Builder) arithmetic(op string, x, y *Value, result DataType) *Value {
	if !b.numbers(op, x) || !b.want(op, x.Type, y) {
		return &Value{}
	}
	return b.elementwise(op, x, y, result)
}

// elementwise adds an operation on two values that broadcast.
func (b *Builder) elementwise(op string, x, y *Value, result DataType) *Value {
	shape, err := broadcast(x.Shape, y.Shape)
	if err != nil {
		return b.fail(op, err)
	}
	return b.add(op, result, shape, []*Value{x, y})
}

// Add is x + y.
func (b *Builder) Add(x, y *Value) *Value { return b.arithmetic("Add", x, y, x.Type) }

// Minus is x - y.
func (b *Builder) Minus(x, y *Value) *Value { return b.arithmetic("Sub", x, y, x.Type) }

// Mul is x · y, element by element.
func (b *Builder) Mul(x, y *Value) *Value { return b.arithmetic("Mul", x, y, x.Type) }

// Div is x / y.
func (b *Builder) Div(x, y *Value) *Value { return b.arithmetic("Div", x, y, x.Type) }

// Min is the smaller of x and y.
func (b *Builder) Min(x, y *Value) *Value { return b.arithmetic("Min", x, y, x.Type) }

// Max is the larger of x and y.
func (b *Builder) Max(x, y *Value) *Value { return b.arithmetic("Max", x, y, x.Type) }

// Less is x < y.
func (b *Builder) Less(x, y *Value) *Value { return b.arithmetic("Less", x, y, Bool) }

// LessOrEqual is x <= y.
func (b *Builder) LessOrEqual(x, y *Value) *Value { return b.arithmetic("LessOrEqual", x, y, Bool) }

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

// unary adds an operation of float32 that keeps the shape.
func (b *Builder) unary(op string, x *Value, attributes ...Attribute) *Value {
	if !b.want(op, Float, x) {
		return &Value{}
	}
	return b.add(op, Float, x.Shape, []*Value{x}, attributes...)
}

// Not is the negation.
func (b *Builder) Not(x *Value) *Value {
	if !b.want("Not", Bool, x) {
		return &Value{}
	}
	return b.add("Not", Bool, x.Shape, []*Value{x})
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
	at, err := x.Shape.axis(-1)
	if err != nil {
		return b.fail("LayerNormalization", err)
	}
	last := x.Shape[at:]
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
	for i, k := range w[2:] {
		if n := x.Shape[2+i]; n.Objects || k.Objects || n.N < k.N || stride < 1 {
			return b.fail("Conv", fmt.Errorf("have %v, kernel %v and stride %d, want a kernel inside", x.Shape, w[2:], stride))
		}
	}
	side := func(n, k Dim) Dim { return Dim{N: (n.N-k.N)/stride + 1} }
	shape := Shape{x.Shape[0], w[0], side(x.Shape[2], w[2]), side(x.Shape[3], w[3])}
	return b.add("Conv", Float, shape, in,
		Attribute{"kernel_shape", []int64{w[2].N, w[3].N}}, Attribute{"strides", []int64{stride, stride}})
}
