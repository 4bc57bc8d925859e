package main

import (
	"bytes"
	"errors"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mvag-torch/internal/safetensors"
	"mvag-torch/internal/testenv"
	"mvag-torch/model/checkpoint"
)

// bundled trains a small model with a memory, makes a bundle of it, copies that alone to an empty folder and takes its
// backbone away. It returns the checkpoint, the copy and the folder of test images.
func bundled(t *testing.T, flags ...string) (model, bundle, images string) {
	t.Helper()
	dir, model, _ := trained(t, "--set", "train.holdout=0.5", "--set", "memory.codes=20", "--set", "memory.dims=4")
	made := filepath.Join(dir, "made.mvag")
	must(t, append([]string{"export", "-m", model, "--format", "bundle", "-o", made}, flags...)...)
	data, err := os.ReadFile(made)
	bundle = filepath.Join(t.TempDir(), "model.mvag")
	if err == nil {
		err = os.WriteFile(bundle, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return model, bundle, filepath.Join(dir, "demo", "realiad_demo")
}

// hide renames the backbone of a model of package trained.
func hide(t *testing.T, model string) {
	t.Helper()
	backbone := filepath.Join(filepath.Dir(filepath.Dir(model)), "vits14.safetensors")
	if err := os.Rename(backbone, backbone+".away"); err != nil {
		t.Fatal(err)
	}
}

// predicted are the files that predict leaves, without times.
func predicted(t *testing.T, model, images string) map[string]string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	must(t, "predict", "-m", model, "-o", out, "--maps", images)
	files := map[string]string{}
	for _, folder := range []string{"", "heat", "overlay", "maps"} {
		entries, err := os.ReadDir(filepath.Join(out, folder))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Type().IsRegular() {
				data, err := os.ReadFile(filepath.Join(out, folder, e.Name()))
				if err != nil {
					t.Fatal(err)
				}
				files[filepath.Join(folder, e.Name())] = withoutTimes(string(data))
			}
		}
	}
	return files
}

func openFile(t *testing.T, path string) *checkpoint.File {
	t.Helper()
	f, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestBundle goes the way of a model to another machine: what a bundle predicts there, without the backbone's file, are
// the bytes of what the checkpoint predicts here; it is evaluated, calibrated, and gets a class.
func TestBundle(t *testing.T) {
	model, bundle, images := bundled(t)
	lot := filepath.Join(images, "gear", "NG")
	want := predicted(t, model, lot)
	must(t, "eval", "-m", model)
	hide(t, model)
	if _, err := command(t, "predict", "-m", model, lot); err == nil {
		t.Fatal("the checkpoint predicts without its backbone")
	}
	have := predicted(t, bundle, lot)
	if len(want) < 4 || len(have) != len(want) {
		t.Errorf("have %d files, want %d", len(have), len(want))
	}
	for name := range want {
		if have[name] != want[name] {
			t.Errorf("%s: differs", name)
		}
	}
	out := must(t, "eval", "-m", bundle)
	folder := filepath.Join(filepath.Dir(bundle), "model-eval")
	if !strings.Contains(out, filepath.Join(folder, "results.json")) {
		t.Errorf("have\n%s\nwant the results in %s", out, folder)
	}
	for _, name := range []string{"scores.jsonl", "objects.jsonl", "curves.jsonl"} {
		a, err := os.ReadFile(filepath.Join(filepath.Dir(model), name))
		b, err2 := os.ReadFile(filepath.Join(folder, name))
		if err := errors.Join(err, err2); err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s: differs from that of the checkpoint (error %v)", name, err)
		}
	}
	must(t, "report", folder, "-m", bundle)
	rewritten(t, bundle, images)
	refused(t, []string{"predict", "-m", bundle, lot, "--set", "backbone.weights=x"}, "the bundle has its own backbone")
}

