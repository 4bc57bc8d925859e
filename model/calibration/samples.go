package calibration

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"mvag-torch/model/checkpoint"
)

// MaxSamples bounds the text of [Samples.Marshal], in bytes. An object of five images takes about 200, with three heads
// about 460.
const MaxSamples = 16 << 20

// ErrTooMany is the error of samples that take more than [MaxSamples].
var ErrTooMany = fmt.Errorf("have scores of more good objects than a checkpoint holds, which is %d MiB", MaxSamples>>20)

// Samples are the good objects that the calibrations of a checkpoint rest on (docs/format/checkpoint.md): those that
// made the thresholds, and those that were added later.
type Samples struct {
	Groups    []Group    `json:"groups"`
	Additions []Addition `json:"additions,omitempty"` // in order of time
}

// Group is the good objects that were calibrated with at once.
type Group struct {
	Source     string  `json:"source"`      // where they came from
	FalseAlarm float64 `json:"false_alarm"` // the rate that was asked for
	// Heads has the heads whose thresholds rest on the group: of these classes, or, where the list is empty, of all that
	// no later group has, the unknown one included. The first group of a head has no list.
	Heads map[string][]string `json:"heads"`
	// Folds is the number of parts of the objects, each judged with a memory of the others; 0 where the memory has seen none
	// of them. Scores of folds are rather too high.
	Folds   int    `json:"folds,omitempty"`
	Objects []Good `json:"objects"`
}

// Good is a good object that was judged.
type Good struct {
	// Key tells the object from others: [dataset.ReadImages.Content] or its ID in a journal; "" where neither is known.
	Key    string            `json:"key,omitempty"`
	Class  string            `json:"class,omitempty"` // "" if unknown
	Scores map[string]Scores `json:"scores"`          // by head
}

// Scores are the highest value of all maps of an object, then the score of each image. The score of the object is the
// highest of its images.
type Scores []float64

// NewGood is an object with its samples by head.
func NewGood(key, class string, samples map[string]Sample) Good {
	g := Good{Key: key, Class: class, Scores: map[string]Scores{}}
	for head, s := range samples {
		g.Scores[head] = ScoresOf(s)
	}
	return g
}

// ScoresOf are the scores of a sample.
func ScoresOf(s Sample) Scores { return append(Scores{s.Pixel}, s.Images...) }

// sample is what Fit takes.
func (s Scores) sample(class string) Sample {
	return Sample{Class: class, Images: s[1:], Object: slices.Max(s[1:]), Pixel: s[0]}
}

// List are the samples that objects have of a head, in their order.
func List(objects []Good, head string) (list []Sample) {
	for _, o := range objects {
		if s, ok := o.Scores[head]; ok {
			list = append(list, s.sample(o.Class))
		}
	}
	return list
}

// home is the group that the thresholds of a class rest on; -1 where the samples of the head are not known.
func (s *Samples) home(head, class string) int {
	at := -1
	if s == nil {
		return at
	}
	for i, g := range s.Groups {
		classes, ok := g.Heads[head]
		if ok && (at < 0 || slices.Contains(classes, class)) {
			at = i
		}
	}
	return at
}

// Has reports whether the samples of the head that a class is judged by are known.
func (s *Samples) Has(head, class string) bool { return s.home(head, class) >= 0 }

// objects are those of group i, and those that were added to it for a head.
func (s *Samples) objects(head string, i int) (list []Good, additions int) {
	list = slices.Clone(s.Groups[i].Objects)
	for _, a := range s.Additions {
		before := len(list)
		for _, o := range a.Objects {
			if _, ok := o.Scores[head]; ok && s.home(head, o.Class) == i {
				list = append(list, o)
			}
		}
		if len(list) > before {
			additions++
		}
	}
	return list, additions
}

// Basis are the scores of the objects of a class, or of all for "", that its thresholds by a head were made with, and
// whether they are of folds. What was added later is left out, since it may have been selected by its scores.
func (s *Samples) Basis(head, class string) (scores []float64, folds bool) {
	at := s.home(head, class)
	if at < 0 {
		return nil, false
	}
	for _, sample := range List(s.Groups[at].Objects, head) {
		if sample.Class == class || class == "" {
			scores = append(scores, sample.Object)
		}
	}
	return scores, s.Groups[at].Folds > 0
}

// Known reports whether an object of this key, which is not "", is among those that thresholds of the class rest on.
func (s *Samples) Known(key, class string) bool {
	if key == "" || s == nil {
		return false
	}
	for i, g := range s.Groups {
		for _, o := range g.Objects {
			for head := range o.Scores {
				if o.Key == key && s.home(head, class) == i {
					return true
				}
			}
		}
	}
	return slices.ContainsFunc(s.Additions, func(a Addition) bool {
		return slices.ContainsFunc(a.Objects, func(o Good) bool { return o.Key == key })
	})
}

