// Package golden compares results with a trace: element by element, absolute plus relative tolerance, the worst element
// reported, NaN refused. A trace is what an independent PyTorch implementation of docs/model.md computed in float64,
// rounded to float32 (README.md in testdata).
package golden

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"math"
	"testing"

	"mvag-torch/internal/safetensors"
)

// Compare returns an error that names the worst element unless
// |got - want| <= atol + rtol·|want| holds for every element.
func Compare(got, want []float32, atol, rtol float64) error {
	if len(got) != len(want) {
		return fmt.Errorf("have %d elements, want %d", len(got), len(want))
	}
	worst, at, bad := 0.0, -1, 0
	for i := range want {
		g, w := float64(got[i]), float64(want[i])
		excess := math.Abs(g-w) - (atol + rtol*math.Abs(w))
		if math.IsNaN(excess) {
			return fmt.Errorf("element %d: have %v, want %v", i, g, w)
		}
		if excess > 0 {
			bad++
		}
		if excess > 0 && (at < 0 || excess > worst) {
			worst, at = excess, i
		}
	}
	if at >= 0 {
		return fmt.Errorf("%d of %d elements differ; worst is element %d: have %v, want %v, difference %.3g, allowed %.3g + %.3g·|want|",
			bad, len(want), at, got[at], want[at], math.Abs(float64(got[at])-float64(want[at])), atol, rtol)
	}
	return nil
}

// Near is Compare by a fraction of the largest of want, for values without a trace.
func Near(got, want []float32, fraction float64) error {
	largest := 0.0
	for _, w := range want {
		largest = max(largest, math.Abs(float64(w)))
	}
	return Compare(got, want, fraction*largest, 0)
}

// MaxDiff is the largest absolute difference.
func MaxDiff(got, want []float32) float64 {
	worst := 0.0
	for i := range want {
		worst = max(worst, math.Abs(float64(got[i])-float64(want[i])))
	}
	return worst
}

//go:embed testdata
var files embed.FS

// File returns a file of testdata.
func File(t testing.TB, name string) []byte {
	t.Helper()
	data, err := files.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Trace is a set of tensors, and a manifest with the tolerance of each, scalars and further values.
type Trace struct {
	t        testing.TB
	file     *safetensors.File
	manifest struct {
		Tensors map[string]struct {
			Atol    float64 `json:"atol"` // tiny; mva64 has what it follows from
			Error   float64 `json:"error"`
			Largest float64 `json:"largest"`
		} `json:"tensors"`
		Scalars map[string]float64 `json:"scalars"`
	}
}

// Open returns the trace called name in testdata: "tiny" or "mva64".
func Open(t testing.TB, name string) *Trace {
	t.Helper()
	data := File(t, name+".safetensors")
	file, err := safetensors.New(name+".safetensors", bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	trace := &Trace{t: t, file: file}
	if err := json.Unmarshal(File(t, name+".json"), &trace.manifest); err != nil {
		t.Fatal(err)
	}
	return trace
}

// Names returns the names of all tensors.
func (tr *Trace) Names() []string { return tr.file.Names() }

// Tensor returns the values and the shape of a tensor.
func (tr *Trace) Tensor(name string) ([]float32, []int64) {
	tr.t.Helper()
	values, err := tr.file.Float32(name)
	if err != nil {
		tr.t.Error(err) // and no Fatal, which would end the goroutine of LibTorch
	}
	_, shape, _ := tr.file.Info(name)
	return values, shape
}

// Check compares got with a tensor within the manifest's tolerance.
func (tr *Trace) Check(name string, got []float32) {
	tr.t.Helper()
	want, _ := tr.Tensor(name)
	if err := Compare(got, want, tr.tolerance(name), 0); err != nil {
		tr.t.Errorf("%s: %v", name, err)
	}
}

// CheckRows is Check for some rows of the first dimension; the others may hold anything.
func (tr *Trace) CheckRows(name string, got []float32, rows []int64) {
	tr.t.Helper()
	want, shape := tr.Tensor(name)
	if len(got) != len(want) {
		tr.t.Errorf("%s: have %d elements, want %d", name, len(got), len(want))
		return
	}
	width := int64(len(want)) / shape[0]
	for _, r := range rows {
		if err := Compare(got[r*width:(r+1)*width], want[r*width:(r+1)*width], tr.tolerance(name), 0); err != nil {
			tr.t.Errorf("%s, row %d: %v", name, r, err)
		}
	}
}

// Scalar compares got with a scalar, which the manifest has in full precision.
func (tr *Trace) Scalar(name string, got float64) {
	tr.t.Helper()
	want, ok := tr.manifest.Scalars[name]
	if !ok {
		tr.t.Errorf("%s: no such scalar in the manifest", name)
	} else if d, atol := math.Abs(got-want), tr.tolerance(name); !(d <= atol) {
		tr.t.Errorf("%s: have %v, want %v, difference %.3g, allowed %.3g", name, got, want, d, atol)
	}
}

// tolerance is the absolute one of a tensor: ten times the error of float32 in the same code.
func (tr *Trace) tolerance(name string) float64 {
	tr.t.Helper()
	entry := tr.manifest.Tensors[name]
	atol := max(entry.Atol, 10*entry.Error, 2e-6*entry.Largest)
	if atol == 0 {
		tr.t.Errorf("%s: the manifest has no tolerance for it", name)
	}
	return atol
}
