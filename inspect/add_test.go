package inspect

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"mvag-torch/dataset"
	"mvag-torch/model/calibration"
	"mvag-torch/model/checkpoint"
	"mvag-torch/model/modeltest"
)

// named gives objects a class.
func named(objects []dataset.Object, class string) []dataset.Object {
	for i := range objects {
		objects[i].Class = class
	}
	return objects
}

// added adds objects to the calibration of the checkpoint at path.
func added(t *testing.T, path string, good []dataset.Object) (calibration.Addition, []dataset.Object) {
	t.Helper()
	u := setup(t, path)
	a, known, err := u.Add(t.Context(), good, dataset.NewSource(u.Config.Data), "more", func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	return a, known
}

// meta is the metadata that turns scores into decisions.
func meta(t *testing.T, path string) [3]string {
	t.Helper()
	m := setup(t, path).file.Metadata()
	return [3]string{m[checkpoint.CalibrationKey], m[checkpoint.HeadsKey], m[checkpoint.SamplesKey]}
}

// TestAdd adds objects to the calibrations of a model that was trained on one class and remembers another: the outcome is
// that of all objects at once, and taking it back gives the file of before, bit for bit.
func TestAdd(t *testing.T) {
	both := someObjects(t, 28)
	parts, bolts := both[:14], named(both[14:], "bolt")
	path := calibrated(t, parts[:6])
	if _, err := enroll(t, path, bolts[:10], "bolt", false); err != nil {
		t.Fatal(err)
	}
	before := meta(t, path)
	if u := setup(t, path); u.Samples.Check(u.Heads) != nil || before[2] == "" {
		t.Fatalf("have samples %q, %v", before[2], u.Samples.Check(u.Heads))
	}
	first, known := added(t, path, slices.Concat(parts[4:10], bolts[10:12]))
	if first.Number != 1 || len(first.Objects) != 6 || len(known) != 2 || known[0].ID != parts[4].ID {
		t.Errorf("have %d objects added and %d known, want 4 parts and 2 bolts, and 2 parts known", len(first.Objects), len(known))
	}
	between := meta(t, path)
	second, _ := added(t, path, slices.Concat(parts[10:], bolts[12:]))
	if second.Number != 2 {
		t.Errorf("have number %d, want 2", second.Number)
	}

	want := calibrated(t, parts) // the same objects at once
	have, all := setup(t, path).Heads, setup(t, want).Heads
	for _, level := range [][2]calibration.Level{{have.Reconstruction.Object, all.Reconstruction.Object}, {have.Reconstruction.Image, all.Reconstruction.Image}} {
		if !reflect.DeepEqual(level[0], level[1]) {
			t.Errorf("have %+v, want as calibrated at once %+v", level[0], level[1])
		}
	}
	if n := have.Memory.Object.Classes["bolt"].Objects; n != 14 {
		t.Errorf("have thresholds of bolts from %d objects, want 14", n)
	}
	for i, want := range [][3]string{between, before} {
		u := setup(t, path)
		undone, err := u.Undo()
		if err != nil || undone.Number != 2-i {
			t.Fatalf("have addition %d undone, error %v, want %d", undone.Number, err, 2-i)
		}
		if have := meta(t, path); have != want {
			t.Errorf("undone: have\n%q\nwant\n%q", have, want)
		}
	}
	if _, err := setup(t, path).Undo(); !errors.Is(err, calibration.ErrNoHistory) {
		t.Errorf("have %v, want no history", err)
	}
}

// TestAddChanges says what an addition of an object above the threshold does to it.
func TestAddChanges(t *testing.T) {
	parts := someObjects(t, 6)
	path := calibrated(t, parts)
	u := setup(t, path)
	limit := u.Heads.Reconstruction.Object.For("part").Threshold
	alarm := calibration.NewGood("3f2a9c1e-12", "part", map[string]calibration.Sample{
		calibration.Reconstruction: {Class: "part", Images: []float64{limit / 2, 2 * limit}, Object: 2 * limit, Pixel: 3 * limit},
		calibration.Memory:         {Class: "part", Images: []float64{limit}, Object: limit, Pixel: limit}, // has no thresholds here
	})
	a, err := u.AddGood([]calibration.Good{alarm}, "review")
	if err != nil {
		t.Fatal(err)
	}
	c := a.Changes[0]
	if len(a.Changes) != 1 || c.Class != "part" || c.Before.Threshold != limit || c.Above != 1 || c.StillAbove != 0 ||
		c.After.Objects != 7 || c.After.Threshold < 2*limit || a.Time.IsZero() || a.Source != "review" {
		t.Errorf("have %+v", a)
	}
	u = setup(t, path)
	if now := u.Heads.Reconstruction.Object.For("part"); now.Threshold != c.After.Threshold || u.Calibration.Objects != 7 ||
		!strings.Contains(u.Calibration.Source, "test, and 1 more in 1 additions") {
		t.Errorf("have %+v of %q in the file", now, u.Calibration.Source)
	}
	if scores, folds := u.Samples.Basis(calibration.Reconstruction, "part"); len(scores) != 6 || folds || slices.Max(scores) > limit {
		t.Errorf("have scores %v of folds %v, want those of the 6 objects that were not added", scores, folds)
	}
	before := meta(t, path)
	if _, err := u.AddGood([]calibration.Good{alarm}, "review"); !errors.Is(err, calibration.ErrKnown) || !strings.Contains(err.Error(), "3f2a9c1e-12") {
		t.Errorf("the same object again: have %v", err)
	}
	other := alarm
	other.Key, other.Scores = "3f2a9c1e-13", map[string]calibration.Scores{calibration.Memory: {1, 1}}
	if _, err := u.AddGood([]calibration.Good{other}, "review"); err == nil || !strings.Contains(err.Error(), `class "part": is judged by reconstruction`) {
		t.Errorf("without scores of the head that judges: have %v", err)
	}
	if have := meta(t, path); have != before {
		t.Error("an addition that was refused has changed the file")
	}
}

// TestAddRefuses has files whose samples are missing, broken, or of other thresholds.
func TestAddRefuses(t *testing.T) {
	parts := someObjects(t, 6)
	path := calibrated(t, parts[:4])
	original, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file := setup(t, path).file.Metadata()
	for name, test := range map[string]struct {
		changes map[string]string
		want    string
	}{
		"of an earlier version": {map[string]string{checkpoint.SamplesKey: ""}, "want it calibrated anew first: mvag-torch calibrate -m"},
		"other thresholds": {map[string]string{checkpoint.CalibrationKey: regexp.MustCompile(`"threshold":[0-9.e-]+`).ReplaceAllString(file[checkpoint.CalibrationKey], `"threshold":0.9`)},
			"do not give the thresholds, want a new calibration"},
		"another key":       {map[string]string{checkpoint.SamplesKey: `{"groups":[],"x":1}`}, `calibration.samples: json: unknown field "x"`},
		"a further value":   {map[string]string{checkpoint.SamplesKey: `{"groups":[]} {}`}, "more than one JSON value"},
		"a head":            {map[string]string{checkpoint.SamplesKey: strings.Replace(file[checkpoint.SamplesKey], `"heads":{"reconstruction"`, `"heads":{"mind"`, 1)}, `heads: have "mind"`},
		"classes, first":    {map[string]string{checkpoint.SamplesKey: strings.Replace(file[checkpoint.SamplesKey], `"reconstruction":null`, `"reconstruction":["x"]`, 1)}, "want none in the first group"},
		"an object without": {map[string]string{checkpoint.SamplesKey: strings.Replace(file[checkpoint.SamplesKey], `"scores":{`, `"scores":{},"class":"", "scores":{"x":[1],`, 1)}, "the highest of its maps"},
		"a rate":            {map[string]string{checkpoint.SamplesKey: strings.Replace(file[checkpoint.SamplesKey], `"false_alarm":0.01`, `"false_alarm":0.7`, 1)}, "false_alarm: have 0.7"},
	} {
		if err := os.WriteFile(path, original, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := setup(t, path).file.Rewrite(test.changes, "", nil); err != nil {
			t.Fatal(err)
		}
		u, err := Read(path, Options{})
		if err == nil {
			defer u.Close()
			_, _, err = u.Add(t.Context(), parts[4:], dataset.NewSource(u.Config.Data), "more", func(int) {})
			if _, undo := u.Undo(); undo == nil || err == nil || undo.Error() != err.Error() {
				t.Errorf("%s: undo: have %v, want %v", name, undo, err)
			}
		}
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), path) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: have %v, want %q", name, err, test.want)
		}
	}
}

