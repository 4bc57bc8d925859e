package line

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mvag-torch/dataset"
	"mvag-torch/inspect"
	"mvag-torch/inspect/inspecttest"
	"mvag-torch/internal/tensor"
	"mvag-torch/serve/journal"
	"mvag-torch/serve/metrics"
)

func TestMain(m *testing.M) {
	tensor.SetThreads(1) // small tensors
	os.Exit(m.Run())
}

// open opens a line of models until the end of the test.
func open(t *testing.T, change func(*Options), models ...ModelOptions) *Line {
	t.Helper()
	folder := t.TempDir()
	j, err := journal.Open(filepath.Join(folder, "journal.db"), journal.Options{To: []string{"lines"}, Spool: 1000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	opt := Options{Models: models, Folder: folder, Journal: j, Queue: 8, Wait: time.Millisecond, Pictures: true,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Metrics: metrics.New()}
	if change != nil {
		change(&opt)
	}
	l, err := Open(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func judge(t *testing.T, l *Line, r Request) *Judged {
	t.Helper()
	j, err := l.Judge(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// stored reads the record of an entry.
func stored(t *testing.T, l *Line, id string) Stored {
	t.Helper()
	e, ok, err := l.Journal().Get(id)
	if err != nil || !ok {
		t.Fatalf("%s: have %v, %v, want an entry", id, ok, err)
	}
	var s Stored
	if err := json.Unmarshal(e.Data, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestJudge compares a record with what the inspector says, and with what the journal keeps.
func TestJudge(t *testing.T) {
	path := inspecttest.Checkpoint(t)
	l := open(t, nil, ModelOptions{Name: "parts", Path: path})
	watched := l.Watch(t.Context())
	o := inspecttest.Objects(t, inspecttest.Trained, 12)[3]
	o.Views[1] = dataset.View{Camera: 1}
	j := judge(t, l, Request{Source: FromHTTP, Object: o})
	inspector, err := inspect.Open(path, inspect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer inspector.Close()
	want, err := inspector.Object(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(j.Verdict, want.Verdict) || len(j.Images) != 2 || j.Images[1].Camera != 3 || !slices.Equal(j.Absent, []string{"C2"}) {
		t.Errorf("have %+v, want %+v", j.Record, want.Verdict)
	}
	if model, _ := l.Model("parts"); j.Model != (Judge{"parts", model.Checkpoint, model.Calibration}) || len(model.Checkpoint) != 64 {
		t.Errorf("have model %v", j.Model)
	}
	s := stored(t, l, j.ID)
	have, _ := json.Marshal(s.Record)
	if said, _ := json.Marshal(j.Record); string(have) != string(said) {
		t.Errorf("the journal has %s, want %s", have, said)
	}
	if !reflect.DeepEqual(s.Samples, Samples(want.Samples())) || len(s.Samples) == 0 {
		t.Errorf("have samples %v, want %v", s.Samples, want.Samples())
	}
	if e := <-watched; e.Kind != "object" || string(e.Data) != string(have) {
		t.Errorf("have event %s %s", e.Kind, e.Data)
	}
}

// TestKeys sends a request twice at once and later again: it is judged once.
func TestKeys(t *testing.T) {
	l := open(t, nil, ModelOptions{Name: "parts", Path: inspecttest.Checkpoint(t)})
	o := inspecttest.Objects(t, inspecttest.Trained, 12)[0]
	var all [4]*Judged
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() { all[i] = judge(t, l, Request{Key: "k", Object: o}) })
	}
	wg.Wait()
	again := 0
	for _, j := range all {
		if j.ID != all[0].ID || *j.Verdict != *all[0].Verdict {
			t.Errorf("have %v, want %v", j.Record, all[0].Record)
		}
		if j.Again {
			again++
		}
	}
	if again != 3 || l.Journal().Len() != 1 {
		t.Errorf("have %d answers again and %d entries, want 3 and 1", again, l.Journal().Len())
	}
	if j := judge(t, l, Request{Object: o}); j.ID == all[0].ID {
		t.Error("want a request without key judged by itself")
	}
}

// TestModels chooses among models by name and by class.
func TestModels(t *testing.T) {
	one, two := inspecttest.Checkpoint(t, "bolt"), inspecttest.Checkpoint(t, "nut", "cap")
	l := open(t, nil, ModelOptions{Name: "one", Path: one}, ModelOptions{Name: "two", Path: two})
	for name, test := range map[string]struct {
		model, class string
		want         string // model, or the error
	}{
		"by name":            {"two", "", "two"},
		"by class":           {"", "nut", "two"},
		"by other class":     {"", "bolt", "one"},
		"by both":            {"one", "bolt", "one"},
		"class of all":       {"", inspecttest.Trained, `model: have none, want one of ["one" "two"]: 2 of them know the class "part"`},
		"nothing":            {"", "", `model: have none, want one of ["one" "two"]: 0 of them know the class ""`},
		"unknown model":      {"three", "", `model: have "three", want one of ["one" "two"]`},
		"unknown class":      {"one", "nut", `class: have "nut", want one that model "one" knows: ["bolt" "part"]`},
		"class of no model":  {"", "gear", `model: have none, want one of ["one" "two"]: 0 of them know the class "gear"`},
		"a path for a model": {"../one", "", `model: have "../one", want one of ["one" "two"]`},
	} {
		o := inspecttest.Objects(t, inspecttest.Trained, 1)[0]
		o.Class = test.class
		j, err := l.Judge(t.Context(), Request{Model: test.model, Object: o})
		var unknown *UnknownError
		switch {
		case err == nil && j.Model.Name != test.want:
			t.Errorf("%s: have model %s, want %s", name, j.Model.Name, test.want)
		case err != nil && (err.Error() != test.want || !errors.As(err, &unknown)):
			t.Errorf("%s: have %v, want %s", name, err, test.want)
		}
	}
}

// TestRefused judges what cannot be: bad images, a full queue, a full spool, a client that is gone, a closed line.
func TestRefused(t *testing.T) {
	l := open(t, func(o *Options) { o.Queue = 1 }, ModelOptions{Name: "parts", Path: inspecttest.Checkpoint(t)})
	o := inspecttest.Objects(t, inspecttest.Trained, 1)[0]
	bad := dataset.Object{ID: "bad", Views: []dataset.View{{Data: []byte("no image"), Path: "C1"}, {Camera: 1}, {Camera: 2}}}
	if j := judge(t, l, Request{Object: bad}); j.Decision != Failed || !strings.Contains(j.Error, "C1: ") || j.Verdict != nil || j.Pictures {
		t.Errorf("have %+v, want a failed object", j.Record)
	}
	l.places <- struct{}{}
	var busy *BusyError
	if _, err := l.Judge(t.Context(), Request{Object: o}); !errors.As(err, &busy) || busy.RetryAfter < time.Second {
		t.Errorf("full queue: have %v", err)
	}
	<-l.places
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Judge(ctx, Request{Object: o}); !errors.Is(err, context.Canceled) {
		t.Errorf("client gone: have %v", err)
	}
	entries := l.Journal().Len()
	if err := l.Journal().Close(); err != nil {
		t.Fatal(err)
	}
	var store *StoreError
	if _, err := l.Judge(t.Context(), Request{Object: o}); !errors.As(err, &store) {
		t.Errorf("journal closed: have %v", err)
	}
	if entries != 1 {
		t.Errorf("have %d entries, want that of the failed object", entries)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := l.Judge(t.Context(), Request{Object: o}); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: have %v", err)
	}
}

// TestReload changes the file of a model while objects are judged: each is answered, by the old model or the new one.
func TestReload(t *testing.T) {
	path := inspecttest.Checkpoint(t)
	l := open(t, nil, ModelOptions{Name: "parts", Path: path})
	o := inspecttest.Objects(t, inspecttest.Trained, 12)[0]
	before := judge(t, l, Request{Object: o}).Model
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if _, err := l.Judge(t.Context(), Request{Object: o}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, good[:100], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.Reload(t.Context(), "parts"); err == nil || !strings.Contains(err.Error(), `model "parts" stays as it is: `+path) {
		t.Errorf("damaged file: have %v", err)
	}
	if have := judge(t, l, Request{Object: o}).Model; have != before {
		t.Errorf("after a reload that failed: have %v, want %v", have, before)
	}
	other, err := os.ReadFile(inspecttest.Checkpoint(t, "bolt"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, other, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.Reload(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if have := judge(t, l, Request{Object: o}).Model; have.Checkpoint == before.Checkpoint {
		t.Errorf("after a reload: have %v as before", have)
	}
	stop()
	wg.Wait()
	if err := l.Reload(t.Context(), "other"); err == nil {
		t.Error("want no model of another name")
	}
}

// TestSlowWatcher loses events of a watcher that does not read, which is then told how many.
func TestSlowWatcher(t *testing.T) {
	l := &Line{}
	w := l.Watch(t.Context())
	for i := range waiting + 5 {
		l.events.send("object", i)
	}
	for range waiting {
		<-w
	}
	l.events.send("object", -1)
	if e := <-w; e.Kind != "lost" || string(e.Data) != "5" {
		t.Errorf("have %s %s, want 5 lost", e.Kind, e.Data)
	}
	if e := <-w; string(e.Data) != "-1" {
		t.Errorf("have %s %s", e.Kind, e.Data)
	}
	l.events.close()
	if _, ok := <-w; ok {
		t.Error("want the channel closed")
	}
}

func TestNameOf(t *testing.T) {
	for path, want := range map[string]string{
		"parts.mvag": "parts", "/a/b/quickstart/checkpoint.safetensors": "quickstart", "x/line 3.safetensors": "line 3",
	} {
		if have := NameOf(path); have != want {
			t.Errorf("%s: have %q, want %q", path, have, want)
		}
	}
	if have := NameOf("checkpoint.safetensors"); have == "checkpoint" {
		t.Errorf("have %q, want the name of the folder", have)
	}
}
