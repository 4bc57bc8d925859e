package calibration

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"mvag-torch/model/memory"
)

// Addition is good objects that were added to a calibration at once, and what that changed.
type Addition struct {
	Number  int       `json:"number"` // from 1
	Time    time.Time `json:"time"`
	Source  string    `json:"source"` // where the objects came from
	Objects []Good    `json:"objects"`
	Changes []Change  `json:"changes"` // by class of the objects and head
}

// Change is what an addition did to the threshold of objects of a class by a head.
type Change struct {
	Head   string `json:"head"`
	Class  string `json:"class,omitempty"`
	Before Limit  `json:"before"`
	After  Limit  `json:"after"`
	// Above are the objects of the addition, of this class, whose scores lay above the threshold before; StillAbove those
	// that lie above it after.
	Above      int `json:"above"`
	StillAbove int `json:"still_above"`
}

// Limit is a threshold of objects and what it promises.
type Limit struct {
	Threshold float64 `json:"threshold"`
	Rate      float64 `json:"rate"`
	Basis     string  `json:"basis"`
	Objects   int     `json:"objects"`
}

func limitOf(s Scale) Limit { return Limit{s.Threshold, s.Rate, s.Basis, s.Objects} }

// Errors of additions.
var (
	ErrKnown     = errors.New("is in the calibration already")
	ErrNoHistory = errors.New("have no addition to undo")
)

// Add returns s with good objects as a further addition, and heads fitted again. The rates that were asked for and the
// levels stay. An object whose key is known is [ErrKnown].
func (s *Samples) Add(heads Heads, good []Good, source string, at time.Time) (*Samples, Heads, error) {
	if len(good) == 0 {
		return nil, heads, errors.New("calibration: have no good objects to add, want some")
	}
	if err := check(good); err != nil {
		return nil, heads, fmt.Errorf("calibration: %w", err)
	}
	a := Addition{Number: 1, Time: at.UTC().Truncate(time.Second), Source: source}
	if n := len(s.Additions); n > 0 {
		a.Number = s.Additions[n-1].Number + 1
	}
	keys := map[string]bool{}
	for _, o := range good {
		if s.Known(o.Key, o.Class) || o.Key != "" && keys[o.Key] {
			return nil, heads, fmt.Errorf("calibration: object %q %w", o.Key, ErrKnown)
		}
		keys[o.Key] = true
		o.Scores = maps.Clone(o.Scores)
		maps.DeleteFunc(o.Scores, func(head string, _ Scores) bool { return !s.Has(head, o.Class) })
		if len(o.Scores) == 0 {
			return nil, heads, fmt.Errorf("calibration: class %q: have no scores by a head whose good objects are stored, want some", o.Class)
		}
		a.Objects = append(a.Objects, o)
	}
	out := &Samples{Groups: s.Groups, Additions: append(slices.Clone(s.Additions), a)}
	fitted, err := out.Fit(heads)
	if err != nil {
		return nil, heads, err
	}
	last := &out.Additions[len(out.Additions)-1]
	last.Changes = changes(last.Objects, heads, fitted)
	return out, fitted, nil
}

// changes compares the thresholds of the classes of objects.
func changes(objects []Good, before, after Heads) (list []Change) {
	classes := map[string]bool{}
	for _, o := range objects {
		classes[o.Class] = true
	}
	for _, class := range slices.Sorted(maps.Keys(classes)) {
		for _, head := range []string{Reconstruction, Memory, Both} {
			var scores []float64
			for _, s := range List(objects, head) {
				if s.Class == class {
					scores = append(scores, s.Object)
				}
			}
			if len(scores) == 0 {
				continue
			}
			from, to := before.Of(head).Object.For(class), after.Of(head).Object.For(class)
			c := Change{Head: head, Class: class, Before: limitOf(from), After: limitOf(to)}
			for _, v := range scores {
				if from.Defective(v) {
					c.Above++
				}
				if to.Defective(v) {
					c.StillAbove++
				}
			}
			list = append(list, c)
		}
	}
	return list
}

// Undo returns s without its last addition, which it returns, too, and heads as they were before it.
func (s *Samples) Undo(heads Heads) (*Samples, Heads, Addition, error) {
	n := len(s.Additions)
	if n == 0 {
		return nil, heads, Addition{}, ErrNoHistory
	}
	out := &Samples{Groups: s.Groups, Additions: s.Additions[:n-1]}
	fitted, err := out.Fit(heads)
	return out, fitted, s.Additions[n-1], err
}

