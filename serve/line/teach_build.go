package line

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"mvag-torch/dataset"
	"mvag-torch/inspect"
	"mvag-torch/internal/atomicfile"
	"mvag-torch/internal/regularfile"
	"mvag-torch/model/calibration"
)

// fromTaught says where the objects of a session come from.
const fromTaught = "objects taught to the service, each fifth judged with a memory of the others"

// tellEvery is the least time between two events of progress.
const tellEvery = 200 * time.Millisecond

// Build remembers and calibrates the class of a session in a copy of the checkpoint. It returns at once; the state of the
// session, and events, tell how it goes.
func (l *Line) Build(id string) error {
	l.teaching.mu.Lock()
	defer l.teaching.mu.Unlock()
	s, err := l.collecting(id)
	if err != nil {
		return err
	}
	good, err := l.buildable(s)
	if err != nil {
		return err
	}
	s.changed()
	s.Session.State, s.Session.Step, s.Session.Done, s.Session.Total = Building, "remembering", 0, 0
	for _, o := range good {
		for _, v := range o.Views {
			if v.Present() {
				s.Session.Total++
			}
		}
	}
	if err := l.saveTaught(s); err != nil {
		s.Session.State = FailedSession
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	l.teaching.building.Go(func() {
		defer stop()
		result, err := l.build(ctx, s, good)
		l.built(s, result, err)
	})
	return nil
}

// buildable returns the objects of a session that can be built now. The caller holds the lock.
func (l *Line) buildable(s *session) (good []dataset.Object, err error) {
	live := l.slot(s.Session.Model).now()
	if l.teaching.stopped || live == nil {
		return nil, ErrClosed
	}
	for i, p := range s.Session.Objects {
		if p.Accepted {
			good = append(good, s.object(i, live.model.Views))
		}
	}
	if len(good) < s.Session.Need {
		return nil, coded("few", "teach: have %d accepted objects, want at least %d", len(good), s.Session.Need)
	}
	for _, other := range l.teaching.sessions {
		if other.Session.State == Building {
			return nil, coded("building", "teach: %q is being built, want to wait for it: one at a time", other.Session.Class)
		}
	}
	return good, nil
}

// built notes what became of building a session.
func (l *Line) built(s *session, result *TaughtResult, err error) {
	l.teaching.mu.Lock()
	defer l.teaching.mu.Unlock()
	if l.teaching.sessions[s.Session.ID] != s { // discarded
		if err := s.remove(); err != nil {
			l.opt.Log.Error("files of what was taught could not be removed", "folder", s.folder, "error", err)
		}
		return
	}
	s.Session.Step, s.Session.State, s.Session.Result = "", Ready, result
	if err != nil {
		s.Session.State, s.Session.Error = FailedSession, err.Error()
		l.opt.Log.Error("a class could not be taught", "model", s.Session.Model, "class", s.Session.Class, "error", err)
	}
	if err := l.saveTaught(s); err != nil {
		l.opt.Log.Error("the state of what is taught could not be stored", "error", err)
	}
}

// build enrolls the class in a copy of the checkpoint.
func (l *Line) build(ctx context.Context, s *session, good []dataset.Object) (*TaughtResult, error) {
	slot := l.slot(s.Session.Model)
	l.changing.Lock() // so that the copy is not of a file that is about to change
	err := copyFile(s.staged(), slot.Path)
	l.changing.Unlock()
	if err != nil {
		return nil, err
	}
	u, err := inspect.Read(s.staged(), inspect.Options{Set: s.set, Uncalibrated: true, Pixels: l.opt.Pixels, Log: func(line string) {
		l.opt.Log.Info(line, "model", s.Session.Model, "class", s.Session.Class)
	}})
	if err != nil {
		return nil, err
	}
	defer u.Close()
	scoring, calibrations, err := u.Identity()
	if err != nil {
		return nil, err
	}
	l.teaching.mu.Lock()
	s.Base = [2]string{scoring, calibrations}
	l.teaching.mu.Unlock()
	progress := func(step string) func(int) {
		return func(images int) { l.progress(s, step, images) }
	}
	own, err := u.Enroll(ctx, inspect.Enrollment{
		Class: s.Session.Class, Replace: s.Session.Replace, Good: good, Source: dataset.NewSource(u.Config.Data), From: fromTaught,
		Remembered: progress("remembering"), Judged: progress("calibrating"),
	})
	if err != nil {
		return nil, err
	}
	return resultOf(own, s.Session.Class, u.Memory.Bytes()), nil
}

func resultOf(own *calibration.Calibration, class string, memory int64) *TaughtResult {
	scale := own.Object.For(class)
	return &TaughtResult{Objects: own.Objects, Threshold: scale.Threshold, Rate: scale.Rate, Basis: scale.Basis, MemoryBytes: memory}
}

// progress tells how far a session is.
func (l *Line) progress(s *session, step string, images int) {
	l.teaching.mu.Lock()
	defer l.teaching.mu.Unlock()
	again := step == s.Session.Step && images < s.Session.Total && time.Since(s.told) < tellEvery
	if s.Session.Step, s.Session.Done = step, images; again || l.teaching.sessions[s.Session.ID] != s {
		return
	}
	s.told = time.Now()
	l.events.send("teach", s.Session)
}

// Try judges an object with what a session has built. The record has no id and is not stored.
func (l *Line) Try(ctx context.Context, id string, o dataset.Object) (*Judged, error) {
	if !l.enter() {
		return nil, ErrClosed
	}
	defer l.busy.Done()
	l.teaching.mu.Lock()
	s, err := l.session(id)
	if err == nil && s.Session.State != Ready {
		err = conflict("teach: the session is %s, want it ready before objects are tried", s.Session.State)
	}
	l.teaching.mu.Unlock()
	if err != nil {
		return nil, err
	}
	v, err := l.loadStaged(ctx, s)
	if err != nil {
		return nil, err
	}
	defer v.use.Done()
	if o.Class == "" {
		o.Class = s.Session.Class
	}
	if err := v.judges(o.Class); err != nil {
		return nil, err
	}
	result, err := v.object(ctx, o)
	if err != nil {
		return nil, err
	}
	return &Judged{Record: l.recordOf(Request{Source: FromPage}, v, result), Result: result}, nil
}

// loadStaged returns the model that a session has built; the caller calls use.Done.
func (l *Line) loadStaged(ctx context.Context, s *session) (*live, error) {
	s.trying.Lock() // one loads it
	defer s.trying.Unlock()
	l.teaching.mu.Lock()
	v := s.tried
	if v != nil {
		v.use.Add(1)
	}
	l.teaching.mu.Unlock()
	if v != nil {
		return v, nil
	}
	v, err := l.load(ctx, ModelOptions{Name: s.Session.Model, Path: s.staged(), Set: s.set},
		l.opt.Log.With("for", "a try of what is taught, not live", "teach", s.Session.ID))
	if err != nil {
		return nil, err
	}
	l.teaching.mu.Lock()
	defer l.teaching.mu.Unlock()
	if l.teaching.sessions[s.Session.ID] != s || s.Session.State != Ready || l.teaching.stopped {
		return nil, errors.Join(conflict("teach: the session is no longer ready"), v.inspector.Close())
	}
	v.use.Add(1)
	s.tried = v
	return v, nil
}

// GoLive puts what a session has built in the place of the checkpoint of its model, and loads it. It is refused where that
// has changed since, or cannot be loaded; then the checkpoint stays.
func (l *Line) GoLive(ctx context.Context, id string) (Session, error) {
	l.changing.Lock()
	defer l.changing.Unlock()
	l.teaching.mu.Lock()
	s, err := l.session(id)
	if err == nil && s.Session.State != Ready {
		err = conflict("teach: the session is %s, want it ready before it goes live", s.Session.State)
	}
	if err == nil {
		s.going = true
	}
	l.teaching.mu.Unlock()
	if err != nil {
		return Session{}, err
	}
	err = l.replace(ctx, s)
	l.teaching.mu.Lock()
	defer l.teaching.mu.Unlock()
	if s.going = false; err != nil {
		return Session{}, err
	}
	s.Session.State = Live
	s.forget()
	if err := s.remove(); err != nil {
		l.opt.Log.Error("files of what was taught could not be removed", "folder", s.folder, "error", err)
	}
	l.events.send("teach", s.Session)
	return s.copy(), nil
}

// replace puts the staged checkpoint in the place of that of the model, and loads it. Where it cannot, the former one is
// put back.
func (l *Line) replace(ctx context.Context, s *session) error {
	slot := l.slot(s.Session.Model)
	own, err := slot.own()
	if err != nil {
		return err
	}
	defer own.Release()
	if err := slot.unchanged(s.Base); err != nil {
		return err
	}
	former := filepath.Join(s.folder, "former.safetensors")
	if err := copyFile(former, slot.Path); err != nil {
		return &StoreError{err}
	}
	if err := copyFile(slot.Path, s.staged()); err != nil {
		return &StoreError{err}
	}
	if err := l.Reload(context.WithoutCancel(ctx), slot.Name); err != nil {
		return errors.Join(conflict("teach: %v", err), copyFile(slot.Path, former))
	}
	return nil
}

// unchanged returns an error where the file of a model is no longer that of an identity.
func (s *slot) unchanged(base [2]string) error {
	u, err := inspect.Read(s.Path, inspect.Options{Set: s.Set})
	if err != nil {
		return err
	}
	defer u.Close()
	scoring, calibrations, err := u.Identity()
	if err != nil {
		return err
	}
	if base != [2]string{scoring, calibrations} {
		what := "its calibration has changed"
		if base[0] != scoring {
			what = "it is another one"
		}
		return coded("file_changed_since", "teach: the checkpoint of model %q is not the one that the class was built for, %s: want it built again", s.Name, what)
	}
	return nil
}

// Discard ends a session and removes its files.
func (l *Line) Discard(id string) error {
	if err := l.opt.Journal.There(); err != nil {
		return &StoreError{err}
	}
	l.teaching.mu.Lock()
	defer l.teaching.mu.Unlock()
	s, err := l.session(id)
	if err == nil {
		err = s.settled()
	}
	if err != nil {
		return err
	}
	if s.stop != nil {
		s.stop()
	}
	delete(l.teaching.sessions, id)
	s.forget()
	remove := s.remove
	if s.Session.State == Building { // the rest goes when that has stopped
		remove = s.end
	}
	if err := remove(); err != nil {
		return &StoreError{err}
	}
	return nil
}

// copyFile replaces a file by a copy of another.
func copyFile(to, from string) error {
	f, _, err := regularfile.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	return atomicfile.Write(to, func(w io.Writer) error {
		_, err := io.Copy(w, f)
		return err
	})
}

// stopTeaching stops what is being built and frees what is tried. Sessions stay on the disk.
func (l *Line) stopTeaching() error {
	t := &l.teaching
	t.mu.Lock()
	t.stopped = true
	for _, s := range t.sessions {
		if s.stop != nil {
			s.stop()
		}
	}
	t.mu.Unlock()
	t.building.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []error
	for _, s := range t.sessions {
		if v := s.tried; v != nil {
			s.tried = nil
			v.use.Wait()
			all = append(all, v.inspector.Close())
		}
	}
	if err := errors.Join(all...); err != nil {
		return fmt.Errorf("teach: %w", err)
	}
	return nil
}