// rewritten calibrates a bundle and gives it a class: all else stays.
func rewritten(t *testing.T, bundle, images string) {
	t.Helper()
	kept := func() (list []string) {
		f := openFile(t, bundle)
		for _, name := range f.Names() {
			if data, err := f.Bytes(name); !strings.HasPrefix(name, checkpoint.Memory) {
				if err != nil {
					t.Fatal(err)
				}
				list = append(list, name+string(data))
			}
		}
		return append(list, f.Metadata()[checkpoint.BundleKey])
	}
	before := kept()
	must(t, "calibrate", "-m", bundle, "--set", "eval.false_alarm=0.2")
	if c := calibrationOf(t, bundle); c.FalseAlarm != 0.2 || c.Source != fromHoldout {
		t.Errorf("have %+v, want the hold-out at another rate", c)
	}
	must(t, "enroll", "-m", bundle, "--class", "mixed", filepath.Join(images, "gear", "OK"), filepath.Join(images, "hex_nut", "OK"), filepath.Join(images, "bottle_cap", "OK"))
	if !slices.Equal(kept(), before) {
		t.Error("calibrate and enroll changed more than thresholds and memory")
	}
	f := openFile(t, bundle)
	file, err := f.Bytes(checkpoint.Thumbnails)
	if err != nil {
		t.Fatal(err)
	}
	sheet, err := png.Decode(bytes.NewReader(file))
	// 2 objects of each of 3 classes, 5 cameras, 56 x 56 pixels and 2 between them.
	if shown := f.Bundle.Thumbnails; err != nil || len(file) > 300_000 || sheet.Bounds().Dx() != 5*58+2 || sheet.Bounds().Dy() != 6*58+2 ||
		shown.Width != 5*58+2 || shown.Height != 6*58+2 || len(shown.Classes) != 6 || shown.Classes[5] != "hex_nut" {
		t.Errorf("have a sheet of %v, %+v, error %v", sheet.Bounds(), shown, err)
	}
}

