package line

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mvag-torch/dataset"
	"mvag-torch/inspect"
	"mvag-torch/inspect/inspecttest"
	"mvag-torch/model/modeltest"
)

// teachable is a line whose model can be taught.
func teachable(t *testing.T, change func(*Options)) (*Line, string) {
	t.Helper()
	path := inspecttest.Checkpoint(t)
	return open(t, change, ModelOptions{Name: "parts", Path: path, Set: []string{"memory.codes=20", "memory.dims=4"}}), path
}

// taught begins a session with n parts.
func taught(t *testing.T, l *Line, class string, n int) Session {
	t.Helper()
	s, err := l.Teach("parts", class, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range inspecttest.Objects(t, class, n) {
		p, err := l.TeachObject(s.ID, o)
		if err != nil || !p.Accepted || p.Reason != "" || !slices.Equal(p.Cameras, []string{"C1", "C2", "C3"}) {
			t.Fatalf("have %+v, %v, want it accepted", p, err)
		}
	}
	return state(t, l, s.ID)
}

func state(t *testing.T, l *Line, id string) Session {
	t.Helper()
	s, err := l.Taught(id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// built builds a session and waits until it is.
func built(t *testing.T, l *Line, id string) Session {
	t.Helper()
	if err := l.Build(id); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if s := state(t, l, id); s.State != Building {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatal("it is not built within a minute")
		}
	}
}

// TestTeach teaches a class: tried with the staged checkpoint, not journaled, then live.
func TestTeach(t *testing.T) {
	var said bytes.Buffer
	l, path := teachable(t, func(o *Options) { o.Log = slog.New(slog.NewTextHandler(&said, nil)) })
	original, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	part := inspecttest.Objects(t, inspecttest.Trained, 1)[0]
	before := judge(t, l, Request{Object: part})
	watched := l.Watch(t.Context())
	s := taught(t, l, "bolt", 11)
	if s.State != Collecting || s.Need != inspect.MinEnroll || len(s.Objects) != 11 {
		t.Errorf("have %+v", s)
	}
	bolt := inspecttest.Objects(t, "bolt", 11)[2]
	var no *ConflictError
	if _, err := l.Try(t.Context(), s.ID, bolt); !errors.As(err, &no) {
		t.Errorf("tried too early: have %v", err)
	}
	s = built(t, l, s.ID)
	if s.State != Ready || s.Result == nil || s.Result.Objects != 11 || s.Result.Rate != 1./12 || s.Result.MemoryBytes == 0 {
		t.Fatalf("have %+v %+v", s, s.Result)
	}
	if now, err := os.ReadFile(path); err != nil || string(now) != string(original) {
		t.Fatal("building has changed the live checkpoint")
	}
	n := l.Journal().Len()
	j, err := l.Try(t.Context(), s.ID, bolt)
	if err != nil || j.Verdict == nil || j.Verdict.Head != "memory" || j.Class != "bolt" || j.ID != "" || l.Journal().Len() != n {
		t.Fatalf("have %+v, %v, and %d records, want a verdict by memory and none stored", j, err, l.Journal().Len())
	}
	if tries := "\"model is ready\" for=\"a try of what is taught, not live\" teach=" + s.ID; strings.Count(said.String(), tries) != 1 {
		t.Errorf("have %s, want once %s", said.String(), tries)
	}
	var unknown *UnknownError
	if _, err := l.Judge(t.Context(), Request{Object: bolt}); !errors.As(err, &unknown) {
		t.Errorf("the live model: have %v, want the class unknown", err)
	}
	if s, err = l.GoLive(t.Context(), s.ID); err != nil || s.State != Live {
		t.Fatalf("have %+v, %v", s, err)
	}
	live := judge(t, l, Request{Object: bolt})
	if live.Verdict.Score != j.Verdict.Score || live.Verdict.Threshold != s.Result.Threshold {
		t.Errorf("have %+v, want as tried %+v", live.Verdict, j.Verdict)
	}
	if again := judge(t, l, Request{Object: part}); again.Verdict.Score != before.Verdict.Score || again.Verdict.Threshold != before.Verdict.Threshold {
		t.Errorf("the class that was there: have %+v, want %+v", again.Verdict, before.Verdict)
	}
	if _, err := os.Stat(filepath.Join(l.opt.Folder, "teach", s.ID)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its files: have %v, want none", err)
	}
	steps := map[string]bool{}
	for len(watched) > 0 {
		if e := <-watched; e.Kind == "teach" {
			for _, word := range []string{`"remembering"`, `"calibrating"`, `"ready"`, `"live"`} {
				steps[word] = steps[word] || strings.Contains(string(e.Data), word)
			}
		}
	}
	if len(steps) != 4 || !steps[`"remembering"`] || !steps[`"calibrating"`] || !steps[`"ready"`] || !steps[`"live"`] {
		t.Errorf("have events of %v", steps)
	}
	if _, err := l.Teach("parts", "bolt", false); !errors.As(err, &no) || no.Code != "class_known" || strings.Contains(no.Message, "--") {
		t.Errorf("a class that is there: have %+v", no)
	}
	if _, err := l.Teach("parts", "nut", true); !errors.As(err, &no) || no.Code != "class_unknown" {
		t.Errorf("a class that is not there: have %+v", no)
	}
}

// TestTeachRefuses refuses parts, each with its reason.
func TestTeachRefuses(t *testing.T) {
	l, _ := teachable(t, nil)
	rng := rand.New(rand.NewPCG(3, 4))
	first := inspecttest.Objects(t, "bolt", 3)[0]
	view := func(camera int, data []byte) dataset.View {
		return dataset.View{Camera: camera, Path: "x.png", Data: data}
	}
	image := func() []byte { return modeltest.Noise(t, rng) }
	same := image()
	s, err := l.Teach("", "bolt", false)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, why string
		views     []dataset.View
		code      Why
	}{
		{"first", "", first.Views, Why{}},
		{"copy", `has the same files as "first"`, first.Views, Why{WhySame, "", "first"}},
		{"broken", "C2: cannot be read: x.png", []dataset.View{view(0, image()), view(1, []byte("no image")), view(2, image())}, Why{WhyUnreadable, "C2", ""}},
		{"empty", "C3: cannot be read: x.png", []dataset.View{view(0, image()), view(1, image()), view(2, []byte{})}, Why{WhyUnreadable, "C3", ""}},
		{"frozen", "C3: is the same file as the image of C1", []dataset.View{view(0, same), view(1, image()), view(2, same)}, Why{WhyTwice, "C3", "C1"}},
		{"fewer", `has other cameras than "first", which has ["C1" "C2" "C3"]`, []dataset.View{view(0, image()), {Camera: 1}, view(2, image())}, Why{WhyCameras, "", "first"}},
		{"single", `have a single image of no camera`, []dataset.View{view(0, image())}, Why{WhySingle, "", ""}},
	} {
		p, err := l.TeachObject(s.ID, dataset.Object{ID: c.name, Views: c.views})
		if err != nil || p.Accepted != (c.why == "") || !strings.Contains(p.Reason, c.why) || p.Object != c.name {
			t.Errorf("%s: have %+v, %v, want %q", c.name, p, err, c.why)
		}
		if p.Code == WhyUnreadable && strings.HasPrefix(p.Of, "x.png: ") { // the words of the decoder
			p.Of = ""
		}
		if p.Why != c.code {
			t.Errorf("%s: have %+v, want %+v", c.name, p.Why, c.code)
		}
	}
	var no *ConflictError
	if _, err := l.TeachObject(s.ID, first); err != nil {
		t.Errorf("a refused one under its own name: %v", err)
	}
	if _, err := l.TeachObject(s.ID, dataset.Object{ID: "first", Views: first.Views}); !errors.As(err, &no) {
		t.Errorf("a name that is there: have %v", err)
	}
	if err := l.Build(s.ID); !errors.As(err, &no) || !strings.Contains(err.Error(), "have 1 accepted objects, want at least 10") {
		t.Errorf("have %v", err)
	}
	if err := l.ForgetObject(s.ID, "broken"); err != nil || len(state(t, l, s.ID).Objects) != 7 {
		t.Errorf("have %v and %d objects, want 7", err, len(state(t, l, s.ID).Objects))
	}
	var missing *UnknownError
	if err := l.ForgetObject(s.ID, "broken"); !errors.As(err, &missing) {
		t.Errorf("have %v", err)
	}
	for range MostSessions - 1 {
		if _, err := l.Teach("", "nut", false); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Teach("", "nut", false); !errors.As(err, &no) || !strings.Contains(err.Error(), "as many as may be") {
		t.Errorf("too many sessions: have %v", err)
	}
	if err := l.Discard(s.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Taught(s.ID); !errors.As(err, &missing) {
		t.Errorf("discarded: have %v", err)
	}
	if _, err := l.Teach("", "../x", false); !errors.As(err, &no) {
		t.Errorf("a name that is a path: have %v", err)
	}
}

// TestTeachChangedMeanwhile does not put a checkpoint live that is not of the one that is live.
func TestTeachChangedMeanwhile(t *testing.T) {
	l, path := teachable(t, nil)
	s := taught(t, l, "bolt", 10)
	if s = built(t, l, s.ID); s.State != Ready {
		t.Fatalf("have %+v", s)
	}
	list := someJudged(t, l, 2)
	if _, err := l.Review(t.Context(), list[1].ID, inspect.Good, ""); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var no *ConflictError
	if _, err := l.GoLive(t.Context(), s.ID); !errors.As(err, &no) || !strings.Contains(err.Error(), "its calibration has changed: want it built again") {
		t.Errorf("have %v", err)
	}
	if now, err := os.ReadFile(path); err != nil || string(now) != string(before) {
		t.Error("the checkpoint was changed")
	}
	if s = built(t, l, s.ID); s.State != Ready {
		t.Fatalf("have %+v", s)
	}
	if _, err := l.GoLive(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	if u := reading(t, path); len(u.Samples.Additions) != 1 || u.Memory.Of("bolt") == nil {
		t.Errorf("have %d additions and memory of %q, want both", len(u.Samples.Additions), u.Memory.Names())
	}
}

// TestTeachPutsBack puts the checkpoint back where what was built cannot be loaded, and the running model goes on.
func TestTeachPutsBack(t *testing.T) {
	l, path := teachable(t, nil)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := taught(t, l, "bolt", 10)
	if s = built(t, l, s.ID); s.State != Ready {
		t.Fatalf("have %+v", s)
	}
	if err := os.WriteFile(filepath.Join(l.teachFolder(), s.ID, "checkpoint.safetensors"), before[:len(before)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	var no *ConflictError
	if _, err := l.GoLive(t.Context(), s.ID); !errors.As(err, &no) || !strings.Contains(err.Error(), "stays as it is") {
		t.Errorf("have %v", err)
	}
	if now, err := os.ReadFile(path); err != nil || string(now) != string(before) {
		t.Error("the checkpoint is not the former one")
	}
	judge(t, l, Request{Object: inspecttest.Objects(t, inspecttest.Trained, 1)[0]})
	if s = state(t, l, s.ID); s.State != Ready {
		t.Errorf("have %+v, want it ready still", s)
	}
	if err := l.Discard(s.ID); err != nil {
		t.Error(err)
	}
}

// TestTeachRestart takes sessions up again: what was collected and what was built.
func TestTeachRestart(t *testing.T) {
	l, _ := teachable(t, nil)
	collecting, ready := taught(t, l, "nut", 3), taught(t, l, "bolt", 10)
	if s := built(t, l, ready.ID); s.State != Ready {
		t.Fatalf("have %+v", s)
	}
	stray := filepath.Join(l.teachFolder(), "stray")
	if err := os.Mkdir(stray, 0o755); err != nil {
		t.Fatal(err)
	}
	l.teaching.mu.Lock()
	l.teaching.sessions[collecting.ID].Session.State = Building // a kill while it is built
	err := l.saveTaught(l.teaching.sessions[collecting.ID])
	l.teaching.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	next := open(t, func(o *Options) { o.Folder = l.opt.Folder }, l.slots[0].ModelOptions)
	if all := next.AllTaught(); len(all) != 2 || all[0].ID != collecting.ID || all[0].State != FailedSession || len(all[0].Objects) != 3 ||
		!strings.Contains(all[0].Error, "the service stopped meanwhile") || all[1].State != Ready || all[1].Result.Objects != 10 {
		t.Errorf("have %+v", all)
	}
	if _, err := os.Stat(stray); err != nil {
		t.Errorf("a folder of somebody else: %v", err)
	}
	if _, err := next.GoLive(t.Context(), ready.ID); err != nil {
		t.Errorf("what was built before the restart: %v", err)
	}
}

// TestTeachStops stops building when the line closes, and when the session is discarded.
func TestTeachStops(t *testing.T) {
	l, path := teachable(t, nil)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first := taught(t, l, "bolt", 10)
	if err := l.Build(first.ID); err != nil {
		t.Fatal(err)
	}
	if err := l.Discard(first.ID); err != nil {
		t.Fatal(err)
	}
	l.teaching.building.Wait()
	if _, err := os.Stat(filepath.Join(l.teachFolder(), first.ID)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("discarded: have %v, want no folder", err)
	}
	second := taught(t, l, "nut", 10)
	if err := l.Build(second.ID); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if s := state(t, l, second.ID); s.State != FailedSession && s.State != Ready {
		t.Errorf("have %+v, want it stopped", s)
	}
	if now, err := os.ReadFile(path); err != nil || string(now) != string(before) {
		t.Error("the live checkpoint was changed")
	}
}
