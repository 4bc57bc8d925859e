package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"mvag-torch/model"
	"mvag-torch/model/modeltest"
	"mvag-torch/model/weights"
)

func TestBackboneList(t *testing.T) {
	out, err := command(t, "backbone", "list")
	if err != nil || strings.Count(out, "\n") != len(weights.Supported())+1 || strings.Count(out, ".lvd142m") != 8 {
		t.Errorf("have error %v and\n%s", err, out)
	}
	out, err = command(t, "backbone", "list", "--json")
	var list []struct {
		Name   string
		Layers []int
	}
	if e := json.Unmarshal([]byte(out), &list); err != nil || e != nil || len(list) != len(weights.Supported()) || len(list[0].Layers) != 8 {
		t.Errorf("have %v, %v, %d entries", err, e, len(list))
	}
}

func TestBackboneInfo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "vit_small_patch14_dinov2.lvd142m.safetensors")
	if err := weights.WriteSafetensors(file, modeltest.RandomViT(9, 4), nil); err != nil {
		t.Fatal(err)
	}
	describe := func(args ...string) model.Description {
		t.Helper()
		out, err := command(t, append([]string{"backbone", "info", "--json"}, args...)...)
		var d model.Description
		if e := json.Unmarshal([]byte(out), &d); err != nil || e != nil {
			t.Fatalf("%q: %v, %v", args, err, e)
		}
		return d
	}
	d := describe(file)
	if d.Architecture != "vit_small_patch14_dinov2.lvd142m" || d.Known != "the name of the file" || d.Mode != "native" || d.Blocks != 10 ||
		d.Types["F32"] != 144 || len(d.Layers) != 8 || d.Mean[0] != 0.485 || len(d.SHA256) != 64 || d.Fault != "" {
		t.Errorf("have %+v", d)
	}
	d = describe(file, "-c", "quickstart", "--set", "backbone.layers=[1, 9]", "--set", "model.decoder_depth=2")
	if d.Known != "the configuration" || fmt.Sprint(d.Layers) != "[1 9]" || d.Fault != "" {
		t.Errorf("with a configuration: have %+v", d)
	}
	elsewhere := filepath.Join(t.TempDir(), "elsewhere.yaml")
	text := "data:\n  root: $MVAG_TORCH_UNSET/set\n  cache: $MVAG_TORCH_UNSET/cache\noutput: ${MVAG_TORCH_UNSET}\n" +
		"backbone:\n  weights: $MVAG_TORCH_UNSET/b\n  layers: [1, 9]\nmodel:\n  decoder_depth: 2\n"
	if err := os.WriteFile(elsewhere, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := command(t, "config", "-c", elsewhere); err == nil || !strings.Contains(err.Error(), "MVAG_TORCH_UNSET") {
		t.Errorf("have %v, want an unset variable", err)
	}
	if d = describe(file, "-c", elsewhere, "--set", "backbone.name="+d.Architecture); fmt.Sprint(d.Layers) != "[1 9]" {
		t.Errorf("with unset variables: have %+v", d)
	}
	for _, format := range []string{"--json=true", "--json=false"} {
		out, err := command(t, "backbone", "info", format, "-c", "realiad", file)
		const fault = "have what looks like vit_small_patch14_dinov2"
		if err == nil || !strings.Contains(err.Error(), file+": weights: "+fault) || !strings.Contains(out, fault) {
			t.Errorf("with another architecture: have %v and\n%s", err, out)
		}
	}
	d = describe("../../model/testdata/families/module.pt")
	if d.Kind != "TorchScript" || d.Mode != "module" || d.Weights != "ok" || d.Architecture != "small_dinov2_reg4.test" || d.Module.Prefix != 5 || d.Std[2] != 2 {
		t.Errorf("of an archive: have %+v", d)
	}
	out, err := command(t, "backbone", "info", "../../model/testdata/families/dinov2.pth")
	if err != nil || !strings.Contains(out, "PyTorch state dict") || !strings.Contains(out, "float16") && !strings.Contains(out, "F16") {
		t.Errorf("have %v and\n%s", err, out)
	}
	if _, err := command(t, "backbone", "info", "backbone_test.go"); err == nil || !strings.Contains(err.Error(), "backbone_test.go: have none of safetensors") {
		t.Errorf("have %v", err)
	}
}

