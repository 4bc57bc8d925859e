// Package picture draws what a person looks at after an evaluation: objects side by side, below them the same images
// with the anomaly map as colours and the outline of the true defect; and the gallery of the report.
package picture

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"os"
	"path/filepath"

	"mvag-torch/dataset"
	"mvag-torch/internal/heatmap"
)

// Tile is one view of an object.
type Tile struct {
	View   dataset.View
	Scores []float32 // map [size, size]; nil where the view is absent
	Mask   []bool    // defect [size, size]; nil where the view is good
}

// Row is one object, a tile a camera.
type Row []Tile

const gap = 4 // pixels between tiles

var background = color.RGBA{24, 26, 30, 255}

// Sheet draws rows of tiles of size x size pixels: for each object a line of
// pictures and, below it, a line of maps. Fit is how the model saw the pictures.
func Sheet(rows []Row, fit dataset.Fit, size int, scale heatmap.Scale) (*image.RGBA, error) {
	views := 0
	for _, row := range rows {
		views = max(views, len(row))
	}
	pitch := size + gap
	sheet := image.NewRGBA(image.Rect(0, 0, views*pitch+gap, len(rows)*(2*pitch+gap)+gap))
	draw.Draw(sheet, sheet.Rect, image.NewUniform(background), image.Point{}, draw.Src)
	for r, row := range rows {
		y := gap + r*(2*pitch+gap)
		for c, tile := range row {
			if !tile.View.Present() {
				continue
			}
			img, err := shown(tile.View, fit, size)
			if err != nil {
				return nil, err
			}
			x := gap + c*pitch
			values := make([]float32, len(tile.Scores))
			for i, v := range tile.Scores {
				values[i] = scale.At(v)
			}
			draw.Draw(sheet, img.Rect.Add(image.Pt(x, y)), img, image.Point{}, draw.Src)
			draw.Draw(sheet, img.Rect.Add(image.Pt(x, y+pitch)), heatmap.Blend(img, values, tile.Mask), image.Point{}, draw.Src)
		}
	}
	return sheet, nil
}

// shown is the part of the picture that the model saw, at size x size pixels.
func shown(view dataset.View, fit dataset.Fit, size int) (*image.RGBA, error) {
	planes := make([]uint8, 3*fit.Crop*fit.Crop)
	if _, _, err := fit.Image(view, planes); err != nil {
		return nil, err
	}
	return heatmap.Image(planes, fit.Crop, size), nil
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
