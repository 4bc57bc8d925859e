// Package calibration turns scores into decisions. From the scores of good objects that the model was not trained on it
// derives thresholds at a given rate of false alarms, states what that many objects can guarantee, and maps scores to
// [0, 1] with the same meaning in every class.
//
// Thresholds are conformal. Of n exchangeable good objects and a further one, the chance that the further one lies
// above the k-th smallest of the n is at most 1 - k/(n+1), whatever the distribution. The threshold for a rate a is the
// smallest such value with 1 - k/(n+1) <= a. If n < 1/a - 1 there is none: then it is the largest value, the rate that
// holds is 1/(n+1), and the calibration says so. An object with several values (its images) counts the fraction of them
// above the threshold, which conformal risk control bounds in the same way (Angelopoulos et al., "Conformal Risk
// Control", 2022), however its images depend on each other.
//
// docs/calibration.md explains what is stored and how to read it.
package calibration

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
)

// Sample is the scores of one good object.
type Sample struct {
	Class  string    // "" if unknown
	Images []float64 // score of each image, at least one
	Object float64   // score of the object
	Pixel  float64   // highest value of its maps
}

// Calibration holds the thresholds and scales that decisions are made with.
type Calibration struct {
	FalseAlarm float64 `json:"false_alarm"` // rate that was asked for
	Source     string  `json:"source"`      // where the good objects came from
	Objects    int     `json:"objects"`
	Images     int     `json:"images"`
	Image      Level   `json:"image"`  // of image scores: rate among good images
	Object     Level   `json:"object"` // of object scores: rate among good objects
	Pixel      Level   `json:"pixel"`  // of map pixels: rate of good objects with any pixel above the threshold
}

// Level is the calibration of one kind of score.
type Level struct {
	Pooled  Scale            `json:"pooled"`  // for objects of unknown class
	Classes map[string]Scale `json:"classes"` // classes with two objects or more
}

// The bases of a threshold.
const (
	ByClass  = "class"  // the objects of the class alone: its rate is guaranteed
	ByShift  = "shift"  // all objects, with each class shifted to a common center: see docs/calibration.md
	ByPooled = "pooled" // all objects as they are: guaranteed for the mix of classes that was calibrated with
)

// Scale judges the scores of one class, or of any class.
type Scale struct {
	Threshold float64    `json:"threshold"` // scores above it are defective
	Basis     string     `json:"basis"`     // ByClass, ByShift or ByPooled
	Objects   int        `json:"objects"`   // number that the threshold rests on
	Rate      float64    `json:"rate"`      // of false alarms that they guarantee
	Interval  [2]float64 `json:"interval"`  // 95 % interval of the rate that this very sample gives
	Center    float64    `json:"center"`    // mean logarithm of good scores
	Spread    float64    `json:"spread"`    // standard deviation of a further one about the center
	Freedom   float64    `json:"freedom"`   // degrees of freedom of Student's t
}

// Short reports whether there were too few objects for the rate that was asked for.
func (s Scale) Short(rate float64) bool { return s.Rate > rate*(1+1e-9) }

// For returns the scale of a class, or the pooled one if the class is not calibrated.
func (l Level) For(class string) Scale {
	if s, ok := l.Classes[class]; ok {
		return s
	}
	return l.Pooled
}

// ClassNames returns the calibrated classes in order.
func (c *Calibration) ClassNames() []string {
	return slices.Sorted(maps.Keys(c.Object.Classes))
}

// Fit calibrates with samples of at least two good objects for a rate of false alarms in (0, 0.5]. Scores must be
// finite. source says where the objects come from.
func Fit(samples []Sample, falseAlarm float64, source string) (*Calibration, error) {
	if len(samples) < 2 {
		return nil, fmt.Errorf("calibration: have %d good objects, want at least 2", len(samples))
	}
	var images, objects, pixels []unit
	c := &Calibration{FalseAlarm: falseAlarm, Source: source, Objects: len(samples)}
	for i, s := range samples {
		for _, v := range append(slices.Clone(s.Images), s.Object, s.Pixel) {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return nil, fmt.Errorf("calibration: object %d of %d: have score %v, want a finite number", i+1, len(samples), v)
			}
		}
		c.Images += len(s.Images)
		images = append(images, newUnit(s.Class, s.Images...))
		objects = append(objects, newUnit(s.Class, s.Object))
		pixels = append(pixels, newUnit(s.Class, s.Pixel))
	}
	c.Image, c.Object, c.Pixel = fit(images, falseAlarm), fit(objects, falseAlarm), fit(pixels, falseAlarm)
	c.Image.Pooled.notAbove(c.Object.Pooled)
	for class, scale := range c.Image.Classes {
		scale.notAbove(c.Object.Classes[class])
		c.Image.Classes[class] = scale
	}
	return c, nil
}

// notAbove lowers the threshold of images to that of objects, so that a defective object has a defective image. There
// the rate of objects, whose score is the highest of their images, bounds that of images.
func (s *Scale) notAbove(object Scale) {
	if s.Threshold > object.Threshold {
		s.Threshold, s.Rate, s.Interval = object.Threshold, object.Rate, object.Interval
	}
}

// Marshal returns c as the JSON that Parse reads.
func (c *Calibration) Marshal() (string, error) {
	text, err := json.Marshal(c)
	return string(text), err
}

// Parse reads a calibration strictly. Scores of any size have values in [0, 1] on the scales that it accepts.
func Parse(text string) (*Calibration, error) {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	var file struct {
		Calibration
		Pictures int `json:"pictures"` // the former name of "images"
	}
	if err := dec.Decode(&file); err != nil {
		return nil, fmt.Errorf("calibration: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("calibration: have more than one JSON value")
	}
	c := file.Calibration
	c.Images += file.Pictures
	if !(c.FalseAlarm > 0 && c.FalseAlarm <= 0.5) {
		return nil, fmt.Errorf("calibration: false_alarm: have %v, want more than 0, at most 0.5", c.FalseAlarm)
	}
	for _, level := range []struct {
		name string
		Level
	}{{"image", c.Image}, {"object", c.Object}, {"pixel", c.Pixel}} {
		if err := level.Pooled.check(); err != nil {
			return nil, fmt.Errorf("calibration: %s.pooled: %w", level.name, err)
		}
		for _, class := range slices.Sorted(maps.Keys(level.Classes)) {
			if err := level.Classes[class].check(); err != nil {
				return nil, fmt.Errorf("calibration: %s.classes: %q: %w", level.name, class, err)
			}
		}
	}
	return &c, nil
}

func (s Scale) check() error {
	switch {
	case !(s.Threshold > 0 && s.Threshold < 1e9):
		return fmt.Errorf("threshold: have %v, want more than 0, less than 1e9", s.Threshold)
	case !(s.Rate > 0 && s.Rate < 1):
		return fmt.Errorf("rate: have %v, want between 0 and 1", s.Rate)
	case !(math.Abs(s.Center) < 100):
		return fmt.Errorf("center: have %v, want between -100 and 100", s.Center)
	case !(s.Spread >= minSpread && s.Spread < 1e9):
		return fmt.Errorf("spread: have %v, want at least %v, less than 1e9", s.Spread, minSpread)
	case !(s.Freedom >= 1 && s.Freedom <= maxFreedom):
		return fmt.Errorf("freedom: have %v, want 1 to %d", s.Freedom, maxFreedom)
	}
	return nil
}
