package onnx_test

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"mvag-torch/internal/onnx"
	"mvag-torch/internal/onnx/onnxeval"
)

var (
	floats = onnxeval.Floats
	ints   = onnxeval.Ints
	bytes8 = onnxeval.Bytes
	bools  = onnxeval.Bools
)

// up counts from 0 in steps.
func up(n int, step float32, shape ...int64) onnxeval.Tensor {
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(i) * step
	}
	return floats(values, shape...)
}

// operatorTest is a small graph. Its inputs are x0, x1, …, whose first dimension is open where open is not 0, that many
// times the number of objects. Its results are called y0, y1, ….
type operatorTest struct {
	inputs []onnxeval.Tensor
	open   int64
	build  func(b *onnx.Builder, x []*onnx.Value) []*onnx.Value
	shape  string // of the first result, as the builder says it
	want   []onnxeval.Tensor
}

func (c *operatorTest) model(t testing.TB, opset int, half bool) *onnx.Model {
	t.Helper()
	b := onnx.NewBuilder(opset, half)
	var x []*onnx.Value
	for i, in := range c.inputs {
		shape := onnx.Fixed(in.Shape...)
		if c.open != 0 {
			shape[0] = onnx.Objects(c.open)
		}
		x = append(x, b.Input(fmt.Sprint("x", i), "an input", in.Type, shape...))
	}
	for i, y := range c.build(b, x) {
		y = b.Output(y, fmt.Sprint("y", i), "a result")
		if i == 0 && y.Shape.String() != c.shape {
			t.Errorf("have shape %v, want %s", y.Shape, c.shape)
		}
	}
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	m.Name, m.Producer = "operator", "test"
	return m
}

func (c *operatorTest) bound() map[string]onnxeval.Tensor {
	in := map[string]onnxeval.Tensor{}
	for i, x := range c.inputs {
		in[fmt.Sprint("x", i)] = x
	}
	return in
}

// one makes a graph of one result.
func one(build func(b *onnx.Builder, x []*onnx.Value) *onnx.Value) func(*onnx.Builder, []*onnx.Value) []*onnx.Value {
	return func(b *onnx.Builder, x []*onnx.Value) []*onnx.Value { return []*onnx.Value{build(b, x)} }
}

// onTwo is a graph of one operation on the first two inputs, onOne of one on the first.
func onTwo(op func(b *onnx.Builder, x, y *onnx.Value) *onnx.Value) func(*onnx.Builder, []*onnx.Value) []*onnx.Value {
	return one(func(b *onnx.Builder, x []*onnx.Value) *onnx.Value { return op(b, x[0], x[1]) })
}

func onOne(op func(b *onnx.Builder, x *onnx.Value) *onnx.Value) func(*onnx.Builder, []*onnx.Value) []*onnx.Value {
	return one(func(b *onnx.Builder, x []*onnx.Value) *onnx.Value { return op(b, x[0]) })
}

// testModel writes, reads and evaluates the model of a test.
func testModel(t *testing.T, c *operatorTest, opset int) {
	path := filepath.Join(t.TempDir(), "m.onnx")
	if err := onnx.WriteFile(path, c.model(t, opset, false), false); err != nil {
		t.Fatal(err)
	}
	m, err := onnx.ReadModel(path)
	if err != nil {
		t.Fatal(err)
	}
	have, err := onnxeval.Run(m, c.bound())
	if err != nil {
		t.Fatal(err)
	}
	if len(have) != len(c.want) {
		t.Errorf("have %d results, want %d", len(have), len(c.want))
	}
	for i, want := range c.want {
		checkTensor(t, fmt.Sprint("y", i), have[fmt.Sprint("y", i)], want)
	}
}

func checkTensor(t *testing.T, name string, have, want onnxeval.Tensor) {
	t.Helper()
	same := func(a, b float32) bool {
		return a == b || a != a && b != b || math.Abs(float64(a-b)) <= 2e-6*max(1, math.Abs(float64(b)))
	}
	if have.Type != want.Type || !slices.Equal(have.Shape, want.Shape) || !slices.Equal(have.Ints, want.Ints) ||
		!slices.EqualFunc(have.Floats, want.Floats, same) {
		t.Errorf("%s: have %+v, want %+v", name, have, want)
	}
}

func TestOperators(t *testing.T) {
	for name, c := range operatorTests() {
		for opset := onnx.MinOpset; opset <= onnx.MaxOpset; opset++ {
			t.Run(fmt.Sprint(name, "/", opset), func(t *testing.T) { testModel(t, &c, opset) })
		}
	}
}
