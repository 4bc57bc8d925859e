package page

import (
	"html"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// written is the report of a folder.
func written(t testing.TB, folder string) string {
	t.Helper()
	path := filepath.Join(folder, "report.html")
	if _, err := Write(path, folder, "", "test"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestReportHasEveryPart(t *testing.T) {
	text := written(t, sampleRun(t, 3, "gear", nasty))
	for _, id := range []string{"summary", "decisions", "by-class", "curves", "by-camera", "by-defect", "gallery", "misses", "alarms", "training", "settings"} {
		if !strings.Contains(text, `id="`+id) {
			t.Errorf("have no part %q", id)
		}
	}
	if n := strings.Count(text, "<svg "); n != 2*6+3 {
		t.Errorf("have %d plots, want 6 a class and 3 of the training", n)
	}
	for _, want := range []string{"calibrated with 8 good objects", "threshold 0.0", "AUPRO", "data:image/jpeg;base64,/9j/", "--ratio:1.6\"", `width="32" height="20"`, "iterations</dt><dd>300", "dropout: 0.4"} {
		if !strings.Contains(text, want) {
			t.Errorf("have no %q", want)
		}
	}
	if left := regexp.MustCompile(`(fill|stroke):#\w+`).FindString(strings.Join(regexp.MustCompile(`(?s)<svg .*?</svg>`).FindAllString(text, -1), "")); left != "" {
		t.Errorf("have %s in a plot, want colours of the theme", left)
	}
	if strings.Contains(text, "ZgotmplZ") {
		t.Error("a value was taken for dangerous by the template")
	}
}

// TestReportIsClosed looks for what would break out of the markup or reach for the network.
func TestReportIsClosed(t *testing.T) {
	text := written(t, sampleRun(t, 2, nasty))
	if strings.Contains(text, "<b onclick") || strings.Count(text, "</script>") != 1 {
		t.Error("the name of a class became markup")
	}
	if !strings.Contains(text, html.EscapeString(nasty)) {
		t.Error("the name of a class is not shown")
	}
	for _, found := range regexp.MustCompile(`(?i)(?:src|href|action|url)\s*[=(]\s*["']?([^"'\s>]+)`).FindAllStringSubmatch(text, -1) {
		if to := found[1]; !strings.HasPrefix(to, "data:") && !strings.HasPrefix(to, "#") {
			t.Errorf("have a link to %q", to)
		}
	}
}

// TestReportOfParts leaves files out: what there is is shown, what is missing is said.
func TestReportOfParts(t *testing.T) {
	for name, test := range map[string]struct {
		missing []string
		want    []string
		without []string
	}{
		"trained only": {
			[]string{"results.json", "scores.jsonl", "objects.jsonl", "curves.jsonl", "gallery.jsonl"},
			[]string{"mvag-torch eval -m ", "/run/checkpoint.safetensors", "has not been evaluated", "Loss", "object threshold"},
			[]string{`id="summary"`, "objects found", `id="gallery"`},
		},
		"no training":         {[]string{"train.jsonl"}, []string{"nothing is known about the training", "mAD"}, []string{">Loss<"}},
		"no checkpoint":       {[]string{"checkpoint.safetensors"}, []string{"not calibrated", "chosen with its labels", "dropout: 0.4"}, []string{">stated<"}},
		"neither has one":     {[]string{"checkpoint.safetensors", "config.yaml"}, []string{"has no configuration", "mAD"}, nil},
		"results alone":       {[]string{"scores.jsonl", "objects.jsonl", "curves.jsonl", "gallery.jsonl"}, []string{"has no objects.jsonl", "has no curves.jsonl", "has no gallery.jsonl", "mAD"}, []string{`id="gallery"`, `id="curves"`}},
		"no curves of pixels": {[]string{"curves.jsonl"}, []string{"has no curves.jsonl", ">ROC<"}, []string{">PRO<"}},
	} {
		t.Run(name, func(t *testing.T) {
			folder := sampleRun(t, 2, "gear")
			for _, file := range test.missing {
				if err := os.Remove(filepath.Join(folder, file)); err != nil {
					t.Fatal(err)
				}
			}
			text := written(t, folder)
			for _, want := range test.want {
				if !strings.Contains(text, want) {
					t.Errorf("have no %q", want)
				}
			}
			for _, not := range test.without {
				if strings.Contains(text, not) {
					t.Errorf("have %q", not)
				}
			}
		})
	}
}

// TestReportOfStartsAndLeftOutSteps has lines of starts and of steps that changed nothing in the journal: the first are no
// steps, and the others are told in words.
func TestReportOfStartsAndLeftOutSteps(t *testing.T) {
	folder := sampleRun(t, 2, "gear")
	path := filepath.Join(folder, "train.jsonl")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	start := `{"iteration":0,"start":{"program":"v1","threads":2}}` + "\n"
	put(t, path, start+string(text)+
		`{"iteration":300,"lr":0.002,"loss":null,"grad_norm":null,"skipped":"the loss: NaN"}`+"\n"+
		`{"iteration":301,"lr":0.001,"loss":0.125,"grad_norm":0.25}`+"\n"+strings.ReplaceAll(start, ":0", ":302"))
	page := written(t, folder)
	for _, want := range []string{" at iteration 301", "Iteration 300 was left out", "The first tensor that was not: the loss: NaN."} {
		if !strings.Contains(page, want) {
			t.Errorf("have no %q", want)
		}
	}
}

// TestReportTellsOldResults has a checkpoint that was trained further.
func TestReportTellsOldResults(t *testing.T) {
	folder := sampleRun(t, 2, "gear")
	edit(t, folder, "results.json", `"iteration": 300`, `"iteration": 200`)
	if text := written(t, folder); !strings.Contains(text, "The results are of iteration 200, the checkpoint is of iteration 300") {
		t.Error("have no notice of old results")
	}
}

// TestReportOfOtherVersions has results with a metric of another version instead of one of this.
func TestReportOfOtherVersions(t *testing.T) {
	folder := sampleRun(t, 2, "gear")
	edit(t, folder, "results.json", `"AUPRO": 0.`, `"PRO@0.05": 0.`)
	edit(t, folder, "gallery.jsonl", `"image":`, `"picture":`)
	text := written(t, folder)
	for _, want := range []string{"does not show: PRO@0.05.", "not defined in 1 class "} {
		if !strings.Contains(text, want) {
			t.Errorf("have no %q", want)
		}
	}
	if strings.Contains(text, `src=""`) {
		t.Error("have a broken image")
	}
}

// edit replaces the first old in a file of a folder.
func edit(t testing.TB, folder, file, old, with string) {
	t.Helper()
	path := filepath.Join(folder, file)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		t.Fatalf("%s: have no %q", file, old)
	}
	put(t, path, strings.Replace(string(text), old, with, 1))
}

// TestUndefinedValues has a class without defects, infinite scores and a score that is not a number.
func TestUndefinedValues(t *testing.T) {
	folder := sampleRun(t, 2, "gear", "nut")
	edit(t, folder, "objects.jsonl", `"max":0.`, `"max":null,"was":0.`)
	edit(t, folder, "scores.jsonl", `"score":0.`, `"score":"Infinity","was":0.`)
	edit(t, folder, "results.json", `"I-AUROC": 1`, `"I-AUROC": null`)
	text := written(t, folder)
	for _, want := range []string{"n/a", "not defined in 1 class "} {
		if !strings.Contains(text, want) {
			t.Errorf("have no %q", want)
		}
	}
	if strings.Contains(text, "NaN") {
		t.Error("have a NaN for people to read")
	}
}

func TestBadRuns(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(folder string)
		want  []string
	}{
		"empty folder":      {func(f string) { empty(t, f) }, []string{"have none of results.json"}},
		"cut results":       {func(f string) { cut(t, f, "results.json") }, []string{"results.json", "unexpected end"}},
		"results of others": {func(f string) { put(t, filepath.Join(f, "results.json"), `{"accuracy": 1}`) }, []string{"results.json", "accuracy"}},
		"protocol":          {func(f string) { edit(t, f, "results.json", `"protocol": {`, `"protocol": 7, "x": {`) }, []string{"results.json"}},
		"cut scores":        {func(f string) { cut(t, f, "scores.jsonl") }, []string{"scores.jsonl:"}},
		"cut curves":        {func(f string) { cut(t, f, "curves.jsonl") }, []string{"curves.jsonl:1: "}},
		"curve beyond 1":    {func(f string) { edit(t, f, "curves.jsonl", `"recall":[0,`, `"recall":[7,`) }, []string{"curves.jsonl:1: recall: have 7"}},
		"curve too short":   {func(f string) { edit(t, f, "curves.jsonl", `"recall":[0,`, `"recall":[`) }, []string{"curves.jsonl:1: recall: have"}},
		"gallery":           {func(f string) { edit(t, f, "gallery.jsonl", `"image":"`, `"image":"?`) }, []string{"gallery.jsonl:1: "}},
		"train.jsonl":       {func(f string) { edit(t, f, "train.jsonl", `"iteration":7,`, `"iteration":x,`) }, []string{"train.jsonl:8: "}},
		"configuration":     {func(f string) { remove(t, f, "checkpoint.safetensors"); edit(t, f, "config.yaml", "seed:", "sed:") }, []string{"config.yaml", "sed"}},
		"checkpoint":        {func(f string) { cut(t, f, "checkpoint.safetensors") }, []string{"checkpoint.safetensors"}},
	} {
		t.Run(name, func(t *testing.T) {
			folder := sampleRun(t, 2, "gear")
			path := filepath.Join(t.TempDir(), "report.html")
			put(t, path, "the report before")
			test.spoil(folder)
			_, err := Write(path, folder, "", "test")
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("have %q, want one line with %q", err, want)
				}
			}
			if text, err := os.ReadFile(path); err != nil || string(text) != "the report before" {
				t.Errorf("the report before is gone: have %.20q, %v", text, err)
			}
		})
	}
}

