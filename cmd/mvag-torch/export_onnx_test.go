package main

import (
	"context"
	"errors"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mvag-torch/dataset"
	"mvag-torch/export"
	"mvag-torch/inspect"
	"mvag-torch/internal/onnx"
	"mvag-torch/internal/testenv"
	"mvag-torch/model/modeltest"
	"mvag-torch/model/weights"
)

// withMemory are settings of a small model that remembers good parts and keeps all tokens in attention across views:
// which tokens are kept, where two are almost equal, depends on rounding.
var withMemory = []string{"--set", "train.holdout=0.5", "--set", "memory.codes=20", "--set", "memory.dims=4", "--set", "model.select=all"}

// filesOf are the names in a folder.
func filesOf(t *testing.T, folder string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestExportONNX writes a model and its description, replaces both when told to, and leaves nothing half.
func TestExportONNX(t *testing.T) {
	_, model, _ := trained(t, withMemory...)
	out := t.TempDir()
	file := filepath.Join(out, "m.onnx")
	to := func(more ...string) []string {
		return append([]string{"export", "-m", model, "--format", "onnx", "-o", file}, more...)
	}
	fullDisk(t, func() { refused(t, to(), file, "file too large") })
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if err := run(stopped, append([]string{"mvag-torch"}, to()...)); err == nil || err.Error() != "interrupted; nothing is written" {
		t.Errorf("stopped: have %v", err)
	}
	if names := filesOf(t, out); names != nil {
		t.Errorf("have %q after a full disk, want nothing", names)
	}
	printed := must(t, to("--head", "both")...)
	for _, want := range []string{file + ": ", "operator set 17, float32 weights; 5 views of 56 x 56 pixels, maps of 64 x 64", "gear", "both", "any other", "reconstruction"} {
		if !strings.Contains(printed, want) {
			t.Errorf("have %s, want %q", printed, want)
		}
	}
	m, err := onnx.ReadModel(file)
	if err != nil {
		t.Fatal(err)
	}
	beside, err := os.ReadFile(filepath.Join(out, "m.json"))
	if err != nil || m.Metadata[export.MetadataKey] != string(beside) {
		t.Errorf("have other metadata than %s, error %v", beside, err)
	}
	if names := filesOf(t, out); !slices.Equal(names, []string{"m.json", "m.onnx"}) {
		t.Errorf("have %q", names)
	}
	refused(t, to(), file, "--force")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	refused(t, to(), "m.json", "--force")
	must(t, to("--force", "--external", "--half", "--opset", "20")...)
	if names := filesOf(t, out); !slices.Equal(names, []string{"m.json", "m.onnx", "m.onnx.data"}) {
		t.Errorf("have %q, want weights in a file of their own", names)
	}
	if m, err = onnx.ReadModel(file); err != nil || m.Opset != 20 {
		t.Errorf("have operator set %v, error %v, want 20", m, err)
	}
	d, err := export.ParseDescription(m.Metadata[export.MetadataKey])
	if err != nil || d.Weights != "float16" || d.Head != "reconstruction" || len(d.Classes) != 3 {
		t.Errorf("have %+v, error %v", d, err)
	}
	must(t, to("--force")...)
	if names := filesOf(t, out); !slices.Equal(names, []string{"m.json", "m.onnx"}) {
		t.Errorf("have %q, want no weights of the earlier model", names)
	}
}

// TestExportONNXRefuses has what cannot be exported or compared, of which nothing is written.
func TestExportONNXRefuses(t *testing.T) {
	dir, model, _ := trained(t, "--set", "train.holdout=0", "--set", "memory.codes=0")
	out := t.TempDir()
	to := func(more ...string) []string {
		return append([]string{"export", "-m", model, "--format", "onnx", "-o", filepath.Join(out, "m.onnx")}, more...)
	}
	for name, args := range map[string][]string{
		"opset":            to("--opset", "16"),
		"head":             to("--head", "hand"),
		"size of an image": to("--image", "64x"),
		"negative size":    to("--image", "-1x64"),
		"needless size":    to("--image", "64x64"),
		"path":             to(out),
		"pattern":          to("--verify", "--pattern", "{object}"),
		"of bundles":       to("--bf16"),
		"name":             {"export", "-m", model, "--format", "onnx", "-o", filepath.Join(out, "m.pb")},
		"hidden name":      {"export", "-m", model, "--format", "onnx", "-o", filepath.Join(out, ".onnx")},
		"of ONNX":          {"export", "-m", model, "--format", "bundle", "-o", filepath.Join(out, "m"), "--opset", "18"},
	} {
		var usage usageError
		if _, err := command(t, args...); !errors.As(err, &usage) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: have %v, want a usage error of one line", name, err)
		}
	}
	refused(t, to("--head", "memory"), "want one that is remembered")
	t.Setenv("MVAG_PYTHON", filepath.Join(out, "python"))
	refused(t, to("--verify"), "--verify: ", "have no such program, want a Python")
	t.Setenv("MVAG_PYTHON", "true")
	refused(t, to("--verify"), "--verify: ", "true: unexpected end of JSON input")
	if names := filesOf(t, out); names != nil {
		t.Errorf("have %q, want nothing written", names)
	}
	said(t, to(), "has no calibration: the outputs value, object_value, defective and object_defective are left out; mvag-torch calibrate")

	changed := filepath.Join(dir, "changed.safetensors")
	for _, c := range [][]string{
		{"mode: native", "mode: module", "backbone.mode: have module, want native", "Export with the tool that the archive came from"},
		{"fit: squash", "fit: tiles", "have no --image, want the size"},
	} {
		data, err := os.ReadFile(model)
		if err == nil {
			err = os.WriteFile(changed, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		rewrite(t, changed, func(meta map[string]string) {
			if c[1] == "mode: module" { // the archive has them
				meta["config"] = strings.Replace(meta["config"], "layers: [1, 3]", "layers: []", 1)
			}
			if !strings.Contains(meta["config"], c[0]) {
				t.Fatalf("have %s, want %s", meta["config"], c[0])
			}
			meta["config"] = strings.Replace(meta["config"], c[0], c[1], 1)
		})
		refused(t, []string{"export", "-m", changed, "--format", "onnx", "-o", filepath.Join(out, "c.onnx")}, c[2:]...)
	}
	rewrite(t, changed, func(meta map[string]string) {
		meta["config"] = strings.NewReplacer("fit: tiles", "fit: squash", "precision: fp32", "precision: bf16").Replace(meta["config"])
	})
	said(t, []string{"export", "-m", changed, "--format", "onnx", "-o", filepath.Join(out, "b.onnx")},
		"precision: the run computed in bf16, the export computes in fp32: scores differ a little")
}

// TestPrintReports has a runtime that says the same and one that does not.
func TestPrintReports(t *testing.T) {
	var out strings.Builder
	reports := []export.Report{{Runtime: "a", Version: "1", Objects: 2, Images: 10, Decisions: 12, Changed: 5}}
	if err := printReports(&out, "m.onnx", export.Limits{Map: 1e-3, Score: 1e-4, Value: 1e-2}, reports); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"a 1      2        10      0.0e+00", "1e-03      1e-04                 1e-02\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("have %s, want %q", out.String(), want)
		}
	}
	reports = append(reports, export.Report{Runtime: "b", Version: "2", First: `object "x": score: have 1, want 2`})
	if err := printReports(&out, "m.onnx", export.Limits{}, reports); err == nil || err.Error() != `m.onnx: b 2: object "x": score: have 1, want 2` {
		t.Errorf("have %v, want the difference", err)
	}
}

