package onnx_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mvag-torch/internal/onnx"
	"mvag-torch/internal/onnx/onnxeval"
	"mvag-torch/internal/testenv"
)

// array is a tensor for testdata/check.py.
type array struct {
	Type  string  `json:"type"`
	Shape []int64 `json:"shape"`
	Data  []byte  `json:"data"`
}

func arrays(values map[string]onnxeval.Tensor) map[string]array {
	out := map[string]array{}
	for name, t := range values {
		a := array{Shape: append([]int64{}, t.Shape...)}
		for _, v := range t.Floats {
			a.Type, a.Data = "<f4", binary.LittleEndian.AppendUint32(a.Data, math.Float32bits(v))
		}
		for _, v := range t.Ints {
			switch t.Type {
			case onnx.Int64:
				a.Type, a.Data = "<i8", binary.LittleEndian.AppendUint64(a.Data, uint64(v))
			case onnx.Uint8:
				a.Type, a.Data = "u1", append(a.Data, byte(v))
			default:
				a.Type, a.Data = "?", append(a.Data, byte(v))
			}
		}
		out[name] = a
	}
	return out
}

// block is like a block of an encoder and what follows it: everything has a part in one model.
func block() operatorTest {
	pixels, present := make([]uint8, 2*3*3*4*4), []bool{true, false, true, true, false, true}
	for i := range pixels {
		pixels[i] = uint8(i * 37)
	}
	weight := func(n int) []float32 {
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(math.Sin(float64(i*i+n))) / 4
		}
		return values
	}
	build := func(b *onnx.Builder, x []*onnx.Value) []*onnx.Value {
		d := func(n int64) onnx.Dim { return onnx.Dim{N: n} }
		images := b.Reshape(b.Cast(x[0], onnx.Float), onnx.Objects(3), d(3), d(4), d(4))
		images = b.Name(b.Mul(images, b.Scalar(1./255)), "normalized", "pixels from 0 to 1")
		e := b.Sub("encoder")
		t := e.Conv(images, e.Weight("weight", weight(32*12), 32, 3, 2, 2), e.Weight("bias", weight(32), 32), 2)
		t = e.Transpose(e.Reshape(t, onnx.Objects(3), d(32), d(4)), 0, 2, 1)
		t = e.Concat(1, e.Repeat(e.Weight("class", weight(32), 1, 1, 32), t), t)
		y := e.LayerNorm(t, e.Weight("norm.weight", weight(32), 32), e.Weight("norm.bias", weight(32), 32), 1e-6)
		parts := e.Split(e.MatMul(y, e.Weight("qkv", weight(32*96), 32, 96)), -1, 3)
		for i, p := range parts {
			parts[i] = e.Transpose(e.Reshape(p, onnx.Objects(3), d(5), d(2), d(16)), 0, 2, 1, 3)
		}
		y = e.MatMul(e.Softmax(e.MatMul(parts[0], e.Transpose(parts[1], 0, 1, 3, 2)), -1), parts[2])
		t = e.Name(e.Add(t, e.GELU(e.Reshape(e.Transpose(y, 0, 2, 1, 3), onnx.Objects(3), d(5), d(32)))), "output", "tokens")
		score := b.ReduceMean(b.ReduceMax(b.Slice(t, 1, 1, 4), -1, false), -1, false)
		score = b.Where(x[1], b.Reshape(score, onnx.Objects(1), d(3)), b.Scalar(float32(math.NaN())))
		limit := b.Gather(b.Setting("threshold", "by class", []float32{0.1, 0.2, 10}, 3), 0, x[2])
		pass := b.LessOrEqual(score, b.Reshape(limit, onnx.Objects(1), d(1)))
		_, first := b.TopK(b.Where(x[1], score, b.Scalar(-1)), 1, true)
		return []*onnx.Value{score, b.And(x[1], b.Not(pass)), first}
	}
	return operatorTest{tensors{bytes8(pixels, 2, 3, 3, 4, 4), bools(present, 2, 3), ints([]int64{1, 2}, 2)}, 1, build, "[objects, 3]", nil}
}

// different are the programs that are known to compute something else, by test. OpenVINO's maximum of nothing but -Inf
// is the least finite number, and of equal elements its TopK does not return the first first.
var different = map[string][]string{"ReduceMax": {"openvino"}, "TopK": {"openvino"}}

// TestPythonChecker: the checker of package onnx accepts every model, infers the same types and shapes, and other
// programs compute what onnxeval does, in the oldest and the newest operator set.
func TestPythonChecker(t *testing.T) {
	python := testenv.Python(t)
	if out, err := exec.Command(python, "-c", "import onnx, onnxruntime, openvino").CombinedOutput(); err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		if os.Getenv("CI") != "" {
			t.Fatalf("%s: %v: %s", python, err, lines[len(lines)-1])
		}
		t.Skipf("%s: %s", python, lines[len(lines)-1])
	}
	dir := t.TempDir()
	cases := operatorTests()
	cases["block"] = block()
	for name, c := range cases {
		for _, opset := range []int{onnx.MinOpset, 18, onnx.MaxOpset} {
			path := filepath.Join(dir, fmt.Sprint(strings.ReplaceAll(name, " ", "_"), "_", opset, ".onnx"))
			if err := onnx.WriteFile(path, c.model(t, opset, name == "block"), name == "block"); err != nil {
				t.Fatal(err)
			}
			m, err := onnx.ReadModel(path)
			if err != nil {
				t.Fatal(err)
			}
			outputs, err := onnxeval.Run(m, c.bound())
			if err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal(map[string]any{
				"inputs": arrays(c.bound()), "outputs": arrays(outputs), "except": append([]string{}, different[name]...),
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(strings.TrimSuffix(path, ".onnx")+".json", text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	out, err := exec.Command(python, filepath.Join("testdata", "check.py"), dir).CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(string(out)) { // of shapes that are not as the file says, for one
		if strings.Contains(line, "[W:onnxruntime") && !strings.Contains(line, "appears in graph inputs") {
			t.Errorf("have a warning: %s", line)
		}
	}
}
