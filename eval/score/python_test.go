package score

import (
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mvag-torch/eval/metric"
)

// TestAgainstPython scores maps that NumPy wrote and compares with what scikit-learn, Dinomaly's loop, the formula of
// MVTec's tool and, where it is installed, ADEval make of them.
func TestAgainstPython(t *testing.T) {
	if out, err := exec.Command("python3", "-c", "import numpy, sklearn, skimage").CombinedOutput(); err != nil {
		if os.Getenv("MVAG_PYTHON") != "" {
			t.Fatalf("%v: %s", err, out)
		}
		t.Skipf("python3 lacks a package: %s", strings.TrimSpace(string(out)))
	}
	folder := t.TempDir()
	command := exec.Command("python3", filepath.Join("..", "..", "third_party", "bench_metrics.py"), folder, "--images", "12")
	command.Stderr = os.Stderr
	text, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	type ranking struct{ AUROC, AP, F1max, F1eps, AUPR, AUPRO float64 }
	var want struct {
		Pixels, Images, ADEval ranking
		Dinomaly               float64 `json:"dinomaly_aupro"`
		MVTec                  float64 `json:"mvtec_aupro"`
		Missing                []string
	}
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	found, err := Folder(t.Context(), folder, options, func(string, int, int) {})
	if err != nil {
		t.Fatal(err)
	}
	class := found.Results.Classes[0]
	near := func(name string, have, want, tolerance float64) {
		if !(math.Abs(have-want) <= tolerance) {
			t.Errorf("%s: have %v, want %v", name, have, want)
		}
	}
	value := func(n metric.Name, want float64) { near(n.String(), class.Values[n], want, 1e-9) }
	compat := func(name string, want, tolerance float64) {
		near(name, float64(class.Details.Compat[name]), want, tolerance)
	}
	value(metric.PixelAUROC, want.Pixels.AUROC)
	value(metric.PixelAP, want.Pixels.AP)
	value(metric.PixelF1max, want.Pixels.F1max)
	value(metric.ImageAUROC, want.Images.AUROC)
	value(metric.ImageAP, want.Images.AP)
	value(metric.ImageF1max, want.Images.F1max)
	value(metric.AUPRO, want.MVTec)
	compat("P-F1max (Dinomaly, eps 1e-7)", want.Pixels.F1eps, 1e-9)
	compat("P-AUPR (trapezoid)", want.Pixels.AUPR, 1e-9)
	compat("I-AUPR (trapezoid)", want.Images.AUPR, 1e-9)
	compat("AUPRO (Dinomaly, 200 thresholds)", want.Dinomaly, 1e-4)
	if len(want.Missing) > 0 {
		t.Logf("without ADEval: %v", want.Missing)
		return
	}
	compat("P-AUROC (ADEval, 1000 bins)", want.ADEval.AUROC, 1e-5)
	compat("P-AUPR (ADEval, 1000 bins)", want.ADEval.AUPR, 1e-5)
	compat("AUPRO (ADEval, 1000 bins)", want.ADEval.AUPRO, 1e-5)
}
