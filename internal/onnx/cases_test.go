package onnx_test

import (
	"maps"
	"math"
	"slices"

	"mvag-torch/internal/onnx"
	"mvag-torch/internal/onnx/onnxeval"
)

type (
	builder = onnx.Builder
	value   = onnx.Value
	tensors = []onnxeval.Tensor
)

var (
	inf = float32(math.Inf(1))
	nan = float32(math.NaN())
)

// operatorTests has each operation of the builder. The values are worked out by hand; those of functions are of their
// tables: erf(1/√2) = 0.6826894921, and so on.
func operatorTests() map[string]operatorTest {
	all := elementwiseTests()
	maps.Copy(all, layoutTests())
	maps.Copy(all, sumTests())
	return all
}

func elementwiseTests() map[string]operatorTest {
	column, row := floats([]float32{1, -2}, 2, 1), floats([]float32{4, 0, -3}, 3)
	pair := tensors{column, row}
	of := func(v ...float32) tensors { return tensors{floats(v, 2, 3)} }
	truth := func(v ...bool) tensors { return tensors{bools(v, 2, 3)} }
	whole := tensors{ints([]int64{7, -7}, 2), ints([]int64{2}, 1)}
	is := func(v ...int64) tensors { return tensors{ints(v, int64(len(v)))} }
	points := tensors{floats([]float32{-1, 0, 0.5, 1}, 4)}
	at := func(v ...float32) tensors { return tensors{floats(v, 4)} }
	bits := tensors{bools([]bool{true, true, false, false}, 4), bools([]bool{true, false, true, false}, 4)}
	return map[string]operatorTest{
		"Add":      {pair, 0, onTwo((*builder).Add), "[2, 3]", of(5, 1, -2, 2, -2, -5)},
		"Add ints": {whole, 0, onTwo((*builder).Add), "[2]", is(9, -5)},
		"Add open": {
			pair[:1],
			2,
			onOne(func(b *builder, x *value) *value { return b.Add(b.Scalar(1), x) }),
			"[2*objects, 1]",
			tensors{floats([]float32{2, -1}, 2, 1)},
		},
		"Minus":    {pair, 0, onTwo((*builder).Minus), "[2, 3]", of(-3, 1, 4, -6, -2, 1)},
		"Mul":      {pair, 0, onTwo((*builder).Mul), "[2, 3]", of(4, 0, -3, -8, 0, 6)},
		"Div":      {pair, 0, onTwo((*builder).Div), "[2, 3]", of(0.25, inf, -1./3, -0.5, -inf, 2./3)},
		"Div ints": {whole, 0, onTwo((*builder).Div), "[2]", is(3, -3)},
		"Min":      {pair, 0, onTwo((*builder).Min), "[2, 3]", of(1, 0, -3, -2, -2, -3)},
		"Max":      {pair, 0, onTwo((*builder).Max), "[2, 3]", of(4, 1, 1, 4, 0, -2)},
		"Less": {
			tensors{column, floats([]float32{1, nan, 2}, 3)},
			0,
			onTwo((*builder).Less),
			"[2, 3]",
			truth(false, false, true, true, false, true),
		},
		"LessOrEqual": {
			tensors{column, floats([]float32{1, nan, 2}, 3)},
			0,
			onTwo((*builder).LessOrEqual),
			"[2, 3]",
			truth(true, false, true, true, false, true),
		},
		"Less ints": {whole, 0, onTwo((*builder).Less), "[2]", tensors{bools([]bool{false, true}, 2)}},
		"And": {
			bits,
			0,
			onTwo((*builder).And),
			"[4]",
			tensors{bools([]bool{true, false, false, false}, 4)},
		},
		"Not":  {bits, 0, onOne((*builder).Not), "[4]", tensors{bools([]bool{false, false, true, true}, 4)}},
		"Neg":  {points, 0, onOne((*builder).Neg), "[4]", at(1, 0, -0.5, -1)},
		"Sqrt": {points, 0, onOne((*builder).Sqrt), "[4]", at(nan, 0, math.Sqrt2/2, 1)},
		"Log":  {points, 0, onOne((*builder).Log), "[4]", at(nan, -inf, -math.Ln2, 0)},
		"Asinh": {
			points,
			0,
			onOne((*builder).Asinh),
			"[4]",
			at(-0.8813735870, 0, 0.4812118251, 0.8813735870),
		},
		"Floor": {
			tensors{floats([]float32{-1.5, -0.5, 0.5, 3}, 4)},
			0,
			onOne((*builder).Floor),
			"[4]",
			at(-2, -1, 0, 3),
		},
		"Sigmoid": {
			points,
			0,
			onOne((*builder).Sigmoid),
			"[4]",
			at(0.2689414214, 0.5, 0.6224593312, 0.7310585786),
		},
		"Elu":  {points, 0, onOne((*builder).Elu), "[4]", at(-0.6321205588, 0, 0.5, 1)},
		"GELU": {points, 0, onOne((*builder).GELU), "[4]", at(-0.1586552539, 0, 0.3457312306, 0.8413447461)},
		"Softmax": {
			tensors{floats([]float32{0, math.Ln2, -inf, 5, 5, 5}, 2, 3)},
			1,
			onOne(func(b *builder, x *value) *value { return b.Softmax(x, -1) }),
			"[objects, 3]",
			of(1./3, 2./3, 0, 1./3, 1./3, 1./3),
		},
		"Softmax columns": {
			tensors{floats([]float32{0, 0, 0, math.Ln2, 0, -inf}, 2, 3)},
			0,
			onOne(func(b *builder, x *value) *value { return b.Softmax(x, 0) }),
			"[2, 3]",
			of(1./3, 0.5, 1, 2./3, 0.5, 0),
		},
		"Cast uint8": {
			tensors{bytes8([]uint8{0, 255}, 2)},
			0,
			onOne(func(b *builder, x *value) *value { return b.Cast(x, onnx.Float) }),
			"[2]",
			tensors{floats([]float32{0, 255}, 2)},
		},
		"Cast bool": {
			bits[:1],
			0,
			onOne(func(b *builder, x *value) *value { return b.Cast(x, onnx.Float) }),
			"[4]",
			at(1, 1, 0, 0),
		},
		"Cast to int64": {
			tensors{floats([]float32{-1.5, 2.5}, 2)},
			0,
			onOne(func(b *builder, x *value) *value { return b.Cast(x, onnx.Int64) }),
			"[2]",
			is(-1, 2),
		},
		"Cast to bool": {
			tensors{floats([]float32{-1.5, 0}, 2)},
			0,
			onOne(func(b *builder, x *value) *value { return b.Cast(x, onnx.Bool) }),
			"[2]",
			tensors{bools([]bool{true, false}, 2)},
		},
		"Where": {tensors{bits[0], points[0]}, 0, onTwo(func(b *builder, c, x *value) *value {
			return b.Where(c, x, b.Scalar(nan))
		}), "[4]", at(-1, 0, nan, nan)},
		"Where ints": {tensors{bits[0]}, 0, onOne(func(b *builder, c *value) *value {
			return b.Where(b.Reshape(c, onnx.Fixed(2, 2)...), b.Ints(5, 6), b.Int(-1))
		}), "[2, 2]", tensors{ints([]int64{5, 6, -1, -1}, 2, 2)}},
		"Bools": {bits[:1], 0, onOne(func(b *builder, x *value) *value {
			return b.And(x, b.Bools("some", []bool{true, false}, 2, 1))
		}), "[2, 4]", tensors{bools([]bool{true, true, false, false, false, false, false, false}, 2, 4)}},
	}
}

