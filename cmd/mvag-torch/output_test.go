package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestOutputBelowInput predicts and evaluates into the folder of the images, again and again: nothing that was drawn is
// taken for an image, wherever it was moved, and heat maps of earlier predictions are named.
func TestOutputBelowInput(t *testing.T) {
	root := discs(t, 8)
	_, model, _ := trained(t, append(onDiscs(root), "--set", "train.holdout=0.25")...)
	lot := filepath.Join(root, "disc/test")
	verdicts := func(out string, args ...string) (string, string) {
		t.Helper()
		_, text := stderr(t, append([]string{"predict", "-m", model, "-o", out}, args...)...)
		lines, err := os.ReadFile(filepath.Join(out, "predictions.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		return regexp.MustCompile(`,"time_ms":[0-9.]+`).ReplaceAllString(string(lines), ""), text
	}
	out := filepath.Join(lot, "out")
	want, text := verdicts(out, lot)
	if strings.Count(want, "\n") != 6 || strings.Contains(text, "wrote") {
		t.Fatalf("have %s%s, want 6 lines", want, text)
	}
	for _, c := range []struct{ name, out string }{{"again", out}, {"elsewhere", filepath.Join(t.TempDir(), "x")}, {"into the folder itself", lot}, {"and again", lot}} {
		have, text := verdicts(c.out, lot)
		if have != want || !strings.Contains(text, "folders that mvag-torch wrote: ") {
			t.Errorf("%s: have %s%s, want the same verdicts, and what was passed over", c.name, have, text)
		}
	}
	must(t, "eval", "-m", model, "-o", filepath.Join(lot, "evaluated"), "--set", "data.classes=[disc]")
	if err := os.Rename(filepath.Join(out, "overlay"), filepath.Join(lot, "moved")); err != nil {
		t.Fatal(err)
	}
	if have, text := verdicts(out, lot); have != want || !strings.Contains(text, "folders that mvag-torch wrote: ") {
		t.Errorf("moved: have %s%s, want the same verdicts", have, text)
	}
	refused(t, []string{"predict", "-m", model, filepath.Join(out, "heat")}, "was written by mvag-torch")
	refused(t, []string{"calibrate", "-m", model, filepath.Join(lot, "moved")}, "was written by mvag-torch")
	_, text = stderr(t, "eval", "-m", model, "-o", filepath.Join(t.TempDir(), "e")) // out is no kind of defect
	if !strings.Contains(text, "evaluating 6 images of 1 class") || !strings.Contains(text, "folders that mvag-torch wrote: ") {
		t.Errorf("eval: have %s, want 6 images, and what was passed over", text)
	}
	for _, mark := range []string{"out/heat", "heat", "overlay", "evaluated/pictures"} { // as earlier versions left them
		if err := os.Remove(filepath.Join(lot, mark, ".mvag-torch-results")); err != nil {
			t.Fatal(err)
		}
	}
	if have, text := verdicts(filepath.Join(t.TempDir(), "x"), lot); have != want || !strings.Contains(text, "folders that mvag-torch wrote: ") {
		t.Errorf("without marks: have %s%s, want the same verdicts", have, text)
	}

	_, text = verdicts(out, filepath.Join(lot, "scratch"))
	if want := out + ": 8 files of earlier predictions, not of these; the first: heat/"; !strings.Contains(text, want) {
		t.Errorf("have %s, want %q", text, want)
	}
}
