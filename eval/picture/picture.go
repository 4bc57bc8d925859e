// Package picture draws what a person looks at after an evaluation: objects side by side, below them the same images
// with the anomaly map as colours and the outline of the true defect; and the gallery of the report. All of it is drawn
// from the pixels that the model saw.
package picture

import (
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"

	"mvag-torch/internal/atomicfile"
	"mvag-torch/internal/heatmap"
)

// Tile is one view of an object; all parts have the size of the map.
type Tile struct {
	Camera int         // from 1
	Image  *image.RGBA // as the model saw it
	Scores []float32   // the map
	Mask   []bool      // the defect; nil where the view is good or nobody drew one
}

// blend draws the map over the image in gray, with values in [0, 1] as colours.
func (t Tile) blend(value func(score float32) float32) *image.RGBA {
	values := make([]float32, len(t.Scores))
	for i, v := range t.Scores {
		values[i] = min(1, max(0, value(v)))
	}
	return heatmap.Blend(t.Image, values, t.Mask)
}

const gap = 4 // pixels between tiles

var background = color.RGBA{24, 26, 30, 255}

// sheet draws objects: for each a line of images, a column a camera, and below it a line of maps.
func sheet(objects [][]Tile, scale heatmap.Scale) *image.RGBA {
	cameras, pitch := 0, image.Point{} // from one image to the next
	for _, tiles := range objects {
		for _, t := range tiles {
			cameras, pitch = max(cameras, t.Camera), t.Image.Rect.Size().Add(image.Pt(gap, gap))
		}
	}
	out := image.NewRGBA(image.Rect(0, 0, cameras*pitch.X+gap, len(objects)*(2*pitch.Y+gap)+gap))
	draw.Draw(out, out.Rect, image.NewUniform(background), image.Point{}, draw.Src)
	for row, tiles := range objects {
		for _, t := range tiles {
			at := t.Image.Rect.Add(image.Pt(gap+(t.Camera-1)*pitch.X, gap+row*(2*pitch.Y+gap)))
			draw.Draw(out, at, t.Image, image.Point{}, draw.Src)
			draw.Draw(out, at.Add(image.Pt(0, pitch.Y)), t.blend(scale.At), image.Point{}, draw.Src)
		}
	}
	return out
}

// write writes a PNG file.
func write(path string, img image.Image) error {
	return atomicfile.Write(path, func(w io.Writer) error { return png.Encode(w, img) })
}