// settled returns s with its additions as parts of the groups: they count on, and cannot be undone.
func (s *Samples) settled() *Samples {
	if s == nil {
		return nil
	}
	out := &Samples{Groups: slices.Clone(s.Groups)}
	for i := range out.Groups {
		g := &out.Groups[i]
		g.Objects = slices.Clone(g.Objects)
		for _, a := range s.Additions {
			for _, o := range a.Objects {
				scores := maps.Clone(o.Scores)
				maps.DeleteFunc(scores, func(head string, _ Scores) bool { return s.home(head, o.Class) != i })
				if len(scores) > 0 {
					g.Objects = append(g.Objects, Good{o.Key, o.Class, scores})
				}
			}
		}
	}
	return out
}

// only returns g with one head, for these classes.
func (g Group) only(head string, classes []string) Group {
	out := Group{Source: g.Source, FalseAlarm: g.FalseAlarm, Heads: map[string][]string{head: classes}, Folds: g.Folds}
	for _, o := range g.Objects {
		if s, ok := o.Scores[head]; ok {
			out.Objects = append(out.Objects, Good{o.Key, o.Class, map[string]Scores{head: s}})
		}
	}
	return out
}

// Calibrated returns the samples after a calibration with objects that gave fitted, where earlier are the calibrations
// that s, which may be nil, belongs to: what [Heads.Keep] keeps is kept, and the history begins anew.
func (s *Samples) Calibrated(objects []Good, fitted, earlier Heads, remembered *memory.Memory) *Samples {
	headline := fitted.Headline()
	g := Group{Source: headline.Source, FalseAlarm: headline.FalseAlarm, Heads: map[string][]string{}, Objects: objects}
	for _, head := range []string{Reconstruction, Memory, Both} {
		if fitted.Of(head) != nil {
			g.Heads[head] = nil
		}
	}
	out := &Samples{Groups: []Group{g}}
	s = s.settled()
	switch {
	case earlier.Memory == nil:
	case fitted.Memory == nil:
		for _, old := range s.groups() {
			if classes, ok := old.Heads[Memory]; ok {
				out.Groups = append(out.Groups, old.only(Memory, classes))
			}
		}
	default:
		kept := map[int][]string{}
		for _, class := range fitted.kept(earlier, remembered) {
			at := s.home(Memory, class)
			kept[at] = append(kept[at], class)
		}
		if kept[-1] != nil { // of an earlier version of the file: who made them is not known
			delete(g.Heads, Memory)
			return out
		}
		for _, at := range slices.Sorted(maps.Keys(kept)) {
			out.Groups = append(out.Groups, s.Groups[at].only(Memory, kept[at]))
		}
	}
	return out
}

func (s *Samples) groups() []Group {
	if s == nil {
		return nil
	}
	return s.Groups
}

// Enrolled returns the samples after [Heads.WithClass] of heads with a group of objects of the class; s may be nil. What
// was added to an earlier class of that name is gone, and then no earlier addition can be undone, which settled says.
func (s *Samples) Enrolled(class string, g Group, heads Heads) (out *Samples, settled bool) {
	g.Heads = map[string][]string{}
	if heads.Memory == nil {
		g.Heads[Memory] = nil
	} else if s.Has(Memory, class) {
		g.Heads[Memory] = []string{class}
	}
	if heads.Both != nil && len(List(g.Objects, Both)) >= 2 && s.Has(Both, class) {
		g.Heads[Both] = []string{class}
	}
	if len(g.Heads) == 0 {
		return s, false
	}
	out = &Samples{}
	if s != nil {
		for _, a := range s.Additions {
			settled = settled || slices.ContainsFunc(a.Objects, func(o Good) bool { return o.Class == class })
		}
		if out.Additions = s.Additions; settled {
			s, out.Additions = s.settled(), nil
		}
	}
	for _, old := range s.groups() {
		if old.Heads = without(old.Heads, class); len(old.Heads) > 0 {
			out.Groups = append(out.Groups, old)
		}
	}
	out.Groups = append(out.Groups, g)
	return out, settled
}

// without returns the heads of a group that is no longer that of a class.
func without(heads map[string][]string, class string) map[string][]string {
	out := map[string][]string{}
	for head, classes := range heads {
		left := slices.DeleteFunc(slices.Clone(classes), func(c string) bool { return c == class })
		if len(left) > 0 || len(classes) == 0 {
			out[head] = left
		}
	}
	return out
}