func cut(t *testing.T, folder, file string) {
	t.Helper()
	info, err := os.Stat(filepath.Join(folder, file))
	if err == nil {
		err = os.Truncate(filepath.Join(folder, file), info.Size()/2)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, folder, file string) {
	t.Helper()
	if err := os.Remove(filepath.Join(folder, file)); err != nil {
		t.Fatal(err)
	}
}

func empty(t *testing.T, folder string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		remove(t, folder, e.Name())
	}
}

func TestPlacesThatCannotBe(t *testing.T) {
	folder := sampleRun(t, 2, "gear")
	for name, test := range map[string]struct{ path, folder, want string }{
		"no such run":      {filepath.Join(folder, "x.html"), folder + "x", folder + "x"},
		"run is a file":    {filepath.Join(folder, "x.html"), filepath.Join(folder, "results.json"), "have a file, want a run folder"},
		"output not there": {filepath.Join(folder, "nowhere", "x.html"), folder, "nowhere"},
		"output a folder":  {t.TempDir(), folder, "file exists"},
	} {
		if _, err := Write(test.path, test.folder, "", "test"); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: have %v, want %q", name, err, test.want)
		}
	}
	if os.Geteuid() == 0 {
		return // may write anywhere
	}
	if err := os.Chmod(folder, 0o555); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(filepath.Join(folder, "report.html"), folder, "", "test"); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("read-only folder: have %v", err)
	}
}