func layoutTests() map[string]operatorTest {
	six := up(6, 1, 2, 3)
	d := func(n ...int64) []onnx.Dim { return onnx.Fixed(n...) }
	return map[string]operatorTest{
		"Reshape": {
			tensors{six},
			0,
			onOne(func(b *builder, x *value) *value { return b.Reshape(x, d(3, 1, 2)...) }),
			"[3, 1, 2]",
			tensors{up(6, 1, 3, 1, 2)},
		},
		"Reshape open": {
			tensors{six},
			2,
			onOne(func(b *builder, x *value) *value { return b.Reshape(x, onnx.Objects(1), onnx.Dim{N: 6}) }),
			"[objects, 6]",
			tensors{up(6, 1, 1, 6)},
		},
		"Reshape one": {
			tensors{up(1, 1, 1, 1)},
			0,
			onOne(func(b *builder, x *value) *value { return b.Reshape(x) }),
			"[]",
			tensors{floats([]float32{0})},
		},
		"Transpose": {
			tensors{six},
			1,
			onOne(func(b *builder, x *value) *value { return b.Transpose(x, 1, 0) }),
			"[3, objects]",
			tensors{floats([]float32{0, 3, 1, 4, 2, 5}, 3, 2)},
		},
		"Transpose 3": {
			tensors{up(8, 1, 2, 2, 2)},
			0,
			onOne(func(b *builder, x *value) *value { return b.Transpose(x, 2, 0, 1) }),
			"[2, 2, 2]",
			tensors{floats([]float32{0, 2, 4, 6, 1, 3, 5, 7}, 2, 2, 2)},
		},
		"Slice": {
			tensors{six},
			1,
			onOne(func(b *builder, x *value) *value { return b.Slice(x, -1, 1, 2) }),
			"[objects, 2]",
			tensors{floats([]float32{1, 2, 4, 5}, 2, 2)},
		},
		"Slice bytes": {
			tensors{bytes8([]uint8{1, 2, 3}, 3)},
			0,
			onOne(func(b *builder, x *value) *value { return b.Cast(b.Slice(x, 0, 0, 1), onnx.Int64) }),
			"[1]",
			tensors{ints([]int64{1}, 1)},
		},
		"Split": {
			tensors{six},
			1,
			func(b *builder, x []*value) []*value { return b.Split(x[0], 1, 3) },
			"[objects, 1]",
			tensors{floats([]float32{0, 3}, 2, 1), floats([]float32{1, 4}, 2, 1), floats([]float32{2, 5}, 2, 1)},
		},
		"Concat": {
			tensors{six, up(2, -1, 2, 1)},
			1,
			onTwo(func(b *builder, x, y *value) *value { return b.Concat(1, y, x) }),
			"[objects, 4]",
			tensors{floats([]float32{0, 0, 1, 2, -1, 3, 4, 5}, 2, 4)},
		},
		"Concat bools": {
			tensors{bools([]bool{true}, 1)},
			0,
			onOne(func(b *builder, x *value) *value { return b.Concat(0, x, b.Not(x)) }),
			"[2]",
			tensors{bools([]bool{true, false}, 2)},
		},
		"Gather": {
			tensors{six, ints([]int64{2, 0, 2, 1}, 2, 2)},
			0,
			onTwo(func(b *builder, x, i *value) *value { return b.Gather(x, 1, i) }),
			"[2, 2, 2]",
			tensors{floats([]float32{2, 0, 2, 1, 5, 3, 5, 4}, 2, 2, 2)},
		},
		"Gather open": {
			tensors{ints([]int64{1, 0, 1}, 3)},
			1,
			onOne(func(b *builder, i *value) *value { return b.Gather(b.Floats("table", six.Floats, 2, 3), 0, i) }),
			"[objects, 3]",
			tensors{floats([]float32{3, 4, 5, 0, 1, 2, 3, 4, 5}, 3, 3)},
		},
		"Gather one": {
			tensors{six},
			0,
			onOne(func(b *builder, x *value) *value { return b.Gather(x, 0, b.Int(1)) }),
			"[3]",
			tensors{floats([]float32{3, 4, 5}, 3)},
		},
		"Repeat": {
			tensors{six},
			2,
			onOne(func(b *builder, x *value) *value { return b.Repeat(b.Floats("two", []float32{7, 8}, 1, 2), x) }),
			"[2*objects, 2]",
			tensors{floats([]float32{7, 8, 7, 8}, 2, 2)},
		},
		"Repeat one": {
			tensors{six},
			1,
			onOne(func(b *builder, x *value) *value { return b.Repeat(b.Floats("seven", []float32{7}, 1), x) }),
			"[objects]",
			tensors{floats([]float32{7, 7}, 2)},
		},
		"Require": {
			tensors{six},
			1,
			onOne(func(b *builder, x *value) *value { return b.Require(b.Slice(x, 1, 1, 2), x) }),
			"[objects, 2]",
			tensors{floats([]float32{1, 2, 4, 5}, 2, 2)},
		},
		"Fill": {
			tensors{six},
			1,
			onOne(func(b *builder, x *value) *value { return b.Fill(-2, x) }),
			"[objects, 3]",
			tensors{floats(slices.Repeat([]float32{-2}, 6), 2, 3)},
		},
		"Scatter": {
			tensors{six, ints([]int64{2, 0}, 2, 1), floats([]float32{-1, -2}, 2, 1)},
			1,
			one(func(b *builder, x []*value) *value { return b.Scatter(x[0], x[1], x[2]) }),
			"[objects, 3]",
			tensors{floats([]float32{0, 1, -1, -2, 4, 5}, 2, 3)},
		},
		"Name twice": {
			tensors{six},
			0,
			onOne(func(b *builder, x *value) *value { return b.Name(b.Name(b.Neg(x), "a", "one"), "b", "two") }),
			"[2, 3]",
			tensors{up(6, -1, 2, 3)},
		},
		"Output inputs": {
			tensors{six},
			1,
			func(_ *builder, x []*value) []*value { return []*value{x[0], x[0]} },
			"[objects, 3]",
			tensors{six, six},
		},
		"Half": {tensors{up(2, 1, 2)}, 0, onOne(func(b *builder, x *value) *value {
			return b.Add(x, b.Cast(b.Half("half", []byte{0, 0x3c, 1, 0}, 2), onnx.Float)) // 1 and 2⁻²⁴, IEEE 754
		}), "[2]", tensors{floats([]float32{1, 1 + 0x1p-24}, 2)}},
	}
}
