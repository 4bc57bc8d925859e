package score

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mvag-torch/eval/metric"
	"mvag-torch/eval/report"
	"mvag-torch/internal/npy"
)

var options = Options{Top: 0.01, AuproLimit: 0.3, OtherRule: "gt0.5"}

const side = 16

// part returns an object of three views; a defective one has a defect of code in view 1, and in view 2 a label whose
// mask is empty.
func part(rng *rand.Rand, id, code string) (string, []View) {
	var views []View
	for camera := 1; camera <= 3; camera++ {
		v := View{Camera: camera, Path: fmt.Sprintf("%s/C%d", id, camera), Height: side, Width: side, Scores: make([]float32, side*side)}
		for i := range v.Scores {
			v.Scores[i] = rng.Float32()
		}
		if code != "" && camera < 3 {
			v.Code, v.Defective = code, true
			v.Mask, v.Other = make([]bool, side*side), make([]bool, side*side)
		}
		if v.Defective && camera == 1 {
			for i := 34; i < 44; i++ {
				v.Mask[i], v.Other[i] = true, i < 39
				v.Scores[i] += 0.5
			}
		}
		views = append(views, v)
	}
	return id, views
}

func example(t *testing.T, order []int) Result {
	t.Helper()
	c := NewClass("gear", options)
	rng := rand.New(rand.NewPCG(1, 2))
	type item struct {
		id    string
		views []View
	}
	var items []item
	for i, code := range []string{"", "AK", "AK", "BX", "", ""} {
		id, views := part(rng, fmt.Sprintf("gear/%d", i), code)
		items = append(items, item{id, views})
	}
	for n, i := range order {
		if _, err := c.Add(i, items[i].id, items[i].views); err != nil {
			t.Fatal(err)
		}
		if n == 3 {
			c.Seal() // all four orders of the tests have the defects before
		}
	}
	r, err := c.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAnyOrderGivesTheSameResult(t *testing.T) {
	text := func(r Result) string {
		b, err := json.Marshal(report.Results{Classes: []report.Class{r.Class}})
		if err != nil {
			t.Fatal(err)
		}
		return string(b) + fmt.Sprint(r.Images, r.Objects)
	}
	want := text(example(t, []int{1, 2, 3, 0, 4, 5}))
	for _, order := range [][]int{{3, 2, 1, 5, 4, 0}, {0, 3, 1, 2, 5, 4}} {
		if have := text(example(t, order)); have != want {
			t.Errorf("order %v: have %s\nwant %s", order, have, want)
		}
	}
}

func TestResult(t *testing.T) {
	r := example(t, []int{1, 2, 3, 0, 4, 5})
	c := r.Class
	if c.Images != 18 || c.Defective != 6 || c.Objects != 6 || c.Masks != 3 || c.Details.Counts["empty_masks"] != 3 || c.Details.Counts["regions"] != 3 {
		t.Errorf("counts: have %+v %v", c, c.Details.Counts)
	}
	if len(c.Details.Views) != 3 || len(c.Details.Defects) != 2 {
		t.Errorf("have %d views and %d defects, want 3 and 2", len(c.Details.Views), len(c.Details.Defects))
	}
	if v := c.Details.Views["C3"]; !math.IsNaN(v[metric.ImageAUROC]) || !math.IsNaN(v[metric.AUPRO]) {
		t.Errorf("view without defects: have %v, want undefined", v)
	}
	if v := c.Details.Defects["BX"]; math.IsNaN(v[metric.AUPRO]) || math.IsNaN(v[metric.ObjectAP]) {
		t.Errorf("BX: have %v", v)
	}
	for _, name := range []string{"S-AUROC (mean)", "S-AUROC (pooled top 1 %)", "I-AP (max)", "AUPRO (mask gt0.5)", "AUPRO (limit 0.05)",
		"AUPRO (Dinomaly, 200 thresholds)", "P-AUROC (ADEval, 1000 bins)", "P-AUPR (trapezoid)"} {
		if v, ok := c.Details.Compat[name]; !ok || v != v {
			t.Errorf("%s: have %v, %v", name, v, ok)
		}
	}
	if c.Details.Compat["S-AP (max)"] != metric.Number(c.Values[metric.ObjectAP]) || c.Details.Compat["AUPRO (limit 0.3)"] != metric.Number(c.Values[metric.AUPRO]) {
		t.Error("the headline's own rules differ from the headline")
	}
	if r.Objects[1].Code != "AK" || r.Objects[1].AUPRO != r.Objects[1].AUPRO || r.Objects[0].AUPRO == r.Objects[0].AUPRO {
		t.Errorf("objects: have %+v", r.Objects[:2])
	}
	if p := r.Images[3]; p.Object != "gear/1" || p.Camera != 1 || p.Label != 1 || p.Max < p.Score {
		t.Errorf("image: have %+v", p)
	}
}

// TestInfinity: infinite scores are ordered and counted, not refused.
func TestInfinity(t *testing.T) {
	c := NewClass("gear", options)
	id, views := part(rand.New(rand.NewPCG(1, 1)), "a", "AK")
	views[0].Scores[40] = float32(math.Inf(1))
	if _, err := c.Add(0, id, views); err != nil {
		t.Fatal(err)
	}
	r, err := c.Finish()
	if err != nil || r.Class.Details.Counts["infinite_images"] != 1 {
		t.Fatalf("have %v, %v", r.Class.Details, err)
	}
	if _, err := json.Marshal(r.Images); err != nil {
		t.Error(err)
	}
}

// write writes the files of a class, as a program would.
func write(t *testing.T, folder, class string, maps [][]float32, masks [][]bool, table ...string) {
	t.Helper()
	a, err := npy.Create(filepath.Join(folder, class+MapsSuffix), npy.Float32, len(maps), side, side)
	if err != nil {
		t.Fatal(err)
	}
	b, err := npy.Create(filepath.Join(folder, class+MasksSuffix), npy.Bool, len(masks), side, side)
	if err != nil {
		t.Fatal(err)
	}
	for i := range maps {
		if err := a.WriteFloats(i, maps[i]); err != nil {
			t.Fatal(err)
		}
	}
	for i := range masks {
		if err := b.WriteBools(i, masks[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmp.Or(a.Commit(), b.Commit()); err != nil {
		t.Fatal(err)
	}
	if table != nil {
		if err := os.WriteFile(filepath.Join(folder, class+TableSuffix), []byte(strings.Join(table, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func noise(n int) (maps [][]float32, masks [][]bool) {
	rng := rand.New(rand.NewPCG(4, 4))
	for i := range n {
		maps, masks = append(maps, make([]float32, side*side)), append(masks, make([]bool, side*side))
		for j := range side * side {
			maps[i][j] = float32(rng.IntN(100)) / 128
			masks[i][j] = i%2 == 0 && j < 9
		}
	}
	return maps, masks
}

func TestFolder(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "a [b]*")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	maps, masks := noise(6)
	write(t, folder, "p%2Fx", maps, masks)
	write(t, folder, "table", maps, masks, `{"object":"a","camera":1,"label":1,"defect":"AK","score":3}`, `{"object":"b","label":1,"score":2}`,
		`{"object":"a","camera":2,"label":1,"score":5,"more":1}`, `{"score":1}`, `{"score":"Infinity"}`, `{"label":0,"score":0}`)
	last := 0
	found, err := Folder(t.Context(), folder, options, func(_ string, done, total int) { last = done; _ = total })
	if err != nil {
		t.Fatal(err)
	}
	classes := found.Results.Classes
	if len(classes) != 2 || last != 12 || classes[0].Name != "p/x" || classes[0].Objects != 6 || classes[0].Defective != 3 {
		t.Fatalf("have %+v, %d images", classes, last)
	}
	// "b" is labelled and has no mask, row 4 has a mask and no label.
	if c := classes[1]; c.Objects != 5 || c.Defective != 4 || c.Masks != 3 {
		t.Errorf("table: have %+v", c)
	}
	if a, b := classes[0].Values, classes[1].Values; a[metric.PixelAP] != b[metric.PixelAP] || a[metric.ImageAP] == b[metric.ImageAP] {
		t.Errorf("have %v and %v, want the same pixels and other images", a, b)
	}
	if found.Objects[6].Max != 5 || !math.IsInf(float64(found.Images[11-1].Score), 1) {
		t.Errorf("have %+v", found.Images[6:])
	}
}

// TestFileName: every class has a file of its own, in the folder, and comes back from its name.
func TestFileName(t *testing.T) {
	seen := map[string]bool{}
	for _, class := range []string{"gear", "a b", "änderung", "x/y", `x\y`, "x%2Fy", "..", ".", ".hidden", "a*b", "[1]", "%", "100%25"} {
		name := FileName(class)
		if seen[name] || name != filepath.Base(name) || strings.HasPrefix(name, ".") || className(name) != class {
			t.Errorf("%q: have file %q of class %q", class, name, className(name))
		}
		seen[name] = true
	}
	for _, foreign := range []string{"100%", "a%20b", "%zz"} { // of another program
		if className(foreign) != foreign {
			t.Errorf("%q: have class %q", foreign, className(foreign))
		}
	}
}

func TestBadFolders(t *testing.T) {
	maps, masks := noise(3)
	nan := slices.Clone(maps)
	nan[1] = slices.Clone(nan[1])
	nan[1][18] = float32(math.NaN())
	for name, c := range map[string]struct {
		maps  [][]float32
		masks [][]bool
		table []string
		want  string
	}{
		"no maps":     {nil, nil, nil, "have no file *.maps.npy"},
		"NaN":         {nan, masks, nil, "score at row 1, column 2: have NaN"},
		"fewer masks": {maps, masks[:2], nil, "have shape [2 16 16], want [3 16 16]"},
		"few lines":   {maps, masks, []string{`{}`}, "have 1 lines, want 3"},
		"many lines":  {maps, masks, []string{`{}`, `{}`, `{}`, `{}`}, "have 4 lines, want 3"},
		"bad label":   {maps, masks, []string{`{"label":2}`}, "x.jsonl:1: label: have 2, want 0 or 1"},
		"no JSON":     {maps, masks, []string{`{}`, `gear`}, "x.jsonl:2: "},
	} {
		folder := t.TempDir()
		if c.maps != nil {
			write(t, folder, "x", c.maps, c.masks, c.table...)
		}
		_, err := Folder(t.Context(), folder, options, func(string, int, int) {})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: have %v, want one line with %s", name, err, c.want)
		}
	}
}
