package inspect

import (
	"fmt"
	"image"
	"math"
	"sync"
	"time"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/heatmap"
	"mvag-torch/model/calibration"
	"mvag-torch/model/imagescore"
	"mvag-torch/model/memory"
)

// Result is what the inspector says of one object.
type Result struct {
	Index   int // of the object among those of Objects
	Object  *dataset.Object
	Verdict *Verdict // nil where no image could be judged
	Images  []Image  // in the order of cameras; absent views are left out

	Waited time.Duration // for the model, of Inspector.Object
	Took   time.Duration // of the model: of the batch, divided by its objects

	judge *judge
	item  *item
}

// Samples are the scores of the object by head, as calibration takes them: of all heads whose maps there are, whichever
// judged. An object without a verdict has none.
func (r *Result) Samples() map[string]calibration.Sample {
	s := sample{scores: map[string]calibration.Sample{}, class: r.Object.Class}
	g := r.judge
	trained := !g.memory.Alone(s.class) && !g.memory.Untrained()
	levels, mixes := g.heads.LevelsOf(s.class)
	for _, v := range r.item.views {
		if r.Verdict == nil || !v.present {
			continue
		}
		add := func(head string, values []float32) { s.add(head, values, imagescore.TopMean(g.top, values)) }
		if trained {
			add(calibration.Reconstruction, v.reconstruction)
		}
		if v.memory != nil {
			add(calibration.Memory, v.memory)
		}
		if trained && v.memory != nil && mixes {
			add(calibration.Both, levels.Mix(v.reconstruction, v.memory))
		}
	}
	return s.scores
}

// Lines are those of the images.
func (r *Result) Lines() []Line {
	lines := make([]Line, len(r.Images))
	for i, m := range r.Images {
		lines[i] = m.Line
	}
	return lines
}

// Image is what the inspector says of one image.
type Image struct {
	Line
	Map []float32 // its anomaly map [h, w], row by row; nil where there is no verdict

	judge  *judge
	pixel  calibration.Scale
	mask   []bool  // [h, w]: above the threshold of pixels
	pixels []uint8 // [T, 3, h, w], as the model saw the image; nil where it cannot be read
	seen   view
}

// Seen is what the model takes in of an image and what it gives, whatever a calibration makes of it.
type Seen struct {
	Pixels  []uint8         // planes of red, green and blue [3, height, width] of the whole viewport
	Content image.Rectangle // where the image lies in the viewport
	Map     []float32       // of the head that judges the image; nil where none does
	Score   float64         // of the map; NaN where there is none
}

// Seen returns what the model takes in of the image; ok is false where the image could not be read.
func (m *Image) Seen() (seen Seen, ok bool) {
	if m.pixels == nil {
		return seen, false
	}
	fit := m.judge.fit
	seen = Seen{Pixels: joined(m.pixels, fit), Content: m.seen.content, Map: m.seen.values, Score: m.seen.score}
	if seen.Map == nil {
		seen.Score = math.NaN()
	}
	return seen, true
}

// joined puts tiles [T, 3, h, w] together to the viewport [3, height, width] that they were cut from.
func joined(tiles []uint8, fit dataset.Fit) []uint8 {
	crop, view := fit.Crop, fit.Viewport()
	out := make([]uint8, 3*view.Area())
	for _, at := range fit.Tiles() {
		for channel := range 3 {
			for y := range crop.Height() {
				row := (channel*view.Height()+at.Y+y)*view.Width() + at.X
				copy(out[row:][:crop.Width()], tiles)
				tiles = tiles[crop.Width():]
			}
		}
	}
	return out
}

// MapSize is the width and height of Map.
func (m *Image) MapSize() (width, height int) { return m.judge.size.Width(), m.judge.size.Height() }

// Line is an Image in predictions.jsonl (docs/format/predictions.md). An image that failed has Error and no verdict.
type Line struct {
	Object string `json:"object"`
	Class  string `json:"class,omitempty"`
	Camera int    `json:"camera,omitempty"` // from 1; 0 where the object is a single image
	Path   string `json:"path"`

	*Verdict           // of the image
	OfObject *Verdict  `json:"of_object,omitempty"`
	Regions  *[]Region `json:"regions,omitempty"`

	HeatFile    string  `json:"heat,omitempty"` // relative to the output folder, as the others
	OverlayFile string  `json:"overlay,omitempty"`
	MapFile     string  `json:"map,omitempty"`
	Millis      float64 `json:"time_ms,omitempty"` // of the model, per image
	Error       string  `json:"error,omitempty"`
}

// Refused is the line of an image that belongs to no object.
func Refused(r dataset.Rejected) Line { return Line{Path: r.Path, Error: r.Err.Error()} }

// Verdict is a score and what calibration makes of it.
type Verdict struct {
	Score      float64 `json:"score"`
	Calibrated float64 `json:"calibrated"` // 0 to 1; 0.5 at the threshold
	Threshold  float64 `json:"threshold"`
	Basis      string  `json:"basis"`    // of the threshold: class, shift or pooled
	Decision   string  `json:"decision"` // Good or Defective
	Head       string  `json:"head"`     // that judged: reconstruction, memory or both
}

// The decisions.
const (
	Good      = "good"
	Defective = "defective"
)

