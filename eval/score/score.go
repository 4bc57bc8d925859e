// Package score turns the anomaly maps of a class into its results: scores of images and objects, and every number of
// report.Class. It does not care who made the maps.
package score

import (
	"cmp"
	"fmt"
	"math"
	"sync"

	"mvag-torch/eval/metric"
	"mvag-torch/model/imagescore"
)

// Options are the rules of a protocol.
type Options struct {
	// Top is the fraction of the pixels of a map whose mean is the score of its image.
	Top float64
	// AuproLimit is the headline limit of AUPRO.
	AuproLimit float64
	// OtherRule names the rule by which View.Other was made.
	OtherRule string
}

// View is one image of an object with its map.
type View struct {
	Camera    int    // from 1
	Path      string // names the image
	Code      string // kind of defect, "" where it is good or not known
	Defective bool   // the label

	Height, Width int
	Scores        []float32 // the map, [Height, Width]
	Mask          []bool    // defective pixels by the protocol's rule; nil: none
	Other         []bool    // the same by another rule
	Unmasked      bool      // it is defective and nobody drew where
	// Given is the score of the image where whoever made the map gave one; nil to take it from the map.
	Given *float64
}

// Image is the result of one image; a line of scores.jsonl.
type Image struct {
	Class  string        `json:"class"`
	Object string        `json:"object"`
	Camera int           `json:"camera"` // from 1
	Path   string        `json:"path"`
	Label  int           `json:"label"`  // 1 where it is defective
	Code   string        `json:"defect"` // "" where it is good
	Score  metric.Number `json:"score"`
	Max    metric.Number `json:"max"` // of the map
}

// Object is the result of one object by all rules; a line of objects.jsonl.
type Object struct {
	Class string `json:"class"`
	ID    string `json:"object"`
	Label int    `json:"label"`  // 1 if any of its images is defective
	Code  string `json:"defect"` // of its first defective image
	// Max is the highest score of its images, Mean their mean, Pooled the mean of the highest pixels of all its maps
	// together.
	Max    metric.Number `json:"max"`
	Mean   metric.Number `json:"mean"`
	Pooled metric.Number `json:"pooled"`
	// AUROC and AUPRO are of its defective pixels among all normal pixels of the class; NaN if it has none.
	AUROC metric.Number `json:"P-AUROC"`
	AUPRO metric.Number `json:"AUPRO"`
}

// Defective is the label.
func (o *Object) Defective() bool { return o.Label == 1 }

// Class gathers the objects of one class. Add may be called by several goroutines at once.
type Class struct {
	name   string
	opt    Options
	pixels metric.Pixels

	mu       sync.Mutex
	entries  []entry
	infinite int64 // images with infinite scores
	unmasked bool  // an image is: the numbers of pixels are not defined
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

// Add takes an object and returns its score, the highest of its images. Index is its place among the results. Nothing
// is kept of the maps and masks. Errors name the image.
func (c *Class) Add(index int, id string, views []View) (float64, error) {
	e := entry{index: index, object: Object{Class: c.name, ID: id, Max: metric.Number(math.Inf(-1))}}
	maps := make([][]float32, len(views))
	infinite, unmasked := int64(0), false
	for i, v := range views {
		err := c.pixels.Add(metric.Image{
			Name: v.Path, Height: v.Height, Width: v.Width, Scores: v.Scores, Mask: v.Mask, Other: v.Other,
			View: v.Camera, Code: v.Code, Object: id,
		})
		if err != nil {
			return 0, err
		}
		maps[i] = v.Scores
		unmasked = unmasked || v.Unmasked
	}
	tops, pooled := imagescore.Tops(c.opt.Top, maps...)
	for i, v := range views {
		given := tops[i].Mean
		if v.Given != nil {
			if given = *v.Given; math.IsNaN(given) {
				return 0, fmt.Errorf("image %q: score: have NaN, want a number", v.Path)
			}
		}
		if math.IsInf(tops[i].Min, 0) || math.IsInf(tops[i].Max, 0) {
			infinite++
		}
		p := Image{c.name, id, v.Camera, v.Path, 0, v.Code, metric.Number(given), metric.Number(tops[i].Max)}
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

// Seal declares that all images with defective pixels have been added; what follows takes no memory for its pixels.
func (c *Class) Seal() { c.pixels.Seal() }

// GCPercent is the setting for debug.SetGCPercent that suits a program that scores: its heap is a few long lists
// without pointers, so that collecting often costs little and keeps the peak near what is in use.
const GCPercent = 5

// Memory is a little more than the bytes that a class needs at its largest: marked images of size pixels, those of
// objects with defects, are kept until Seal, and about one pixel in a hundred of them is taken to be defective.
func Memory(marked int, size, views int) int64 {
	pixels := int64(marked) * int64(size)
	const positive = 100 // bytes of a defective pixel: packed, as edge, counts; bins of each view take 2 more
	return 4*pixels + pixels/100*(positive+2*int64(views)) + int64(views)*4<<20 + 16<<20
}
