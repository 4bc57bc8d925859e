package calibration

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"mvag-torch/internal/testenv"
)

// fitInPython reads [samples as {class, values}, names, rate] and prints the rows of conformal.fit.
const fitInPython = `
import json, sys
sys.path.insert(0, "../../third_party")
import conformal, numpy as np
units, names, rate = json.load(sys.stdin)
print(json.dumps(conformal.fit([np.log(u["values"]) for u in units], [u["class"] for u in units], names, rate)))
`

// TestPythonFit compares the calibration that third_party/conformal.py makes for quantised models with Fit, for images and
// objects, where the objects of a class are enough, where they are too few, and for a class with one object.
func TestPythonFit(t *testing.T) {
	python := testenv.Python(t)
	rng := rand.New(rand.NewPCG(1, 2))
	samples := slices.Concat(normal(rng, "a", 9, -2), normal(rng, "b", 6, -1), normal(rng, "c", 1, -3))
	names := []string{"a", "b", "c"}
	for _, alpha := range []float64{0.01, 0.1, 0.3} {
		want, err := Fit(samples, alpha, "")
		if err != nil {
			t.Fatal(err)
		}
		for name, level := range map[string]Level{"image": want.Image, "object": want.Object} {
			t.Run(fmt.Sprintf("%s at %v", name, alpha), func(t *testing.T) {
				type unit struct {
					Class  string    `json:"class"`
					Values []float64 `json:"values"`
				}
				var units []unit
				for _, s := range samples {
					if name == "object" {
						s.Images = []float64{s.Object}
					}
					units = append(units, unit{s.Class, s.Images})
				}
				input, err := json.Marshal([]any{units, names, alpha})
				if err != nil {
					t.Fatal(err)
				}
				cmd := exec.Command(python, "-c", fitInPython)
				cmd.Stdin = strings.NewReader(string(input))
				out, err := cmd.Output()
				if err != nil {
					t.Fatal(err)
				}
				var rows [][]any
				if err := json.Unmarshal(out, &rows); err != nil || len(rows) != len(names)+1 {
					t.Fatalf("have %s (error %v), want %d rows", out, err, len(names)+1)
				}
				for i, row := range rows {
					compareRow(t, append(slices.Clone(names), "")[i], row, level, want.Object, name == "image")
				}
			})
		}
	}
}

// compareRow compares a row with the scale of a class. A threshold of images that was lowered to that of objects is not
// compared: the script lowers it later.
func compareRow(t *testing.T, class string, row []any, level, objects Level, images bool) {
	t.Helper()
	s := level.For(class)
	near := func(have any, want float64) bool {
		v, ok := have.(float64)
		return ok && math.Abs(v-want) <= 1e-9*math.Abs(want)
	}
	lowered := images && s.Threshold == objects.For(class).Threshold
	if !lowered && (!near(row[0], s.Threshold) || !near(row[2], s.Rate)) || row[1] != s.Basis || !near(row[3], float64(s.Objects)) ||
		!near(row[4], s.Center) || !near(row[5], s.Spread) {
		t.Errorf("class %q: have %v, want %+v", class, row, s)
	}
}
