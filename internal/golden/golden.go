// Package golden compares results with a recorded trace: element by element,
// absolute plus relative tolerance, the worst element reported, NaN refused.
package golden

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
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

// Near is Compare by a share of the largest of want, for numbers without a trace.
func Near(got, want []float32, share float64) error {
	largest := 0.0
	for _, w := range want {
		largest = max(largest, math.Abs(float64(w)))
	}
	return Compare(got, want, share*largest, 0)
}

// MaxDiff is the largest absolute difference.
func MaxDiff(got, want []float32) float64 {
	worst := 0.0
	for i := range want {
		worst = max(worst, math.Abs(float64(got[i])-float64(want[i])))
	}
	return worst
}

// Trace is a recorded run: tensors in a safetensors file, and a manifest with
// the tolerance of each, scalars and further values.
type Trace struct {
	t        testing.TB
	file     *safetensors.File
	manifest struct {
		Tensors map[string]struct {
			Shape []int64 `json:"shape"`
			Atol  float64 `json:"atol"`
		} `json:"tensors"`
		Scalars map[string]float64 `json:"scalars"`
	}
}

// Open reads the trace in the files tensors (safetensors) and manifest (JSON).
func Open(t testing.TB, tensors, manifest string) *Trace {
	t.Helper()
	file, err := safetensors.Open(tensors)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	trace := &Trace{t: t, file: file}
	text, err := os.ReadFile(manifest)
	if err == nil {
		err = json.Unmarshal(text, &trace.manifest)
	}
	if err != nil {
		t.Fatal(err)
	}
	return trace
}

// Names returns the names of all tensors.
func (tr *Trace) Names() []string { return tr.file.Names() }

// Tensor returns the recorded values and shape of name.
func (tr *Trace) Tensor(name string) ([]float32, []int64) {
	tr.t.Helper()
	values, err := tr.file.Float32(name)
	if err != nil {
		tr.t.Fatal(err)
	}
	_, shape, _ := tr.file.Info(name)
	return values, shape
}

// Check compares got with the tensor name within the manifest's tolerance.
func (tr *Trace) Check(name string, got []float32) {
	tr.t.Helper()
	entry, ok := tr.manifest.Tensors[name]
	if !ok || entry.Atol == 0 {
		tr.t.Fatalf("%s: the manifest has no tolerance for it", name)
	}
	want, _ := tr.Tensor(name)
	if err := Compare(got, want, entry.Atol, 0); err != nil {
		tr.t.Errorf("%s: %v", name, err)
	}
}

// CheckRows is Check for some rows of the first dimension; the others may hold
// anything.
func (tr *Trace) CheckRows(name string, got []float32, rows []int64) {
	tr.t.Helper()
	want, shape := tr.Tensor(name)
	if len(got) != len(want) {
		tr.t.Fatalf("%s: have %d elements, want %d", name, len(got), len(want))
	}
	width := len(want) / int(shape[0])
	for _, r := range rows {
		part := func(x []float32) []float32 { return x[int(r)*width : (int(r)+1)*width] }
		if err := Compare(part(got), part(want), tr.manifest.Tensors[name].Atol, 0); err != nil {
			tr.t.Errorf("%s, row %d: %v", name, r, err)
		}
	}
}

// Scalar compares got with the scalar name, recorded in full precision.
func (tr *Trace) Scalar(name string, got float64) {
	tr.t.Helper()
	want, ok := tr.manifest.Scalars[name]
	if !ok {
		tr.t.Fatalf("%s: no such scalar in the manifest", name)
	}
	atol := tr.manifest.Tensors[name].Atol
	if atol == 0 {
		tr.t.Fatalf("%s: the manifest has no tolerance for it", name)
	}
	if d := math.Abs(got - want); !(d <= atol) {
		tr.t.Errorf("%s: have %v, want %v, difference %.3g, allowed %.3g", name, got, want, d, atol)
	}
}
