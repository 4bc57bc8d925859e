package main

import (
	"image/jpeg"
	"image/png"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"mvag-torch/inspect"
	"mvag-torch/internal/testenv"
)

// codeBlocks are the code blocks of a page whose first line is a comment with a file name, by that name.
func codeBlocks(t *testing.T, page string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string]string{}
	for i, part := range strings.Split("\n"+string(text), "\n```") {
		_, code, _ := strings.Cut(part, "\n")
		first, _, _ := strings.Cut(code, "\n")
		if name, _, ok := strings.Cut(strings.TrimLeft(first, "#/ "), " "); i%2 == 1 && ok {
			blocks[strings.TrimSuffix(name, ":")] = code
		}
	}
	return blocks
}

// pngs copies the JPEGs below from to a folder, as PNG, so that no decoder matters.
func pngs(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".jpg" {
			return err
		}
		in, err := os.Open(path)
		if err != nil {
			return err
		}
		defer in.Close()
		img, err := jpeg.Decode(in)
		if err != nil {
			return err
		}
		out, err := os.Create(filepath.Join(to, strings.TrimSuffix(filepath.Base(path), ".jpg")+".png"))
		if err != nil {
			return err
		}
		defer out.Close()
		return png.Encode(out, img)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// exampleLine is a line of an example: a score, a calibrated value and a decision; a score; or only a decision, "absent"
// or "not judged".
type exampleLine struct {
	score, value float64
	decision     string
}

// judgeBy runs a program of the page for one object and returns its lines: the object, then its views.
func judgeBy(t *testing.T, folder string, program ...string) (list []exampleLine) {
	t.Helper()
	cmd := exec.Command(program[0], program[1:]...)
	cmd.Dir, cmd.Stderr = folder, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%q: %v", program, err)
	}
	for line := range strings.Lines(string(out)) {
		var one exampleLine
		_, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		f := strings.Fields(rest)
		var err, err2 error
		switch {
		case rest == "absent" || rest == "not judged":
			one.decision = rest
		case len(f) == 1:
			one.score, err = strconv.ParseFloat(f[0], 64)
		case len(f) == 3:
			one.score, err = strconv.ParseFloat(f[0], 64)
			one.value, err2 = strconv.ParseFloat(f[1], 64)
			one.decision = f[2]
		default:
			t.Fatalf("%q: have line %q, want name, score, value, decision", program, line)
		}
		if err != nil || err2 != nil {
			t.Fatalf("%q: have line %q, want numbers", program, line)
		}
		list = append(list, one)
	}
	return list
}

// same compares what an example says of an object or image with what predict does.
func same(t *testing.T, what string, have exampleLine, want inspect.Verdict) {
	t.Helper()
	if math.Abs(have.score/want.Score-1) > 1e-4 || math.Abs(have.value-want.Calibrated) > 1e-3 || have.decision != want.Decision {
		t.Errorf("%s: have %v, want score %v, value %v, %s as predict", what, have, want.Score, want.Calibrated, want.Decision)
	}
}

// TestPythonExamples runs the programs of docs/export.md as they stand there on objects, one without a view, and compares
// scores, calibrated values and decisions with those of predict; changed thresholds change the decisions.
func TestPythonExamples(t *testing.T) {
	python := testenv.Python(t)
	dir, model, _ := trained(t, "--set", "train.holdout=0.5", "--set", "memory.codes=20", "--set", "memory.dims=4", "--set", "inspect.head=memory")
	programs, images := writePrograms(t), t.TempDir()
	pngs(t, filepath.Join(dir, "demo", "realiad_demo", "gear", "NG"), images)
	absent, err := filepath.Glob(filepath.Join(images, "gear_*_NG_*_C3_*.png"))
	if err != nil || len(absent) < 1 {
		t.Fatalf("have no image of a defective part (error %v)", err)
	}
	if err := os.Remove(absent[0]); err != nil {
		t.Fatal(err)
	}
	onnx, out := filepath.Join(dir, "gear.onnx"), filepath.Join(dir, "out")
	must(t, "export", "-m", model, "--format", "onnx", "-o", onnx)
	must(t, "predict", "-m", model, "-o", out, images)
	objects := map[string]map[int]inspect.Line{}
	for _, line := range linesOf(t, filepath.Join(out, "predictions.jsonl")) {
		if objects[line.Object] == nil {
			objects[line.Object] = map[int]inspect.Line{}
		}
		objects[line.Object][line.Camera] = line
	}
	some, err := filepath.Glob(filepath.Join(images, "gear_*_NG_*_C2_*.png"))
	if err != nil || len(some) < 1 {
		t.Fatalf("have no image of camera 2 (error %v)", err)
	}
	run := func(t *testing.T, file func(string) string, program ...string) {
		for object, views := range objects {
			asPredict(t, programs, object, views, file, program)
		}
		class, unknown := "gear", "-"
		if program[0] != python {
			class, unknown = "1", "-1"
		}
		refusals(t, programs, class, unknown, program, file(some[0]))
	}
	as := func(path string) string { return path }
	t.Run("ONNX Runtime", func(t *testing.T) { run(t, as, python, "judge_onnxruntime.py", onnx) })
	t.Run("OpenVINO", func(t *testing.T) { run(t, as, python, "judge_openvino.py", onnx) })
	t.Run("C++", func(t *testing.T) {
		run(t, func(path string) string { return ppm(t, path) }, compiled(t, programs), onnx)
	})
}

