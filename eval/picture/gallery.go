package picture

import (
	"bytes"
	"cmp"
	"image"
	"image/color"
	"image/jpeg"
	"slices"

	"mvag-torch/dataset"
	"mvag-torch/internal/heatmap"
)

// Gallery collects the objects of each class that were judged worst: the good
// ones with the highest scores and the defective ones with the lowest.
type Gallery struct {
	classes []string
	each    int // objects of a kind
	kinds   map[kind][]*candidate
}

type kind struct {
	class     string
	defective bool
}

// candidate is an object that no more than each-1 others are worse than, so far.
type candidate struct {
	id    string
	score float64
	row   Row
}

// Exhibit is one object of the gallery; a line of gallery.jsonl.
type Exhibit struct {
	Class  string `json:"class"`
	Object string `json:"object"`
	// Calibrated says that the colours of its maps span half to one and a half of
	// the threshold of pixels; otherwise they span the scores of the run.
	Calibrated bool    `json:"calibrated"`
	Views      []Plate `json:"views"`
}

// Plate is one view of an exhibit; its pictures are JPEG files.
type Plate struct {
	Camera int    `json:"camera"` // from 1
	Image  []byte `json:"image"`
	Map    []byte `json:"map"`
	Mask   []byte `json:"mask"` // nil where nobody drew a defect
}

// NewGallery is for the test objects of data; the more classes there are, the
// fewer objects it takes of each.
func NewGallery(data *dataset.Set) *Gallery {
	const total, most = 24, 4
	return &Gallery{classes: data.Classes, each: max(1, min(most, total/max(1, len(data.Classes)))), kinds: map[kind][]*candidate{}}
}

// Wants enters the score of an object and says whether it is among the worst of
// its kind so far. It may be asked again.
func (g *Gallery) Wants(object *dataset.Object, score float64) bool {
	k := kind{object.Class, object.Defective()}
	same := func(c *candidate) bool { return c.id == object.ID }
	if !slices.ContainsFunc(g.kinds[k], same) {
		list := append(g.kinds[k], &candidate{id: object.ID, score: score})
		slices.SortFunc(list, func(a, b *candidate) int {
			if k.defective {
				return cmp.Or(cmp.Compare(a.score, b.score), cmp.Compare(a.id, b.id))
			}
			return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.id, b.id))
		})
		g.kinds[k] = list[:min(len(list), g.each)]
	}
	return slices.ContainsFunc(g.kinds[k], same)
}

// Add takes the map of one picture of an object that is wanted.
func (g *Gallery) Add(v dataset.View, object *dataset.Object, scores []float32, mask []bool) {
	for _, c := range g.kinds[kind{object.Class, object.Defective()}] {
		if c.id != object.ID {
			continue
		}
		if c.row == nil {
			c.row = make(Row, len(object.Views))
		}
		c.row[v.Camera] = Tile{v, slices.Clone(scores), mask}
	}
}

// Draw returns the exhibits of all classes, of each the defective objects first
// and the worst first, in pictures of size x size pixels. Colour gives the place
// of a score of a class among the colours: 0 and below is black, 1 and above the
// brightest.
func (g *Gallery) Draw(fit dataset.Fit, size int, calibrated bool, colour func(class string, score float32) float32) ([]Exhibit, error) {
	var out []Exhibit
	for _, class := range g.classes {
		for _, defective := range []bool{true, false} {
			for _, c := range g.kinds[kind{class, defective}] {
				e := Exhibit{Class: class, Object: c.id, Calibrated: calibrated}
				for _, tile := range c.row {
					if !tile.View.Present() {
						continue
					}
					p, err := plate(tile, fit, size, func(v float32) float32 { return colour(class, v) })
					if err != nil {
						return nil, err
					}
					e.Views = append(e.Views, p)
				}
				out = append(out, e)
			}
		}
	}
	return out, nil
}

// plate draws one view: the picture, its map, and the picture in gray with its
// defect filled in.
func plate(tile Tile, fit dataset.Fit, size int, colour func(float32) float32) (Plate, error) {
	img, err := shown(tile.View, fit, size)
	if err != nil {
		return Plate{}, err
	}
	p := Plate{Camera: tile.View.Camera + 1}
	values := make([]float32, len(tile.Scores))
	for i, v := range tile.Scores {
		values[i] = min(1, max(0, colour(v)))
	}
	p.Image, err = jpegOf(img)
	if err == nil {
		p.Map, err = jpegOf(heatmap.Blend(img, values, tile.Mask))
	}
	if err == nil && slices.Contains(tile.Mask, true) {
		p.Mask, err = jpegOf(heatmap.Draw(img, nil, func(i int, pixel color.RGBA) color.RGBA { return marked(pixel, tile.Mask[i]) }))
	}
	return p, err
}

func jpegOf(img *image.RGBA) ([]byte, error) {
	var file bytes.Buffer
	err := jpeg.Encode(&file, img, &jpeg.Options{Quality: 80})
	return file.Bytes(), err
}

// marked is a pixel of a defect in a colour of its own, others dark and gray.
func marked(pixel color.RGBA, in bool) color.RGBA {
	gray := heatmap.Gray(pixel)
	if in {
		return color.RGBA{uint8(40 + gray/8), uint8(190 + gray/8), uint8(220 + gray/8), 255}
	}
	v := uint8(gray * 0.4)
	return color.RGBA{v, v, v, 255}
}
