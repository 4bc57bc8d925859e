package api

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"mvag-torch/inspect"
	"mvag-torch/serve/journal"
	"mvag-torch/serve/line"
)

// fake is a line of one model of three cameras. judge, if set, says what becomes of an object.
type fake struct {
	Changes // nil: tests of these have a real line
	judge   func(ctx context.Context, r line.Request) (*line.Judged, error)
	reload  func() error
	journal *journal.Journal
	events  chan line.Event
	last    line.Request
	count   atomic.Int64
	closed  bool
	full    error // of the disk
}

// newFake has a journal.
func newFake(t *testing.T) *fake {
	t.Helper()
	j, err := journal.Open(filepath.Join(t.TempDir(), "journal.db"), journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return &fake{journal: j, events: make(chan line.Event, 10)}
}

func (f *fake) Judge(ctx context.Context, r line.Request) (*line.Judged, error) {
	f.count.Add(1)
	if f.judge != nil {
		return f.judge(ctx, r)
	}
	f.last = r
	return judgedOf(r), nil
}

// judgedOf is a good object.
func judgedOf(r line.Request) *line.Judged {
	v := &inspect.Verdict{Score: 0.1, Calibrated: 0.2, Threshold: 0.3, Basis: "class", Decision: inspect.Good, Head: "memory"}
	return &line.Judged{Record: line.Record{ID: "abc-1", Source: r.Source, Object: r.Object.ID, Class: r.Object.Class,
		Decision: inspect.Good, Verdict: v, Images: []inspect.Line{}}}
}

func (f *fake) Models() []line.Model {
	if f.closed {
		return nil
	}
	return []line.Model{{Name: "parts", Views: 3, Width: 512, Height: 512, Cameras: []string{"C1", "C2", "C3"}, Classes: []line.Class{{Name: "gear", Head: "memory", Basis: "class", Rate: 1. / 13, Objects: 12}}}}
}

func (f *fake) Model(name string) (line.Model, bool) {
	m := f.Models()
	if len(m) == 0 || name != m[0].Name {
		return line.Model{}, false
	}
	return m[0], true
}

func (f *fake) Pick(name, _ string) (line.Model, error) {
	if f.closed {
		return line.Model{}, line.ErrClosed
	}
	if m := f.Models()[0]; name == "" || name == m.Name {
		return m, nil
	}
	return line.Model{}, &line.UnknownError{Message: fmt.Sprintf("model: have %q", name)}
}

func (f *fake) Reload(context.Context, string) error {
	if f.reload != nil {
		return f.reload()
	}
	return nil
}

func (f *fake) Watch(context.Context) <-chan line.Event             { return f.events }
func (f *fake) Ready() error                                        { return f.full }
func (f *fake) Journal() *journal.Journal                           { return f.journal }
func (f *fake) Kept(line.Record) (pictures []line.Picture, _ error) { return nil, nil }
