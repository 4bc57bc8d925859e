package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mvag-torch/export"
	"mvag-torch/internal/onnx"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/calibration"
	"mvag-torch/model/checkpoint"
	"mvag-torch/model/modeltest"
)

// facts are what info prints as JSON.
func facts[T any](t *testing.T, args ...string) (d T) {
	t.Helper()
	if err := json.Unmarshal([]byte(must(t, append([]string{"info", "--json"}, args...)...)), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestInfo describes a checkpoint, a bundle of it, weights and an ONNX model.
func TestInfo(t *testing.T) {
	model, bundle, images := bundled(t, "--half")
	classes := []string{"bottle_cap", "gear", "hex_nut"}
	c := facts[modelInfo](t, model)
	// 12 objects of 5 images, half of them held out; 384 channels: 8C² + 5C of the bottleneck, 2 blocks of 12C² + 13C,
	// 4 logits and a gate.
	const elements = 8*384*384 + 5*384 + 2*(12*384*384+13*384+5)
	if c.Kind != "checkpoint" || c.Iteration != 2 || *c.Images != 30 || !slices.Equal(c.Classes, classes) || c.Elements != elements ||
		c.Views != 5 || c.Bundle != nil || !slices.Equal(c.Backbone.Layers, []int{1, 3}) {
		t.Errorf("have %+v", c)
	}
	if len(c.Memory) != 3 || c.Memory[0] != (rememberedInfo{"bottle_cap", 2, false}) || len(c.Heads) != 3 || c.Heads[0].Objects != 6 {
		t.Errorf("have memory %+v and heads %+v", c.Memory, c.Heads)
	}
	own := calibrationOf(t, model)
	if at := c.Heads[0].Classes[1]; at.Class != "gear" || at.Object != own.Object.For("gear").Threshold || at.Rate != own.Object.For("gear").Rate {
		t.Errorf("have %+v, want the thresholds of the calibration", at)
	}
	must(t, "enroll", "-m", bundle, "--class", "mixed", filepath.Join(images, "gear", "OK"), filepath.Join(images, "hex_nut", "OK"), filepath.Join(images, "bottle_cap", "OK"))
	sheet := filepath.Join(t.TempDir(), "sheet.png")
	_, said := stderr(t, "info", bundle, "--thumbnails", sheet)
	if !strings.Contains(said, "wrote "+sheet+": thumbnails of 6 objects") {
		t.Errorf("have %s, want what was written", said)
	}
	refused(t, []string{"info", bundle, "--thumbnails", sheet}, sheet+": have a file already, want --force")
	if err := os.WriteFile(sheet, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b := facts[modelInfo](t, bundle, "--thumbnails", sheet, "--force")
	f := openFile(t, bundle)
	if b.Kind != "bundle" || b.Elements != elements || b.Bundle.Backbone != f.Bundle.Backbone || b.Backbone.SHA256 != c.Backbone.SHA256 ||
		b.Bundle.Checkpoint != c.SHA256 || !slices.Contains(b.Memory, rememberedInfo{"mixed", 15, true}) || b.Backbone.Weights != "vits14.safetensors" ||
		!slices.Equal(b.Cameras, []string{"C1", "C2", "C3", "C4", "C5"}) {
		t.Errorf("have %+v %+v", b, b.Bundle)
	}
	want, err := f.Bytes(checkpoint.Thumbnails)
	if have, err2 := os.ReadFile(sheet); err != nil || err2 != nil || string(have) != string(want) {
		t.Errorf("thumbnails: have %d bytes, errors %v, %v", len(have), err, err2)
	}
	text := must(t, "info", bundle)
	for _, want := range []string{"licence     of the backbone: none is recorded", "inside, float16, ", "rounded: values have moved by up to 0.000", "mixed (15 objects, not trained on)",
		"training    2 of 2 iterations, 75 images read, fp32", "memory: calibrated with 6 good objects", "thumbnails  6 objects, "} {
		if !strings.Contains(text, want) {
			t.Errorf("have no %q in\n%s", want, text)
		}
	}
	refused(t, []string{"info", bundle, "--thumbnails", bundle}, "the bundle itself")
	refused(t, []string{"info", model, "--thumbnails", sheet}, model, "want a bundle")
	refused(t, []string{"backbone", "info", bundle}, bundle+": have a bundle, which is a whole model, want the weights of a backbone")
	refused(t, []string{"backbone", "info", model}, model+": have a checkpoint, which")
	refused(t, []string{"report", "-m", bundle}, "report: have -m without RUN, want the folder of results")
	infoOfONNX(t, bundle)
}

// infoOfONNX exports a bundle as ONNX and describes that.
func infoOfONNX(t *testing.T, bundle string) {
	t.Helper()
	f, path := openFile(t, bundle), filepath.Join(t.TempDir(), "model.onnx")
	heads, err := calibration.ReadHeads(f)
	if err != nil {
		t.Fatal(err)
	}
	err = tensor.Run(func(s *tensor.Scope) error {
		m, err := model.Open(s, f.Info.Config, f)
		if err != nil {
			return err
		}
		graph, _, err := export.ONNX(m, f.Info.Config, *f.Info, heads, export.Options{Opset: 17, Program: "test"})
		if err != nil {
			return err
		}
		return onnx.WriteFile(path, graph, false)
	})
	if err != nil {
		t.Fatal(err)
	}
	d := facts[onnxInfo](t, path)
	if d.Kind != "onnx" || d.Description.Name != "quickstart" || d.Inputs[0].Name != "images" || d.Inputs[0].Shape != "[objects, 5, 3, 56, 56]" || d.Inputs[0].Type != "uint8" ||
		d.Inputs[0].Optional || !d.Inputs[len(d.Inputs)-1].Optional || d.Outputs[0].Name != "map" || d.Outputs[0].Type != "float32" ||
		len(d.Stages) < 10 || slices.ContainsFunc(d.Stages, func(v valueInfo) bool { return v.Name == "map" }) {
		t.Errorf("have %+v", d)
	}
	text := must(t, "info", path)
	for _, want := range []string{"\ninputs\n", "\noutputs\n", "\nstages\n", "\ngear", "\n(any)", "\nnot judged: class \"mixed\": ", fmt.Sprintf("%.4f", d.Description.Classes[1].Object.Threshold)} {
		if !strings.Contains(text, want) {
			t.Errorf("have no %q in\n%s", want, text)
		}
	}
	if strings.Index(text, "\nstages\n") < strings.LastIndex(text, "\nnot judged") {
		t.Errorf("have stages before thresholds, want them last:\n%s", text)
	}
	refused(t, []string{"info", path, "--thumbnails", path + ".png"}, path)
	refused(t, []string{"backbone", "info", path}, path+": have an ONNX model of mvag-torch export")
	refused(t, []string{"predict", "-m", path, "x"}, path+": have an ONNX model")
	whole, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, whole[:len(whole)/2], 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	refused(t, []string{"info", path}, path+": have ", "the file is cut short")
	must(t, "export", "-m", bundle, "--format", "onnx", "-o", path, "--external", "--force")
	apart := facts[onnxInfo](t, path)
	data, err := os.ReadFile(path + ".data")
	graph, err2 := os.Stat(path)
	if err := cmp.Or(err, err2); err != nil {
		t.Fatal(err)
	}
	want := []dataFile{{path + ".data", int64(len(data)), fmt.Sprintf("%x", sha256.Sum256(data))}}
	if !slices.Equal(apart.Data, want) || apart.Bytes != graph.Size()+int64(len(data)) || d.Data != nil {
		t.Errorf("have %+v of %d bytes, want %+v", apart.Data, apart.Bytes, want)
	}
	if text := must(t, "info", path); !strings.Contains(text, want[0].SHA256) {
		t.Errorf("have\n%s\nwant the hash of the data", text)
	}
}

// TestInfoOfOtherFiles has bare weights, those of an encoder, and files that are no models.
func TestInfoOfOtherFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, c := range map[string]struct {
		header, want string
	}{
		"bare":    {`{"decoder.x":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}`, "mvag-torch eval takes them with -c"},
		"encoder": {`{"cls_token":{"dtype":"F16","shape":[4],"data_offsets":[0,8]}}`, "mvag-torch backbone info describes them"},
	} {
		path := file(name, string(rune(len(c.header)))+strings.Repeat("\x00", 7)+c.header+strings.Repeat("\x00", 8))
		if out := must(t, "info", path); !strings.Contains(out, c.want) || !strings.Contains(out, "weights") {
			t.Errorf("%s: have\n%s", name, out)
		}
	}
	if d := facts[weightsInfo](t, filepath.Join(dir, "encoder")); d.Elements != 4 || d.Types["F16"] != 1 || !d.Encoder {
		t.Errorf("have %+v", d)
	}
	refused(t, []string{"info", file("a.png", "\x89PNG\r\n\x1a\n, an image")}, "a.png", "want a checkpoint or bundle", "info takes")
	refused(t, []string{"info", file("empty", "")}, "empty")
	refused(t, []string{"info", file("a.onnx", "no protocol buffer")}, "a.onnx", "info takes")
	const foreign = "\x08\x08\x12\x01x\x3a\x00" // ir_version 8, producer_name x, an empty graph
	refused(t, []string{"info", file("b.onnx", foreign)}, "b.onnx: have an ONNX model of another program, want one of mvag-torch export")
	refused(t, []string{"info", dir}, "have a folder")
	refused(t, []string{"info", filepath.Join(dir, "none")}, "none: have no such file, want ")
}

// TestInfoOfSkippedSteps: info says which batches train.on_nan left out.
func TestInfoOfSkippedSteps(t *testing.T) {
	path := modeltest.WriteCheckpoint(t, func(info *checkpoint.Info) { info.Iteration, info.Skipped = 9, []int{2, 7} })
	if have := facts[modelInfo](t, path).Skipped; !slices.Equal(have, []int{2, 7}) {
		t.Errorf("have %v", have)
	}
	want := regexp.MustCompile(`(?m)^left out +iterations \[2 7\], whose loss or gradient norm was not finite$`)
	if have := must(t, "info", path); !want.MatchString(have) {
		t.Errorf("have\n%s\nwant %s", have, want)
	}
	if have := must(t, "info", modeltest.WriteCheckpoint(t)); strings.Contains(have, "left out") {
		t.Errorf("have\n%s\nwant none left out", have)
	}
}
