package line

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"mvag-torch/inspect"
	"mvag-torch/inspect/inspecttest"
	"mvag-torch/model/calibration"
	"mvag-torch/model/checkpoint"
	"mvag-torch/serve/journal"
)

// reading reads the checkpoint at path.
func reading(t *testing.T, path string) *inspect.Setup {
	t.Helper()
	u, err := inspect.Read(path, inspect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = u.Close() })
	return u
}

// someJudged are the records of n objects, the highest score last.
func someJudged(t *testing.T, l *Line, n int) (list []Record) {
	t.Helper()
	for i, o := range inspecttest.Objects(t, inspecttest.Trained, n) {
		o.ID = fmt.Sprint("S", i)
		list = append(list, judge(t, l, Request{Source: FromHTTP, Object: o}).Record)
	}
	slices.SortFunc(list, func(a, b Record) int {
		if a.Verdict.Score < b.Verdict.Score {
			return -1
		}
		return 1
	})
	return list
}

// TestReview lets the object with the highest score be good after all, which raises the threshold, and takes that back.
func TestReview(t *testing.T) {
	path := inspecttest.Checkpoint(t)
	var said bytes.Buffer
	l := open(t, func(o *Options) { o.Log = slog.New(slog.NewTextHandler(&said, nil)) }, ModelOptions{Name: "parts", Path: path})
	before, watched := reading(t, path), l.Watch(t.Context())
	list := someJudged(t, l, 30)
	top := list[len(list)-1]
	old := before.Heads.Reconstruction.Object.For(inspecttest.Trained)
	if top.Verdict.Score <= old.Threshold {
		t.Fatalf("have no false alarm among 30 objects: the highest score is %v, the threshold %v", top.Verdict.Score, old.Threshold)
	}
	r, err := l.Review(t.Context(), top.ID, inspect.Good, "dust")
	if err != nil {
		t.Fatal(err)
	}
	now := reading(t, path).Heads.Reconstruction.Object.For(inspecttest.Trained)
	c := r.Calibration
	if c == nil || c.Before.Threshold != old.Threshold || c.After.Threshold != now.Threshold || now.Threshold < top.Verdict.Score ||
		c.After.Objects != 13 || c.Searched != 30 || c.Changed < 1 {
		t.Errorf("have %+v, want the threshold raised from %v to %v", c, old.Threshold, now.Threshold)
	}
	line := fmt.Sprintf("reviewed\" object=%s id=%s model=parts class=part verdict=good threshold_before=%v threshold_after=%v\n",
		top.Object, top.ID, old.Threshold, now.Threshold)
	if !strings.Contains(said.String(), line) {
		t.Errorf("have %s, want %s", said.String(), line)
	}
	model, _ := l.Model("parts")
	if at := model.Classes[0]; at.Threshold != now.Threshold || model.Checkpoint != top.Model.Checkpoint || model.Calibration == top.Model.Calibration {
		t.Errorf("the running model has %+v", model)
	}
	again := judge(t, l, Request{Object: inspecttest.Objects(t, inspecttest.Trained, 30)[index(t, top.Object)]})
	if again.Decision != inspect.Good || again.Verdict.Score != top.Verdict.Score {
		t.Errorf("judged again: have %+v, want the score %v to be good", again.Verdict, top.Verdict.Score)
	}
	for e := range watched {
		if e.Kind == "review" {
			break
		}
	}
	history(t, l, top.ID, false)

	if r, err := l.Review(t.Context(), top.ID, inspect.Good, ""); err != nil || r.Calibration != nil {
		t.Errorf("the same again: have %+v, %v, want that nothing changes", r, err)
	}
	var no *ConflictError
	if _, err := l.Review(t.Context(), top.ID, inspect.Defective, ""); !errors.As(err, &no) {
		t.Errorf("defective after all: have %v, want a conflict", err)
	}
	own, err := checkpoint.Own(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Undo(t.Context(), ""); !errors.As(err, &no) || no.Code != "file_used" || !strings.Contains(no.Message, "used by process ") {
		t.Errorf("while another process has the file: have %v", err)
	}
	own.Release()
	undone, err := l.Undo(t.Context(), "")
	if err != nil || undone.ID != top.ID || undone.Note != "dust" {
		t.Fatalf("have %+v, %v", undone, err)
	}
	if have := reading(t, path).Heads.Reconstruction.Object; have.For(inspecttest.Trained) != old {
		t.Errorf("undone: have %+v, want %+v", have.For(inspecttest.Trained), old)
	}
	history(t, l, top.ID, true)
	if _, err := l.Undo(t.Context(), "parts"); !errors.As(err, &no) {
		t.Errorf("undone twice: have %v, want a conflict", err)
	}
	if _, err := l.Review(t.Context(), top.ID, inspect.Defective, "scratch"); err != nil {
		t.Error(err)
	}
}

func index(t *testing.T, name string) (i int) {
	t.Helper()
	if _, err := fmt.Sscanf(name, "S%d", &i); err != nil {
		t.Fatal(err)
	}
	return i
}

// history holds that there is one addition.
func history(t *testing.T, l *Line, id string, undone bool) {
	t.Helper()
	list, err := l.History("parts")
	if err != nil || len(list) != 1 || list[0].ID != id || list[0].Undone != undone || list[0].Note != "dust" || list[0].Before == nil ||
		list[0].Before.Threshold >= list[0].After.Threshold || list[0].Class != inspecttest.Trained {
		t.Errorf("have %+v, %v, want one addition, of %s", list, err, id)
	}
}

// TestReviewOfOtherLevels does not add the scores by both of an object that was judged with other levels.
func TestReviewOfOtherLevels(t *testing.T) {
	path := inspecttest.Checkpoint(t)
	l := open(t, nil, ModelOptions{Name: "parts", Path: path})
	live := l.slots[0].now()
	scores := func(s Samples, levels string) []calibration.Good {
		r := Record{Class: inspecttest.Trained, Model: live.judge, Verdict: &inspect.Verdict{Score: 0.1, Head: calibration.Reconstruction}}
		e, _, err := l.Journal().Append("", func(id string) ([]byte, error) {
			r.ID = id
			return json.Marshal(Stored{Record: r, Samples: s, Levels: levels})
		})
		if err == nil {
			_, err = l.Review(t.Context(), e.ID, inspect.Good, "")
		}
		if err != nil {
			t.Fatal(err)
		}
		additions := reading(t, path).Samples.Additions
		return additions[len(additions)-1].Objects
	}
	sample := calibration.Sample{Class: inspecttest.Trained, Images: []float64{0.1}, Object: 0.1, Pixel: 0.2}
	both := Samples{calibration.Reconstruction: sample, calibration.Both: sample}
	// The checkpoint has no calibration of both, so one is put beside that of the reconstruction.
	u := reading(t, path)
	heads := u.Heads
	heads.Memory, heads.Both = heads.Reconstruction, heads.Reconstruction
	heads.Levels = map[string]calibration.Levels{"": {Reconstruction: 1, Memory: 1}}
	group := u.Samples.Groups[0]
	group.Heads = map[string][]string{calibration.Reconstruction: nil, calibration.Memory: nil, calibration.Both: nil}
	for _, o := range group.Objects {
		o.Scores[calibration.Memory], o.Scores[calibration.Both] = o.Scores[calibration.Reconstruction], o.Scores[calibration.Reconstruction]
	}
	meta, err := heads.Marshal()
	if err == nil {
		meta[checkpoint.SamplesKey], err = (&calibration.Samples{Groups: []calibration.Group{group}}).Marshal()
	}
	f, err2 := checkpoint.Open(path)
	if err == nil && err2 == nil {
		err = errors.Join(f.Rewrite(meta, "", nil), f.Close(), l.Reload(t.Context(), "parts"))
	}
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	live = l.slots[0].now()
	if have := scores(both, live.levels); len(have) != 1 || len(have[0].Scores) != 2 || live.levels == "" {
		t.Errorf("have %v, want scores by reconstruction and both", have)
	}
	live = l.slots[0].now()
	if have := scores(both, "0123"); len(have) != 1 || len(have[0].Scores) != 1 {
		t.Errorf("have %v, want scores by reconstruction alone", have)
	}
	pending, err := l.Journal().Pending("lines", 10)
	for _, e := range pending {
		err = errors.Join(err, l.Journal().Published("lines", e.Seq))
	}
	if n, err2 := l.Prune(Keep{Objects: 1}); err != nil || err2 != nil || n != 1 {
		t.Fatalf("have %d pruned, %v, %v, want 1", n, err, err2)
	}
	reviews := 0
	if err := l.Journal().Values(ReviewNote, func(string, []byte) bool { reviews++; return true }); err != nil || reviews != 1 {
		t.Errorf("have %d reviews of 1 object, %v", reviews, err)
	}
}

// TestReviewRefuses has objects and files that do not fit.
func TestReviewRefuses(t *testing.T) {
	path := inspecttest.Checkpoint(t)
	l := open(t, nil, ModelOptions{Name: "parts", Path: path})
	r := someJudged(t, l, 3)[0]
	var missing *UnknownError
	if _, err := l.Review(t.Context(), "3f2a9c1e-99", inspect.Good, ""); !errors.As(err, &missing) {
		t.Errorf("another id: have %v", err)
	}
	var no *ConflictError
	if _, err := l.Review(t.Context(), r.ID, "fine", ""); !errors.As(err, &no) {
		t.Errorf("another verdict: have %v", err)
	}
	u := reading(t, path) // as calibrate --add does beside the service
	good := calibration.NewGood("x", inspecttest.Trained, map[string]calibration.Sample{calibration.Reconstruction: {Images: []float64{0.1}, Pixel: 0.2}})
	if _, err := u.AddGood([]calibration.Good{good}, "beside"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Review(t.Context(), r.ID, inspect.Good, ""); !errors.As(err, &no) {
		t.Errorf("a file that was changed: have %v, want a conflict", err)
	}
	if err := l.Reload(t.Context(), "parts"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Review(t.Context(), r.ID, inspect.Good, ""); err != nil {
		t.Errorf("loaded again: have %v", err)
	}
	data, err := os.ReadFile(inspecttest.Checkpoint(t, "bolt"))
	if err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err == nil {
		err = l.Reload(t.Context(), "parts")
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Review(t.Context(), someStored(t, l)[1].ID, inspect.Good, ""); !errors.As(err, &no) {
		t.Errorf("of another model: have %v, want a conflict", err)
	}
}

// someStored are the records of the journal, the newest first.
func someStored(t *testing.T, l *Line) (list []Record) {
	t.Helper()
	if err := l.newest(100, func(_ journal.Entry, s Stored) error {
		list = append(list, s.Record)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return list
}

// TestDrift follows scores over three windows, the last of them shifted, and over a restart.
func TestDrift(t *testing.T) {
	l := open(t, nil, ModelOptions{Name: "parts", Path: inspecttest.Checkpoint(t)})
	live := l.slots[0].now()
	scores, _ := live.setup.Samples.Basis(calibration.Reconstruction, inspecttest.Trained)
	if len(scores) != 12 {
		t.Fatalf("have %d calibrated scores, want 12", len(scores))
	}
	watched, begin := l.Watch(t.Context()), time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	put := func(i int, score float64) Record {
		r := Record{Time: begin.Add(time.Duration(i) * time.Minute), Class: inspecttest.Trained, Object: fmt.Sprint(i), Model: live.judge, Decision: inspect.Good,
			Verdict: &inspect.Verdict{Score: score, Head: calibration.Reconstruction}}
		return l.appended(t, r, live)
	}
	for i := range 100 {
		put(i, scores[i%12])
	}
	for i := range 30 {
		put(100+i, 2*scores[i%12])
	}
	bad := put(130, 50)
	if _, err := l.Review(t.Context(), bad.ID, inspect.Defective, ""); err != nil {
		t.Fatal(err)
	}
	check := func(l *Line, windows, waiting, points int) DriftClass {
		t.Helper()
		list, err := l.DriftOf("parts", nil)
		if err != nil || len(list) != 1 {
			t.Fatalf("have %+v, %v", list, err)
		}
		c := list[0]
		if len(c.Windows) != windows || c.Waiting != waiting || len(c.Points) != points || c.Untested != "" || len(c.Calibration) != 12 {
			t.Fatalf("have %d windows, %d waiting, %d points, want %d, %d, %d", len(c.Windows), c.Waiting, len(c.Points), windows, waiting, points)
		}
		return c
	}
	check(l, 2, 30, 131)
	restarted := &Line{opt: l.opt, slots: l.slots}
	if err := restarted.restoreDrift(); err != nil {
		t.Fatal(err)
	}
	check(restarted, 2, 30, 131)
	for i := range 20 {
		put(131+i, 2*scores[i%12])
	}
	c := check(l, 3, 0, 151)
	for i, w := range c.Windows {
		if w.Drift != (i == 2) || w.Objects != 50 || w.Higher != (i == 2) && i == 2 {
			t.Errorf("window %d: have %+v", i, w)
		}
	}
	if c.Windows[2].From != begin.Add(100*time.Minute) || c.Windows[2].To != begin.Add(150*time.Minute) {
		t.Errorf("have %+v", c.Windows[2])
	}
	kinds := map[string]int{}
	for len(watched) > 0 {
		e := <-watched
		kinds[e.Kind]++
	}
	if kinds["drift"] != 1 {
		t.Errorf("have %v, want one event of drift", kinds)
	}
	if _, err := l.DriftOf("parts", ptr("nothing")); err == nil {
		t.Error("another class: have no error")
	}
}

// appended stores a record as Judge does.
func (l *Line) appended(t *testing.T, r Record, by *live) Record {
	t.Helper()
	e, _, err := l.opt.Journal.Append("", func(id string) ([]byte, error) {
		r.ID = id
		return json.Marshal(Stored{Record: r})
	})
	if err != nil {
		t.Fatal(err)
	}
	l.observe(r, e.Seq, by)
	return r
}

func ptr[T any](v T) *T { return &v }
