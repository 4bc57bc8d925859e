package line

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"mvag-torch/inspect"
	"mvag-torch/serve/drift"
	"mvag-torch/serve/journal"
)

const (
	// driftNote is the kind of the notes of the journal that hold a track, by model and class.
	driftNote = "drift"
	// keptPoints and keptWindows are the most that are kept of a class.
	keptPoints  = 500
	keptWindows = 100
	// restored is how many of the newest objects are looked at when the line is opened.
	restored = 20_000
)

// DriftPoint is the score of an object.
type DriftPoint struct {
	ID       string    `json:"id"`
	Time     time.Time `json:"time"`
	Score    float64   `json:"score"`
	Decision string    `json:"decision"`
}

// DriftWindow is a window of objects, compared with the calibration when it was full.
type DriftWindow struct {
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	Objects int       `json:"objects"`
	P       float64   `json:"p"`
	Drift   bool      `json:"drift"`
	Higher  bool      `json:"higher"` // than the scores of the calibration
}

// DriftClass says how the scores of a class stand to its calibration.
type DriftClass struct {
	Model       string        `json:"model"`
	Class       string        `json:"class"`
	Head        string        `json:"head"`
	Calibration []float64     `json:"calibration"` // scores of the objects that it was calibrated with
	Threshold   float64       `json:"threshold"`
	Windows     []DriftWindow `json:"windows"`
	Points      []DriftPoint  `json:"points"` // the newest, in the order of time
	// Waiting is the number of objects of the next window so far.
	Waiting  int    `json:"waiting"`
	Untested string `json:"untested,omitempty"` // why there are no windows
	// UntestedCode names that for programs: "samples", the scores are not stored, or "few", there are too few.
	UntestedCode string `json:"untested_code,omitempty"`
}

// drifts are the tracks of all classes.
type drifts struct {
	mu     sync.Mutex
	tracks map[[2]string]*track // by model and class
}

// track follows the scores of a class.
type track struct {
	trackNote
	of      *live // of what follows; another one may have the same basis
	head    string
	scores  []float64 // of the calibration
	side    drift.Side
	points  []DriftPoint // the newest
	pending []DriftPoint // since the last window
}

// trackNote is what is stored of a track.
type trackNote struct {
	Basis   string        `json:"basis"` // identifies model and calibrated scores
	Since   uint64        `json:"since"` // number of the last entry of the journal in a window, or before the first
	Windows []DriftWindow `json:"windows"`
}

// follow prepares a track of a class for a model: where it is the same as before, the track goes on.
func (t *track) follow(v *live, class string) {
	t.of = v
	i := slices.IndexFunc(v.model.Classes, func(c Class) bool { return c.Name == class })
	t.head, t.scores, t.side = "", nil, drift.Both
	if i >= 0 {
		t.head = v.model.Classes[i].Head
		var folds bool
		if t.scores, folds = v.setup.Samples.Basis(t.head, class); folds {
			t.side = drift.Higher
		}
	}
	text, _ := json.Marshal(t.scores) // finite numbers
	if basis := hex.EncodeToString(hashOf(append([]byte(v.judge.Checkpoint+t.head), text...))); basis != t.Basis {
		t.trackNote = trackNote{Basis: basis}
		t.points, t.pending = nil, nil
	}
}

// add takes an object and reports whether the window is full.
func (t *track) add(p DriftPoint) (full bool) {
	t.points = append(t.points, p)
	if len(t.points) > 2*keptPoints {
		t.points = slices.Clone(t.points[len(t.points)-keptPoints:])
	}
	t.pending = append(t.pending, p)
	return len(t.pending) >= drift.Window
}

// test compares the window that is full with the calibration, and begins the next one after the entry of this number.
func (t *track) test(seq uint64) (DriftWindow, error) {
	w := DriftWindow{From: t.pending[0].Time, To: t.pending[len(t.pending)-1].Time, Objects: len(t.pending)}
	scores := make([]float64, len(t.pending))
	for i, p := range t.pending {
		scores[i] = p.Score
	}
	r, err := drift.Test(t.scores, scores, t.side)
	t.Since, t.pending = seq, nil
	if err != nil {
		return w, err
	}
	w.P, w.Drift, w.Higher = r.P, r.Drift, r.Higher
	t.Windows = append(t.Windows, w)
	t.Windows = t.Windows[max(0, len(t.Windows)-keptWindows):]
	return w, nil
}

func (l *Line) track(v *live, class string) *track {
	d := &l.drifts
	if d.tracks == nil {
		d.tracks = map[[2]string]*track{}
	}
	key := [2]string{v.judge.Name, class}
	t := d.tracks[key]
	if t == nil {
		t = &track{}
		d.tracks[key] = t
	}
	if t.of != v {
		t.follow(v, class)
	}
	return t
}

// point is the score of a record that tells of drift; ok is false of any other.
func (t *track) point(r Record) (p DriftPoint, ok bool) {
	ok = r.Decision != Failed && r.Verdict != nil && r.Verdict.Head == t.head && !math.IsNaN(r.Verdict.Score)
	if ok {
		p = DriftPoint{r.ID, r.Time, r.Verdict.Score, r.Decision}
	}
	return p, ok
}

