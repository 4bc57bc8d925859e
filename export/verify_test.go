package export

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/model/calibration"
)

// stub is a program in the place of Python: run is what it does for "run FILE RUNTIME", after it has said what it has.
func stub(t *testing.T, versions, failed, run string) *Python {
	t.Helper()
	path := filepath.Join(t.TempDir(), "python")
	text := fmt.Sprintf("#!/bin/sh\n# -c SCRIPT list | check FILE | run FILE RUNTIME\ncase $3 in\n"+
		"list) echo '{\"python\": \"3\", \"versions\": {%s}, \"failed\": {%s}}';;\n"+
		"check) echo noise >&2; echo 'ValidationError: no graph' >&2; exit 1;;\nrun) %s;;\nesac\n", versions, failed, run)
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	p, err := FindPython(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRuntimes(t *testing.T) {
	for name, c := range map[string]struct {
		versions, failed string
		want, fault      string
	}{
		"both":   {`"onnxruntime": "1", "openvino": "2", "onnx": "3"`, ``, "[onnxruntime openvino]", ""},
		"one":    {`"openvino": "2"`, `"onnxruntime": "no libgomp"`, "[openvino]", ""},
		"none":   {`"onnx": "3"`, ``, "[]", "want onnxruntime or openvino to run the file: have neither package"},
		"broken": {``, `"openvino": "no libtbb"`, "[]", "openvino cannot be imported (no libtbb)"},
	} {
		p := stub(t, c.versions, c.failed, "")
		names, err := p.Runtimes()
		if fmt.Sprint(names) != c.want || (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s: have %v, error %v", name, names, err)
		}
	}
	if _, err := FindPython(t.Context(), "no-such-python"); err == nil || err.Error() != "no-such-python: have no such program, want a Python" {
		t.Errorf("have error %v", err)
	}
	if checked, err := stub(t, "", "", "").Check(t.Context(), "x.onnx"); checked || err != nil {
		t.Errorf("without onnx: have %v, error %v", checked, err)
	}
	checked, err := stub(t, `"onnx": "1"`, "", "").Check(t.Context(), "x.onnx")
	if want := "x.onnx: onnx 1: ValidationError: no graph"; !checked || err == nil || err.Error() != want {
		t.Errorf("have %v, error %v, want %s", checked, err, want)
	}
}

// small describes a graph of one view of 2 x 1 pixels, maps of 2 pixels, one class and no decisions: 16 bytes an object.
func small() *Description {
	d := &Description{Classes: []Class{{Name: "part", Head: calibration.Memory}}}
	d.Input.Views, d.Input.Height, d.Input.Width, d.Map.Height, d.Map.Width = 1, 1, 2, 1, 2
	return d
}

// blank is an object of which a graph says only zeros.
func blank(name string) Case {
	return Case{Name: name, Pixels: make([]uint8, 6), Present: []bool{true}, Images: []Judged{{Map: make([]float32, 2)}}}
}

// each gives cases to the callback one after the other.
func each(cases ...Case) func(func(Case) error) error {
	return func(use func(Case) error) error {
		for _, c := range cases {
			if err := use(c); err != nil {
				return err
			}
		}
		return nil
	}
}

// strict are the limits of a model that computes the same in float32.
var strict = LimitsOf(configs.Config{}, small())

// TestVerifyCompares has a program that answers with zeros.
func TestVerifyCompares(t *testing.T) {
	high, low, nan, short := blank("high"), blank("low"), blank("nan"), blank("short")
	high.Images[0].Map[1], low.Object.Score, nan.Images[0].Score = 2e-3, 0.5, math.NaN()
	short.Pixels = short.Pixels[1:]
	for name, c := range map[string]struct {
		cases []Case
		first string // difference
		fault string
	}{
		"equal":       {[]Case{blank("a"), blank("b"), blank("c"), blank("d")}, "", ""},
		"map":         {[]Case{blank("a"), high}, `object "high", C1: map at (1, 0): have 0, want 0.002`, ""},
		"score":       {[]Case{low}, `object "low": score: have 0, want 0.5`, ""},
		"not a score": {[]Case{blank("a"), blank("b"), nan}, `object "nan", C1: score: have 0, want NaN`, ""},
		"no object":   {nil, "", "x.onnx: have no object, want one to compare with"},
		"half a case": {[]Case{short}, "", `object "short": have 5 pixel values and 1 views, want 6 and 1 of 2x1 pixels`},
	} {
		p := stub(t, `"onnxruntime": "1"`, "", fmt.Sprintf("echo ready; head -c %d /dev/zero; cat > /dev/null", 16*len(c.cases)))
		reports, err := p.Verify(t.Context(), "x.onnx", small(), []string{ONNXRuntime}, strict, each(c.cases...))
		if c.fault != "" {
			if err == nil || !strings.Contains(err.Error(), c.fault) {
				t.Errorf("%s: have error %v, want %s", name, err, c.fault)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		r := reports[0]
		if r.First != c.first || (r.Err() == nil) != (c.first == "") || r.Objects != len(c.cases) || r.Images != len(c.cases) {
			t.Errorf("%s: have %+v, want %d objects and the difference %q", name, r, len(c.cases), c.first)
		}
	}
}

// TestVerifyFails has programs that end early or say too much, and a caller that gives up.
func TestVerifyFails(t *testing.T) {
	given := errors.New("the caller gave up")
	for name, c := range map[string]struct {
		run, want string
		cases     func(func(Case) error) error
	}{
		"does not load": {"echo trace >&2; echo 'Fail: no such operator' >&2; exit 1", "x.onnx: onnxruntime 1: Fail: no such operator", each(blank("a"))},
		"dies":          {"echo ready; head -c 26 /dev/null; echo 'MemoryError: big' >&2; exit 1", "x.onnx: onnxruntime 1: MemoryError: big", each(blank("a"), blank("b"))},
		"dies in the end": {"echo ready; head -c 16 /dev/zero; cat > /dev/null; echo 'Error: late' >&2; exit 3", "x.onnx: onnxruntime 1: Error: late",
			each(blank("a"))},
		"other outputs": {"echo ready; head -c 20 /dev/zero; cat > /dev/null", "x.onnx: onnxruntime 1: have 4 bytes more than the outputs that are declared", each(blank("a"))},
		"gives up":      {"echo ready; cat > /dev/null", "x.onnx: the caller gave up", func(func(Case) error) error { return given }},
	} {
		reports, err := stub(t, `"onnxruntime": "1"`, "", c.run).Verify(t.Context(), "x.onnx", small(), []string{ONNXRuntime}, strict, c.cases)
		if reports != nil || err == nil || err.Error() != c.want {
			t.Errorf("%s: have error %v, want %s", name, err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	p := stub(t, `"onnxruntime": "1"`, "", "echo ready; exec sleep 60")
	_, err := p.Verify(ctx, "x.onnx", small(), []string{ONNXRuntime}, strict, func(use func(Case) error) error {
		cancel()
		return use(blank("a"))
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("have error %v, want that it was cancelled", err)
	}
}

// TestOtherThresholds chooses thresholds that flip about half of the decisions, and none too near a score.
func TestOtherThresholds(t *testing.T) {
	scale := &calibration.Scale{Threshold: 1, Center: 2, Spread: 0.5, Freedom: 3}
	judged := func(scores ...float64) (list []Judged) {
		for _, s := range scores {
			list = append(list, Judged{Score: s, Scale: scale, Defective: scale.Defective(s)})
		}
		return list
	}
	for name, c := range map[string]struct {
		judged   []Judged
		low, top float64 // bounds of the threshold
	}{
		"one":           {judged(0.5), 0.01, 0.499},
		"all good":      {judged(0.5, 0.7, 0.9, 0.8), 0.701, 0.799},
		"all defective": {judged(2, 3), 2.01, 2.99},
		"most good":     {judged(0.9, 2, 0.8, 0.7), 0.701, 0.899},
		"too near":      {judged(0.7, 0.70001), 0.01, 0.699},
		"nothing":       {[]Judged{{Score: math.NaN(), Defective: true}}, 1, 1},
	} {
		l := newLevels(2)
		l.set(1, c.judged, strict.Score)
		if at := float64(l.thresholds[1]); !(at >= c.low && at <= c.top) || l.thresholds[0] != 1 || l.scales[1] != 1 {
			t.Errorf("%s: have thresholds %v, scales %v, want %v to %v", name, l.thresholds, l.scales, c.low, c.top)
		}
	}
	if l := newLevels(1); l.of(0, *scale) != (calibration.Scale{Threshold: 1, Spread: 1, Freedom: 3}) {
		t.Errorf("have %v", l.of(0, *scale))
	}
}

func TestLimits(t *testing.T) {
	cfg := configs.Default()
	for name, c := range map[string]struct {
		head, unknown, weights, choice string
		views                          int
		score                          float64
	}{
		"all tokens": {calibration.Both, calibration.Reconstruction, "float32", "all", 5, 1e-4},
		"memory":     {calibration.Memory, "", "float32", "lowest", 5, 1e-4},
		"one view":   {calibration.Reconstruction, "", "float32", "lowest", 1, 1e-4},
		"chosen":     {calibration.Both, "", "float32", "lowest", 5, 1e-3},
		"unknown":    {calibration.Memory, calibration.Reconstruction, "float32", "highest", 5, 1e-3},
		"half":       {calibration.Memory, "", "float16", "all", 5, 1e-3},
	} {
		cfg.Data.Views, cfg.Model.Select = c.views, c.choice
		d := &Description{Weights: c.weights, Classes: []Class{{Head: c.head}}, Unknown: &Class{Head: c.unknown}}
		if l := LimitsOf(cfg, d); math.Abs(l.Score-c.score) > 1e-12 || math.Abs(l.Map-10*c.score) > 1e-12 {
			t.Errorf("%s: have %+v, want score %v", name, l, c.score)
		}
	}
}
