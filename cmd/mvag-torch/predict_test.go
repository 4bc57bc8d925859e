package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"mvag-torch/inspect"
	"mvag-torch/internal/safetensors"
	"mvag-torch/internal/testenv"
	"mvag-torch/model/calibration"
	"mvag-torch/model/checkpoint"
	"mvag-torch/model/modeltest"
	"mvag-torch/model/weights"
)

// trained trains a small model for two steps on rendered objects, or on the data set of more, and returns its folder,
// checkpoint, and the settings.
func trained(t *testing.T, more ...string) (dir, model string, setting []string) {
	t.Helper()
	dir = t.TempDir()
	backbone := filepath.Join(dir, "vits14.safetensors")
	if err := weights.WriteSafetensors(backbone, modeltest.RandomViT(3, 4), nil); err != nil {
		t.Fatal(err)
	}
	setting = append([]string{"-c", "quickstart", "--set", "output=" + dir, "--set", "data.root=" + filepath.Join(dir, "demo"),
		"--set", "backbone.weights=" + backbone, "--set", "backbone.layers=[1, 3]", "--set", "model.decoder_depth=2", "--set", "data.resize=64",
		"--set", "data.crop=56", "--set", "train.iterations=2", "--set", "train.warmup=1", "--set", "eval.map_size=64", "--set", "device=cpu",
		"--set", "inspect.head=reconstruction"}, more...) // so that scores are those of the headline of eval
	if !slices.Contains(more, "data.format=folder") && !slices.Contains(more, "data.format=mvtec") {
		must(t, "dataset", "demo", filepath.Join(dir, "demo"), "--size", "64", "--train", "4", "--good", "1", "--bad", "2")
	}
	must(t, append([]string{"train"}, setting...)...)
	return dir, filepath.Join(dir, "quickstart", "checkpoint.safetensors"), setting
}

func must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := command(t, args...)
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return out
}

func linesOf(t *testing.T, path string) (list []inspect.Line) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var line inspect.Line
		if err := json.Unmarshal(s.Bytes(), &line); err != nil {
			t.Fatalf("%s: %v", s.Text(), err)
		}
		list = append(list, line)
	}
	return list
}

func calibrationOf(t *testing.T, path string) *calibration.Calibration {
	t.Helper()
	f, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := calibration.Parse(f.Calibration())
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return c
}

// TestFromTrainingToDecisions goes the way of a user: train, which calibrates;
// calibrate anew; predict, whose scores are those of eval.
func TestFromTrainingToDecisions(t *testing.T) {
	dir, model, setting := trained(t, "--set", "train.holdout=0.5")
	c := calibrationOf(t, model)
	if c.Objects != 6 || c.Images != 30 || len(c.Object.Classes) != 3 || c.FalseAlarm != 0.1 || c.Source != fromHoldout {
		t.Errorf("have %+v, want 2 hold-out objects of each of 3 classes", c)
	}
	before := contents(t, model)
	if out := must(t, "calibrate", "-m", model, "--set", "eval.false_alarm=0.2"); !strings.Contains(out, "6 good objects (30 images)") || !strings.Contains(out, "hex_nut") {
		t.Errorf("have %q", out)
	}
	again := calibrationOf(t, model)
	if again.FalseAlarm != 0.2 || again.Object.Pooled.Center != c.Object.Pooled.Center {
		t.Errorf("have %+v, want the same objects at another rate", again.Object.Pooled)
	}
	if after := contents(t, model); !slices.Equal(before, after) {
		t.Error("calibration changed more than its own entry of the checkpoint")
	}
	resumed := append([]string{"train", "--resume"}, setting...)
	must(t, resumed...)
	if same := calibrationOf(t, model); same.Object.Pooled != c.Object.Pooled {
		t.Errorf("resumed: have %+v, want %+v from the same hold-out", same.Object.Pooled, c.Object.Pooled)
	}

	// 3 objects a class: batches of 3 begin where those of eval do.
	must(t, "eval", "-m", model, "--set", "eval.objects=3")
	text, err := os.ReadFile(filepath.Join(dir, "quickstart", "scores.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	want, table := map[string]float64{}, "path,object,camera,class\n"
	for line := range strings.Lines(string(text)) {
		var s struct {
			Class, Object, Path string
			Camera              int
			Score               float64
		}
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatal(err)
		}
		want[s.Path] = s.Score
		table += fmt.Sprintf("%s,%s,C%d,%s\n", s.Path, s.Object, s.Camera, s.Class)
	}
	list, out := filepath.Join(dir, "list.csv"), filepath.Join(dir, "out")
	if err := os.WriteFile(list, []byte(table), 0o600); err != nil {
		t.Fatal(err)
	}
	compare := func(exactly bool, args ...string) {
		t.Helper()
		must(t, append([]string{"predict", "-m", model, "-o", out}, args...)...)
		lines := linesOf(t, filepath.Join(out, "predictions.jsonl"))
		if len(lines) != 45 {
			t.Fatalf("%q: have %d lines, want 45", args, len(lines))
		}
		for _, l := range lines {
			score := want[l.Path]
			if exactly && l.Score != score || !(math.Abs(l.Score-score) <= 1e-4) {
				t.Errorf("%q: %s: have %v, eval has %v", args, l.Path, l.Score, score)
			}
			if !strings.HasPrefix(l.Class, "bottle_cap") && l.Class != "gear" && l.Class != "hex_nut" || l.Camera == 0 || l.OfObject == nil {
				t.Errorf("%q: have %+v, want a class, a camera and a verdict on the object", args, l)
			}
		}
	}
	compare(true, list, "--set", "eval.objects=3", "--maps")
	compare(false, list)
	compare(false, filepath.Join(dir, "demo", "realiad_demo", "*", "NG"), filepath.Join(dir, "demo", "realiad_demo", "*", "OK", "S000[56789]"), "--set", "eval.objects=5")
	t.Run("refusals", func(t *testing.T) { predictRefusals(t, dir, model, list) })
	t.Run("settings", func(t *testing.T) { otherSettings(t, model, list, table, setting) })
	t.Run("mixed folder", func(t *testing.T) {
		mixedFolder(t, model, linesOf(t, filepath.Join(dir, "out", "predictions.jsonl"))[0].Path)
	})
}

// contents are the names and bytes of all tensors of a checkpoint and its metadata, without the calibration.
func contents(t *testing.T, path string) (list []string) {
	t.Helper()
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, name := range f.Names() {
		data, err := f.Bytes(name)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, name, string(data))
	}
	meta := f.Metadata()
	if meta[checkpoint.CalibrationKey] == "" {
		t.Errorf("%s: have no calibration", path)
	}
	return append(list, meta["format"], meta["config"], meta["iteration"], meta["backbone.sha256"], meta["naming"])
}

