package onnxeval

import (
	"errors"
	"fmt"
	"math"

	"mvag-torch/internal/onnx"
	"mvag-torch/internal/safetensors"
)

// operator evaluates a node that has from least to most inputs.
type operator struct {
	least, most int
	eval        func(c *call) ([]Tensor, error)
}

// operators are those that onnx.Builder writes.
var operators map[string]operator

func init() {
	operators = map[string]operator{
		"LayerNormalization": {3, 3, layerNorm}, "MatMul": {2, 2, matMul}, "Conv": {2, 3, conv}, "Softmax": {1, 1, softmax},
		"Cast": {1, 1, cast}, "Not": {1, 1, not}, "And": {2, 2, and}, "Where": {3, 3, where},
		"Less": {2, 2, compare}, "LessOrEqual": {2, 2, compare},
		"ReduceSum": {2, 2, reduce}, "ReduceMean": {1, 2, reduce}, "ReduceMax": {1, 2, reduce}, "TopK": {2, 2, topK},
		"Identity": {1, 1, identity}, "Shape": {1, 1, shapeOf}, "Expand": {2, 2, expandTo}, "Reshape": {2, 2, reshape},
		"Transpose": {1, 1, transpose}, "Slice": {4, 4, slice}, "Split": {2, 2, split}, "Concat": {1, math.MaxInt, concat},
		"Gather": {2, 2, gather}, "ScatterElements": {3, 3, scatter},
	}
	for name := range unary {
		operators[name] = operator{1, 1, applyUnary}
	}
	for name := range arithmetic {
		operators[name] = operator{2, 2, applyArithmetic}
	}
}

// unary are the functions of one number.
var unary = map[string]func(x float64) float64{
	"Neg":     func(x float64) float64 { return -x },
	"Sqrt":    math.Sqrt,
	"Log":     math.Log,
	"Asinh":   math.Asinh,
	"Floor":   math.Floor,
	"Erf":     math.Erf,
	"Sigmoid": func(x float64) float64 { return 1 / (1 + math.Exp(-x)) },
	"Gelu":    func(x float64) float64 { return x * (1 + math.Erf(x/math.Sqrt2)) / 2 },
	"Elu": func(x float64) float64 {
		if x > 0 {
			return x
		}
		return math.Expm1(x)
	},
}

func applyUnary(c *call) ([]Tensor, error) {
	if c.op == "Gelu" && c.opset < 20 {
		return nil, fmt.Errorf("have opset %d, want 20", c.opset)
	}
	x := c.in[0]
	out := make([]float32, len(x.Floats))
	for i, v := range x.Floats {
		out[i] = float32(unary[c.op](float64(v)))
	}
	return []Tensor{x.like(out)}, nil
}

// arithmetic are the functions of two numbers of one type. NaN of either is NaN.
var arithmetic = map[string]struct {
	floats func(a, b float32) float32
	ints   func(a, b int64) int64
}{
	"Add": {func(a, b float32) float32 { return a + b }, func(a, b int64) int64 { return a + b }},
	"Sub": {func(a, b float32) float32 { return a - b }, func(a, b int64) int64 { return a - b }},
	"Mul": {func(a, b float32) float32 { return a * b }, func(a, b int64) int64 { return a * b }},
	"Div": {func(a, b float32) float32 { return a / b }, func(a, b int64) int64 { return a / b }},
	"Min": {func(a, b float32) float32 { return min(a, b) }, func(a, b int64) int64 { return min(a, b) }},
	"Max": {func(a, b float32) float32 { return max(a, b) }, func(a, b int64) int64 { return max(a, b) }},
}

// pairs brings two inputs of one type to one shape.
func (c *call) pairs() (x, y Tensor, err error) {
	x, y = c.in[0], c.in[1]
	if x.Type != y.Type {
		return x, y, fmt.Errorf("have %s and %s, want one type", x.Type, y.Type)
	}
	shape, err := broadcast(x.Shape, y.Shape)
	if err != nil {
		return x, y, err
	}
	return x.pick(expand(x.Shape, shape).positions(), shape), y.pick(expand(y.Shape, shape).positions(), shape), nil
}

func applyArithmetic(c *call) ([]Tensor, error) {
	x, y, err := c.pairs()
	if err != nil {
		return nil, err
	}
	op := arithmetic[c.op]
	for i := range x.Floats {
		x.Floats[i] = op.floats(x.Floats[i], y.Floats[i])
	}
	for i := range x.Ints {
		if c.op == "Div" && y.Ints[i] == 0 {
			return nil, errors.New("have a division by 0")
		}
		x.Ints[i] = op.ints(x.Ints[i], y.Ints[i])
	}
	return []Tensor{x}, nil
}