// TestTrainingThins keeps what stands out of many steps, and the last line that is being written aside.
func TestTrainingThins(t *testing.T) {
	var x, y []float64
	for i := range 50000 {
		x, y = append(x, float64(i)), append(y, 0.1)
	}
	y[31234] = 5
	tx, ty := extremes(x, y)
	if len(tx) > most || len(tx) != len(ty) {
		t.Errorf("have %d points, want at most %d", len(tx), most)
	}
	_, high := span(ty)
	mx, my := medians(x, y)
	if _, middle := span(my); high != 5 || middle != 0.1 || len(mx) != 50 {
		t.Errorf("have highest %v, median %v of %d", high, middle, len(mx))
	}
	folder := sampleRun(t, 2, "gear")
	path := filepath.Join(folder, "train.jsonl")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	put(t, path, string(text)+`{"iteration":300,"lo`)
	if text := written(t, folder); !strings.Contains(text, "at iteration 299") {
		t.Error("have no last whole step")
	}
}

// TestHistogramCountsAll adds up the steps of histograms.
func TestHistogramCountsAll(t *testing.T) {
	values := []float64{0.01, 0.011, 0.02, 0.5, 1}
	for _, log := range []bool{false, true} {
		x, y := steps(values, 0.01, 1, log)
		total := 0.0
		for _, v := range y {
			total += v / 2 // both ends of a step
		}
		if math.Abs(total-100) > 1e-9 || x[0] != 0.01 || math.Abs(x[len(x)-1]-1) > 1e-12 {
			t.Errorf("log %v: have %v %% from %v to %v, want 100 %% from 0.01 to 1", log, total, x[0], x[len(x)-1])
		}
		if first := y[0]; log && first != 40 || !log && first != 60 {
			t.Errorf("log %v: have %v %% in the first bin", log, first)
		}
	}
}