// TestAddAfterwards calibrates and enrolls models to whose calibration was added.
func TestAddAfterwards(t *testing.T) {
	all := someObjects(t, 48)
	parts, bolts, nuts := all[:10], named(all[10:24], "bolt"), named(all[24:], "nut")
	path := calibrated(t, parts[:5])
	for _, good := range [][]dataset.Object{bolts[:10], nuts[:10]} { // thresholds of any class rest on the first
		if _, err := enroll(t, path, good, good[0].Class, false); err != nil {
			t.Fatal(err)
		}
	}
	added(t, path, bolts[10:12])
	limit := func(class string) calibration.Scale {
		u := setup(t, path)
		if err := u.MayAdd(); err != nil {
			t.Fatal(err)
		}
		return u.Heads.Memory.Object.For(class)
	}
	if scores, folds := setup(t, path).Samples.Basis(calibration.Memory, "bolt"); len(scores) != 10 || !folds {
		t.Errorf("have scores %v of folds %v, want 10 of folds", scores, folds)
	}
	bolt := limit("bolt")
	if bolt.Objects != 12 {
		t.Errorf("have %d objects of bolt, want 12", bolt.Objects)
	}

	// Another class replaced: the addition stays, and can be undone.
	if _, err := enroll(t, path, nuts[10:], "nut", true); err != nil {
		t.Fatal(err)
	}
	if have := limit("bolt"); have != bolt || limit("nut").Objects != 14 || len(setup(t, path).Samples.Additions) != 1 {
		t.Errorf("nut replaced: have %+v of bolt, want %+v", have, bolt)
	}

	// A calibration of the trained class keeps the thresholds of enrolled ones, and the history begins anew.
	u := setup(t, path)
	if err := u.Calibrate(t.Context(), parts[5:], dataset.NewSource(u.Config.Data), "again", func(int) {}); err != nil {
		t.Fatal(err)
	}
	if have := limit("bolt"); have != bolt || setup(t, path).Samples.Additions != nil || limit("nut").Objects != 14 {
		t.Errorf("calibrated: have %+v of bolt, want %+v, and no history", have, bolt)
	}
	if a, known := added(t, path, bolts[9:14]); len(a.Objects) != 2 || len(known) != 3 || limit("bolt").Objects != 14 {
		t.Errorf("have %d bolts added and %d known, want 2 and 3", len(a.Objects), len(known))
	}

	// The class itself replaced: what was added to it is gone.
	if _, err := enroll(t, path, bolts[:11], "bolt", true); err != nil {
		t.Fatal(err)
	}
	if s := setup(t, path).Samples; limit("bolt").Objects != 11 || s.Additions != nil {
		t.Errorf("bolt replaced: have %d objects and %d additions, want 11 and none", limit("bolt").Objects, len(s.Additions))
	}
	if a, known := added(t, path, bolts[10:]); len(a.Objects) != 3 || len(known) != 1 {
		t.Errorf("have %d bolts added and %d known, want 3 and 1", len(a.Objects), len(known))
	}
}

