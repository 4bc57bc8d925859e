package eval

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mvag-torch/eval/report"
	"mvag-torch/eval/score"
	"mvag-torch/internal/testenv"
)

// TestPartialFlipped flips each bit of a file of two finished classes: what is taken over is what was saved, and a class
// that was damaged is left aside.
func TestPartialFlipped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "partial.jsonl")
	want := map[string]string{"gear": "f1", "nut": "f2"}
	for _, name := range []string{"gear", "nut"} {
		class := report.Class{Name: name, Counts: report.Counts{Images: 12, Objects: 6}}
		class.Values[0] = 0.975
		if err := save(path, want[name], finished{score.Result{Class: class}, nil}); err != nil {
			t.Fatal(err)
		}
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if found, err := restore(path, want); err != nil || len(found) != 2 {
		t.Fatalf("have %v, %v, want both classes", found, err)
	}
	var sum testenv.Tally
	for at := range len(whole) {
		for bit := range 8 {
			text := append([]byte(nil), whole...)
			text[at] ^= 1 << bit
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			found, ignored := restore(path, want)
			sum.Injected++
			if ignored != nil {
				sum.Refused++
			}
			if len(found) < 2 && (ignored == nil || strings.Contains(ignored.Error(), "\n")) {
				t.Fatalf("byte %d, bit %d: have %v, ignored %v", at, bit, found, ignored)
			}
			for name, f := range found {
				if f.Class.Name != name || f.Class.Images != 12 || f.Class.Objects != 6 || f.Class.Values[0] != 0.975 {
					t.Fatalf("byte %d, bit %d: have %+v taken over", at, bit, f)
				}
			}
		}
	}
	sum.Log(t, "finished classes")
}

// TestFolderOfResultsIsGone: an evaluation whose folder a person removes ends with its first class, not with the last.
func TestFolderOfResultsIsGone(t *testing.T) {
	cfg, path := smallConfig(), filepath.Join(t.TempDir(), "gone", "partial.jsonl")
	_, out, err := evaluate(t, cfg, smallSet(t, cfg, "gear", "nut"), "a", path, "")
	if err == nil || !strings.Contains(err.Error(), `class "gear": `+path+": no such file or directory") || strings.Contains(err.Error(), "\n") {
		t.Errorf("have %v, want a line that names the file", err)
	}
	if n := len(out.Results.Classes); n > 1 {
		t.Errorf("have %d classes, want the end after the first", n)
	}
}
