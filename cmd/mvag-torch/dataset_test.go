package main

import (
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mvag-torch/dataset"
	"mvag-torch/model/modeltest"
	"mvag-torch/model/weights"
)

// drawing writes a PNG of gray noise by its number.
func drawing(t *testing.T, path string, number int) {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, 64, 64))
	for i := range img.Pix {
		img.Pix[i] = uint8(i*i>>4 + i*number)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, img); err != nil {
		t.Fatal(err)
	}
}

// TestOwnFolders: a user's good and bad images, one view, without masks, are
// checked, trained on and evaluated; the metrics of pixels are null, the others
// stand.
func TestOwnFolders(t *testing.T) {
	dir := t.TempDir()
	root, backbone := filepath.Join(dir, "cup"), filepath.Join(dir, "vit.safetensors")
	for i := range 6 {
		drawing(t, fmt.Sprintf("%s/good/%d.png", root, i), i)
	}
	for i := range 2 {
		drawing(t, fmt.Sprintf("%s/bad/dent/%d.png", root, i), 60+i)
	}
	if err := weights.WriteSafetensors(backbone, modeltest.RandomViT(3, 4), nil); err != nil {
		t.Fatal(err)
	}
	setting := []string{"-c", "quickstart"}
	for _, s := range []string{"output=" + dir, "data.format=folder", "data.root=" + root, "data.bad=bad", "data.views=1", "data.holdout=0.4",
		"backbone.weights=" + backbone, "backbone.layers=[1, 3]", "model.decoder_depth=2", "data.resize=64", "data.crop=56",
		"train.iterations=2", "train.warmup=1", "eval.map_size=64", "device=cpu"} {
		setting = append(setting, "--set", s)
	}
	out, err := command(t, append([]string{"dataset", "check"}, setting...)...)
	if err != nil || !strings.Contains(out, "8 images, 4 train, 4 test, 2 defective, 8 objects, 1 classes") ||
		!strings.Contains(out, "cup: defective images without a mask (pixel metrics of the class are n/a): 2") {
		t.Errorf("check: have %s and error %v", out, err)
	}
	if _, err := command(t, append([]string{"train"}, setting...)...); err != nil {
		t.Fatal(err)
	}
	out, err = command(t, "eval", "-m", filepath.Join(dir, "quickstart", "checkpoint.safetensors"), "--format", "json")
	if err != nil {
		t.Fatal(err)
	}
	var results struct {
		Classes map[string]map[string]any `json:"classes"`
	}
	if err := json.Unmarshal([]byte(out), &results); err != nil {
		t.Fatal(err)
	}
	cup := results.Classes["cup"]
	for _, name := range []string{"P-AUROC", "P-AP", "P-F1max", "AUPRO", "mAD"} {
		if value, ok := cup[name]; !ok || value != nil {
			t.Errorf("%s: have %v, want null", name, value)
		}
	}
	for _, name := range []string{"I-AUROC", "I-AP", "I-F1max", "S-AUROC", "images", "defective"} {
		if cup[name] == nil {
			t.Errorf("%s: have null, want a number", name)
		}
	}
	if cup["images"] != 4.0 || cup["defective"] != 2.0 {
		t.Errorf("have %v images, %v of them defective, want 4 and 2", cup["images"], cup["defective"])
	}
}

func TestCheckFails(t *testing.T) {
	root := filepath.Join(t.TempDir(), "cup")
	drawing(t, root+"/good/0.png", 0)
	drawing(t, root+"/good/1.png", 1)
	if err := os.WriteFile(root+"/good/2.png", []byte("\x89PNG\r\n\x1a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"dataset", "check", "-c", "mvtec", "--json", "--set", "data.format=folder", "--set", "data.root=" + root,
		"--set", "data.holdout=0", "--set", "train.objects=1"}
	out, err := command(t, args...)
	if err == nil || !strings.Contains(err.Error(), "files that cannot be read: 1") || !strings.Contains(err.Error(), "2.png: truncated PNG") {
		t.Errorf("have %v, want the file that cannot be read", err)
	}
	var found dataset.SetCheck
	if err := json.Unmarshal([]byte(out), &found); err != nil || len(found.Classes[0].Findings[dataset.Unreadable]) != 1 {
		t.Errorf("have %s and error %v", out, err)
	}
	if _, err := command(t, append(args, "--index")...); err != nil {
		t.Errorf("index only: have %v, want no error", err)
	}
	skip := append(args, "--set", "data.on_error=skip")
	if _, err := command(t, skip...); err == nil || !strings.Contains(err.Error(), "1 of 3 training images of class \"cup\" cannot be read") {
		t.Errorf("skip: have %v, want that a third of the class is too much", err)
	}
	if out, err := command(t, append(skip, "--set", "data.max_unreadable=0.5")...); err != nil || !strings.Contains(out, "2.png: truncated PNG") {
		t.Errorf("skip: have %s and error %v, want the file listed, and no fault", out, err)
	}
}

// TestCheckListsAllMissing checks a set of which the folder of a class is missing: all its files are listed, and the
// other class is read.
func TestCheckListsAllMissing(t *testing.T) {
	root := filepath.Join(t.TempDir(), "demo")
	_, text := stderr(t, "dataset", "demo", root, "--size", "64", "--train", "2", "--good", "1", "--bad", "1")
	if want := "mvag-torch train -c quickstart --set data.root=" + root; !strings.Contains(text, want) {
		t.Errorf("demo: have %s, want %q", text, want)
	}
	if err := os.RemoveAll(filepath.Join(root, "realiad_demo", "gear")); err != nil {
		t.Fatal(err)
	}
	out, err := command(t, "dataset", "check", "-c", "quickstart", "--json", "--set", "data.root="+root)
	if err == nil || !strings.Contains(err.Error(), `class "gear": files that cannot be read: 20; the first: `) {
		t.Errorf("have %v, want the 20 images of a class", err)
	}
	var found dataset.SetCheck
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		t.Fatal(err)
	}
	for _, c := range found.Classes {
		if n := len(c.Findings[dataset.Unreadable]); n != map[string]int{"gear": 20}[c.Class] || c.Class != "gear" && c.Sizes["64x64"] != 20 {
			t.Errorf("%s: have %d unreadable, sizes %v", c.Class, n, c.Sizes)
		}
	}
}
