// Package score turns the anomaly maps of a class, whoever made them, into its results: scores of images and objects,
// and the metrics of report.Class.
package score

import (
	"cmp"
	"fmt"
	"math"
	"sync"

	"mvag-torch/eval/metric"
	"mvag-torch/model/imagescore"
)

// Options are the rules by which a class is scored.
type Options struct {
	// Top is the fraction of the pixels of a map, the highest, whose mean is the score of its image.
	Top float64
	// AuproLimit is the false-positive rate up to which the headline AUPRO is integrated.
	AuproLimit float64
	// OtherRule names the rule by which View.Other was made.
	OtherRule string
}

// View is one image of an object with its map.
type View struct {
	Camera    int    // from 1
	Path      string // names the image
	Code      string // defect code; "" for a good image or an unknown defect
	Defective bool   // label

	Height, Width int
	Scores        []float32 // the map, [Height, Width]
	Exact         []float64 // the same, instead of Scores, in a class whose maps float32 cannot tell apart
	Mask          []bool    // defective pixels by the protocol's mask rule; nil for none
	Other         []bool    // the same by Options.OtherRule
	Unmasked      bool      // it is defective and has no mask
	// Score is the score of the image, if whoever made the map has one; nil takes it from the map.
	Score *float64
}

// Image is the result of one image; a line of scores.jsonl.
type Image struct {
	Class  string        `json:"class"`
	Object string        `json:"object"`
	Camera int           `json:"camera"` // from 1
	Path   string        `json:"path"`
	Label  int           `json:"label"`  // 1 if it is defective
	Code   string        `json:"defect"` // defect code; "" if it is good
	Score  metric.Number `json:"score"`
	Max    metric.Number `json:"max"` // of the map
	// Unmasked says that the image is defective and has no mask.
	Unmasked bool `json:"unmasked,omitempty"`
	// Heads are Score by what judges beside the headline; nil if nothing does.
	Heads map[string]metric.Number `json:"heads,omitempty"`
}

// Object is the result of one object; a line of objects.jsonl.
type Object struct {
	Class string `json:"class"`
	ID    string `json:"object"`
	Label int    `json:"label"`  // 1 if any of its images is defective
	Code  string `json:"defect"` // of its first defective image
	// Max is the highest score of its images, the headline; Mean is their mean; Pooled is the mean of the highest
	// pixels of all its maps together.
	Max    metric.Number `json:"max"`
	Mean   metric.Number `json:"mean"`
	Pooled metric.Number `json:"pooled"`
	// AUROC and AUPRO rank its defective pixels among all normal pixels of the class; NaN without defective pixels.
	AUROC metric.Number `json:"P-AUROC"`
	AUPRO metric.Number `json:"AUPRO"`
	// Heads are Max by what judges beside the headline; nil if nothing does.
	Heads map[string]metric.Number `json:"heads,omitempty"`
}

// Defective returns the label.
func (o *Object) Defective() bool { return o.Label == 1 }

// Class gathers the objects of one class. Add is safe for concurrent use.
type Class struct {
	name   string
	opt    Options
	pixels metric.Pixels

	mu       sync.Mutex
	entries  []entry
	infinite int64 // images with infinite scores
	unmasked bool  // an image has no mask: the metrics of pixels are undefined
}

// entry is one object.
type entry struct {
	index  int
	object Object
	images []Image
	tops   []imagescore.Top // of each image
}

// NewClass returns an empty class.
func NewClass(name string, opt Options) *Class { return &Class{name: name, opt: opt} }

// Add takes an object, whose results get position index, and returns its score, the highest of its images. It keeps no
// maps and no masks. Errors name the image.
func (c *Class) Add(index int, id string, views []View) (float64, error) {
	e := entry{index: index, object: Object{Class: c.name, ID: id, Max: metric.Number(math.Inf(-1))}}
	maps, exact := make([][]float32, len(views)), make([][]float64, len(views))
	infinite, unmasked := int64(0), false
	for i, v := range views {
		err := c.pixels.Add(metric.Image{
			Name: v.Path, Height: v.Height, Width: v.Width, Scores: v.Scores, Exact: v.Exact, Mask: v.Mask, Other: v.Other,
			View: v.Camera, Code: v.Code, Object: id,
		})
		if err != nil {
			return 0, err
		}
		maps[i], exact[i] = v.Scores, v.Exact
		unmasked = unmasked || v.Unmasked
	}
	tops, pooled := c.tops(maps, exact)
	for i, v := range views {
		score := tops[i].Mean
		if v.Score != nil {
			if score = *v.Score; math.IsNaN(score) {
				return 0, fmt.Errorf("image %q: score: have NaN, want a number", v.Path)
			}
		}
		if math.IsInf(tops[i].Min, 0) || math.IsInf(tops[i].Max, 0) {
			infinite++
		}
		p := Image{c.name, id, v.Camera, v.Path, 0, v.Code, metric.Number(score), metric.Number(tops[i].Max), v.Unmasked, nil}
		if v.Defective {
			p.Label = 1
			e.object.Label, e.object.Code = 1, cmp.Or(e.object.Code, v.Code)
		}
		e.images = append(e.images, p)
		e.object.Max = max(e.object.Max, p.Score)
		e.object.Mean += p.Score / metric.Number(len(views))
	}
	e.tops, e.object.Pooled = tops, metric.Number(pooled)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries = append(c.entries, e)
	c.infinite += infinite
	c.unmasked = c.unmasked || unmasked
	return float64(e.object.Max), nil
}

// tops returns the mean of the highest pixels of each map and of all together.
func (c *Class) tops(maps [][]float32, exact [][]float64) ([]imagescore.Top, float64) {
	if c.pixels.Scale != nil {
		return imagescore.TopsExact(c.opt.Top, exact...)
	}
	return imagescore.Tops(c.opt.Top, maps...)
}

// Seal declares that all images with defective pixels have been added. Images that follow take no memory for pixels.
func (c *Class) Seal() { c.pixels.Seal() }

// GCPercent is a setting of debug.SetGCPercent for programs that score. Their heap is a few long lists without
// pointers: collecting often costs little and keeps the peak near what is in use.
const GCPercent = 5

// Memory estimates, generously, the largest number of bytes that a class needs. Marked is the number of images of
// objects with defects: their pixels, size each, are kept until Seal. One pixel in a hundred of them is assumed to be
// defective.
func Memory(marked int, size, views int) int64 {
	pixels := int64(marked) * int64(size)
	const positive = 100 // bytes of a defective pixel: packed, as edge, counts; bins of each view take 2 more
	return 4*pixels + pixels/100*(positive+2*int64(views)) + int64(views)*4<<20 + 16<<20
}
