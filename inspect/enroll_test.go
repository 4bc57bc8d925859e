package inspect

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/model/calibration"
	"mvag-torch/model/checkpoint"
	"mvag-torch/model/modeltest"
)

// ofClass are objects of a class with images of their own.
func ofClass(t *testing.T, class string, n int) []dataset.Object {
	t.Helper()
	objects := someObjects(t, n)
	for i := range objects {
		objects[i].Class, objects[i].ID = class, fmt.Sprint(class, "/", i)
	}
	return objects
}

// enroll enrolls objects of a class in the checkpoint at path.
func enroll(t *testing.T, path string, good []dataset.Object, class string, replace bool) (*calibration.Calibration, error) {
	t.Helper()
	u, err := Read(path, Options{Uncalibrated: true, Set: []string{"memory.codes=20", "memory.dims=4"}})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	remembered, judged := 0, 0
	c, err := u.Enroll(t.Context(), Enrollment{
		Class: class, Replace: replace, Good: good, Source: dataset.NewSource(u.Config.Data), From: "test",
		Remembered: func(n int) { remembered = n }, Judged: func(n int) { judged = n },
	})
	if err == nil && (remembered != c.Images || judged != c.Images || c.Objects != len(good)) {
		t.Errorf("have %d images remembered, %d judged, %d objects, want %d images of %d objects", remembered, judged, c.Objects, c.Images, len(good))
	}
	return c, err
}

