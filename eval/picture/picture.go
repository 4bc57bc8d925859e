// Package picture draws what a person looks at: pictures of an object side by
// side, below them the same with the anomaly map as colour and the outline of
// the true defect.
package picture

import (
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"

	"mvag-torch/dataset"
)

// Tile is one view of an object.
type Tile struct {
	View   dataset.View
	Scores []float32 // map [size, size]; nil where the view is absent
	Mask   []bool    // defect [size, size]; nil where the view is good
}

// Row is one object, a tile a camera.
type Row []Tile

// Scale is the range of map values that the colours span; it is the same for
// every picture of a run, so that good parts stay dark.
type Scale struct{ Low, High float32 }

// At maps a value to [0, 1].
func (s Scale) At(v float32) float32 {
	return min(1, max(0, (v-s.Low)/max(s.High-s.Low, 1e-12)))
}

const gap = 4 // pixels between tiles

var background = color.RGBA{24, 26, 30, 255}

// Sheet draws rows of tiles of size x size pixels: for each object a line of
// pictures and, below it, a line of maps. Fit is how the model saw the pictures.
func Sheet(rows []Row, fit dataset.Fit, size int, scale Scale) (*image.RGBA, error) {
	views := 0
	for _, row := range rows {
		views = max(views, len(row))
	}
	pitch := size + gap
	sheet := image.NewRGBA(image.Rect(0, 0, views*pitch+gap, len(rows)*(2*pitch+gap)+gap))
	for i := 0; i < len(sheet.Pix); i += 4 {
		copy(sheet.Pix[i:], []uint8{background.R, background.G, background.B, background.A})
	}
	for r, row := range rows {
		y := gap + r*(2*pitch+gap)
		for c, tile := range row {
			if !tile.View.Present() {
				continue
			}
			pixels, err := shown(tile.View, fit, size)
			if err != nil {
				return nil, err
			}
			x := gap + c*pitch
			draw(sheet, x, y, size, func(i int) color.RGBA { return pixels[i] })
			draw(sheet, x, y+pitch, size, func(i int) color.RGBA {
				if outline(tile.Mask, size, i) {
					return color.RGBA{255, 255, 255, 255}
				}
				return blend(pixels[i], scale.At(tile.Scores[i]))
			})
		}
	}
	return sheet, nil
}

// shown is the part of the picture that the model saw, at size x size pixels.
func shown(view dataset.View, fit dataset.Fit, size int) ([]color.RGBA, error) {
	fit.Resize, fit.Crop = (fit.Resize*size+fit.Crop/2)/fit.Crop, size
	planes := make([]uint8, 3*size*size)
	if err := fit.View(view, planes); err != nil {
		return nil, err
	}
	n := size * size
	pixels := make([]color.RGBA, n)
	for i := range pixels {
		pixels[i] = color.RGBA{planes[i], planes[n+i], planes[2*n+i], 255}
	}
	return pixels, nil
}

func draw(sheet *image.RGBA, x, y, size int, at func(i int) color.RGBA) {
	for i := range size * size {
		sheet.SetRGBA(x+i%size, y+i/size, at(i))
	}
}

// outline is true for pixels outside the mask that touch it.
func outline(mask []bool, size, i int) bool {
	if mask == nil || mask[i] {
		return false
	}
	x, y := i%size, i/size
	return x > 0 && mask[i-1] || x < size-1 && mask[i+1] || y > 0 && mask[i-size] || y < size-1 && mask[i+size]
}

// heat runs from black over purple and orange to pale yellow, in equal steps.
var heat = [...][3]float32{
	{0, 0, 4}, {27, 12, 65}, {74, 12, 107}, {120, 28, 109}, {165, 44, 96}, {207, 68, 70}, {237, 105, 37}, {251, 155, 6}, {247, 209, 61}, {252, 255, 164},
}

// blend lays the colour of t in [0, 1] over the picture in gray; the higher t,
// the less of the picture shows.
func blend(pixel color.RGBA, t float32) color.RGBA {
	gray := 0.299*float32(pixel.R) + 0.587*float32(pixel.G) + 0.114*float32(pixel.B)
	share := 0.45 + 0.45*t
	over := colour(t)
	channel := func(c int) uint8 { return uint8(min(255, gray*(1-share)+over[c]*share+0.5)) }
	return color.RGBA{channel(0), channel(1), channel(2), 255}
}

// colour is the place of t in heat.
func colour(t float32) (c [3]float32) {
	at := min(1, max(0, t)) * float32(len(heat)-1)
	low := min(int(at), len(heat)-2)
	rest := at - float32(low)
	for i := range c {
		c[i] = heat[low][i]*(1-rest) + heat[low+1][i]*rest
	}
	return c
}

func hue(t float32) color.RGBA {
	c := colour(t)
	return color.RGBA{uint8(c[0] + 0.5), uint8(c[1] + 0.5), uint8(c[2] + 0.5), 255}
}

// Write writes a PNG file, which appears whole or not at all.
func Write(path string, img image.Image) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".picture-*")
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer os.Remove(f.Name()) // gone after the rename
	err = png.Encode(f, img)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Chmod(f.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
