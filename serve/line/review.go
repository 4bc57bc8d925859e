package line

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"mvag-torch/inspect"
	"mvag-torch/model/calibration"
	"mvag-torch/serve/journal"
)

// ReviewNote is the kind of the notes of the journal that hold a [Review], by the id of the object.
const ReviewNote = "review"

// Borderline objects have a calibrated value from lowest to highest.
const (
	lowestBorderline  = 0.35
	highestBorderline = 0.65
	// searched is how many of the newest objects are looked at for review.
	searched = 1000
)

// NoteBytes bounds the note of a review.
const NoteBytes = 1000

// Review is what a person said of an object.
type Review struct {
	Verdict string    `json:"verdict"` // inspect.Good or inspect.Defective
	Note    string    `json:"note,omitempty"`
	Time    time.Time `json:"time"`
}

// Candidate is an object that a person should look at.
type Candidate struct {
	Record
	Why string `json:"why"` // Borderline, Contested or Alarm
	// Heads are what the heads of the model say; none where another model judged the object.
	Heads []HeadSays `json:"heads,omitempty"`
}

// Why an object is a Candidate.
const (
	Borderline = "borderline" // its value is close to the threshold
	Contested  = "contested"  // the heads of the model decide differently
	Alarm      = "defective"  // it was called defective, clearly and by all heads
)

// HeadSays is what a head of the model that is loaded says of an object, by the threshold of now.
type HeadSays struct {
	Head      string  `json:"head"`
	Score     float64 `json:"score"`
	Threshold float64 `json:"threshold"`
	Decision  string  `json:"decision"` // inspect.Good or inspect.Defective
}

// Reviewed is what a review did.
type Reviewed struct {
	Review      Review  `json:"review"`
	Calibration *Change `json:"calibration,omitempty"` // nil where it stays
}

// Change is what was done to the threshold of objects of a class, by the head that judges them.
type Change struct {
	Class  string            `json:"class"`
	Before calibration.Limit `json:"before"`
	After  calibration.Limit `json:"after"`
	// Changed are those of the Searched newest objects of the class whose decision would be another one now.
	Changed  int `json:"changed"`
	Searched int `json:"searched"`
}

// Candidates are the objects among the newest 1,000 of a model, or of all for "", that nobody has reviewed and that are
// borderline or contested, then those that were called defective; of both the newest first.
func (l *Line) Candidates(model string) ([]Candidate, error) {
	if model != "" && l.slot(model) == nil {
		return nil, unknown("model: have %.100q, want one of %q", model, l.names())
	}
	found, alarms := []Candidate{}, []Candidate{}
	err := l.newest(searched, func(e journal.Entry, s Stored) error {
		if model != "" && s.Record.Model.Name != model {
			return nil
		}
		heads := l.heads(s)
		why := doubt(s.Record, heads)
		if why == "" {
			return nil
		}
		_, reviewed, err := l.opt.Journal.GetValue(ReviewNote, e.ID)
		if err != nil || reviewed {
			return err
		}
		if c := (Candidate{s.Record, why, heads}); why == Alarm {
			alarms = append(alarms, c)
		} else {
			found = append(found, c)
		}
		return nil
	})
	return append(found, alarms...), err
}

// newest visits the newest records of the journal, up to n, until visit fails.
func (l *Line) newest(n int, visit func(journal.Entry, Stored) error) error {
	var failed error
	err := l.opt.Journal.Newest(0, func(e journal.Entry) bool {
		var s Stored
		if failed = json.Unmarshal(e.Data, &s); failed != nil {
			failed = fmt.Errorf("journal: entry %s: %w", e.ID, failed)
		} else {
			failed = visit(e, s)
		}
		n--
		return failed == nil && n > 0
	})
	if err = errors.Join(err, failed); err != nil {
		return &StoreError{err}
	}
	return nil
}

// doubt says why a person should look at an object, "" for no reason.
func doubt(r Record, heads []HeadSays) string {
	if r.Verdict == nil || r.Decision == Failed {
		return ""
	}
	if v := r.Verdict.Calibrated; v >= lowestBorderline && v <= highestBorderline {
		return Borderline
	}
	if slices.ContainsFunc(heads, func(h HeadSays) bool { return h.Decision != heads[0].Decision }) {
		return Contested
	}
	if r.Decision == inspect.Defective {
		return Alarm
	}
	return ""
}

// heads are what the heads of a model say of an object that it has judged; nil where the model is another one now.
func (l *Line) heads(s Stored) (list []HeadSays) {
	slot := l.slot(s.Record.Model.Name)
	if slot == nil {
		return nil
	}
	live := slot.now()
	if live == nil || live.judge.Checkpoint != s.Record.Model.Checkpoint {
		return nil
	}
	for _, head := range []string{calibration.Reconstruction, calibration.Memory, calibration.Both} {
		sample, judged := s.Samples[head]
		c := live.setup.Heads.Of(head)
		if c == nil || !judged || head == calibration.Both && s.Levels != live.levels { // then both judged on another scale
			continue
		}
		scale, decision := c.Object.For(s.Record.Class), inspect.Good
		if scale.Defective(sample.Object) {
			decision = inspect.Defective
		}
		list = append(list, HeadSays{head, sample.Object, scale.Threshold, decision})
	}
	return list
}