func compare(c *call) ([]Tensor, error) {
	x, y, err := c.pairs()
	if err != nil {
		return nil, err
	}
	equal := c.op == "LessOrEqual"
	out := make([]bool, x.len())
	for i := range x.Floats {
		out[i] = x.Floats[i] < y.Floats[i] || equal && x.Floats[i] == y.Floats[i]
	}
	for i := range x.Ints {
		out[i] = x.Ints[i] < y.Ints[i] || equal && x.Ints[i] == y.Ints[i]
	}
	return []Tensor{Bools(out, x.Shape...)}, nil
}

func and(c *call) ([]Tensor, error) {
	x, y, err := c.pairs()
	if err != nil {
		return nil, err
	}
	for i := range x.Ints {
		x.Ints[i] &= y.Ints[i]
	}
	return []Tensor{x}, nil
}

func not(c *call) ([]Tensor, error) {
	out := Tensor{Type: onnx.Bool, Shape: c.in[0].Shape, Ints: make([]int64, len(c.in[0].Ints))}
	for i, v := range c.in[0].Ints {
		out.Ints[i] = 1 - v
	}
	return []Tensor{out}, nil
}

func where(c *call) ([]Tensor, error) {
	condition, x, y := c.in[0], c.in[1], c.in[2]
	if condition.Type != onnx.Bool || x.Type != y.Type {
		return nil, fmt.Errorf("have %s, %s and %s, want BOOL and one type", condition.Type, x.Type, y.Type)
	}
	shape, err := broadcast(condition.Shape, x.Shape, y.Shape)
	if err != nil {
		return nil, err
	}
	out := x.pick(expand(x.Shape, shape).positions(), shape)
	otherwise := expand(y.Shape, shape).positions()
	for i, at := range expand(condition.Shape, shape).positions() {
		switch {
		case condition.Ints[at] != 0:
		case out.real():
			out.Floats[i] = y.Floats[otherwise[i]]
		default:
			out.Ints[i] = y.Ints[otherwise[i]]
		}
	}
	return []Tensor{out}, nil
}

// cast rounds to nearest for float16, towards 0 for integers.
func cast(c *call) ([]Tensor, error) {
	x := c.in[0]
	out := Tensor{Type: onnx.DataType(take(c, "to", int64(0))), Shape: x.Shape}
	for i := range x.len() {
		var f float64
		if x.real() {
			f = float64(x.Floats[i])
		} else {
			f = float64(x.Ints[i])
		}
		switch out.Type {
		case onnx.Float:
			out.Floats = append(out.Floats, float32(f))
		case onnx.Float16:
			out.Floats = append(out.Floats, safetensors.Float16ToFloat32(safetensors.Float32ToFloat16(float32(f))))
		case onnx.Bool:
			out.Ints = append(out.Ints, number(f != 0))
		case onnx.Int64, onnx.Uint8:
			out.Ints = append(out.Ints, int64(f))
		default:
			return nil, fmt.Errorf("have %s, want FLOAT, FLOAT16, BOOL, INT64 or UINT8", out.Type)
		}
	}
	return []Tensor{out}, nil
}

// layerNorm normalises the last dimension.
func layerNorm(c *call) ([]Tensor, error) {
	axis, err := c.axis(-1)
	if err != nil {
		return nil, err
	}
	x, weight, bias := c.in[0], c.in[1].Floats, c.in[2].Floats
	_, n, inner := around(x.Shape, axis)
	if inner != 1 || int64(len(weight)) != n || int64(len(bias)) != n {
		return nil, fmt.Errorf("have %v, weight %v and bias %v, want the last dimension",
			x.Shape, c.in[1].Shape, c.in[2].Shape)
	}
	eps := float64(take(c, "epsilon", float32(1e-5)))
	out := make([]float32, len(x.Floats))
	for at := int64(0); at < int64(len(out)); at += n {
		var sum, squares float64
		for _, v := range x.Floats[at : at+n] {
			sum += float64(v)
		}
		mean := sum / float64(n)
		for _, v := range x.Floats[at : at+n] {
			squares += (float64(v) - mean) * (float64(v) - mean)
		}
		scale := 1 / math.Sqrt(squares/float64(n)+eps)
		for i := range n {
			out[at+i] = float32((float64(x.Floats[at+i])-mean)*scale*float64(weight[i]) + float64(bias[i]))
		}
	}
	return []Tensor{x.like(out)}, nil
}

func softmax(c *call) ([]Tensor, error) {
	axis, err := c.axis(-1)
	if err != nil {
		return nil, err
	}
	x := c.in[0]
	out := make([]float32, len(x.Floats))
	outer, n, inner := around(x.Shape, axis)
	for o := range outer {
		for i := range inner {
			at := func(k int64) int64 { return (o*n+k)*inner + i }
			largest, sum := math.Inf(-1), 0.0
			for k := range n {
				largest = max(largest, float64(x.Floats[at(k)]))
			}
			for k := range n {
				sum += math.Exp(float64(x.Floats[at(k)]) - largest)
			}
			for k := range n {
				out[at(k)] = float32(math.Exp(float64(x.Floats[at(k)])-largest) / sum)
			}
		}
	}
	return []Tensor{x.like(out)}, nil
}