// TestNoneCompared has objects of PATH that are passed over, besides others.
func TestNoneCompared(t *testing.T) {
	given := []dataset.Object{{ID: "a"}, {ID: "b"}}
	m := &caseMaker{verifier: &verifier{given: given}}
	m.passOver(&dataset.Object{ID: "random 1"}, "no reason")
	m.passOver(&given[0], "a single image")
	if err := m.noneCompared("m.onnx"); err != nil {
		t.Errorf("one of two: have %v", err)
	}
	m.passOver(&given[1], "another")
	if err := m.noneCompared("m.onnx"); err == nil || err.Error() != `m.onnx: none of the 2 objects of PATH could be compared: "a": a single image` {
		t.Errorf("have %v", err)
	}
	if err := (&caseMaker{verifier: &verifier{}}).noneCompared("m.onnx"); err != nil {
		t.Errorf("without PATH: have %v", err)
	}
}

// enrolledOnly enrolls a small data set.
func enrolledOnly(t *testing.T) (dir, model string) {
	t.Helper()
	dir = t.TempDir()
	backbone := filepath.Join(dir, "vits14.safetensors")
	if err := weights.WriteSafetensors(backbone, modeltest.RandomViT(3, 4), nil); err != nil {
		t.Fatal(err)
	}
	must(t, "dataset", "demo", filepath.Join(dir, "demo"), "--size", "64", "--train", "4", "--good", "1", "--bad", "2")
	must(t, "enroll", "-c", "quickstart", "--set", "output="+dir, "--set", "data.root="+filepath.Join(dir, "demo"),
		"--set", "backbone.weights="+backbone, "--set", "backbone.layers=[1, 3]", "--set", "model.decoder_depth=2", "--set", "data.resize=64",
		"--set", "data.crop=56", "--set", "train.iterations=2", "--set", "train.warmup=1", "--set", "eval.map_size=64", "--set", "device=cpu",
		"--set", "train.holdout=0.5", "--set", "memory.codes=20", "--set", "memory.dims=4")
	return dir, filepath.Join(dir, "quickstart", "checkpoint.safetensors")
}

