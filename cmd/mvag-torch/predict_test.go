package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mvag-torch/inspect"
	"mvag-torch/internal/safetensors"
	"mvag-torch/model/calibration"
	"mvag-torch/model/checkpoint"
	"mvag-torch/model/modeltest"
	"mvag-torch/model/weights"
)

// trained trains a small model for two steps on rendered objects and returns
// its folder, checkpoint, and the settings.
func trained(t *testing.T, more ...string) (dir, model string, setting []string) {
	t.Helper()
	dir = t.TempDir()
	backbone, demo := filepath.Join(dir, "vits14.safetensors"), filepath.Join(dir, "demo")
	if err := weights.WriteSafetensors(backbone, modeltest.RandomViT(3, 4), nil); err != nil {
		t.Fatal(err)
	}
	must(t, "dataset", "demo", demo, "--size", "64", "--train", "4", "--good", "1", "--bad", "2")
	setting = append([]string{"-c", "quickstart", "--set", "output=" + dir, "--set", "data.root=" + demo, "--set", "backbone.weights=" + backbone,
		"--set", "backbone.layers=[1, 3]", "--set", "model.decoder_depth=2", "--set", "data.resize=64", "--set", "data.crop=56",
		"--set", "train.iterations=2", "--set", "train.warmup=1", "--set", "eval.map_size=64", "--set", "device=cpu"}, more...)
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
	if c.Objects != 6 || c.Images != 30 || len(c.Object.Classes) != 3 || c.FalseAlarm != 0.01 || c.Source != heldOut {
		t.Errorf("have %+v, want 2 held-out objects of each of 3 classes", c)
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
		t.Errorf("resumed: have %+v, want %+v from the same held-out objects", same.Object.Pooled, c.Object.Pooled)
	}

	must(t, "eval", "-m", model)
	want := map[string]float64{}
	text, err := os.ReadFile(filepath.Join(dir, "quickstart", "scores.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	table := "path,object,camera,class\n"
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
		table += s.Path + "," + s.Object + ",C" + string(rune('0'+s.Camera)) + "," + s.Class + "\n"
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
			if !strings.HasPrefix(l.Class, "bottle_cap") && l.Class != "gear" && l.Class != "hex_nut" || l.Camera == 0 || l.Whole == nil {
				t.Errorf("%q: have %+v, want a class, a camera and a verdict on the object", args, l)
			}
		}
	}
	// 3 objects a class: batches of 3 begin where those of eval do.
	must(t, "eval", "-m", model, "--set", "eval.objects=3", "-o", filepath.Join(dir, "three"))
	for _, s := range scoresIn(t, filepath.Join(dir, "three", "scores.jsonl")) {
		want[s.Path] = s.Score
	}
	compare(true, list, "--set", "eval.objects=3", "--maps")
	compare(false, list)
	compare(false, filepath.Join(dir, "demo", "realiad_demo", "*", "NG"), filepath.Join(dir, "demo", "realiad_demo", "*", "OK", "S000[56789]"), "--set", "eval.objects=5")
	t.Run("bad inputs", func(t *testing.T) { predictRefusals(t, dir, model, list) })
}

func scoresIn(t *testing.T, path string) (list []struct {
	Path  string
	Score float64
}) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal([]byte("["+strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", ",")+"]"), &list)
	}
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// contents are the names and bytes of all tensors of a checkpoint and its
// metadata, calibration excepted.
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
	return append(list, meta["format"], meta["config"], meta["iteration"], meta["backbone.sha256"])
}