// asPredict runs a program on an object at the thresholds of the model, and at two others.
func asPredict(t *testing.T, folder, object string, views map[int]inspect.Line, file func(string) string, program []string) {
	t.Helper()
	class := "gear"
	if filepath.Ext(program[len(program)-2]) != ".py" {
		class = "1" // of bottle_cap, gear, hex_nut
	}
	paths := []string{class, "-", "-", "-", "-", "-"}
	for camera, line := range views {
		paths[camera] = file(line.Path)
	}
	for _, test := range []struct{ threshold, decision string }{{"-", ""}, {"1e-7", "defective"}, {"9", "good"}} {
		have := judgeBy(t, folder, append(append(append([]string(nil), program...), test.threshold), paths...)...)
		if len(have) != 6 {
			t.Fatalf("%s: have %d lines, want 6", object, len(have))
		}
		for camera := 1; camera <= 5; camera++ {
			line, ok := views[camera]
			switch h := have[camera]; {
			case !ok && h.decision != "absent":
				t.Errorf("%s, absent camera %d: have %v, want absent", object, camera, h)
			case ok && test.decision == "":
				same(t, line.Path, h, *line.Verdict)
				same(t, object, have[0], *line.OfObject)
			case ok && (h.decision != test.decision || have[0].decision != test.decision):
				t.Errorf("%s at threshold %s: have %v and %v, want %s", line.Path, test.threshold, h, have[0], test.decision)
			}
		}
	}
}

// ppm writes a PNG file as PPM beside it.
func ppm(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	b := img.Bounds()
	data := []byte("P6\n" + strconv.Itoa(b.Dx()) + " " + strconv.Itoa(b.Dy()) + "\n255\n")
	for y := range b.Dy() {
		for x := range b.Dx() {
			r, g, blue, _ := img.At(x, y).RGBA()
			data = append(data, byte(r>>8), byte(g>>8), byte(blue>>8))
		}
	}
	out := strings.TrimSuffix(path, ".png") + ".ppm"
	if err := os.WriteFile(out, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return out
}

// compiled compiles the C++ program with what pkg-config says, or CPATH and LIBRARY_PATH; the test is skipped where the
// compiler finds no ONNX Runtime.
func compiled(t *testing.T, folder string) string {
	t.Helper()
	flags := []string{"-lonnxruntime"}
	if out, err := exec.Command("pkg-config", "--cflags", "--libs", "libonnxruntime").Output(); err == nil {
		flags = strings.Fields(string(out))
	}
	compile := func(args ...string) ([]byte, error) {
		cmd := exec.Command("g++", append(append([]string{"-std=c++17", "-Wall", "-Wextra", "-Wno-unused-parameter"}, args...), flags...)...)
		cmd.Dir = folder
		return cmd.CombinedOutput()
	}
	probe := filepath.Join(folder, "probe.cpp")
	if err := os.WriteFile(probe, []byte("#include <onnxruntime_cxx_api.h>\nint main() { return OrtGetApiBase() == nullptr; }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := compile("-o", "probe", "probe.cpp"); err != nil {
		t.Skip("g++ finds no ONNX Runtime")
	}
	if out, err := compile("-O2", "-o", "judge", "judge.cpp"); err != nil {
		t.Fatalf("judge.cpp: %v\n%s", err, out)
	}
	return filepath.Join(folder, "judge")
}