// Review stores what a person says of an object: inspect.Good or inspect.Defective. A good one joins the calibration of
// its model, which is loaded again. Errors are *UnknownError and *ConflictError, where the model is another one now, say.
func (l *Line) Review(ctx context.Context, id, verdict, note string) (*Reviewed, error) {
	if verdict != inspect.Good && verdict != inspect.Defective {
		return nil, conflict("verdict: have %.100q, want %s or %s", verdict, inspect.Good, inspect.Defective)
	}
	if len(note) > NoteBytes {
		return nil, conflict("note: have %d bytes, want at most %d", len(note), NoteBytes)
	}
	l.changing.Lock()
	defer l.changing.Unlock()
	s, err := l.record(id)
	if err != nil {
		return nil, err
	}
	earlier, reviewed, err := l.reviewOf(id)
	switch {
	case err != nil:
		return nil, err
	case s.Record.Verdict == nil || s.Record.Decision == Failed:
		return nil, coded("not_judged", "object %s: could not be judged, or not all of it: there is nothing to review", id)
	case reviewed && earlier.Verdict == inspect.Good && verdict == inspect.Defective:
		return nil, coded("counted", "object %s: counts as good in the calibration, want that undone first", id)
	}
	if reviewed && earlier.Verdict == verdict { // again
		note = cmp.Or(note, earlier.Note)
	}
	out := &Reviewed{Review: Review{verdict, note, time.Now().UTC()}}
	if verdict == inspect.Good && (!reviewed || earlier.Verdict != inspect.Good) {
		if out.Calibration, err = l.addGood(ctx, s); err != nil {
			return nil, err
		}
	}
	text, err := json.Marshal(out.Review)
	if err == nil {
		err = l.opt.Journal.Put(ReviewNote, id, text)
	}
	if err != nil {
		return nil, &StoreError{err}
	}
	if verdict == inspect.Defective {
		l.disregard(s.Record)
	}
	log := l.opt.Log.With("object", s.Record.Object, "id", id, "model", s.Record.Model.Name, "class", s.Record.Class, "verdict", verdict)
	if c := out.Calibration; c != nil {
		log = log.With("threshold_before", c.Before.Threshold, "threshold_after", c.After.Threshold)
	}
	log.Info("object is reviewed")
	l.events.send("review", map[string]any{"id": id, "review": out.Review})
	return out, nil
}

// record reads an entry of the journal.
func (l *Line) record(id string) (s Stored, err error) {
	e, ok, err := l.opt.Journal.Get(id)
	if err == nil && !ok {
		return s, unknown("object: have %.100q, want the id of one that is kept", id)
	}
	if err == nil {
		err = json.Unmarshal(e.Data, &s)
	}
	if err != nil {
		return s, &StoreError{err}
	}
	return s, nil
}

// reviewOf reads the review of an object.
func (l *Line) reviewOf(id string) (r Review, ok bool, err error) {
	text, ok, err := l.opt.Journal.GetValue(ReviewNote, id)
	if err == nil && ok {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return r, false, &StoreError{err}
	}
	return r, ok, nil
}

// addGood adds an object to the calibration of its model. If that was done before a crash could be noted, it is found.
func (l *Line) addGood(ctx context.Context, s Stored) (*Change, error) {
	r := s.Record
	slot := l.slot(r.Model.Name)
	if slot == nil {
		return nil, coded("model_gone", "object %s: was judged by model %.100q, which there is no longer", r.ID, r.Model.Name)
	}
	live := slot.now()
	if live == nil {
		return nil, ErrClosed
	}
	if live.judge.Checkpoint != r.Model.Checkpoint {
		return nil, coded("model_changed", "object %s: model %q is another one than that which judged it", r.ID, r.Model.Name)
	}
	samples := maps.Clone(s.Samples)
	if s.Levels != live.levels { // then both judged on another scale
		delete(samples, calibration.Both)
	}
	var added calibration.Addition
	err := l.recalibrate(ctx, slot, func(u *inspect.Setup) (err error) {
		good := calibration.NewGood(r.ID, r.Class, samples)
		added, err = u.AddGood([]calibration.Good{good}, fmt.Sprintf("object %q, reviewed", r.Object))
		return err
	}, func(u *inspect.Setup) error {
		_, err := u.Undo()
		return err
	})
	if errors.Is(err, calibration.ErrKnown) {
		for _, a := range slot.now().setup.Samples.Additions {
			if len(a.Objects) == 1 && a.Objects[0].Key == r.ID {
				added, err = a, nil
			}
		}
	}
	if err != nil {
		return nil, err
	}
	return l.changeOf(added, r.Verdict.Head, r.Class, r.Model)
}

// changeOf is what an addition did to the decisions of a head on a class.
func (l *Line) changeOf(a calibration.Addition, head, class string, by Judge) (*Change, error) {
	out := &Change{Class: class}
	for _, c := range a.Changes {
		if c.Class == class && c.Head == head {
			out.Before, out.After = c.Before, c.After
		}
	}
	err := l.newest(searched, func(_ journal.Entry, s Stored) error {
		r := s.Record
		if r.Model.Name != by.Name || r.Model.Checkpoint != by.Checkpoint || r.Class != class || r.Decision == Failed ||
			r.Verdict == nil || r.Verdict.Head != head {
			return nil
		}
		if out.Searched++; (r.Verdict.Score > out.Before.Threshold) != (r.Verdict.Score > out.After.Threshold) {
			out.Changed++
		}
		return nil
	})
	return out, err
}
