package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mvag-torch/eval/score"
	"mvag-torch/inspect"
	"mvag-torch/internal/safetensors"
	"mvag-torch/model/checkpoint"
	"mvag-torch/model/modeltest"
	"mvag-torch/model/weights"
	"mvag-torch/train"
)

// TestFromPartsToDecisions enrolls a data set instead of training on it, evaluates, predicts, adds a class and trains.
func TestFromPartsToDecisions(t *testing.T) {
	dir := t.TempDir()
	backbone := filepath.Join(dir, "vits14.safetensors")
	if err := weights.WriteSafetensors(backbone, modeltest.RandomViT(3, 4), nil); err != nil {
		t.Fatal(err)
	}
	setting := []string{"-c", "quickstart", "--set", "output=" + dir, "--set", "data.root=" + filepath.Join(dir, "demo"),
		"--set", "backbone.weights=" + backbone, "--set", "backbone.layers=[1, 3]", "--set", "model.decoder_depth=2", "--set", "data.resize=64",
		"--set", "data.crop=56", "--set", "train.iterations=2", "--set", "train.warmup=1", "--set", "eval.map_size=64", "--set", "device=cpu",
		"--set", "train.holdout=0.5", "--set", "eval.false_alarm=0.01", "--set", "memory.codes=20", "--set", "memory.dims=4"}
	must(t, "dataset", "demo", filepath.Join(dir, "demo"), "--size", "64", "--train", "4", "--good", "1", "--bad", "2")
	model := filepath.Join(dir, "quickstart", "checkpoint.safetensors")
	must(t, append([]string{"enroll"}, setting...)...)
	file, err := safetensors.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	names, meta := file.Names(), file.Metadata()
	file.Close()
	if len(names) != 3*5*2 || meta["iteration"] != "0" || meta["calibration"] != "" || meta["calibration.heads"] == "" {
		t.Errorf("have tensors %q and iteration %q, want a memory of 3 classes and 5 cameras, calibrated", names, meta["iteration"])
	}
	images := filepath.Join(dir, "demo", "realiad_demo")
	heads := func(path string) (list []string) {
		out := filepath.Join(t.TempDir(), "out")
		must(t, "predict", "-m", model, "-o", out, path)
		for _, line := range linesOf(t, filepath.Join(out, "predictions.jsonl")) {
			if line.Verdict == nil {
				t.Fatalf("%s: have no verdict: %s", line.Path, line.Error)
			}
			list = append(list, line.Head)
		}
		slices.Sort(list)
		return slices.Compact(list)
	}
	if have := heads(filepath.Join(images, "gear", "NG")); !slices.Equal(have, []string{"memory"}) {
		t.Errorf("have %q, want memory", have)
	}
	if out := must(t, "eval", "-m", model); !strings.Contains(out, "judged by memory alone, as the model was not trained on them: bottle_cap, gear, hex_nut") {
		t.Errorf("have\n%s", out)
	}
	if _, err := command(t, "enroll", "-m", model, "--class", "gear", images); err == nil || !strings.Contains(err.Error(), "--replace") {
		t.Errorf("a class that is there: have %v", err)
	}
	must(t, append([]string{"train", "--resume"}, setting...)...)
	if have := heads(filepath.Join(images, "gear", "NG")); !slices.Equal(have, []string{"both"}) {
		t.Errorf("trained: have %q, want both", have)
	}
	out, text := stderr(t, "eval", "-m", model)
	for _, row := range []string{"mean, memory", "mean, both"} {
		if !strings.Contains(out, "\n"+row) {
			t.Errorf("have no row %q in\n%s", row, out)
		}
	}
	page, err := os.ReadFile(filepath.Join(filepath.Dir(model), "report.html"))
	if err != nil || !strings.Contains(string(page), ">Decisions by both</h2>") || strings.Contains(text, "predict judges by") {
		t.Errorf("want a report with decisions by both, as in predict (error %v); have\n%s", err, text)
	}
	scoresAsInPredict(t, model, filepath.Join(images, "gear", "NG"))
	evalsAnotherCrop(t, model)
	for range 2 { // with --replace, the same parts again
		out := must(t, "enroll", "-m", model, "--class", "mixed", "--replace="+replaceMixed(t, model), filepath.Join(images, "gear", "OK"),
			filepath.Join(images, "hex_nut", "OK"), filepath.Join(images, "bottle_cap", "OK"))
		if !strings.Contains(out, `the model was not trained on "mixed": it is judged by memory alone`) || !strings.Contains(out, "the rate that holds is 1/") {
			t.Errorf("have\n%s", out)
		}
	}
	resumesEnrolled(t, model, setting)
}