func predictRefusals(t *testing.T, dir, model, list string) {
	empty, broken := filepath.Join(dir, "empty"), filepath.Join(dir, "some", "broken.jpg")
	good := linesOf(t, filepath.Join(dir, "out", "predictions.jsonl"))[0].Path
	err := errors.Join(os.MkdirAll(empty, 0o755), os.MkdirAll(filepath.Dir(broken), 0o755), os.WriteFile(broken, []byte("\xff\xd8\xffcut"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	six := filepath.Join(dir, "six.csv")
	if err := os.WriteFile(six, []byte("path,object,camera\n"+good+",a,6\n"+broken+",b,1\n"+good+"x,b,2\n"+filepath.Join(dir, "demo", "none.jpg")+",c,1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args []string
		want []string
	}{
		"no model":                 {[]string{"predict", good}, []string{"have no model"}},
		"no image":                 {[]string{"predict", "-m", model}, []string{"want 1 (PATH…)"}},
		"empty folder":             {[]string{"predict", "-m", model, empty}, []string{empty, "have no image"}},
		"folder that is not there": {[]string{"predict", "-m", model, empty + "x"}, []string{empty + "x"}},
		"unreadable among good":    {[]string{"predict", "-m", model, good, broken, "-o", filepath.Join(dir, "o1")}, []string{"1 of 2 images failed; the first: " + broken + ": truncated"}},
		"only unreadable":          {[]string{"predict", "-m", model, broken}, []string{"1 of 1 image failed"}},
		"a camera too many":        {[]string{"predict", "-m", model, six, "-o", filepath.Join(dir, "o2")}, []string{"4 of 4 images failed", "have C6, want C1 to C5"}},
		"another score":            {[]string{"predict", "-m", model, good, "--set", "eval.top=0.5"}, []string{"eval.top: have 0.5, want 0.01", model}},
		"another model":            {[]string{"predict", "-m", model, good, "--set", "model.keep=0.5"}, []string{"model.keep: have 0.5, want 0.3 as in " + model}},
		"maps without a folder":    {[]string{"predict", "-m", model, good, "--maps"}, []string{"--maps without -o"}},
		"pattern":                  {[]string{"predict", "-m", model, good, "--pattern", "{x}"}, []string{"pattern", "{x}"}},
		"output is a file":         {[]string{"predict", "-m", model, good, "-o", list}, []string{list}},
		"calibrate on one object":  {[]string{"calibrate", "-m", model, good}, []string{"have 1 good object, want at least 2"}},
		"calibrate on broken":      {[]string{"calibrate", "-m", model, good, broken}, []string{broken, "truncated"}},
		"calibrate on a bad table": {[]string{"calibrate", "-m", model, six}, []string{"have C6"}},
		"calibrate with both":      {[]string{"calibrate", "-m", model, "-c", filepath.Join(dir, "quickstart", "config.yaml"), good}, []string{"have -c and PATH"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := command(t, test.args...)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("have %q, want %q in it", err, want)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("have several lines: %q", err)
			}
		})
	}
	lines := linesOf(t, filepath.Join(dir, "o1", "predictions.jsonl"))
	if len(lines) != 2 || lines[0].Verdict == nil || lines[0].Error != "" || lines[1].Verdict != nil || !strings.Contains(lines[1].Error, broken) {
		t.Errorf("unreadable among good: have %+v, want a verdict and an error", lines)
	}
	calibrationOf(t, model) // refused calibrations left the earlier one
}

// otherSettings predicts and calibrates with settings that decide no score, and with the data set in another layout.
func otherSettings(t *testing.T, model, list, table string, setting []string) {
	want := must(t, "predict", "-m", model, list)
	if have := must(t, "predict", "-m", model, list, "--set", "cuda_graph=false", "--set", "data.workers=1"); withoutTimes(have) != withoutTimes(want) {
		t.Errorf("cuda_graph=false: have %s, want %s", have, want)
	}
	var csv strings.Builder
	csv.WriteString("path,object,camera,class,split,label\n")
	for line := range strings.Lines(table[strings.Index(table, "\n")+1:]) {
		csv.WriteString(strings.TrimSpace(line) + ",train,good\n")
	}
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "list.csv"), []byte(strings.ReplaceAll(csv.String(), filepath.Dir(list)+"/", "")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(filepath.Dir(list), "demo"), filepath.Join(root, "demo")); err != nil {
		t.Fatal(err)
	}
	out := must(t, append(append([]string{"calibrate", "-m", model}, setting...),
		"--set", "data.format=table", "--set", "data.table=list.csv", "--set", "data.root="+root)...)
	if !strings.Contains(out, "9 good objects (45 images), good objects of another data set") { // whose hold-out nobody knows
		t.Errorf("another layout: have %s", out)
	}
}

// withoutTimes cuts time_ms out of lines.
func withoutTimes(lines string) string {
	return regexp.MustCompile(`,"time_ms":[0-9.]+`).ReplaceAllString(lines, "")
}

// link makes links in a new folder, by name, to test images of package dataset.
func link(t *testing.T, images map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	kinds, err := filepath.Abs("../../dataset/testdata/kinds")
	for name, image := range images {
		if !filepath.IsAbs(image) {
			image = filepath.Join(kinds, image)
		}
		err = errors.Join(err, os.Symlink(image, filepath.Join(dir, name)))
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// mixedFolder judges and calibrates with a folder of all image formats and what else lies in folders.
func mixedFolder(t *testing.T, model, jpeg string) {
	dir := link(t, map[string]string{"a.png": "rgb.tif.png", "b.bmp": "rgb.bmp", "c.TIF": "rgb.tif", "d.webp": "lossless.webp", "e.jpg": jpeg})
	for _, name := range []string{"notes.txt", ".f.png"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, text := stderr(t, "predict", "-m", model, dir)
	if strings.Count(out, `"decision":`) != 10 || strings.Contains(out, `"error":`) || !strings.Contains(text, "5 images of 5 objects") {
		t.Errorf("have %s and %s, want a decision on each of 5 images and their objects", out, text)
	}
	for _, name := range []string{"notes.txt", ".f.png"} {
		if !strings.Contains(text, filepath.Join(dir, name)) {
			t.Errorf("have %s, want %s to be named as passed over", text, name)
		}
	}
	if out, text := stderr(t, "calibrate", "-m", model, dir); !strings.Contains(out, "5 good objects (5 images)") || !strings.Contains(text, "notes.txt") {
		t.Errorf("calibrate: have %s and %s", out, text)
	}
}

// TestNamesOfTraining trains on a folder with a pattern of its own: calibrate and predict go by it, also with paths
// from standard input and with cameras absent, and --pattern overrides it.
func TestNamesOfTraining(t *testing.T) {
	images := map[string]string{}
	for i, kind := range []string{"rgb.bmp", "gray.bmp", "bits.bmp", "palette.bmp"} {
		images[fmt.Sprint("left of ", i, ".png")], images[fmt.Sprint("right of ", i, ".png")] = kind, "lossy_1x1.webp"
	}
	good := link(t, images)
	root := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(root, "cup"), 0o755), os.Symlink(good, filepath.Join(root, "cup", "good"))); err != nil {
		t.Fatal(err)
	}
	_, model, _ := trained(t, "--set", "data.format=folder", "--set", "data.root="+root, "--set", "data.pattern='{camera} of {object}'", "--set", "data.views=2",
		"--set", "data.bad=''", "--set", "data.masks=''", "--set", "train.holdout=0")
	if f, err := checkpoint.Open(model); err != nil || f.Calibration() != "" {
		t.Errorf("without a hold-out: have a calibration, error %v", err)
	} else {
		f.Close()
	}
	if _, err := command(t, "calibrate", "-m", model); err == nil || !strings.Contains(err.Error(), "have no hold-out") {
		t.Errorf("calibrate without images: have %v, want that there is no hold-out", err)
	}
	refused(t, []string{"calibrate", "-m", model, "--class", "cup", good}, "have 0 good objects, want at least 2: 4 of 4 objects have training images")
	others := link(t, map[string]string{"left of 5.png": "rgb.tif", "right of 5.png": "gray.tif", "left of 6.png": "rgba.tif", "right of 6.png": "gray.tif"})
	must(t, "calibrate", "-m", model, "--class", "cup", others)
	if c := calibrationOf(t, model); c.Objects != 2 || c.Images != 4 || c.Object.For("cup").Basis != calibration.ByClass || c.Source == fromHoldout {
		t.Errorf("have %+v, want 2 objects of 2 images", c)
	}
	stdin := os.Stdin
	defer func() { os.Stdin = stdin }()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	os.Stdin = r
	if _, err := fmt.Fprintf(w, "%s/right of 0.png\n%s/left of 0.png\n%s/right of 3.png\n", good, good, good); err != nil {
		t.Fatal(err)
	}
	w.Close()
	out := must(t, "predict", "-", "-m", model)
	if strings.Count(out, "\n") != 3 || strings.Count(out, `"camera":1`) != 1 || strings.Count(out, `"camera":2`) != 2 || strings.Count(out, good+`/0"`) != 2 {
		t.Errorf("have %s, want an object of two cameras and one of the second", out)
	}
	alone := must(t, "predict", "-m", model, "--pattern", "{object}", filepath.Join(good, "left of 0.png"), filepath.Join(good, "right of 0.png"))
	if strings.Count(alone, "\n") != 2 || strings.Contains(alone, `"camera":`) || !strings.Contains(alone, `"basis":"pooled"`) {
		t.Errorf("single images of no class: have %s", alone)
	}
}

// TestLinesOnAFullDisk: what is written ends with the last whole object, whose lines may be many.
func TestLinesOnAFullDisk(t *testing.T) {
	if !testenv.InOwnProcess(t) {
		return
	}
	folder := t.TempDir()
	w, err := newLines(folder)
	if err != nil {
		t.Fatal(err)
	}
	lift := testenv.FullDisk(t, 5000)
	object := []inspect.Line{{Path: strings.Repeat("a", 1000)}, {Path: strings.Repeat("b", 1000)}}
	if err := errors.Join(w.write(object...), w.write(object...)); err != nil {
		t.Fatal(err)
	}
	err = w.close(w.write(object...))
	lift()
	path := filepath.Join(folder, "predictions.jsonl")
	if err == nil || !strings.Contains(err.Error(), path) || !errors.Is(err, syscall.EFBIG) {
		t.Errorf("have %v, want it to name the file", err)
	}
	if n := len(linesOf(t, path)); n != 4 {
		t.Errorf("have %d lines, want those of two objects", n)
	}
}

// TestFolderOfPredictionsIsGone: predictions of which nobody would find the rest end, and no other folder is made.
func TestFolderOfPredictionsIsGone(t *testing.T) {
	for name, gone := range map[string]func(folder string) error{
		"renamed":  func(folder string) error { return os.Rename(folder, folder+"-moved") },
		"removed":  os.RemoveAll,
		"replaced": func(folder string) error { return errors.Join(os.RemoveAll(folder), os.Mkdir(folder, 0o755)) },
	} {
		folder := filepath.Join(t.TempDir(), "out")
		w, err := newLines(folder)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.there(), w.write(inspect.Line{Path: "a"}), gone(folder)); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(folder, "predictions.jsonl")
		for _, err := range []error{w.there(), w.close(w.write(inspect.Line{Path: "b"}))} {
			if want := path + ": was removed, renamed or replaced meanwhile"; err == nil || err.Error() != want {
				t.Errorf("%s: have %v, want %s", name, err, want)
			}
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s: have another file in its place", name)
		}
	}
}
