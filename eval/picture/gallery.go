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

// Gallery collects the worst objects of each class: the good ones with the highest scores and the defective ones with
// the lowest.
type Gallery struct {
	classes []string
	each    int // objects of a kind
	kinds   map[kind][]*candidate
}

type kind struct {
	class     string
	defective bool
}

// candidate is an object that is among the worst so far.
type candidate struct {
	id    string
	score float64
	views []Tile
}

// Exhibit is one object of the gallery; a line of gallery.jsonl.
type Exhibit struct {
	Class  string `json:"class"`
	Object string `json:"object"`
	// Calibrated: the colours of its maps span half to one and a half of the pixel threshold. Otherwise they span the
	// scores of the run.
	Calibrated bool    `json:"calibrated"`
	Views      []Plate `json:"views"`
}

// Plate is one view of an exhibit, as JPEG files.
type Plate struct {
	Camera int    `json:"camera"` // from 1
	Image  []byte `json:"image"`
	Map    []byte `json:"map"`
	Mask   []byte `json:"mask"` // nil without a drawn defect
}

// NewGallery is for the test objects of data. It takes one to four objects of a kind, fewer the more classes there are.
func NewGallery(data *dataset.Set) *Gallery {
	const total, most = 24, 4
	return &Gallery{classes: data.Classes, each: max(1, min(most, total/max(1, len(data.Classes)))), kinds: map[kind][]*candidate{}}
}

// Wants enters the score of an object and reports whether it is among the worst of its kind so far. It may be called
// again for the same object.
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

// Add keeps the views of an object that is wanted.
func (g *Gallery) Add(object *dataset.Object, views []Tile) {
	for _, c := range g.kinds[kind{object.Class, object.Defective()}] {
		if c.id == object.ID {
			c.views = views
		}
	}
}

// Exhibits draws the objects of all classes, of each class the defective ones first and the worst first. Value maps a
// score of a class to a colour: 0 and below is black, 1 and above the brightest.
func (g *Gallery) Exhibits(calibrated bool, value func(class string, score float32) float32) ([]Exhibit, error) {
	var out []Exhibit
	for _, class := range g.classes {
		for _, defective := range []bool{true, false} {
			for _, c := range g.kinds[kind{class, defective}] {
				e := Exhibit{Class: class, Object: c.id, Calibrated: calibrated}
				for _, tile := range c.views {
					p, err := plate(tile, func(v float32) float32 { return value(class, v) })
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

// plate draws one view: the image, its map, and the image in gray with its defect filled in.
func plate(t Tile, value func(float32) float32) (p Plate, err error) {
	p.Camera = t.Camera
	if p.Image, err = jpegOf(t.Image); err != nil {
		return p, err
	}
	if p.Map, err = jpegOf(t.blend(value)); err != nil || !slices.Contains(t.Mask, true) {
		return p, err
	}
	p.Mask, err = jpegOf(heatmap.Draw(t.Image, nil, func(i int, pixel color.RGBA) color.RGBA { return marked(pixel, t.Mask[i]) }))
	return p, err
}

func jpegOf(img *image.RGBA) ([]byte, error) {
	var file bytes.Buffer
	err := jpeg.Encode(&file, img, &jpeg.Options{Quality: 80})
	return file.Bytes(), err
}

// marked paints a pixel of a defect cyan and others dark gray.
func marked(pixel color.RGBA, in bool) color.RGBA {
	gray := heatmap.Gray(pixel)
	if in {
		return color.RGBA{uint8(40 + gray/8), uint8(190 + gray/8), uint8(220 + gray/8), 255}
	}
	v := uint8(gray * 0.4)
	return color.RGBA{v, v, v, 255}
}