// observe follows the scores of what was judged. Where a window is full, it is tested and stored.
func (l *Line) observe(r Record, seq uint64, by *live) {
	d := &l.drifts
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := l.slot(r.Model.Name); s == nil || s.now() != by {
		return // of a model that was replaced meanwhile
	}
	t := l.track(by, r.Class)
	p, ok := t.point(r)
	if !ok || !t.add(p) {
		return
	}
	w, err := t.test(seq)
	if errors.Is(err, drift.ErrFew) {
		return
	}
	if err == nil {
		err = l.storeTrack(t, by.judge.Name, r.Class)
	}
	if err != nil {
		l.opt.Log.Error("a window of scores could not be tested", "model", by.judge.Name, "class", r.Class, "error", err)
		return
	}
	if w.Drift {
		l.opt.Log.Warn("scores have drifted", "model", by.judge.Name, "class", r.Class, "p", w.P, "higher", w.Higher, "objects", w.Objects)
		l.events.send("drift", map[string]any{"model": by.judge.Name, "class": r.Class, "window": w})
	}
}

func (l *Line) storeTrack(t *track, model, class string) error {
	text, err := json.Marshal(t.trackNote)
	if err == nil {
		err = l.opt.Journal.Put(driftNote, trackKey(model, class), text)
	}
	return err
}

func trackKey(model, class string) string { return model + "\x00" + class }

// disregard takes an object that is defective for certain out of the window that is being filled.
func (l *Line) disregard(r Record) {
	d := &l.drifts
	d.mu.Lock()
	defer d.mu.Unlock()
	if t := d.tracks[[2]string{r.Model.Name, r.Class}]; t != nil {
		t.pending = slices.DeleteFunc(t.pending, func(p DriftPoint) bool { return p.ID == r.ID })
	}
}

// restoreDrift takes the tracks up where the journal left them.
func (l *Line) restoreDrift() error {
	d := &l.drifts
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range l.slots {
		for _, c := range s.live.model.Classes {
			t := l.track(s.live, c.Name)
			text, ok, err := l.opt.Journal.GetValue(driftNote, trackKey(s.Name, c.Name))
			var n trackNote
			if err == nil && ok {
				err = json.Unmarshal(text, &n)
			}
			if err != nil {
				return fmt.Errorf("drift of model %q, class %q: %w", s.Name, c.Name, err)
			}
			if n.Basis == t.Basis {
				t.trackNote = n
			}
		}
	}
	err := l.newest(restored, func(e journal.Entry, s Stored) error {
		t := d.tracks[[2]string{s.Record.Model.Name, s.Record.Class}]
		if t == nil || t.of.judge.Checkpoint != s.Record.Model.Checkpoint {
			return nil
		}
		p, ok := t.point(s.Record)
		if !ok {
			return nil
		}
		if len(t.points) < keptPoints {
			t.points = append(t.points, p)
		}
		if e.Seq <= t.Since || len(t.pending) >= drift.Window-1 {
			return nil
		}
		review, _, err := l.reviewOf(e.ID)
		if review.Verdict != inspect.Defective {
			t.pending = append(t.pending, p)
		}
		return err
	})
	for _, t := range d.tracks {
		slices.Reverse(t.points)
		slices.Reverse(t.pending)
	}
	return err
}

// DriftOf says how the scores of the classes of a model, or of all for "", stand to their calibrations; of one class alone
// where one is given. Classes of which nothing was judged are left out, unless given.
func (l *Line) DriftOf(model string, class *string) ([]DriftClass, error) {
	if model != "" && l.slot(model) == nil {
		return nil, unknown("model: have %.100q, want one of %q", model, l.names())
	}
	d := &l.drifts
	d.mu.Lock()
	defer d.mu.Unlock()
	list := []DriftClass{}
	for _, s := range l.slots {
		live := s.now()
		if live == nil || model != "" && s.Name != model {
			continue
		}
		for _, c := range live.model.Classes {
			if class != nil && *class != c.Name {
				continue
			}
			t := l.track(live, c.Name)
			if class == nil && len(t.points) == 0 {
				continue
			}
			list = append(list, t.describe(s.Name, c))
		}
	}
	if class != nil && len(list) == 0 {
		return nil, unknown("class: have %.100q, want one that the model knows", *class)
	}
	return list, nil
}

// describe copies what is known of a track.
func (t *track) describe(model string, c Class) DriftClass {
	out := DriftClass{Model: model, Class: c.Name, Head: c.Head, Threshold: c.Threshold, Waiting: len(t.pending),
		Calibration: append([]float64{}, t.scores...), Windows: append([]DriftWindow{}, t.Windows...),
		Points: append([]DriftPoint{}, t.points[max(0, len(t.points)-keptPoints):]...)}
	switch {
	case len(t.scores) == 0:
		out.UntestedCode = "samples"
		out.Untested = "the checkpoint does not have the scores that the class was calibrated with"
	case len(t.scores) < 3:
		out.UntestedCode = "few"
		out.Untested = drift.ErrFew.Error()
	}
	return out
}