// TestBundleOfABundle rounds to bfloat16 a bundle that has lost its data set and its backbone.
func TestBundleOfABundle(t *testing.T) {
	model, bundle, images := bundled(t)
	hide(t, model)
	licence := filepath.Join(t.TempDir(), "LICENCE")
	if err := os.WriteFile(licence, []byte("As you like it.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	exact, half, wide := bundle+".exact", bundle+".half", bundle+".bf16"
	must(t, "export", "-m", bundle, "--format", "bundle", "-o", exact)
	_, text := stderr(t, "export", "-m", exact, "--format", "bundle", "-o", half, "--half", "--licence", licence, "--set", "data.root="+t.TempDir())
	if !strings.Contains(text, "rounded to float16: no value has moved by more than 0.000") || !strings.Contains(text, "licence of the backbone: LICENCE, by --licence") {
		t.Errorf("have %s", text)
	}
	if _, text := stderr(t, "export", "-m", half, "--format", "bundle", "-o", half+"2", "--half"); !strings.Contains(text, "every value is exact in float16") ||
		!strings.Contains(text, half+" has it rounded, by up to 0.000") || strings.Contains(text, "rounded to float16") {
		t.Errorf("have %s, want that nothing is rounded", text)
	}
	must(t, "export", "-m", half, "--format", "bundle", "-o", wide, "--bf16", "--set", "inspect.head=memory", "--set", "output=/secret")
	first, a, b, c := openFile(t, bundle), openFile(t, exact), openFile(t, half), openFile(t, wide)
	if a.Bundle.Backbone != first.Bundle.Backbone || a.Bundle.Backbone.Change != 0 || a.Bundle.Thumbnails == nil {
		t.Errorf("have %+v, want %+v", a.Bundle, first.Bundle)
	}
	// Half of the last of 11 bits, and of 8, of the largest value at most.
	if x := b.Bundle.Backbone.Change; b.Bundle.Backbone.Type != safetensors.F16 || !(x > 0 && x <= 0x1p-11) || b.BackboneHash() == b.Info.BackboneSHA256 {
		t.Errorf("have %+v", b.Bundle.Backbone)
	}
	if x := c.Bundle.Backbone.Change; c.Bundle.Backbone.Type != safetensors.BF16 || !(x > b.Bundle.Backbone.Change && x <= 0x1p-8+0x1p-11) {
		t.Errorf("have %+v", c.Bundle.Backbone)
	}
	if l := c.Bundle.Licences; len(l) == 0 || l[len(l)-1].Text != "As you like it.\n" || c.Bundle.Thumbnails == nil || c.Bundle.Backbone.Source != "vits14.safetensors" {
		t.Errorf("have %+v, want licence, thumbnails and source of the first bundle", c.Bundle)
	}
	if cfg := c.Info.Config; cfg.Inspect.Head != "memory" || cfg.Output != "runs" || strings.Contains(c.Metadata()["config"], "secret") {
		t.Errorf("have head %s and output %s, want memory and the default", cfg.Inspect.Head, cfg.Output)
	}
	predicted(t, half, filepath.Join(images, "gear", "NG"))
}

// TestExportRefuses has what cannot be exported; a file that exists stays as it is.
func TestExportRefuses(t *testing.T) {
	dir, model, setting := trained(t, "--set", "train.holdout=0.5")
	to := func(out string, more ...string) []string {
		return append([]string{"export", "-m", model, "--format", "bundle", "-o", filepath.Join(dir, out)}, more...)
	}
	old := filepath.Join(dir, "old.mvag")
	if err := os.WriteFile(old, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	bare := filepath.Join(dir, "vits14.safetensors")
	refused(t, to("old.mvag"), old, "--force")
	refused(t, to("none/x.mvag"), "none", "folder")
	refused(t, to("x.onnx"), "x.onnx", "want another ending")
	refused(t, []string{"export", "-m", model, "--format", "bundle", "-o", model, "--force"}, "same file")
	refused(t, []string{"export", "-m", bare, "--format", "bundle", "-o", filepath.Join(dir, "x")}, "have bare weights, want a checkpoint")
	refused(t, to("x", "--licence", bare), "--licence: "+bare, "want at most")
	for name, args := range map[string][]string{
		"no format":      {"export", "-m", model, "-o", "x"},
		"another format": {"export", "-m", model, "-o", "x", "--format", "torch"},
		"no output":      {"export", "-m", model, "--format", "bundle"},
		"no model":       {"export", "--format", "bundle", "-o", "x"},
		"two types":      to("x", "--half", "--bf16"),
		"another score":  to("x", "--set", "eval.top=0.5"),
	} {
		var usage usageError
		if _, err := command(t, args...); !errors.As(err, &usage) {
			t.Errorf("%s: have %v, want a usage error", name, err)
		}
	}
	fullDisk(t, func() { refused(t, to("old.mvag", "--force"), old, "file too large") })
	if data, err := os.ReadFile(old); err != nil || string(data) != "old" {
		t.Errorf("have %.20q, error %v, want the old file", data, err)
	}
	must(t, to("old.mvag", "--force")...)
	must(t, to("old.mvag", "--force", "--no-thumbnails")...)
	damaged(t, old, filepath.Join(dir, "demo", "realiad_demo", "gear", "NG"))
	if err := os.Rename(old, model); err != nil {
		t.Fatal(err)
	}
	refused(t, append([]string{"train", "--resume"}, setting...), model, "have a bundle")
	refused(t, append([]string{"train"}, setting...), model, "have a bundle")
}

// fullDisk calls f where no file can grow beyond 5 MB, as on a full disk.
func fullDisk(t *testing.T, f func()) {
	t.Helper()
	lift := testenv.FullDisk(t, 5_000_000)
	f()
	lift()
}

// damaged changes a bit of the decoder in a bundle: every command refuses it.
func damaged(t *testing.T, bundle, images string) {
	t.Helper()
	f := openFile(t, bundle)
	if f.Bundle.Thumbnails != nil {
		t.Error("have thumbnails, want none")
	}
	weight, err := f.Bytes("decoder.1.mlp.fc2.weight")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(bundle)
	at := bytes.Index(data, weight)
	if err != nil || at < 0 {
		t.Fatalf("have no weight in the file, error %v", err)
	}
	data[at] ^= 1
	other := filepath.Join(t.TempDir(), "damaged.mvag")
	if err := os.WriteFile(other, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"predict", "-m", other, images}, {"calibrate", "-m", other}, {"enroll", "-m", other, "--class", "x", images}, {"eval", "-m", other},
		{"report", "-m", other, filepath.Dir(bundle)}, {"export", "-m", other, "--format", "bundle", "-o", other + "2"}, {"info", other},
	} {
		refused(t, args, other+": have contents of SHA-256 ", "the file is damaged")
	}
}
