package calibration

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"mvag-torch/model/checkpoint"
	"mvag-torch/model/memory"
)

// The heads: what a model judges by.
const (
	Reconstruction = "reconstruction" // the published model
	Memory         = "memory"         // the distance to what is remembered of good parts
	Both           = "both"           // the mean of both maps, each over its level on good parts
)

// Heads are the calibrations of a checkpoint, one a head.
type Heads struct {
	Reconstruction *Calibration `json:"-"` // nil where the model was not trained
	Memory         *Calibration `json:"memory"`
	Both           *Calibration `json:"both"` // of the classes that were trained on and are remembered
	// Levels are those of each class that has both maps, and under "" their mean, for any other.
	Levels map[string]Levels `json:"levels"`
}

// Levels are the mean values of both maps of good objects that the model was not trained on.
type Levels struct {
	Reconstruction float64 `json:"reconstruction"`
	Memory         float64 `json:"memory"`
}

// Mix writes the mean of two maps, each over its level, to a new map.
func (l Levels) Mix(reconstruction, memory []float32) []float32 {
	r, m := float32(0.5/l.Reconstruction), float32(0.5/l.Memory)
	out := make([]float32, len(memory))
	for i, v := range memory {
		out[i] = r*reconstruction[i] + m*v
	}
	return out
}

// LevelsOf returns the levels of a class; ok is false where there are none.
func (h Heads) LevelsOf(class string) (l Levels, ok bool) {
	if l, ok = h.Levels[class]; !ok {
		l, ok = h.Levels[""]
	}
	return l, ok
}

// Of returns the calibration of a head, nil where there is none.
func (h Heads) Of(head string) *Calibration {
	return map[string]*Calibration{Reconstruction: h.Reconstruction, Memory: h.Memory, Both: h.Both}[head]
}

// Headline is the calibration of the published model, or of the memory where the model was not trained; nil without any.
func (h Heads) Headline() *Calibration {
	if h.Reconstruction == nil {
		return h.Memory
	}
	return h.Reconstruction
}

// Head returns the head that judges an object of a class where the given one is wanted: of both, that which there is. A
// class that was enrolled is judged by memory, one that is not remembered by reconstruction. remembered is the memory of
// the checkpoint.
func (h Heads) Head(wanted, class string, remembered *memory.Memory) (string, error) {
	known := remembered.Of(class) != nil
	which := fmt.Sprintf("class %q: ", class)
	if class == "" {
		which = "no class is given: "
	}
	trained := !remembered.Alone(class) && !remembered.Untrained()
	switch {
	case wanted == Both && known && trained && h.Both != nil:
		return Both, nil
	case trained && wanted != Memory:
		return Reconstruction, nil
	case known && wanted != Reconstruction:
		return Memory, nil
	case known:
		return "", errors.New(which + "there is no reconstruction of it, want inspect.head memory or both")
	}
	return "", fmt.Errorf("%swant one that is remembered, of %q (--class)", which, remembered.Names())
}

// WithClass returns h with the class in the calibrations of the memory and of both, from the samples of its good objects
// alone, which may be none for both. All else stays as it is. It also returns the calibration of the memory that the
// class makes by itself.
func (h Heads) WithClass(class string, memory, both []Sample, levels Levels, falseAlarm float64, source string) (Heads, *Calibration, error) {
	own, err := Fit(memory, falseAlarm, source)
	if err != nil {
		return h, nil, err
	}
	h.Memory = h.Memory.with(class, own)
	if len(both) >= 2 && h.Both != nil {
		mixed, err := Fit(both, falseAlarm, source)
		if err != nil {
			return h, nil, err
		}
		h.Both, h.Levels = h.Both.with(class, mixed), maps.Clone(h.Levels)
		h.Levels[class] = levels
	}
	return h, own, nil
}

// with returns c, which may be nil, with the class as own has it.
func (c *Calibration) with(class string, own *Calibration) *Calibration {
	if c == nil {
		return own
	}
	out := *c
	for _, level := range []struct {
		to   *Level
		from Level
	}{{&out.Image, own.Image}, {&out.Object, own.Object}, {&out.Pixel, own.Pixel}} {
		classes := maps.Clone(level.to.Classes)
		if classes == nil {
			classes = map[string]Scale{}
		}
		classes[class] = level.from.Classes[class]
		level.to.Classes = classes
	}
	return &out
}

// Keep adds the classes of an earlier calibration of the memory that h has not: those that were enrolled and of which
// there are no good objects at hand.
func (h Heads) Keep(earlier Heads, remembered *memory.Memory) Heads {
	if h.Memory == nil || earlier.Memory == nil {
		h.Memory = cmp.Or(h.Memory, earlier.Memory)
		return h
	}
	for _, class := range h.kept(earlier, remembered) {
		h.Memory = h.Memory.with(class, earlier.Memory)
	}
	return h
}

// kept are the classes that Keep adds where both have a calibration of the memory.
func (h Heads) kept(earlier Heads, remembered *memory.Memory) (list []string) {
	for _, class := range earlier.Memory.ClassNames() {
		if _, ok := h.Memory.Object.Classes[class]; !ok && remembered.Alone(class) {
			list = append(list, class)
		}
	}
	return list
}

// Marshal returns the metadata of a checkpoint that ReadHeads reads.
func (h Heads) Marshal() (map[string]string, error) {
	meta := map[string]string{checkpoint.CalibrationKey: "", checkpoint.HeadsKey: ""}
	var err error
	if h.Reconstruction != nil {
		meta[checkpoint.CalibrationKey], err = h.Reconstruction.Marshal()
	}
	if err == nil && h.Memory != nil {
		var text []byte
		text, err = json.Marshal(h)
		meta[checkpoint.HeadsKey] = string(text)
	}
	return meta, err
}

// Of reads the calibration of the headline of a checkpoint; nil if it has none.
func Of(f *checkpoint.File) (*Calibration, error) {
	h, err := ReadHeads(f)
	return h.Headline(), err
}

// ReadHeads reads the calibrations of a checkpoint.
func ReadHeads(f *checkpoint.File) (h Heads, err error) {
	meta := f.Metadata()
	if text := meta[checkpoint.HeadsKey]; text != "" {
		if err := h.parse(text); err != nil {
			return h, fmt.Errorf("%s: %s: %w", f.Path, checkpoint.HeadsKey, err)
		}
	}
	if text := meta[checkpoint.CalibrationKey]; text != "" {
		if h.Reconstruction, err = Parse(text); err != nil {
			return h, fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	return h, nil
}

func (h *Heads) parse(text string) error {
	var file struct {
		Memory, Both json.RawMessage
		Levels       map[string]Levels
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		return err
	}
	for _, one := range []struct {
		to   **Calibration
		text json.RawMessage
	}{{&h.Memory, file.Memory}, {&h.Both, file.Both}} {
		if len(one.text) == 0 || string(one.text) == "null" {
			continue
		}
		var err error
		if *one.to, err = Parse(string(one.text)); err != nil {
			return err
		}
	}
	if h.Memory == nil {
		return errors.New("have no memory, want its calibration")
	}
	for _, class := range slices.Sorted(maps.Keys(file.Levels)) {
		if l := file.Levels[class]; !(l.Reconstruction > 0 && l.Reconstruction < 1e9 && l.Memory > 0 && l.Memory < 1e9) {
			return fmt.Errorf("levels: class %q: have %v, want more than 0, less than 1e9", class, l)
		}
	}
	h.Levels = file.Levels
	return nil
}