// resumesEnrolled resumes a finished run to which the class "mixed" was added, again after its checkpoint was damaged, and
// then has none.
func resumesEnrolled(t *testing.T, model string, setting []string) {
	t.Helper()
	resume := append([]string{"train", "--resume"}, setting...)
	said(t, resume, "no thresholds from the hold-out (train.holdout): have 0 good objects, want at least 2: ",
		"; the thresholds of before stay (6 good objects, "+calibrationOf(t, model).Source+"); mvag-torch calibrate ")
	text, err := os.ReadFile(model)
	if err == nil {
		text[len(text)-1] ^= 1
		err = os.WriteFile(model, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	previous, kept := checkpoint.Previous(model), checkpoint.Damaged(model)
	goesOn := "\ngoing on from " + previous + ", which the training left at iteration 0 of 2: what calibrate, enroll or serve have changed since then is not in it"
	said(t, resume, model+": have contents of SHA-256 ", goesOn+` (the damaged one had in its memory "mixed", thresholds from "images given to enroll, `,
		"; what is damaged is kept as "+kept+"\n")
	if err := errors.Join(os.Remove(model), os.Remove(kept)); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"eval", "-m", model}, {"info", model}} {
		refused(t, args, model+": have no such file, want a checkpoint", "; the previous checkpoint of the training is "+previous)
	}
	gone := train.Begin{Folder: filepath.Dir(model), Iterations: 2, Repaired: fs.ErrNotExist}
	if have := repaired(gone); !strings.HasSuffix(have, goesOn+"; there is no damaged one to keep") {
		t.Errorf("have %q, want %q, and that nothing is kept", have, goesOn)
	}
}

// scoresAsInPredict compares the scores by both that eval left with those of predict.
func scoresAsInPredict(t *testing.T, model, images string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(filepath.Dir(model), "scores.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{}
	for line := range bytes.Lines(text) {
		var s score.Image
		if err := json.Unmarshal(line, &s); err != nil {
			t.Fatal(err)
		}
		want[s.Path] = float64(s.Heads["both"])
	}
	out := filepath.Join(t.TempDir(), "out")
	must(t, "predict", "-m", model, "-o", out, images)
	lines := linesOf(t, filepath.Join(out, "predictions.jsonl"))
	for _, l := range lines {
		if v := want[l.Path]; !(v > 0) || math.Abs(l.Score-v) > 1e-4*v {
			t.Errorf("%s: predict has %v by %s, eval %v by both", l.Path, l.Score, l.Head, v)
		}
	}
	if len(lines) == 0 {
		t.Error("have no predictions")
	}
}

// evalsAnotherCrop evaluates a model of crop 56 with memory: thresholds and levels do not apply, which is said.
func evalsAnotherCrop(t *testing.T, model string) {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "other")
	out, text := stderr(t, "eval", "-m", model, "-o", folder, "--set", "data.crop=42")
	if want := model + ": data.crop: have 42, trained with 56: thresholds do not apply and decisions are left out; the memory, too, "; !strings.Contains(text, want) {
		t.Errorf("have no %q in\n%s", want, text)
	}
	if !strings.Contains(out, "\nmean, memory") || strings.Contains(out, "\nmean, both") {
		t.Errorf("have\n%s\nwant a row of the memory, none of both", out)
	}
	page, err := os.ReadFile(filepath.Join(folder, "report.html"))
	if err != nil || strings.Contains(string(page), `id="decisions"`) {
		t.Errorf("the report has decisions (error %v)", err)
	}
}

// replaceMixed says whether a checkpoint has the class "mixed".
func replaceMixed(t *testing.T, model string) string {
	t.Helper()
	u, err := inspect.Read(model, inspect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if u.Memory.Of("mixed") != nil {
		return "true"
	}
	return "false"
}

func TestEnrollUsage(t *testing.T) {
	for _, args := range [][]string{
		{"enroll"}, {"enroll", "-c", "quickstart", "-m", "x"}, {"enroll", "-m", "x", "y"}, {"enroll", "-m", "x", "--class", "y"},
		{"enroll", "-c", "quickstart", "x"},
	} {
		var usage usageError
		if _, err := command(t, args...); !errors.As(err, &usage) {
			t.Errorf("%q: have %v, want a usage error", args, err)
		}
	}
}
