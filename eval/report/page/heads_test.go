package page

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mvag-torch/model/calibration"
	"mvag-torch/model/checkpoint"
)

// remember adds calibrations of memory and both to the checkpoint of a folder: equal to that of the reconstruction but
// for the thresholds of objects by memory, which are times as high.
func remember(t *testing.T, folder string, times float64) {
	t.Helper()
	f, err := checkpoint.Open(filepath.Join(folder, "checkpoint.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h, err := calibration.ReadHeads(f)
	if err != nil {
		t.Fatal(err)
	}
	memory := *h.Reconstruction
	memory.Object.Classes = map[string]calibration.Scale{}
	for name, scale := range h.Reconstruction.Object.Classes {
		scale.Threshold *= times
		memory.Object.Classes[name] = scale
	}
	h.Memory, h.Both = &memory, h.Reconstruction
	h.Levels = map[string]calibration.Levels{"": {Reconstruction: 0.1, Memory: 0.1}}
	meta, err := h.Marshal()
	if err == nil {
		err = f.Rewrite(meta, "", nil)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestReportNamesTheHead has a model that predict judges by both, then a class that only the memory knows.
func TestReportNamesTheHead(t *testing.T) {
	folder := sampleRun(t, 2, "gear")
	const differ = "Decisions here are by reconstruction; predict judges by both (inspect.head)."
	if text := written(t, folder); !strings.Contains(text, ">Decisions by reconstruction</h2>") || strings.Contains(text, "predict judges by") {
		t.Error("without memory: want decisions by reconstruction, as in predict")
	}
	remember(t, folder, 1000)
	if text := written(t, folder); strings.Count(text, differ) != 2 { // summary and decisions
		t.Errorf("have %d times %q, want 2", strings.Count(text, differ), differ)
	}
	if note, err := Write(filepath.Join(folder, "report.html"), folder, "", "test"); err != nil || note != differ {
		t.Errorf("have %q, %v, want %q", note, err, differ)
	}
	for _, file := range []string{"objects.jsonl", "scores.jsonl"} { // everything scores high by both
		path := filepath.Join(folder, file)
		lines, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		put(t, path, strings.ReplaceAll(string(lines), "{\"class\"", "{\"heads\":{\"both\":9},\"class\""))
	}
	text := written(t, folder)
	for _, want := range []string{">Decisions by both</h2>", "16 of 16 (100.0 %) are found by both; of the good ones 8 of 8 ", "gallery are by reconstruction"} {
		if !strings.Contains(text, want) {
			t.Errorf("scores by both: have no %q", want)
		}
	}
	if strings.Contains(text, "predict judges by") {
		t.Error("scores by both: want no note, decisions are those of predict")
	}
	edit(t, folder, "results.json", `"images":`, `"head": "memory", "images":`)
	text = written(t, folder)
	if !strings.Contains(text, ">Decisions by memory</h2>") || strings.Contains(text, "predict judges by") {
		t.Error("enrolled: want decisions by memory, as in predict")
	}
	if !strings.Contains(text, "0 of 16 (0.0 %) are found by memory") { // its thresholds are a thousand times as high
		t.Error("enrolled: want the thresholds of the memory")
	}
}

// TestReportOfOtherSettings has results by another crop than that of the checkpoint.
func TestReportOfOtherSettings(t *testing.T) {
	folder := sampleRun(t, 2, "gear")
	edit(t, folder, "results.json", `"iteration": 300`, `"iteration": 300, "settings": {"data.crop": "392", "eval.top": "0.01"}`)
	if text := written(t, folder); !strings.Contains(text, `id="decisions"`) {
		t.Error("the same settings: have no decisions")
	}
	edit(t, folder, "results.json", `"data.crop": "392"`, `"data.crop": "280"`)
	text := written(t, folder)
	if !strings.Contains(text, "(data.crop: have 280, trained with 392): its thresholds do not apply, and decisions are left out.") {
		t.Error("have no notice of the crop")
	}
	for _, not := range []string{`id="decisions"`, "are found", ">missed<", "% of the threshold"} {
		if strings.Contains(text, not) {
			t.Errorf("have %q", not)
		}
	}
}