func newVerdict(head string, scale calibration.Scale, score float64) *Verdict {
	v := &Verdict{score, scale.Value(score), scale.Threshold, scale.Basis, Good, head}
	if scale.Defective(score) {
		v.Decision = Defective
	}
	return v
}

// judge turns scores into results.
type judge struct {
	heads  calibration.Heads
	memory *memory.Memory
	fit    dataset.Fit
	size   configs.Size // of maps, in pixels
	top    float64      // configs.Config.Top
	curves sync.Map     // *calibration.Curve by calibration.Scale
}

// newJudge judges by the calibrations of u.
func newJudge(u *Setup) *judge {
	return &judge{heads: u.Heads, memory: u.Memory, fit: dataset.NewFit(u.Config.Data), size: u.Config.MapSize(), top: u.Config.Top()}
}

// result judges an item that went through the model.
func (g *judge) result(it *item) *Result {
	r := &Result{Index: it.index, Object: it.object, Waited: it.waited, Took: it.took, judge: g, item: it}
	if it.unjudged == nil && g.heads.Of(it.head) == nil {
		it.unjudged = fmt.Errorf("have no calibration of inspect.head %s, want one: mvag-torch calibrate", it.head)
	}
	if best := it.score(); it.unjudged == nil && !math.IsNaN(best) {
		r.Verdict = newVerdict(it.head, g.heads.Of(it.head).Object.For(it.object.Class), best)
	}
	for j, v := range it.object.Views {
		if !v.Present() {
			continue
		}
		m := Image{Line: Line{Object: it.object.ID, Class: it.object.Class, Path: v.Path, OfObject: r.Verdict}, judge: g}
		if len(it.object.Views) > 1 {
			m.Camera = v.Camera + 1
		}
		seen := it.views[j]
		if m.seen = seen; seen.err == nil {
			m.pixels = it.planes(j)
		}
		switch {
		case seen.err != nil:
			m.Error = seen.err.Error()
		case it.unjudged != nil:
			m.Error = v.Path + ": " + it.unjudged.Error()
		case !finite(seen.score):
			m.Error = fmt.Sprintf("%s: object %q, camera %d: the anomaly map has score %v, want a finite number", v.Path, m.Object, v.Camera+1, seen.score)
		default:
			g.image(&m, it, j)
		}
		r.Images = append(r.Images, m)
	}
	return r
}

// image enters the verdict and the regions of view j.
func (g *judge) image(m *Image, it *item, j int) {
	seen := it.views[j]
	levels := g.heads.Of(it.head)
	m.Verdict = newVerdict(it.head, levels.Image.For(m.Class), seen.score)
	m.Millis = math.Round(it.took.Seconds()*1e6/float64(it.present())) / 1e3
	m.Map, m.pixel = seen.values, levels.Pixel.For(m.Class)
	m.mask = make([]bool, len(m.Map))
	for i, v := range m.Map {
		m.mask[i] = m.pixel.Defective(float64(v))
	}
	found := regions(m.Map, m.mask, g.size, m.pixel, g.fit, seen.width, seen.height)
	m.Regions = &found
}

// Draw draws the map of an image that has a verdict in fixed colors, and the image as the model saw it with these
// colors and the outline of its regions. Both have the size of the map.
func (m *Image) Draw() (heat, overlay *image.RGBA) {
	g := m.judge
	curve, values := m.curve(), make([]float32, len(m.Map))
	for i, v := range m.Map {
		values[i] = curve.At(v)
	}
	seen := heatmap.Image(m.pixels, g.fit.Crop.Bounds().Max, g.fit.Tiles(), m.seen.content, g.size.Bounds().Max)
	return heatmap.Heat(values, g.size.Width()), heatmap.Overlay(seen, values, m.mask)
}

// Picture returns the image as the model saw it, its longer side of at most so many pixels, and the map as calibrated
// values, 255 for 1. From 128 on they are above the threshold of pixels. The image must have a verdict.
func (m *Image) Picture(most int) (seen *image.RGBA, values *image.Gray) {
	g := m.judge
	view, size := g.fit.Viewport(), g.size.Bounds().Max
	scale := float64(min(most, max(view.Width(), view.Height(), size.X, size.Y))) / float64(max(size.X, size.Y))
	whole := func(side int) int { return max(1, int(math.Round(scale*float64(side)))) }
	seen = heatmap.Image(m.pixels, g.fit.Crop.Bounds().Max, g.fit.Tiles(), m.seen.content, image.Pt(whole(size.X), whole(size.Y)))
	values = image.NewGray(g.size.Bounds())
	curve := m.curve()
	for i, v := range m.Map {
		if level := uint8(math.Round(255 * float64(curve.At(v)))); m.mask[i] {
			values.Pix[i] = max(128, level)
		} else {
			values.Pix[i] = min(127, level)
		}
	}
	return seen, values
}

// curve maps scores of pixels to calibrated values.
func (m *Image) curve() *calibration.Curve {
	curve, ok := m.judge.curves.Load(m.pixel)
	if !ok {
		curve, _ = m.judge.curves.LoadOrStore(m.pixel, m.pixel.Curve())
	}
	return curve.(*calibration.Curve)
}
