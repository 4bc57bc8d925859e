package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mvag-torch/eval/metric"
	"mvag-torch/eval/picture"
	"mvag-torch/eval/report"
	"mvag-torch/eval/score"
	"mvag-torch/internal/heatmap"
)

// partials counts the finished classes of an interrupted evaluation whose line is complete.
func partials(t *testing.T, folder string) (n int) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, "partial.jsonl"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		if json.Valid(line) { // not the empty first one, nor one that is still being written
			n++
		}
	}
	return n
}

// kill evaluates into folder in a process of its own and kills it in the second class.
func kill(t *testing.T, folder string, args ...string) {
	t.Helper()
	for range 10 {
		if err := os.RemoveAll(folder); err != nil {
			t.Fatal(err)
		}
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), commandVariable+"="+strings.Join(append([]string{"mvag-torch"}, args...), "\n"))
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		over := make(chan struct{})
		go func() { _ = c.Wait(); close(over) }()
		for alive := true; alive && partials(t, folder) == 0; {
			select {
			case <-over:
				alive = false
			case <-time.After(time.Millisecond):
			}
		}
		_ = c.Process.Kill() // it may be over
		<-over
		if partials(t, folder) == 1 {
			return
		}
	}
	t.Fatal("the evaluation was never killed in its second class")
}

// evalResumes kills an evaluation in class 2 of 3 and resumes: results and scores are those of the folder want, byte
// for byte. Results of other settings are left aside.
func evalResumes(t *testing.T, model, want string) {
	folder := filepath.Join(t.TempDir(), "run")
	args := []string{"eval", "-m", model, "--format", "json", "-o", folder}
	compare := func(when string) {
		t.Helper()
		for _, name := range []string{"results.json", "scores.jsonl", "objects.jsonl", "curves.jsonl", "pictures/bottle_cap.png"} {
			a, errA := os.ReadFile(filepath.Join(folder, name))
			b, errB := os.ReadFile(filepath.Join(want, name))
			if errA != nil || errB != nil || !bytes.Equal(a, b) {
				t.Errorf("%s: %s: have %d bytes, want the %d of an evaluation that nobody killed (%v, %v)", when, name, len(a), len(b), errA, errB)
			}
		}
		if a, b := exhibited(t, folder), exhibited(t, want); len(b) != 3*3 || !slices.Equal(a, b) {
			t.Errorf("%s: have %q in the gallery, want %q", when, a, b)
		}
		if _, err := os.Stat(filepath.Join(folder, "partial.jsonl")); !os.IsNotExist(err) {
			t.Errorf("%s: partial results are left (%v)", when, err)
		}
	}
	kill(t, folder, args...)
	_, text := stderr(t, args...)
	if !strings.Contains(text, `resumed: finished before, and not evaluated again: "bottle_cap"`) {
		t.Errorf("have %q, want what was resumed", text)
	}
	compare("resumed")

	kill(t, folder, append(args, "--set", "eval.top=0.02")...)
	_, text = stderr(t, args...)
	if !strings.Contains(text, "left aside: ") || !strings.Contains(text, "of another model, setting, file") {
		t.Errorf("have %q, want what was left aside", text)
	}
	compare("after other settings")

	if err := os.WriteFile(filepath.Join(folder, "partial.jsonl"), []byte("\n{\"results\": {\"prot"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, text = stderr(t, args...); !strings.Contains(text, "left aside: ") || !strings.Contains(text, "partial.jsonl:2: ") {
		t.Errorf("have %q, want the broken line", text)
	}
	compare("after a broken file")
}

// TestScaleOf has scores of no image, since all were left out, of defective ones only, and of both.
func TestScaleOf(t *testing.T) {
	image := func(label int, v float64) score.Image { return score.Image{Label: label, Score: metric.Number(v)} }
	for _, c := range []struct {
		images []score.Image
		want   heatmap.Scale
	}{
		{nil, heatmap.Scale{}},
		{[]score.Image{image(1, -2), image(1, -3)}, heatmap.Scale{Low: 0, High: -2}},
		{[]score.Image{image(0, 3), image(1, 7), image(0, 1), image(0, 2)}, heatmap.Scale{Low: 2, High: 7}},
	} {
		if have := scaleOf(c.images); have != c.want {
			t.Errorf("%v: have %v, want %v", c.images, have, c.want)
		}
	}
}

// exhibited lists the objects of a gallery and the number of their views.
func exhibited(t *testing.T, folder string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, "gallery.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range bytes.Lines(text) {
		var e picture.Exhibit
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%s: %d", e.Object, len(e.Views)))
	}
	return out
}

// stderr runs the program in this process and returns what it wrote on both.
func stderr(t *testing.T, args ...string) (out, text string) {
	t.Helper()
	out, text, err := attempt(t, args...)
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return out, text
}

// evalSavesMaps scores the saved maps again: with the scores in the table, the scores of images and so their metrics
// are those of the evaluation; pixels were rounded to half precision.
func evalSavesMaps(t *testing.T, dir, model, want string) {
	maps := filepath.Join(dir, "maps")
	if _, err := command(t, "eval", "-m", model, "-o", filepath.Join(dir, "again"), "--save-maps", maps); err != nil {
		t.Fatal(err)
	}
	out, err := command(t, "metrics", maps, "--format", "json")
	if err != nil {
		t.Fatal(err)
	}
	var have report.Results
	if err := json.Unmarshal([]byte(out), &have); err != nil {
		t.Fatal(err)
	}
	expected, err := report.Read(filepath.Join(want, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(have.Classes) != 3 {
		t.Fatalf("have %d classes, want 3", len(have.Classes))
	}
	for i, c := range have.Classes {
		w := expected.Classes[i]
		if c.Name != w.Name || c.Counts != w.Counts {
			t.Errorf("have %+v, want %+v", c, w)
		}
		for n, v := range c.Values {
			if math.Abs(v-w.Values[n]) > 0.005 {
				t.Errorf("%s: number %d: have %v, want %v", c.Name, n, v, w.Values[n])
			}
		}
	}
}

// TestEvalByProcesses holds that two processes write and print what one does.
func TestEvalByProcesses(t *testing.T) {
	dir, model, _ := trained(t, append(onDiscs(discs(t, 8)), "--set", "train.holdout=0.25")...)
	evaluated := func(folder string, more ...string) string {
		t.Helper()
		c := exec.Command(os.Args[0], append([]string{"eval", "-m", model, "--set", "eval.objects=3", "--format", "json", "-o", folder}, more...)...)
		c.Env = append(os.Environ(), mainVariable+"=development", "OMP_NUM_THREADS=1", "OMP_WAIT_POLICY=passive")
		c.Stderr = &bytes.Buffer{}
		out, err := c.Output()
		if err != nil {
			t.Fatalf("%q: %v\n%s", more, err, c.Stderr)
		}
		return string(out)
	}
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	if want, have := evaluated(one), evaluated(two, "--processes", "2"); have != want || !json.Valid([]byte(have)) {
		t.Errorf("have %s\nwant %s", have, want)
	}
	compared := 0
	err := filepath.WalkDir(one, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) == ".html" { // which names its folder
			return err
		}
		want, err := os.ReadFile(path)
		name, _ := filepath.Rel(one, path)
		if have, _ := os.ReadFile(filepath.Join(two, name)); !bytes.Equal(have, want) {
			t.Errorf("%s: have %d bytes, want those of one process, %d", name, len(have), len(want))
		}
		compared++
		return err
	})
	if err != nil || compared < 6 {
		t.Errorf("compared %d files, %v", compared, err)
	}
}
