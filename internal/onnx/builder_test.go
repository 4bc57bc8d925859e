package onnx_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mvag-torch/internal/onnx"
	"mvag-torch/internal/onnx/onnxeval"
)

// TestFaults: a fault is one line with the place, and operations after it do nothing.
func TestFaults(t *testing.T) {
	type v = *onnx.Value
	dims := func(n ...int64) []onnx.Dim { return onnx.Fixed(n...) }
	for name, c := range map[string]struct {
		build func(b *onnx.Builder, x, i, flags v) // x float [objects, 4, 6], i int64 [4], flags bool [4]
		want  string
	}{
		"types": {func(b *onnx.Builder, x, i, _ v) { b.Add(x, i) }, "a.Add: have INT64 [4] (i), want FLOAT"},
		"bools": {
			func(b *onnx.Builder, _, _, f v) { b.Mul(f, f) },
			"a.Mul: have BOOL [4] (flags), want FLOAT",
		},
		"compare bools": {func(b *onnx.Builder, _, _, f v) { b.Less(f, f) }, "a.Less: have BOOL"},
		"And of floats": {
			func(b *onnx.Builder, x, _, _ v) { b.And(x, x) },
			"a.And: have FLOAT [objects, 4, 6] (x), want BOOL",
		},
		"Not of ints":  {func(b *onnx.Builder, _, i, _ v) { b.Not(i) }, "a.Not: have INT64"},
		"Sqrt of ints": {func(b *onnx.Builder, _, i, _ v) { b.Sqrt(i) }, "a.Sqrt: have INT64 [4] (i), want FLOAT"},
		"broadcast": {
			func(b *onnx.Builder, x, _, _ v) { b.Add(x, b.Floats("f", make([]float32, 5), 5)) },
			"a.Add: have shapes [objects, 4, 6] and [5]",
		},
		"broadcast longer": {
			func(b *onnx.Builder, x, _, _ v) { b.Add(b.Floats("f", make([]float32, 5), 5), x) },
			"a.Add: have shapes [5] and [objects, 4, 6]",
		},
		"objects and 2": {
			func(b *onnx.Builder, x, _, _ v) { b.Add(x, b.Floats("f", make([]float32, 2), 2, 1, 1)) },
			"a.Add: have shapes [objects, 4, 6] and [2, 1, 1]",
		},
		"Where condition": {func(b *onnx.Builder, x, _, _ v) { b.Where(x, x, x) }, "a.Where: have FLOAT"},
		"Where branches":  {func(b *onnx.Builder, x, i, f v) { b.Where(f, x, i) }, "a.Where: have INT64"},
		"Where shapes": {
			func(b *onnx.Builder, x, _, f v) { b.Where(f, x, x) },
			"a.Where: have shapes [4] and [objects, 4, 6]",
		},
		"Softmax": {
			func(b *onnx.Builder, x, _, _ v) { b.Softmax(x, 3) },
			"a.Softmax: have axis 3 of [objects, 4, 6]",
		},
		"LayerNorm": {func(b *onnx.Builder, x, _, _ v) {
			w := b.Floats("w", make([]float32, 4), 4)
			b.LayerNorm(x, w, w, 1e-6)
		}, "a.LayerNormalization: have weight [4] and bias [4], want [6]"},
		"LayerNorm scalar": {
			func(b *onnx.Builder, _, _, _ v) { s := b.Scalar(1); b.LayerNorm(s, s, s, 1e-6) },
			"a.LayerNormalization: have axis -1 of []",
		},
		"MatMul": {
			func(b *onnx.Builder, x, _, _ v) { b.MatMul(x, x) },
			"a.MatMul: have [objects, 4, 6] and [objects, 4, 6]",
		},
		"MatMul vector": {
			func(b *onnx.Builder, x, _, _ v) { b.MatMul(x, b.Floats("f", make([]float32, 6), 6)) },
			"a.MatMul: have [objects, 4, 6] and [6]",
		},
		"MatMul types": {
			func(b *onnx.Builder, x, _, _ v) { b.MatMul(x, b.Half("h", make([]byte, 12), 6, 1)) },
			"a.MatMul: have FLOAT16 [6, 1] (a.h), want FLOAT",
		},
		"Conv": {
			func(b *onnx.Builder, x, _, _ v) { b.Conv(x, x, nil, 1) },
			"a.Conv: have [objects, 4, 6] and weight",
		},
		"Conv kernel": {func(b *onnx.Builder, x, _, _ v) {
			b.Conv(b.Reshape(x, onnx.Objects(1), onnx.Dim{N: 1}, onnx.Dim{N: 4}, onnx.Dim{N: 6}), b.Floats("w", make([]float32, 25), 1, 1, 5, 5), nil, 1)
		}, "a.Conv: have [objects, 1, 4, 6], kernel [5, 5] and stride 1"},
		"Reshape": {
			func(b *onnx.Builder, x, _, _ v) { b.Reshape(x, onnx.Objects(5), onnx.Dim{N: 5}) },
			"a.Reshape: have [objects, 4, 6], want as many elements as [5*objects, 5]",
		},
		"Reshape fixed": {
			func(b *onnx.Builder, x, _, _ v) { b.Reshape(x, dims(24)...) },
			"a.Reshape: have [objects, 4, 6]",
		},
		"Reshape to -1": {func(b *onnx.Builder, _, i, _ v) { b.Reshape(i, dims(-1, -4)...) }, "a.Reshape: have [4]"},
		"Transpose": {
			func(b *onnx.Builder, x, _, _ v) { b.Transpose(x, 0, 1) },
			"a.Transpose: have axes [0 1] of [objects, 4, 6]",
		},
		"Transpose twice": {
			func(b *onnx.Builder, x, _, _ v) { b.Transpose(x, 0, 1, 1) },
			"a.Transpose: have axes [0 1 1]",
		},
		"Transpose none": {func(b *onnx.Builder, x, _, _ v) { b.Transpose(x) }, "a.Transpose: have axes []"},
		"Slice": {
			func(b *onnx.Builder, x, _, _ v) { b.Slice(x, 1, 3, 2) },
			"a.Slice: have elements 3 to 5 of axis 1 of [objects, 4, 6]",
		},
		"Slice objects": {func(b *onnx.Builder, x, _, _ v) { b.Slice(x, 0, 0, 1) }, "a.Slice: have elements"},
		"Split": {
			func(b *onnx.Builder, x, _, _ v) { b.Split(x, 1, 3) },
			"a.Split: have axis 1 of [objects, 4, 6], want 3 equal parts",
		},
		"Split in 0": {func(b *onnx.Builder, x, _, _ v) { b.Split(x, 1, 0) }, "a.Split: have axis 1"},
		"Concat": {
			func(b *onnx.Builder, x, _, _ v) { b.Concat(1, x, b.Slice(x, 2, 0, 3)) },
			"a.Concat: have [objects, 4, 6] and [objects, 4, 3]",
		},
		"Concat nothing": {func(b *onnx.Builder, _, _, _ v) { b.Concat(0) }, "a.Concat: have no value"},
		"Concat types":   {func(b *onnx.Builder, _, i, f v) { b.Concat(0, i, f) }, "a.Concat: have BOOL"},
		"Gather": {
			func(b *onnx.Builder, x, _, _ v) { b.Gather(x, 0, x) },
			"a.Gather: have FLOAT [objects, 4, 6] (x), want INT64",
		},
		"Repeat": {
			func(b *onnx.Builder, x, i, _ v) { b.Repeat(i, x) },
			"a.Expand: have [4], want a first dimension of 1",
		},
		"Require": {
			func(b *onnx.Builder, x, i, _ v) { b.Require(i, x) },
			"a.Concat: have [4] and [objects, 4, 6], want [n] or [n, m] and [n, …]",
		},
		"ReduceSum": {func(b *onnx.Builder, _, i, _ v) { b.ReduceSum(i, 0, true) }, "a.ReduceSum: have INT64"},
		"ReduceMax": {
			func(b *onnx.Builder, x, _, _ v) { b.ReduceMax(x, -4, true) },
			"a.ReduceMax: have axis -4",
		},
		"TopK": {
			func(b *onnx.Builder, x, _, _ v) { b.TopK(x, 7, true) },
			"a.TopK: have 7 of the last axis of [objects, 4, 6]",
		},
		"Scatter": {
			func(b *onnx.Builder, x, _, _ v) { b.Scatter(x, b.Ints(1), b.Floats("u", []float32{1}, 1)) },
			"a.ScatterElements: have [objects, 4, 6], indices [1] and updates [1]",
		},
		"constant": {
			func(b *onnx.Builder, _, _, _ v) { b.Floats("w", make([]float32, 5), 2, 3) },
			"a.w: have 20 bytes, want 24 for FLOAT [2 3]",
		},
		"infinite": {
			func(b *onnx.Builder, _, _, _ v) { b.Weight("w", []float32{inf}, 1) },
			"a.w: have +Inf, want finite values",
		},
		"infinite half": {
			func(b *onnx.Builder, _, _, _ v) { b.Half("w", []byte{0, 0, 0, 0x7c}, 2) },
			"a.w: have element 1 not finite",
		},
		"name twice": {
			func(b *onnx.Builder, x, _, _ v) { b.Name(b.Neg(x), "n", "one"); b.Name(b.Neg(x), "n", "two") },
			"a.n: have the name twice",
		},
		"no documentation": {
			func(b *onnx.Builder, x, _, _ v) { b.Name(b.Neg(x), "n", "") },
			`a.n: have documentation ""`,
		},
		"setting twice": {func(b *onnx.Builder, _, _, _ v) {
			b.Setting("s", "one", []float32{1})
			b.Setting("s", "two", []float32{1})
		}, "a.s: have the name twice"},
		"input twice": {
			func(b *onnx.Builder, _, _, _ v) { b.Input("j", "j", onnx.Float); b.Input("j", "j", onnx.Float) },
			"a.j: have the name twice",
		},
		"input of nothing": {
			func(b *onnx.Builder, _, _, _ v) { b.Input("j", "j", onnx.Float, dims(0)...) },
			"a.j: have shape [0]",
		},
		"input of double": {func(b *onnx.Builder, _, _, _ v) { b.Input("j", "j", onnx.Double) }, "a.j: have DOUBLE"},
	} {
		t.Run(name, func(t *testing.T) {
			b := onnx.NewBuilder(17, false)
			x := b.Input("x", "x", onnx.Float, onnx.Objects(1), onnx.Dim{N: 4}, onnx.Dim{N: 6})
			i, flags := b.Input("i", "i", onnx.Int64, dims(4)...), b.Input("flags", "flags", onnx.Bool, dims(4)...)
			c.build(b.Sub("a"), x, i, flags)
			after := b.LayerNorm(b.Concat(0, b.Slice(b.Reshape(x, dims(9)...), 0, 1, 1)), x, x, 1) // does nothing
			b.Output(b.Sub("late").Sqrt(b.Gather(after, 3, i)), "y", "y")
			_, err := b.Model()
			if err == nil || !strings.HasPrefix(err.Error(), "onnx: "+c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("have %v, want %s", err, c.want)
			}
		})
	}
	for opset, want := range map[int]string{
		16: "onnx: opset: have 16, want 17 to 20",
		21: "onnx: opset: have 21, want 17 to 20",
		17: "onnx: have no output, want one",
	} {
		b := onnx.NewBuilder(opset, false)
		b.Input("x", "x", onnx.Float)
		if _, err := b.Model(); err == nil || err.Error() != want {
			t.Errorf("have %v, want %s", err, want)
		}
	}
}

