package inspect

import (
	"math"
	"slices"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/model/calibration"
)

// Verdict is a score and what calibration makes of it.
type Verdict struct {
	Score      float64 `json:"score"`
	Calibrated float64 `json:"calibrated"` // 0 to 1; 0.5 at the threshold
	Threshold  float64 `json:"threshold"`
	Basis      string  `json:"basis"`    // of the threshold: class, shift or pooled
	Decision   string  `json:"decision"` // Good or Defective
}

// The decisions.
const (
	Good      = "good"
	Defective = "defective"
)

func judge(scale calibration.Scale, score float64) *Verdict {
	v := &Verdict{score, scale.Value(score), scale.Threshold, scale.Basis, Good}
	if scale.Defective(score) {
		v.Decision = Defective
	}
	return v
}

// Line is the result of one picture; a line of predictions.jsonl
// (docs/format/predictions.md). A picture that failed has Error and no verdict.
type Line struct {
	Object string `json:"object"`
	Class  string `json:"class,omitempty"`
	Camera int    `json:"camera,omitempty"` // from 1; 0 where the object is a single picture
	Path   string `json:"path"`

	*Verdict           // of the picture
	Whole    *Verdict  `json:"of_object,omitempty"` // of its object
	Regions  *[]Region `json:"regions,omitempty"`

	Heat    string  `json:"heat,omitempty"` // files, relative to the output folder
	Overlay string  `json:"overlay,omitempty"`
	Map     string  `json:"map,omitempty"`
	Millis  float64 `json:"time_ms,omitempty"` // of the model, an equal share of its object's
	Error   string  `json:"error,omitempty"`
}

// Judge turns scores into lines.
type Judge struct {
	calibration *calibration.Calibration
	fit         dataset.Fit
	size        int
	curves      map[string]*calibration.Curve // of pixels, by class
	out         *Output
}

// NewJudge judges by c what was scored by cfg. Pictures go to out, which may be
// nil.
func NewJudge(cfg configs.Config, c *calibration.Calibration, out *Output) *Judge {
	return &Judge{c, dataset.NewFit(cfg.Data), cfg.Eval.MapSize, map[string]*calibration.Curve{}, out}
}

// Lines are those of the pictures of an object, in order of cameras. Its error
// is one of writing pictures.
func (g *Judge) Lines(o Scored) ([]Line, error) {
	var lines []Line
	var whole *Verdict
	if !math.IsNaN(o.Score) {
		whole = judge(g.calibration.Object.For(o.Object.Class), o.Score)
	}
	present := 0
	for _, view := range o.Object.Views {
		if view.Present() {
			present++
		}
	}
	for j, view := range o.Object.Views {
		if !view.Present() {
			continue
		}
		line := Line{Object: o.Object.ID, Class: o.Object.Class, Path: view.Path, Whole: whole}
		if len(o.Object.Views) > 1 {
			line.Camera = view.Camera + 1
		}
		switch err := o.Errs[j]; {
		case err != nil:
			line.Error = err.Error()
		case math.IsNaN(o.Scores[j]):
			line.Error = view.Path + ": have a score that is not a number"
		default:
			line.Millis = math.Round(o.Took.Seconds()*1e6/float64(present)) / 1e3
			if err := g.picture(&line, o, j); err != nil {
				return lines, err
			}
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// picture judges view j and draws it.
func (g *Judge) picture(line *Line, o Scored, j int) error {
	class, view, scores := o.Object.Class, o.Object.Views[j], o.Maps[j]
	line.Verdict = judge(g.calibration.Image.For(class), o.Scores[j])
	pixel := g.calibration.Pixel.For(class)
	mask := make([]bool, len(scores))
	for i, v := range scores {
		mask[i] = pixel.Defective(float64(v))
	}
	line.Regions = &[]Region{}
	if slices.Contains(mask, true) {
		w, h, err := g.fit.Size(view.Path)
		if err != nil { // it was there a moment ago
			line.Error = err.Error()
			return nil
		}
		*line.Regions = regions(scores, mask, g.size, pixel, g.fit, w, h)
	}
	if g.out == nil {
		return nil
	}
	if g.curves[class] == nil {
		g.curves[class] = pixel.Curve()
	}
	values := make([]float32, len(scores))
	for i, v := range scores {
		values[i] = g.curves[class].At(v)
	}
	return g.out.pictures(line, view, g.fit, g.size, scores, values, mask)
}

// Refused is the line of a picture that belongs to no object.
func Refused(r dataset.Rejected) Line { return Line{Path: r.Path, Error: r.Err.Error()} }