// differs compares a file that judges by memory with reconstruction: each runtime reports a difference.
func differs(t *testing.T, model, file string) {
	t.Helper()
	m, err := onnx.ReadModel(file)
	if err != nil {
		t.Fatal(err)
	}
	d, err := export.ParseDescription(m.Metadata[export.MetadataKey])
	if err != nil {
		t.Fatal(err)
	}
	v := &verifier{size: image.Pt(56, 56), content: image.Rect(0, 0, 56, 56)}
	if v.python, err = export.FindPython(t.Context(), testenv.Python(t)); err != nil {
		t.Fatal(err)
	}
	if v.setup, err = inspect.Read(model, inspect.Options{Set: []string{"inspect.head=reconstruction"}}); err != nil {
		t.Fatal(err)
	}
	defer v.close()
	for _, v.runtimes = range [][]string{{export.ONNXRuntime}, {export.OpenVINO}} {
		err := v.verify(t.Context(), file, d)
		if err == nil || !strings.Contains(err.Error(), v.runtimes[0]) || !strings.Contains(err.Error(), "C1: map at (") {
			t.Errorf("%s: have error %v, want a difference of maps", v.runtimes[0], err)
		}
	}
}

// TestPythonExport compares exported files with this program in ONNX Runtime and OpenVINO, on rendered and on random
// images, after the checker of package onnx.
func TestPythonExport(t *testing.T) {
	testenv.Python(t)
	file := filepath.Join(t.TempDir(), "m.onnx")
	verify := func(t *testing.T, model string, images []string, flags ...string) {
		t.Helper()
		args := slices.Concat([]string{"export", "-m", model, "--format", "onnx", "-o", file, "--force", "--verify"}, flags, images)
		out, text := stderr(t, args...)
		t.Logf("%s%s", text, out)
		for _, want := range []string{"the checker finds no fault", "onnxruntime ", "openvino "} {
			if !strings.Contains(out, want) {
				t.Errorf("have %s, want %q", out, want)
			}
		}
		if strings.Contains(text, "passed over in the comparison") {
			t.Errorf("have %s, want all objects compared", text)
		}
	}
	demo := func(dir string) (paths []string) { // defective objects, and of one class those that thresholds rest on
		for _, path := range []string{"bottle_cap/NG", "gear/NG", "hex_nut/NG", "gear/OK"} {
			paths = append(paths, filepath.Join(dir, "demo", "realiad_demo", path))
		}
		return paths
	}
	t.Run("several classes", func(t *testing.T) {
		dir, model, _ := trained(t, withMemory...)
		verify(t, model, demo(dir), "--head", "both")
		for _, flags := range [][]string{{"--head", "memory", "--opset", "18"}, {"--opset", "20"}, {"--half", "--head", "both"}, {"--external", "--opset", "19"}} {
			t.Run(fmt.Sprint(flags), func(t *testing.T) { verify(t, model, demo(dir)[1:2], flags...) })
		}
		verify(t, model, nil, "--head", "memory")
		differs(t, model, file)
	})
	t.Run("one class", func(t *testing.T) {
		dir, model, _ := trained(t, append([]string{"--set", "data.classes=[gear]", "--set", "inspect.head=both"}, withMemory...)...)
		verify(t, model, []string{filepath.Join(dir, "demo", "realiad_demo", "gear")})
	})
	t.Run("enrolled only", func(t *testing.T) {
		dir, model := enrolledOnly(t)
		verify(t, model, demo(dir))
	})
	t.Run("one view", func(t *testing.T) {
		root := discs(t, 8)
		_, model, _ := trained(t, append(onDiscs(root), "--set", "train.holdout=0.25")...)
		verify(t, model, []string{filepath.Join(root, "disc", "test")})
	})
	t.Run("without a calibration", func(t *testing.T) {
		dir, model, _ := trained(t, "--set", "train.holdout=0", "--set", "model.select=all")
		verify(t, model, demo(dir))
	})
	t.Run("tiles", func(t *testing.T) {
		dir, model, _ := trained(t, append([]string{"--set", "data.fit=tiles", "--set", "data.resize=[70, 98]", "--set", "inspect.head=both"}, withMemory...)...)
		verify(t, model, demo(dir), "--image", "64x64")
		refused(t, append([]string{"export", "-m", model, "--format", "onnx", "-o", file, "--force", "--verify", "--image", "64x48"}, demo(dir)[1]),
			file+": none of the 2 objects of PATH could be compared: ", "where the file wants")
	})
	t.Run("chosen tokens", func(t *testing.T) {
		dir, model, _ := trained(t, "--set", "train.holdout=0.5")
		verify(t, model, demo(dir))
	})
}
