package dataset

import (
	"image"
	"math"

	"mvag-torch/configs"
)

// The values of data.fit. An image is scaled onto a canvas of Fit.Resize. What the model sees of the canvas is the
// viewport, and a tile is what the encoder sees of that.
const (
	Squash = "squash" // to all of the canvas, whatever the aspect ratio; the viewport is the central crop
	Pad    = "pad"    // to fit within the canvas, centred on a background of the mean colour; the viewport is the central crop
	Tiles  = "tiles"  // as Pad; the viewport is all of the canvas, covered by overlapping tiles of the size of a crop
)

// Background is the colour of the canvas around an image: round(255*Mean).
var Background = []uint8{124, 116, 104}

// Viewport is the size in pixels of what the model sees of the canvas.
func (f Fit) Viewport() configs.Size {
	return configs.Data{Fit: f.Mode, Resize: f.Resize, Crop: f.Crop}.Viewport()
}

// Offset is where the viewport begins on the canvas. A half is rounded to even, as in torchvision.
func (f Fit) Offset() image.Point {
	view := f.Viewport()
	half := func(n int) int { return int(math.RoundToEven(float64(n) / 2)) }
	return image.Pt(half(f.Resize.Width()-view.Width()), half(f.Resize.Height()-view.Height()))
}

// keepsAspect reports whether images keep their aspect ratio.
func (f Fit) keepsAspect() bool { return f.Mode == Pad || f.Mode == Tiles }

// scaled is the size of an image of w x h pixels on the canvas.
func (f Fit) scaled(w, h int) image.Point {
	width, height := f.Resize.Width(), f.Resize.Height()
	part := func(n, of, by int) int { return max(1, int(math.Round(float64(n)*float64(of)/float64(by)))) }
	switch {
	case !f.keepsAspect():
		return image.Pt(width, height)
	case w*height >= h*width:
		return image.Pt(width, part(h, width, w))
	}
	return image.Pt(part(w, height, h), height)
}

// Placed is where an image of w x h pixels lies, in pixels of the viewport. It may extend beyond that.
func (f Fit) Placed(w, h int) image.Rectangle {
	size := f.scaled(w, h)
	centre := image.Pt((f.Resize.Width()-size.X)/2, (f.Resize.Height()-size.Y)/2)
	return image.Rectangle{Max: size}.Add(centre).Sub(f.Offset())
}

// area is the viewport as a rectangle.
func (f Fit) area() image.Rectangle {
	view := f.Viewport()
	return image.Rect(0, 0, view.Width(), view.Height())
}

// Content is where an image of w x h pixels lies within the viewport, in pixels of that: all of it with [Squash].
func (f Fit) Content(w, h int) image.Rectangle { return f.Placed(w, h).Intersect(f.area()) }

// Seen returns which part of an image of w x h pixels the model sees: a width x height rectangle at (x, y), in pixels of
// the image, which need not be integers.
func (f Fit) Seen(w, h int) (x, y, width, height float64) {
	placed, content := f.Placed(w, h), f.Content(w, h)
	across, down := float64(w)/float64(placed.Dx()), float64(h)/float64(placed.Dy())
	at := content.Min.Sub(placed.Min)
	return float64(at.X) * across, float64(at.Y) * down, float64(content.Dx()) * across, float64(content.Dy()) * down
}

// Tiles returns the upper left corners of the tiles in the viewport, row by row. They have the size of the crop and
// together cover the viewport; neighbours share at least Overlap of their width or height, up to a rounding of a pixel.
// Without [Tiles] there is one, the viewport.
func (f Fit) Tiles() []image.Point {
	view := f.Viewport()
	across := f.corners(view.Width(), f.Crop.Width())
	var tiles []image.Point
	for _, y := range f.corners(view.Height(), f.Crop.Height()) {
		for _, x := range across {
			tiles = append(tiles, image.Pt(x, y))
		}
	}
	return tiles
}

// corners spreads tiles of a side evenly over a longer one.
func (f Fit) corners(side, crop int) []int {
	if side <= crop {
		return []int{0}
	}
	const rounding = 1e-9 // of what is a whole number of tiles
	n := int(math.Ceil(float64(side-crop)/(float64(crop)*(1-f.Overlap))-rounding)) + 1
	at := make([]int, n)
	for i := range at {
		at[i] = int(math.Round(float64(i) * float64(side-crop) / float64(n-1)))
	}
	return at
}

// windows are the parts of the viewport that a view with the given Tile shows: all tiles, or one.
func (f Fit) windows(tile int) []image.Rectangle {
	corners := f.Tiles()
	if tile > 0 {
		corners = corners[tile-1 : tile]
	}
	list := make([]image.Rectangle, len(corners))
	for i, at := range corners {
		list[i] = image.Rect(0, 0, f.Crop.Width(), f.Crop.Height()).Add(at)
	}
	return list
}

// imageBytes is the number of bytes of the pixels of a view with the given Tile: [T, 3, crop height, crop width].
func (f Fit) imageBytes(tile int) int { return len(f.windows(tile)) * 3 * f.Crop.Area() }

// enlarges reports whether an image of w x h pixels is enlarged to fill the canvas, which adds nothing to see.
func (f Fit) enlarges(w, h int) bool {
	size := f.scaled(w, h)
	return f.keepsAspect() && (size.X > w || size.Y > h)
}
