package api

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mvag-torch/inspect/inspecttest"
	"mvag-torch/internal/testenv"
	"mvag-torch/serve/line"
	"mvag-torch/serve/metrics"
)

// TestPythonClient lets Triton's client for Python judge an object, in each way that it can give images and take
// outputs, and compares with what the line says of the same files.
func TestPythonClient(t *testing.T) {
	python := testenv.Python(t)
	l := realLine(t, metrics.New())
	s := listen(t, l, nil)
	paths, fields := []string{}, []field{{name: "class", data: inspecttest.Trained}}
	for i, data := range pngs(t, 21) {
		path := filepath.Join(t.TempDir(), "image.png")
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
		fields = append(fields, field{[]string{"1", "2", "3"}[i], "image.png", data})
	}
	want := read[line.Record](t, s.do(posted(fields...)), 200)
	script := filepath.Join("..", "..", "third_party", "infer_client.py")
	text, err := exec.Command(python, append([]string{script, s.address, "parts", inspecttest.Trained}, paths...)...).Output()
	if err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			t.Fatalf("%v: %s", err, failed.Stderr)
		}
		t.Fatal(err)
	}
	type values struct {
		Shape  []int
		Values []any
	}
	var have struct {
		Live, Ready bool
		ModelReady  bool `json:"model_ready"`
		OtherReady  bool `json:"other_ready"`
		Server      struct{ Name string }
		Model       struct{ Inputs, Outputs []described }
		Ways        map[string]map[string]values
		Refused     string
	}
	if err := json.Unmarshal(text, &have); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if !have.Live || !have.Ready || !have.ModelReady || have.OtherReady || have.Server.Name != "mvag-torch" || len(have.Model.Outputs) != 9 {
		t.Errorf("have %.300s", text)
	}
	if !strings.HasPrefix(have.Refused, "400: images: have shape") {
		t.Errorf("have %q for gray pixels", have.Refused)
	}
	if len(have.Ways) != 5 {
		t.Errorf("have %d ways, want 5", len(have.Ways))
	}
	for way, out := range have.Ways {
		if v := out["object_score"]; len(v.Values) != 1 || float32(v.Values[0].(float64)) != float32(want.Verdict.Score) {
			t.Errorf("%s: have %v, want %v", way, v, want.Verdict.Score)
		}
		if v := out["decision"]; len(v.Values) != 1 || v.Values[0] != want.Decision {
			t.Errorf("%s: have %v, want %v", way, v, want.Decision)
		}
		for i, m := range want.Images {
			if v := out["score"]; !slices.Equal(v.Shape, []int{1, 3}) || float32(v.Values[i].(float64)) != float32(m.Score) {
				t.Errorf("%s: have %v, want %v of image %d", way, v, m.Score, i)
			}
		}
		if v, asked := out["map"]; asked && !slices.Equal(v.Shape, []int{1, 3, 32, 32}) {
			t.Errorf("%s: have a map of shape %v", way, v.Shape)
		}
	}
}
