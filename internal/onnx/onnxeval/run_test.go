package onnxeval

import (
	"slices"
	"strings"
	"testing"

	"mvag-torch/internal/onnx"
)

// small is y = topk(x + c), and a second input that must have as many objects as the first.
func small(t *testing.T) *onnx.Model {
	t.Helper()
	b := onnx.NewBuilder(18, false)
	x := b.Input("x", "x", onnx.Float, onnx.Objects(1), onnx.Dim{N: 2})
	present := b.Input("present", "present", onnx.Bool, onnx.Objects(2))
	sum := b.Name(b.Add(x, b.Floats("c", []float32{1, -1}, 2)), "sum", "a stage")
	y, _ := b.TopK(b.Where(b.Reshape(present, onnx.Objects(1), onnx.Dim{N: 2}), sum, b.Scalar(0)), 1, true)
	b.Output(y, "y", "the largest")
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func inputs() map[string]Tensor {
	return map[string]Tensor{
		"x":       Floats([]float32{1, 2, 3, 9}, 2, 2),
		"present": Bools([]bool{true, true, true, false}, 4),
	}
}

// TestStages: any value can be asked for, and only what it needs is computed.
func TestStages(t *testing.T) {
	m := small(t)
	all, err := Run(m, inputs())
	if err != nil || len(all) != 1 || !slices.Equal(all["y"].Floats, []float32{2, 4}) {
		t.Errorf("have %v, %v, want y 2 4", all, err)
	}
	m.Nodes[len(m.Nodes)-1].OpType = "Unknown"
	some, err := Run(m, inputs(), "sum", "x", "c")
	if err != nil || len(some) != 3 || !slices.Equal(some["sum"].Floats, []float32{2, 1, 4, 8}) ||
		!slices.Equal(some["x"].Floats, []float32{1, 2, 3, 9}) || !slices.Equal(some["c"].Floats, []float32{1, -1}) {
		t.Errorf("have %v, %v, want sum, x and c", some, err)
	}
}

func TestRunRefuses(t *testing.T) {
	node := func(m *onnx.Model, op string) *onnx.Node {
		return &m.Nodes[slices.IndexFunc(m.Nodes, func(n onnx.Node) bool { return n.OpType == op })]
	}
	for name, c := range map[string]struct {
		change func(m *onnx.Model, in map[string]Tensor)
		want   string
	}{
		"missing input": {
			func(_ *onnx.Model, in map[string]Tensor) { delete(in, "x") },
			`input "x": have none, want FLOAT [objects, 2]`,
		},
		"other input": {
			func(_ *onnx.Model, in map[string]Tensor) { in["z"] = in["x"] },
			"inputs: have 3, of which the model knows 2",
		},
		"type": {
			func(_ *onnx.Model, in map[string]Tensor) { in["x"] = Ints(make([]int64, 4), 2, 2) },
			`input "x": have INT64 [2 2] with 4 elements, want FLOAT [objects, 2]`,
		},
		"shape": {
			func(_ *onnx.Model, in map[string]Tensor) { in["x"] = Floats(make([]float32, 4), 4) },
			`input "x": have FLOAT [4]`,
		},
		"length": {
			func(_ *onnx.Model, in map[string]Tensor) { in["x"] = Floats(make([]float32, 3), 2, 2) },
			`input "x": have FLOAT [2 2] with 3 elements`,
		},
		"objects": {
			func(_ *onnx.Model, in map[string]Tensor) { in["present"] = Bools(make([]bool, 6), 6) },
			`input "present": have BOOL [6] with 6 elements, want BOOL [2*objects] with 2 objects`,
		},
		"operator": {
			func(m *onnx.Model, _ map[string]Tensor) { node(m, "Add").OpType = "Celu" },
			`node "sum" (Celu): have an operator that is not known`,
		},
		"arguments": {
			func(m *onnx.Model, _ map[string]Tensor) { node(m, "Add").Inputs = []string{"x"} },
			`node "sum" (Add): have 1 inputs, want 2 to 2`,
		},
		"attribute": {func(m *onnx.Model, _ map[string]Tensor) {
			node(m, "Add").Attributes = []onnx.Attribute{{Name: "alpha", Value: float32(1)}}
		}, `node "sum" (Add): attribute "alpha": have one that is not known`},
		"type of attribute": {
			func(m *onnx.Model, _ map[string]Tensor) { node(m, "TopK").Attributes[0].Value = float32(1) },
			`node "y" (TopK): attribute "axis": have one that is not known`,
		},
		"results": {
			func(m *onnx.Model, _ map[string]Tensor) { n := node(m, "TopK"); n.Outputs = n.Outputs[:1] },
			`node "y" (TopK): have 1 outputs, want 2`,
		},
		"said shape": {
			func(m *onnx.Model, _ map[string]Tensor) { m.Outputs[0].Shape = onnx.Fixed(2, 2) },
			`node "y" (TopK): "y": have FLOAT [2 1] with 2 elements, want FLOAT [2, 2]`,
		},
		"said type": {
			func(m *onnx.Model, _ map[string]Tensor) { m.Outputs[0].Type = onnx.Int64 },
			`node "y" (TopK): "y": have FLOAT [2 1] with 2 elements, want INT64`,
		},
		"Gelu before 20": {func(m *onnx.Model, _ map[string]Tensor) {
			n := node(m, "Add")
			n.OpType, n.Inputs = "Gelu", []string{"x"}
		}, `node "sum" (Gelu): have opset 18, want 20`},
		"shapes": {func(m *onnx.Model, _ map[string]Tensor) {
			n := node(m, "Add")
			n.OpType, n.Inputs = "MatMul", []string{"x", "c"}
		}, `node "sum" (MatMul): have [2 2] and [2]`},
		"types": {
			func(m *onnx.Model, _ map[string]Tensor) { node(m, "Add").Inputs[1] = "present" },
			`node "sum" (Add): have FLOAT and BOOL, want one type`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, in := small(t), inputs()
			c.change(m, in)
			_, err := Run(m, in)
			if err == nil || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("have %v, want %s", err, c.want)
			}
		})
	}
	if _, err := Run(small(t), inputs(), "z"); err == nil || err.Error() != `output: have no value "z"` {
		t.Errorf("have %v, want that there is no z", err)
	}
}
