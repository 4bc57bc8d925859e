package line

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"syscall"
	"time"

	"mvag-torch/inspect"
	"mvag-torch/internal/lock"
	"mvag-torch/model/calibration"
	"mvag-torch/model/checkpoint"
)

// undoneNote is the kind of the notes of the journal that hold additions that were taken back.
const undoneNote = "undone"

// Addition is an entry of the history of a calibration.
type Addition struct {
	Number  int                `json:"number"`
	Time    time.Time          `json:"time"`
	Model   string             `json:"model"`
	ID      string             `json:"id,omitempty"` // of the object in the journal; "" where it was added otherwise
	Object  string             `json:"object"`       // its name, or where the objects come from
	Class   string             `json:"class"`
	Verdict string             `json:"verdict"` // inspect.Good
	Note    string             `json:"note,omitempty"`
	Objects int                `json:"objects"` // that were added
	Before  *calibration.Limit `json:"before,omitempty"`
	After   *calibration.Limit `json:"after,omitempty"`
	Undone  bool               `json:"undone"`
}

// now is the model that is loaded; nil after Close.
func (s *slot) now() *live {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.live
}

// recalibrate changes the calibration in the file of a model, and loads it. Where it cannot be loaded, revert changes the
// file back. The caller holds l.changing. A client that goes away does not stop it half way.
func (l *Line) recalibrate(ctx context.Context, s *slot, change, revert func(*inspect.Setup) error) error {
	own, err := s.own()
	if err != nil {
		return err
	}
	defer own.Release() // also while it is changed back
	if err := s.changeFile(change); err != nil {
		return err
	}
	err = l.Reload(context.WithoutCancel(ctx), s.Name)
	if err == nil {
		return nil
	}
	u, back := inspect.Read(s.Path, inspect.Options{Set: s.Set, Owned: true})
	if back == nil {
		defer u.Close()
		back = revert(u)
	}
	return errors.Join(err, back)
}

// own keeps other processes from changing the file of a model.
func (s *slot) own() (*lock.Lock, error) {
	own, err := checkpoint.Own(s.Path)
	var held *lock.Held
	switch {
	case errors.As(err, &held):
		return nil, coded("file_used", "model %q: %v", s.Name, err)
	case err != nil:
		return nil, &StoreError{err}
	case own.Unsupported != nil:
		s.line.opt.Log.Warn("nothing keeps other processes from changing a model: it cannot be locked", "model", s.Name, "error", own.Unsupported)
	}
	return own, nil
}

// changeFile changes the calibration in the file of a model, which has to be that which is loaded. The caller owns it.
func (s *slot) changeFile(change func(*inspect.Setup) error) error {
	live := s.now()
	if live == nil {
		return ErrClosed
	}
	u, err := inspect.Read(s.Path, inspect.Options{Set: s.Set, Owned: true})
	if err != nil {
		return err
	}
	defer u.Close()
	scoring, calibrations, err := u.Identity()
	if err != nil {
		return err
	}
	if scoring != live.judge.Checkpoint || calibrations != live.judge.Calibration {
		return coded("file_changed", "model %q: its file is another one than that which is loaded, want it loaded again first", s.Name)
	}
	if err := u.MayAdd(); err != nil {
		return coded("no_samples", "model %q: %v", s.Name, err)
	}
	err = change(u)
	var disk syscall.Errno
	switch {
	case err == nil || errors.Is(err, calibration.ErrKnown):
		return err
	case errors.As(err, &disk):
		return &StoreError{err}
	}
	return conflict("model %q: %v", s.Name, err)
}

// Undo takes the last addition to the calibration of a model back, "" for the only model. An object that a person
// reviewed is then one that nobody has.
func (l *Line) Undo(ctx context.Context, model string) (*Addition, error) {
	s, err := l.pick(model, "")
	if err != nil {
		return nil, err
	}
	l.changing.Lock()
	defer l.changing.Unlock()
	var undone calibration.Addition
	err = l.recalibrate(ctx, s, func(u *inspect.Setup) (err error) {
		undone, err = u.Undo()
		return err
	}, func(u *inspect.Setup) error {
		_, err := u.AddGood(undone.Objects, undone.Source)
		return err
	})
	if err != nil {
		return nil, err
	}
	a, err := l.addition(s, undone)
	if err != nil {
		return nil, err
	}
	a.Undone = true
	text, err := json.Marshal(a)
	if err == nil {
		err = l.opt.Journal.Put(undoneNote, time.Now().UTC().Format("20060102T150405.000000000")+" "+s.Name, text)
	}
	for _, o := range undone.Objects {
		if err == nil && o.Key != "" {
			err = l.opt.Journal.Remove(ReviewNote, o.Key)
		}
	}
	if err != nil {
		return nil, &StoreError{err}
	}
	log := l.opt.Log.With("object", a.Object, "id", a.ID, "model", a.Model, "class", a.Class)
	if a.Before != nil && a.After != nil {
		log = log.With("threshold_before", a.After.Threshold, "threshold_after", a.Before.Threshold)
	}
	log.Info("addition to the calibration is undone")
	l.events.send("review", a)
	return &a, nil
}

// addition describes an addition to the calibration of a model.
func (l *Line) addition(s *slot, from calibration.Addition) (Addition, error) {
	a := Addition{Number: from.Number, Time: from.Time, Model: s.Name, Object: from.Source, Verdict: inspect.Good, Objects: len(from.Objects)}
	first := from.Objects[0]
	a.Class = first.Class
	head := ""
	if live := s.now(); live != nil {
		head, _ = live.setup.Heads.Head(live.setup.Config.Inspect.Head, a.Class, live.setup.Memory)
	}
	for _, c := range from.Changes {
		if c.Class == a.Class && c.Head == head {
			a.Before, a.After = &c.Before, &c.After
		}
	}
	if len(from.Objects) > 1 || first.Key == "" {
		return a, nil
	}
	r, err := l.record(first.Key)
	var gone *UnknownError
	if errors.As(err, &gone) { // pruned, or of calibrate --add
		return a, nil
	}
	if err == nil {
		a.ID, a.Object = first.Key, r.Record.Object
		var review Review
		review, _, err = l.reviewOf(first.Key)
		a.Note = review.Note
	}
	return a, err
}

// History lists the additions to the calibration of a model, "" for the only one, and those that were taken back; the
// newest first.
func (l *Line) History(model string) ([]Addition, error) {
	s, err := l.pick(model, "")
	if err != nil {
		return nil, err
	}
	live := s.now()
	if live == nil {
		return nil, ErrClosed
	}
	list := []Addition{}
	if live.setup.Samples != nil {
		for _, from := range live.setup.Samples.Additions {
			a, err := l.addition(s, from)
			if err != nil {
				return nil, err
			}
			list = append(list, a)
		}
	}
	var failed error
	err = l.opt.Journal.Values(undoneNote, func(_ string, text []byte) bool {
		var a Addition
		if failed = json.Unmarshal(text, &a); failed == nil && a.Model == s.Name {
			list = append(list, a)
		}
		return failed == nil
	})
	if err = cmp.Or(err, failed); err != nil {
		return nil, &StoreError{err}
	}
	slices.SortFunc(list, func(a, b Addition) int { return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(b.Number, a.Number)) })
	return list, nil
}