func predictRefusals(t *testing.T, dir, model, list string) {
	empty, broken := filepath.Join(dir, "empty"), filepath.Join(dir, "some", "broken.jpg")
	good := linesOf(t, filepath.Join(dir, "out", "predictions.jsonl"))[0].Path
	bare := filepath.Join(dir, "bare.safetensors")
	raw := filepath.Join(dir, "raw.safetensors") // a checkpoint that was not calibrated
	err := errors.Join(os.MkdirAll(empty, 0o755), os.MkdirAll(filepath.Dir(broken), 0o755), os.WriteFile(broken, []byte("\xff\xd8\xffcut"), 0o600),
		weights.WriteSafetensors(bare, weights.Map{"x": {Shape: []int64{1}, Data: []float32{1}}}, nil))
	if err != nil {
		t.Fatal(err)
	}
	f, err := checkpoint.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	x := safetensors.Float32("x", []int64{1}, []float32{1})
	if err := checkpoint.Write(raw, *f.Info, []safetensors.Tensor{x}); err != nil {
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
		"no model":                  {[]string{"predict", good}, []string{"have no model"}},
		"no picture":                {[]string{"predict", "-m", model}, []string{"want 1 (PATH…)"}},
		"empty folder":              {[]string{"predict", "-m", model, empty}, []string{empty, "have no image"}},
		"folder that is not there":  {[]string{"predict", "-m", model, empty + "x"}, []string{empty + "x"}},
		"not calibrated":            {[]string{"predict", "-m", raw, good}, []string{raw, "have no calibration", "mvag-torch calibrate -m"}},
		"bare weights":              {[]string{"predict", "-m", bare, good}, []string{bare, "want a checkpoint"}},
		"unreadable among good":     {[]string{"predict", "-m", model, good, broken, "-o", filepath.Join(dir, "o1")}, []string{"1 of 2 images failed", broken, "truncated"}},
		"only unreadable":           {[]string{"predict", "-m", model, broken}, []string{"1 of 1 images failed"}},
		"a camera too many":         {[]string{"predict", "-m", model, six, "-o", filepath.Join(dir, "o2")}, []string{"4 of 4 images failed", "have C6, want C1 to C5"}},
		"another protocol":          {[]string{"predict", "-m", model, good, "--set", "eval.top=0.5"}, []string{"eval.top: have 0.5, want 0.01", model}},
		"maps without a folder":     {[]string{"predict", "-m", model, good, "--maps"}, []string{"--maps without -o"}},
		"pattern":                   {[]string{"predict", "-m", model, good, "--pattern", "{x}"}, []string{"pattern", "{x}"}},
		"output is a file":          {[]string{"predict", "-m", model, good, "-o", list}, []string{list}},
		"calibrate on one object":   {[]string{"calibrate", "-m", model, good}, []string{"have 1 good objects, want at least 2"}},
		"calibrate on broken":       {[]string{"calibrate", "-m", model, good, broken}, []string{broken, "truncated"}},
		"calibrate on a bad table":  {[]string{"calibrate", "-m", model, six}, []string{"have C6"}},
		"calibrate with both":       {[]string{"calibrate", "-m", model, "-c", filepath.Join(dir, "quickstart", "config.yaml"), good}, []string{"have -c and PATH"}},
		"calibrate without holdout": {[]string{"calibrate", "-m", withoutHoldout(t, dir, f)}, []string{"have no hold-out"}},
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

// withoutHoldout writes a checkpoint of a run that held nothing out.
func withoutHoldout(t *testing.T, dir string, f *checkpoint.File) string {
	t.Helper()
	path, info := filepath.Join(dir, "all.safetensors"), *f.Info
	info.Config.Train.Holdout = 0
	if err := checkpoint.Write(path, info, []safetensors.Tensor{safetensors.Float32("x", []int64{1}, []float32{1})}); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestPredictSinglePictures reads paths from standard input and writes lines to
// standard output; an object may lack cameras.
func TestPredictSinglePictures(t *testing.T) {
	dir, model, _ := trained(t)
	if f, err := checkpoint.Open(model); err != nil || f.Calibration() != "" {
		t.Errorf("without held-out objects: have a calibration, error %v", err)
	} else {
		f.Close()
	}
	ok := filepath.Join(dir, "demo", "realiad_demo", "gear", "OK")
	must(t, "calibrate", "-m", model, "--class", "gear", ok)
	if c := calibrationOf(t, model); c.Object.For("gear").Basis != calibration.ByClass || c.Source == heldOut {
		t.Errorf("have %+v", c)
	}
	files, err := filepath.Glob(filepath.Join(ok, "S0001", "*.jpg"))
	if err != nil || len(files) != 5 {
		t.Fatalf("have %q, error %v", files, err)
	}
	stdin := os.Stdin
	defer func() { os.Stdin = stdin }()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	os.Stdin = r
	if _, err := w.WriteString(strings.Join(files[:3], "\n")); err != nil {
		t.Fatal(err)
	}
	w.Close()
	out := must(t, "predict", "-", "-m", model)
	if strings.Count(out, "\n") != 3 || strings.Count(out, `"camera":`) != 3 || strings.Count(out, `"decision":"good"`) != 6 {
		t.Errorf("two cameras too few: have %s, want 3 good pictures of a good object", out)
	}
	alone := must(t, "predict", "-m", model, "--pattern", "{object}", files[0], files[1])
	if strings.Count(alone, "\n") != 2 || strings.Contains(alone, `"camera":`) || !strings.Contains(alone, `"basis":"pooled"`) {
		t.Errorf("single pictures of no class: have %s", alone)
	}
}