// Fit returns heads with the calibrations that the samples give. Heads without samples stay as they are, as do the
// levels.
func (s *Samples) Fit(heads Heads) (Heads, error) {
	for head, to := range map[string]**Calibration{
		Reconstruction: &heads.Reconstruction, Memory: &heads.Memory, Both: &heads.Both,
	} {
		var c *Calibration
		for i, g := range s.Groups {
			classes, ok := g.Heads[head]
			if !ok {
				continue
			}
			list, additions := s.objects(head, i)
			source := g.Source
			if more := len(List(list, head)) - len(List(g.Objects, head)); more > 0 {
				source += fmt.Sprintf(", and %d more in %d additions", more, additions)
			}
			own, err := Fit(List(list, head), g.FalseAlarm, source)
			if err != nil {
				return heads, fmt.Errorf("%s: %w", head, err)
			}
			if len(classes) == 0 {
				c = own
			}
			for _, class := range classes {
				if _, ok := own.Object.Classes[class]; !ok {
					return heads, fmt.Errorf("%s: class %q: have less than two objects in its group, want two", head, class)
				}
				c = c.with(class, own)
			}
		}
		if c != nil {
			*to = c
		}
	}
	return heads, nil
}

// Check returns an error unless the samples give the thresholds of heads: a program that does not know of samples may
// have made others. Rounding may differ between processors.
func (s *Samples) Check(heads Heads) error {
	fitted, err := s.Fit(heads)
	if err != nil {
		return err
	}
	for _, head := range []string{Reconstruction, Memory, Both} {
		if !fitted.Of(head).near(heads.Of(head)) {
			return fmt.Errorf("%s: the stored scores of good objects do not give the thresholds, want a new calibration", head)
		}
	}
	return nil
}

// near reports whether two calibrations, which may be nil, decide alike.
func (c *Calibration) near(d *Calibration) bool {
	if c == nil || d == nil {
		return c == d
	}
	if !slices.Equal(c.ClassNames(), d.ClassNames()) {
		return false
	}
	for _, class := range append(c.ClassNames(), "") {
		for _, pair := range [][2]Scale{
			{c.Image.For(class), d.Image.For(class)}, {c.Object.For(class), d.Object.For(class)}, {c.Pixel.For(class), d.Pixel.For(class)},
		} {
			a, b := pair[0], pair[1]
			if a.Objects != b.Objects || a.Basis != b.Basis || !near(a.Threshold, b.Threshold) || !near(a.Rate, b.Rate) {
				return false
			}
		}
	}
	return true
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*math.Abs(a) }

// Marshal returns the text that ReadSamples reads, "" for samples of nothing, or [ErrTooMany].
func (s *Samples) Marshal() (string, error) {
	if s == nil || len(s.Groups) == 0 {
		return "", nil
	}
	text, err := json.Marshal(s)
	if len(text) > MaxSamples {
		return "", ErrTooMany
	}
	return string(text), err
}

// ReadSamples reads those of a checkpoint; nil where it has none.
func ReadSamples(f *checkpoint.File) (*Samples, error) {
	text := f.Metadata()[checkpoint.SamplesKey]
	if text == "" {
		return nil, nil
	}
	s := new(Samples)
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(s)
	if err == nil {
		if _, end := d.Token(); !errors.Is(end, io.EOF) {
			err = errors.New("have more than one JSON value")
		}
	}
	if err == nil {
		err = s.check()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", f.Path, checkpoint.SamplesKey, err)
	}
	return s, nil
}

// check returns what is wrong with samples that were read.
func (s *Samples) check() error {
	begun := map[string]bool{}
	for i, g := range s.Groups {
		at := fmt.Sprintf("group %d of %d: ", i+1, len(s.Groups))
		if !(g.FalseAlarm > 0 && g.FalseAlarm <= 0.5) {
			return fmt.Errorf("%sfalse_alarm: have %v, want more than 0, at most 0.5", at, g.FalseAlarm)
		}
		for head, classes := range g.Heads {
			if !isHead(head) {
				return fmt.Errorf("%sheads: have %.40q, want reconstruction, memory or both", at, head)
			}
			if begun[head] == (len(classes) == 0) {
				return fmt.Errorf("%s%s: have classes %.40q, want none in the first group of a head and some in later ones", at, head, classes)
			}
			begun[head] = true
		}
		if err := check(g.Objects); err != nil {
			return fmt.Errorf("%s%w", at, err)
		}
	}
	last := 0
	for i, a := range s.Additions {
		at := fmt.Sprintf("addition %d of %d: ", i+1, len(s.Additions))
		if a.Number <= last {
			return fmt.Errorf("%snumber: have %d, want more than %d", at, a.Number, last)
		}
		if last = a.Number; len(a.Objects) == 0 || a.Time.IsZero() {
			return fmt.Errorf("%shave %d objects at %s, want some and a time", at, len(a.Objects), a.Time.Format(time.DateTime))
		}
		if err := check(a.Objects); err != nil {
			return fmt.Errorf("%s%w", at, err)
		}
	}
	return nil
}

func isHead(name string) bool { return name == Reconstruction || name == Memory || name == Both }

// check returns what is wrong with objects.
func check(objects []Good) error {
	for i, o := range objects {
		if len(o.Scores) == 0 {
			return fmt.Errorf("object %d of %d: have no scores, want some", i+1, len(objects))
		}
		for head, s := range o.Scores {
			bad := func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }
			if !isHead(head) || len(s) < 2 || slices.ContainsFunc(s, bad) {
				return fmt.Errorf("object %d of %d: %.40q: have %d numbers %.3g, want the highest of its maps and the score of each image, finite",
					i+1, len(objects), head, len(s), s[:min(len(s), 3)])
			}
		}
	}
	return nil
}
