package main

import (
	"bytes"
	"encoding/json"
	"image"
	"image/png"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/inspect"
	"mvag-torch/internal/testenv"
)

// writePrograms writes the programs of docs/export.md to a folder.
func writePrograms(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for name, code := range codeBlocks(t, filepath.Join("..", "..", "docs", "export.md")) {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(code), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// refusedBy wants an error of a program of the page that contains text, and no result.
func refusedBy(t *testing.T, folder, text string, program ...string) {
	t.Helper()
	cmd := exec.Command(program[0], program[1:]...)
	cmd.Dir = folder
	var out, fault bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &fault
	if err := cmd.Run(); err == nil || out.Len() > 0 || !strings.Contains(fault.String(), text) {
		t.Errorf("%q: have error %v, output %q, message %q, want a message with %q and no output", program, err, &out, &fault, text)
	}
}

// TestPythonExamplesOfOneClass runs the programs of docs/export.md on a model of one class without calibration: they print
// the scores of predict alone, and refuse another class and thresholds.
func TestPythonExamplesOfOneClass(t *testing.T) {
	python, programs := testenv.Python(t), writePrograms(t)
	dir, model, _ := trained(t, "--set", "train.holdout=0", "--set", "data.classes=[gear]", "--set", "memory.codes=20", "--set", "memory.dims=4",
		"--set", "inspect.head=memory")
	images, onnx, out := t.TempDir(), filepath.Join(dir, "gear.onnx"), filepath.Join(dir, "out")
	pngs(t, filepath.Join(dir, "demo", "realiad_demo", "gear", "NG", "AK"), images)
	must(t, "export", "-m", model, "--format", "onnx", "-o", onnx)
	fresh := filepath.Join(dir, "fresh") // good objects for thresholds, without which predict does nothing
	must(t, "dataset", "demo", fresh, "--size", "64", "--seed", "2", "--classes", "gear", "--train", "2", "--good", "1", "--bad", "1")
	must(t, "calibrate", "-m", model, filepath.Join(fresh, "realiad_demo", "gear", "OK"))
	must(t, "predict", "-m", model, "-o", out, images)
	views := map[int]inspect.Line{}
	for _, line := range linesOf(t, filepath.Join(out, "predictions.jsonl")) {
		views[line.Camera] = line
	}
	if len(views) != 5 {
		t.Fatalf("have %d images, want 5", len(views))
	}
	check := func(t *testing.T, class string, file func(string) string, program ...string) {
		paths := []string{class}
		for camera := 1; camera <= 5; camera++ {
			paths = append(paths, file(views[camera].Path))
		}
		with := func(threshold string, rest ...string) []string {
			return append(append(append([]string(nil), program...), threshold), rest...)
		}
		highest := 0.0
		have := judgeBy(t, programs, with("-", paths...)...)
		for camera := 1; camera <= 5; camera++ {
			want := views[camera].Score
			highest = max(highest, want)
			if math.Abs(have[camera].score/want-1) > 1e-4 || have[camera].decision != "" {
				t.Errorf("camera %d: have %v, want score %v alone", camera, have[camera], want)
			}
		}
		if math.Abs(have[0].score/highest-1) > 1e-4 || have[0].decision != "" {
			t.Errorf("have %v for the object, want score %v alone", have[0], highest)
		}
		refusedBy(t, programs, "without calibration", with("0.5", paths...)...)
		for _, other := range []string{"-", "-1", "1", "bolt"} {
			refusedBy(t, programs, other, with("-", append([]string{other}, paths[1:]...)...)...)
		}
	}
	as := func(path string) string { return path }
	t.Run("ONNX Runtime", func(t *testing.T) { check(t, "gear", as, python, "judge_onnxruntime.py", onnx) })
	t.Run("OpenVINO", func(t *testing.T) { check(t, "gear", as, python, "judge_openvino.py", onnx) })
	t.Run("C++", func(t *testing.T) {
		check(t, "0", func(path string) string { return ppm(t, path) }, compiled(t, programs), onnx)
	})
}

// refusals has what programs refuse of a model of three classes and five views, and what an unknown class makes of a model
// that judges by what it remembers of classes: nothing is judged.
func refusals(t *testing.T, folder, class, unknown string, program []string, image string) {
	t.Helper()
	with := func(rest ...string) []string { return append(append([]string(nil), program...), rest...) }
	for _, threshold := range []string{"abc", "1x", "", "nan"} {
		refusedBy(t, folder, `want a number`, with(threshold, class, image)...)
	}
	for _, other := range []string{"gaer", class + "x", "3", "-2", ""} {
		refusedBy(t, folder, "want", with("-", other, image)...)
	}
	refusedBy(t, folder, "have 6 images, want 5 at most", with("-", class, image, image, image, image, image, image)...)
	for i, line := range judgeBy(t, folder, with("-", unknown, "-", image)...) {
		if want := map[bool]string{true: "not judged", false: "absent"}[i == 0 || i == 2]; line.decision != want {
			t.Errorf("%q, line %d of an unknown class: have %v, want %s", program, i, line, want)
		}
	}
}

// TestPythonPixels compares the input that Python prepares from portrait images with this program's, byte for byte.
// Resizing them to 256 x 256 in one call of Pillow 13 changes a tenth of the bytes.
func TestPythonPixels(t *testing.T) {
	python, programs := testenv.Python(t), writePrograms(t)
	party, err := filepath.Abs(filepath.Join("..", "..", "third_party"))
	if err != nil {
		t.Fatal(err)
	}
	cfg := configs.Default().Data
	cfg.Fit, cfg.Resize, cfg.Crop = "squash", configs.Size{256, 256}, configs.Size{224, 224}
	at := dataset.NewFit(cfg).Placed(1080, 1920)
	input := map[string]any{"views": 1, "cameras": []string{"C1"}, "width": 224, "height": 224, "exif": false,
		"place": []int{at.Min.X, at.Min.Y, at.Dx(), at.Dy()}, "background": []int{0, 0, 0}}
	about, err := json.Marshal(map[string]any{"input": input, "classes": []any{map[string]any{"name": "bolt"}}})
	if err != nil {
		t.Fatal(err)
	}
	const prepared = "import json, sys; from prepare import prepare; " +
		"sys.stdout.buffer.write(prepare(json.loads(sys.argv[1]), 'bolt', sys.argv[2:])['images'].tobytes())"
	const exported = "import sys, types; from exported import Exported; " +
		"sys.stdout.buffer.write(Exported(types.SimpleNamespace(text=sys.argv[1])).pixels(sys.argv[2]).tobytes())"
	for seed := range uint64(3) {
		path := noise(t, seed, 1080, 1920)
		want := make([]uint8, 3*224*224)
		if _, _, err := dataset.NewFit(cfg).Image(dataset.View{Path: path}, want); err != nil {
			t.Fatal(err)
		}
		for program, folder := range maps.All(map[string]string{prepared: programs, exported: party}) {
			cmd := exec.Command(python, "-c", program, string(about), path)
			cmd.Dir, cmd.Stderr = folder, os.Stderr
			cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
			have, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(have, want) {
				t.Errorf("image %d: %q has other pixels than this program", seed, program)
			}
		}
	}
}

// noise writes a PNG of random pixels.
func noise(t *testing.T, seed uint64, width, height int) string {
	t.Helper()
	img, random := image.NewNRGBA(image.Rect(0, 0, width, height)), rand.New(rand.NewPCG(seed, 1))
	for i := range img.Pix {
		img.Pix[i] = uint8(random.Uint32())
		if i%4 == 3 {
			img.Pix[i] = 255
		}
	}
	path := filepath.Join(t.TempDir(), "noise.png")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, img); err != nil {
		t.Fatal(err)
	}
	return path
}