// written writes a model and reads it.
func written(t *testing.T, b *onnx.Builder) *onnx.Model {
	t.Helper()
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	m.Name = "test"
	path := filepath.Join(t.TempDir(), "m.onnx")
	if err := onnx.WriteFile(path, m, true); err != nil {
		t.Fatal(err)
	}
	if m, err = onnx.ReadModel(path); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestNames: names say where a value comes from, and what nothing needs is left out.
func TestNames(t *testing.T) {
	b := onnx.NewBuilder(17, false)
	x := b.Input("x", "the input", onnx.Float, onnx.Objects(1))
	sub := b.Sub("blocks.0")
	y := sub.Add(sub.Add(x, sub.Floats("w", []float32{1}, 1)), sub.Floats("w", []float32{2}, 1))
	y = b.Mul(y, b.Scalar(0.5))
	sub.Name(b.Mul(y, b.Scalar(0.5)), "half", "a stage that no output needs")
	b.Neg(b.Add(y, b.Floats("unused", []float32{1}, 1)))
	b.Setting("unused_setting", "changes nothing", []float32{1})
	b.Output(b.Reshape(b.Reshape(y, onnx.Objects(1), onnx.Dim{N: 1}), onnx.Objects(1)), "y", "the output")
	m := written(t, b)
	var nodes, constants []string
	for _, n := range m.Nodes {
		nodes = append(nodes, n.Name+" = "+n.OpType+" "+strings.Join(n.Inputs, " "))
	}
	for _, c := range m.Initializers {
		constants = append(constants, c.Name)
	}
	wantNodes := []string{"blocks.0.Add = Add x blocks.0.w", "blocks.0.Add_2 = Add blocks.0.Add blocks.0.w_2", "Mul = Mul blocks.0.Add_2 float_0.5",
		"blocks.0.half = Mul Mul float_0.5", "Reshape = Reshape Mul ints_-1_1", "y = Reshape Reshape ints_-1"}
	wantConstants := []string{"blocks.0.w", "blocks.0.w_2", "float_0.5", "unused_setting", "ints_-1_1", "ints_-1"}
	if !slices.Equal(nodes, wantNodes) {
		t.Errorf("have nodes\n%q, want\n%q", nodes, wantNodes)
	}
	if !slices.Equal(constants, wantConstants) {
		t.Errorf("have constants %q, want %q", constants, wantConstants)
	}
	stages := fmt.Sprint(m.Stages())
	if want := "[{blocks.0.half a stage that no output needs FLOAT [objects]} {y the output FLOAT [objects]}]"; stages != want {
		t.Errorf("have stages %s, want %s", stages, want)
	}
}

// TestSetting: a setting is used unless the input is there.
func TestSetting(t *testing.T) {
	b := onnx.NewBuilder(17, true)
	x := b.Input("x", "x", onnx.Float, onnx.Objects(1))
	b.Output(b.LessOrEqual(x, b.Sub("limits").Setting("image", "the threshold", []float32{1.5, 2.5}, 1, 2)), "y", "y")
	if _, err := b.Model(); err == nil {
		t.Error("have no error, want one: shapes do not broadcast")
	}
	b = onnx.NewBuilder(17, true)
	x = b.Input("x", "x", onnx.Float, onnx.Objects(1), onnx.Dim{N: 1})
	b.Output(b.LessOrEqual(x, b.Sub("limits").Setting("image", "the threshold", []float32{1.5, 2.5}, 1, 2)), "y", "y")
	m := written(t, b)
	in := map[string]onnxeval.Tensor{"x": floats([]float32{1, 2}, 2, 1)}
	for _, want := range [][]bool{{true, true, false, true}, {false, true, false, false}} {
		have, err := onnxeval.Run(m, in)
		if err != nil {
			t.Fatal(err)
		}
		checkTensor(t, "y", have["y"], bools(want, 2, 2))
		in["limits.image"] = floats([]float32{0, 1}, 1, 2)
	}
}

// TestHalfWeights: weights of two dimensions and more are rounded to float16 and computed with in float32; what float16
// cannot hold is refused.
func TestHalfWeights(t *testing.T) {
	build := func(values []float32, dims ...int64) *onnx.Builder {
		b := onnx.NewBuilder(17, true)
		x := b.Input("x", "x", onnx.Float, onnx.Objects(1), onnx.Dim{N: 1})
		b.Output(b.Add(x, b.Weight("w", values, dims...)), "y", "y")
		return b
	}
	in := map[string]onnxeval.Tensor{"x": floats([]float32{0}, 1, 1)}
	// The neighbours of 1 in float16 are 2⁻¹⁰ apart; ties go to the even one. The largest value is 65504.
	values := []float32{1 + 0x1p-11, 1 + 0x1.8p-10, -65504, 65519, 0x1p-24, 0x1p-26}
	for name, c := range map[string]struct {
		dims  []int64
		kind  onnx.DataType
		bytes int64
		want  []float32
	}{
		"matrix": {[]int64{1, 6}, onnx.Float16, 12, []float32{1, 1 + 0x1p-9, -65504, 65504, 0x1p-24, 0}},
		"vector": {[]int64{6}, onnx.Float, 24, values},
	} {
		t.Run(name, func(t *testing.T) {
			m := written(t, build(values, c.dims...))
			if w := m.Initializers[0]; w.DataType != c.kind || m.ConstantBytes() != c.bytes {
				t.Errorf("have %s and %d bytes, want %s and %d", w.DataType, m.ConstantBytes(), c.kind, c.bytes)
			}
			have, err := onnxeval.Run(m, in)
			if err != nil {
				t.Fatal(err)
			}
			if y := have["y"]; !slices.Equal(y.Floats, c.want) {
				t.Errorf("have %v, want %v", y.Floats, c.want)
			}
		})
	}
	if _, err := build([]float32{65520}, 1, 1).Model(); err == nil || err.Error() != "onnx: w: have 65520, want values that float16 holds" {
		t.Errorf("have %v, want that 65520 does not fit", err)
	}
}