// setup reads a checkpoint until the end of the test.
func setup(t *testing.T, path string) *Setup {
	t.Helper()
	u, err := Read(path, Options{Uncalibrated: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	return u
}

// TestEnroll adds classes to a model: they are judged by memory, and all else stays as it is to the bit.
func TestEnroll(t *testing.T) {
	trained, bolts, nuts := someObjects(t, 6), ofClass(t, "bolt", 10), ofClass(t, "nut", 12)
	path := calibrated(t, trained)
	before, u := scoresOf(t, open(t, path), trained), setup(t, path)
	own, err := enroll(t, path, bolts, "bolt", false)
	if err != nil {
		t.Fatal(err)
	}
	if s := own.Object.Classes["bolt"]; s.Objects != 10 || math.Abs(s.Rate-1./11) > 1e-12 || !s.Short(own.FalseAlarm) {
		t.Errorf("have %+v, want what 10 objects promise, 1/11", s)
	}
	if _, err := enroll(t, path, nuts, "nut", false); err != nil {
		t.Fatal(err)
	}
	if have := scoresOf(t, open(t, path), trained); !maps.Equal(have, before) {
		t.Errorf("scores of the class that was there: have %v, want %v", have, before)
	}
	now := setup(t, path)
	if !slices.Equal(now.Memory.Names(), []string{"bolt", "nut"}) || now.file.Calibration() != u.file.Calibration() {
		t.Errorf("have a memory of %q, want of bolt and nut, and the calibration as it was", now.Memory.Names())
	}

	heads := map[string]int{}
	judge := func(set string, objects []dataset.Object) (first string) {
		err := open(t, path, set).Objects(t.Context(), objects, nil, func(r *Result) error {
			for _, m := range r.Images {
				if m.Verdict == nil {
					first = m.Error
				} else {
					heads[m.Head]++
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return first
	}
	judge("inspect.head=both", slices.Concat(trained[:2], nuts[:1]))
	if !maps.Equal(heads, map[string]int{"reconstruction": 6, "memory": 3}) {
		t.Errorf("have heads %v, want each class by what it has", heads)
	}
	if have := judge("inspect.head=reconstruction", nuts[:1]); !strings.Contains(have, `class "nut": there is no reconstruction of it, want inspect.head memory or both`) {
		t.Errorf("have %q", have)
	}
	if have := judge("inspect.head=memory", trained[:1]); !strings.Contains(have, `class "part": want one that is remembered, of ["bolt" "nut"] (--class)`) {
		t.Errorf("have %q", have)
	}

	// Good objects of the trained class alone do not take the thresholds of the others away.
	again := setup(t, path)
	if err := again.Calibrate(t.Context(), trained, dataset.NewSource(again.Config.Data), "test", func(int) {}); err != nil {
		t.Fatal(err)
	}
	if have := setup(t, path).Heads.Memory; have == nil || len(have.Object.Classes) != 2 {
		t.Errorf("calibrated again: have %+v, want the thresholds of bolt and nut", have)
	}
}

// TestEnrollReplaces replaces a class and leaves another as it is to the bit.
func TestEnrollReplaces(t *testing.T) {
	path := calibrated(t, someObjects(t, 4))
	for _, class := range []string{"nut", "bolt"} {
		if _, err := enroll(t, path, ofClass(t, class, 10), class, false); err != nil {
			t.Fatal(err)
		}
	}
	before := setup(t, path)
	if _, err := enroll(t, path, ofClass(t, "bolt", 13), "bolt", true); err != nil {
		t.Fatal(err)
	}
	after := setup(t, path)
	if a, b := before.Memory.Of("nut"), after.Memory.Of("nut"); fmt.Sprint(*a) != fmt.Sprint(*b) ||
		before.Heads.Memory.Object.Classes["nut"] != after.Heads.Memory.Object.Classes["nut"] {
		t.Error("the class that was not replaced differs")
	}
	if have := after.Memory.Of("bolt").Objects; have != 13 || after.Heads.Memory.Object.Classes["bolt"].Objects != 13 {
		t.Errorf("have %d objects of the class that was replaced, want 13", have)
	}
}

// TestEnrollRefuses leaves the checkpoint as it is.
func TestEnrollRefuses(t *testing.T) {
	path := calibrated(t, someObjects(t, 4))
	if _, err := enroll(t, path, ofClass(t, "nut", 10), "nut", false); err != nil {
		t.Fatal(err)
	}
	broken := ofClass(t, "bolt", 10)
	broken[7].Views[0].Path = filepath.Join(t.TempDir(), "broken.png")
	if err := os.WriteFile(broken[7].Views[0].Path, []byte("no image"), 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		good    []dataset.Object
		class   string
		replace bool
		want    string
	}{
		"too few":           {ofClass(t, "bolt", 9), "bolt", false, `class "bolt": have 9 good objects, want at least 10`},
		"one":               {ofClass(t, "bolt", 1), "bolt", false, "have 1 good objects"},
		"a name that is":    {ofClass(t, "nut", 10), "nut", false, `remembers a class "nut" already, want --replace`},
		"none to replace":   {ofClass(t, "bolt", 10), "bolt", true, `have no class "bolt" to replace`},
		"without a name":    {ofClass(t, "bolt", 10), "", false, `class: have "", want a name`},
		"one is unreadable": {broken, "bolt", false, "broken.png"},
	} {
		if _, err := enroll(t, path, c.good, c.class, c.replace); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: have %v, want %q", name, err, c.want)
		}
		if now, err := os.ReadFile(path); err != nil || string(now) != string(before) {
			t.Errorf("%s: the checkpoint was changed (%v)", name, err)
		}
	}
}

// TestBoth judges a class that was trained on and is remembered: the mean of both maps, each over its level.
func TestBoth(t *testing.T) {
	path := modeltest.WriteCheckpoint(t)
	f, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Rewrite(map[string]string{"train.lists": `{"part":"0123"}`, "iteration": "5"}, "", nil); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if _, err := enroll(t, path, someObjects(t, 10), "part", false); err == nil || !strings.Contains(err.Error(), `was trained on a class "part"`) {
		t.Errorf("have %v", err)
	}
	good := ofClass(t, "part", 12)
	if _, err := enroll(t, path, good[:10], "part", true); err != nil {
		t.Fatal(err)
	}
	u := setup(t, path)
	if u.Memory.Alone("part") {
		t.Error("a class that was trained on is to be judged by memory alone")
	}
	held := someObjects(t, 9)[4:]
	if err := u.Calibrate(t.Context(), held, dataset.NewSource(u.Config.Data), "test", func(int) {}); err != nil {
		t.Fatal(err)
	}
	if h := u.Heads; h.Reconstruction == nil || h.Memory == nil || h.Both == nil || h.Both.Objects != len(held) || h.Levels["part"] != h.Levels[""] {
		t.Fatalf("have %+v, want three calibrations", h)
	}
	maps := map[string][]float32{}
	for _, head := range []string{"reconstruction", "memory", "both"} {
		err := open(t, path, "inspect.head="+head).Objects(t.Context(), held[:1], nil, func(r *Result) error {
			m := r.Images[0]
			maps[head] = m.Map
			if limit := u.Heads.Of(head).Image.For("part").Threshold; m.Head != head || m.Threshold != limit {
				t.Errorf("%s: have %q at %v, want the threshold %v", head, m.Head, m.Threshold, limit)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	l := u.Heads.Levels["part"]
	for i, have := range maps["both"] {
		want := (float64(maps["reconstruction"][i])/l.Reconstruction + float64(maps["memory"][i])/l.Memory) / 2
		if math.Abs(float64(have)-want) > 1e-4*want+1e-6 {
			t.Fatalf("value %d: have %v, want %v", i, have, want)
		}
	}
}

// TestEnrollTiles: a class is remembered and calibrated by whole objects, whatever the number of their tiles.
func TestEnrollTiles(t *testing.T) {
	bolts := ofClass(t, "bolt", 10)
	path := calibrated(t, someObjects(t, 4), func(info *checkpoint.Info) {
		info.Config.Data.Fit, info.Config.Data.Resize, info.Config.Data.Overlap = "tiles", configs.Size{42, 70}, 0.25
	})
	own, err := enroll(t, path, bolts, "bolt", false)
	if err != nil {
		t.Fatal(err)
	}
	images := 0
	for _, o := range bolts {
		for _, v := range o.Views {
			if v.Present() {
				images++
			}
		}
	}
	if own.Objects != 10 || own.Images != images {
		t.Errorf("have %d objects and %d images calibrated, want 10 and %d", own.Objects, own.Images, images)
	}
	if c := setup(t, path).Memory.Of("bolt"); c.Objects != 10 {
		t.Errorf("remembers %d objects, want 10", c.Objects)
	}
	if have := scoresOf(t, open(t, path, "inspect.head=memory"), bolts[:2]); len(have) == 0 {
		t.Error("have no scores")
	}
}