// TestChangedMeanwhile refuses to change a file that is another one by now.
func TestChangedMeanwhile(t *testing.T) {
	path := calibrated(t, someObjects(t, 4))
	u, other := setup(t, path), setup(t, path)
	good := func(key string) []calibration.Good {
		return []calibration.Good{{Key: key, Class: "part", Scores: map[string]calibration.Scores{calibration.Reconstruction: {0.2, 0.1}}}}
	}
	if _, err := other.AddGood(good("a"), "test"); err != nil {
		t.Fatal(err)
	}
	before := u.Heads
	if _, err := u.AddGood(good("b"), "test"); !errors.Is(err, ErrChanged) || !strings.HasPrefix(err.Error(), path) {
		t.Errorf("have %v, want that the file was changed", err)
	}
	if u.Heads.Reconstruction != before.Reconstruction {
		t.Error("thresholds were changed without the file")
	}
}

// TestAddBoth adds to a class that was trained on and is remembered: all three calibrations are of all objects.
func TestAddBoth(t *testing.T) {
	path := modeltest.WriteCheckpoint(t)
	f, err := checkpoint.Open(path)
	if err == nil {
		err = f.Rewrite(map[string]string{"train.lists": `{"part":"0123"}`, "iteration": "5"}, "", nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	all := someObjects(t, 19)
	if _, err := enroll(t, path, all[9:], "part", true); err != nil {
		t.Fatal(err)
	}
	u, held := setup(t, path), all[:9]
	if err := u.Calibrate(t.Context(), held[4:], dataset.NewSource(u.Config.Data), "test", func(int) {}); err != nil {
		t.Fatal(err)
	}
	levels, before := fmt.Sprint(u.Heads.Levels), meta(t, path)
	a, _ := added(t, path, held[:4])
	if len(a.Changes) != 3 {
		t.Errorf("have %+v, want a change of each head", a.Changes)
	}
	u = setup(t, path)
	for _, head := range []string{calibration.Reconstruction, calibration.Memory, calibration.Both} {
		if c := u.Heads.Of(head); c.Objects != 9 {
			t.Errorf("%s: have %d objects, want 9", head, c.Objects)
		}
	}
	if have := fmt.Sprint(u.Heads.Levels); have != levels {
		t.Errorf("have levels %s, want %s", have, levels)
	}
	if _, err := u.Undo(); err != nil || meta(t, path) != before {
		t.Errorf("undone: have another file than before, error %v", err)
	}
}

// TestNoUpdateIsLost has several at once add objects to one checkpoint, each of whom reads it again where it was changed
// meanwhile. At the end all objects are in it.
func TestNoUpdateIsLost(t *testing.T) {
	path := calibrated(t, someObjects(t, 4))
	const writers, each = 6, 5
	var all sync.WaitGroup
	var again atomic.Int32
	for w := range writers {
		all.Go(func() {
			for i := range each {
				for added := false; !added; {
					u, err := Read(path, Options{})
					if err != nil {
						t.Error(err)
						return
					}
					_, err = u.AddGood([]calibration.Good{{Key: fmt.Sprint(w, " ", i), Class: "part",
						Scores: map[string]calibration.Scores{calibration.Reconstruction: {0.2, 0.1}}}}, "test")
					_ = u.Close()
					switch added = err == nil; {
					case errors.Is(err, ErrChanged):
						again.Add(1)
					case err != nil:
						t.Error(err)
						return
					}
				}
			}
		})
	}
	all.Wait()
	u := setup(t, path)
	for w := range writers {
		for i := range each {
			if !u.Samples.Known(fmt.Sprint(w, " ", i), "part") {
				t.Errorf("object %d of %d is lost", i, w)
			}
		}
	}
	t.Logf("%d were refused and read again", again.Load())
}