// TestBackboneConvert converts what fits an architecture, from a file of two encoders the one that is named, and never
// its own input.
func TestBackboneConvert(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	m := modeltest.RandomViT(9, 4)
	both := weights.Map{"steps": {Shape: []int64{1}, Data: []float32{1}}}
	for name, x := range m {
		other := weights.Tensor{Shape: x.Shape, Data: make([]float32, len(x.Data))}
		both["student.module."+name], both["teacher.backbone."+name] = other, x
	}
	short := maps.Clone(m)
	delete(short, "blocks.9.ls2.gamma")
	for name, x := range map[string]weights.Map{"plain": m, "both": both, "short": short, "nothing": {"a": both["steps"]}} {
		if err := weights.WriteSafetensors(name+".safetensors", x, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink("plain.safetensors", "symlink.safetensors"), os.Link("plain.safetensors", "hardlink.safetensors")); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile("plain.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{"plain.safetensors", "./plain.safetensors", dir + "/plain.safetensors", "symlink.safetensors", "hardlink.safetensors"} {
		_, err := command(t, "backbone", "convert", "plain.safetensors", out)
		if err == nil || err.Error() != out+": have the same file as input and output, want another output" {
			t.Errorf("%s: have %v", out, err)
		}
	}
	if after, err := os.ReadFile("plain.safetensors"); err != nil || string(after) != string(before) {
		t.Errorf("the input has changed: %v", err)
	}
	for _, c := range []struct{ args, want string }{
		{"short.safetensors", `short.safetensors: not converted: weights: have no fit for vit_small_patch14_dinov2: 1 missing: "blocks.9.ls2.gamma"`},
		{"-c realiad plain.safetensors", "plain.safetensors: not converted: weights: have what looks like vit_small_patch14_dinov2"},
		{"nothing.safetensors", "nothing.safetensors: not converted: have no architecture"},
		{"both.safetensors", `both.safetensors: weights: have 2 encoders, with the prefixes ["student.module." "teacher.backbone."]`},
		{"--prefix ema both.safetensors", `want one with "ema" in it`},
		{"missing.safetensors", "missing.safetensors: no such file"},
	} {
		_, err := command(t, append(append([]string{"backbone", "convert"}, strings.Fields(c.args)...), "out/x.safetensors")...)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: have %v, want one line with %s", c.args, err, c.want)
		}
		if _, err := os.Stat("out"); err == nil {
			t.Fatalf("%s: have an output", c.args)
		}
	}
	for _, args := range []string{"both.safetensors", "-c quickstart --set backbone.prefix=student both.safetensors"} {
		if _, err := command(t, append(append([]string{"backbone", "convert", "--prefix", "teacher"}, strings.Fields(args)...), "out/x.safetensors")...); err != nil {
			t.Fatal(err)
		}
		have, err := weights.FromSafetensors("out/x.safetensors")
		if err != nil || !reflect.DeepEqual(have, m) {
			t.Errorf("%s: have %d tensors, %v, want those of the teacher", args, len(have), err)
		}
	}
	if out, err := command(t, "backbone", "info", "-c", "quickstart", "--set", "backbone.prefix=teacher.backbone.", "both.safetensors"); err != nil ||
		!strings.Contains(out, `10 blocks after "teacher.backbone."`) || !strings.Contains(out, `ignored        145 tensors that do not belong to the encoder`) {
		t.Errorf("have %v and\n%s", err, out)
	}
}

func TestBackboneFetch(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := weights.WriteSafetensors(file, modeltest.RandomViT(0, 4), nil); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(content))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/timm/vit_small_patch14_dinov2.lvd142m/resolve/main/model.safetensors" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("X-Linked-ETag", `"`+sum+`"`)
		http.ServeFile(w, r, file)
	}))
	defer server.Close()
	t.Setenv("HF_ENDPOINT", server.URL)
	t.Chdir(dir)
	if err := os.Mkdir("backbones", 0o755); err != nil {
		t.Fatal(err)
	}
	const at = "backbones/vit_small_patch14_dinov2.lvd142m.safetensors"
	if err := os.WriteFile(at+".part", content[:len(content)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := command(t, "backbone", "fetch", "vit_small_patch14_dinov2")
	if have, e := os.ReadFile(at); err != nil || e != nil || string(have) != string(content) || out != sum+"  "+at+"\n" {
		t.Errorf("have %q, %v, %v", out, err, e)
	}
	wrong := strings.Repeat("0", 64)
	if _, err := command(t, "backbone", "fetch", "vit_small_patch14_dinov2", "-o", "x", "--sha256", wrong); err == nil || !strings.Contains(err.Error(), "want "+wrong) {
		t.Errorf("have %v", err)
	}
	var usage usageError
	if _, err := command(t, "backbone", "fetch", "resnet50"); !errors.As(err, &usage) {
		t.Errorf("have %v, want a usage error", err)
	}
	server.Close()
	if _, err := command(t, "backbone", "fetch", "vit_small_patch14_dinov2", "-o", "x"); err == nil || !strings.Contains(err.Error(), "network seems closed") || strings.Contains(err.Error(), "\n") {
		t.Errorf("have %v, want what to do", err)
	}
}
