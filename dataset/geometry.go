package dataset

import (
	"errors"
	"fmt"
	"image"
	"math"
	"slices"

	"mvag-torch/configs"
)

// The values of data.fit. An image is scaled onto a canvas of Fit.Resize. What the model sees of the canvas is the
// viewport, and a tile is what the encoder sees of that.
const (
	Squash = "squash" // to all of the canvas, whatever the aspect ratio; the viewport is the central crop
	Pad    = "pad"    // to fit within the canvas, centred on a background of the mean colour; the viewport is the central crop
	Tiles  = "tiles"  // as Pad; the viewport is all of the canvas, covered by overlapping tiles of the size of a crop
)

// background is the colour of the canvas around an image: round(255*Mean).
var background = []uint8{124, 116, 104}

// Viewport is the size in pixels of what the model sees of the canvas.
func (f Fit) Viewport() configs.Size {
	return configs.Data{Fit: f.Mode, Resize: f.Resize, Crop: f.Crop}.Viewport()
}

// offset is where the viewport begins on the canvas. A half is rounded to even, as in torchvision.
func (f Fit) offset() image.Point {
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

// placed is where an image of w x h pixels lies, in pixels of the viewport. It may extend beyond that.
func (f Fit) placed(w, h int) image.Rectangle {
	size := f.scaled(w, h)
	centre := image.Pt((f.Resize.Width()-size.X)/2, (f.Resize.Height()-size.Y)/2)
	return image.Rectangle{Max: size}.Add(centre).Sub(f.offset())
}

// area is the viewport as a rectangle.
func (f Fit) area() image.Rectangle {
	view := f.Viewport()
	return image.Rect(0, 0, view.Width(), view.Height())
}

// Content is where an image of w x h pixels lies within the viewport, in pixels of that: all of it with [Squash].
func (f Fit) Content(w, h int) image.Rectangle { return f.placed(w, h).Intersect(f.area()) }

// Seen returns which part of an image of w x h pixels the model sees: a width x height rectangle at (x, y), in pixels of
// the image, which need not be integers.
func (f Fit) Seen(w, h int) (x, y, width, height float64) {
	placed, content := f.placed(w, h), f.Content(w, h)
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

// Tiled expands objects to one for each tile of fit: tile t of all images of an object is an object of the same class
// and ID. Where there is one tile, it returns objects.
func Tiled(objects []Object, fit Fit) []Object {
	n := len(fit.Tiles())
	if n == 1 {
		return objects
	}
	list := make([]Object, 0, n*len(objects))
	for _, o := range objects {
		for t := range n {
			tile := o
			tile.Tile, tile.Views = t+1, make([]View, len(o.Views))
			for j, v := range o.Views {
				v.Tile = t + 1
				tile.Views[j] = v
			}
			list = append(list, tile)
		}
	}
	return list
}

// Whole returns the object that o is a tile of.
func (o Object) Whole() Object {
	o.Tile, o.Views = 0, slices.Clone(o.Views)
	for i := range o.Views {
		o.Views[i].Tile = 0
	}
	return o
}

// checkSize returns an error if an image of w x h pixels, the image of v, is smaller than a tile: nothing is to be cut
// into tiles.
func (f Fit) checkSize(v View, w, h int) error {
	if f.Mode == Tiles && w < f.Crop.Width() && h < f.Crop.Height() {
		return fmt.Errorf("%s: have %dx%d pixels, want at least the %dx%d of a tile in one direction; set a smaller data.crop, or data.fit: pad",
			printable(v.Path), w, h, f.Crop.Width(), f.Crop.Height())
	}
	return nil
}

// enlarges reports whether an image of w x h pixels is enlarged to fill the canvas, which adds nothing to see.
func (f Fit) enlarges(w, h int) bool {
	size := f.scaled(w, h)
	return f.keepsAspect() && (size.X > w || size.Y > h)
}

// TilesLine says in a line how many tiles images become and what that costs, measured on the first image of objects;
// "" without [Tiles].
func (s Source) TilesLine(objects []Object) string {
	f := s.Fit
	if f.Mode != Tiles {
		return ""
	}
	view := f.Viewport()
	rows, columns := len(f.corners(view.Height(), f.Crop.Height())), len(f.corners(view.Width(), f.Crop.Width()))
	line := fmt.Sprintf("tiles: each image becomes %d x %d tiles of %v pixels, %d times the work of one", rows, columns, f.Crop, rows*columns)
	if w, h, ok := s.firstSize(objects); ok {
		content := f.Content(w, h).Size()
		empty := 1 - float64(content.X*content.Y)/float64(view.Area())
		line += fmt.Sprintf("; %.0f %% of data.resize is empty at images of %dx%d", 100*empty, w, h)
	}
	return line
}

// firstSize returns width and height of the first image of objects that can be read.
func (s Source) firstSize(objects []Object) (w, h int, ok bool) {
	for i := range objects {
		for _, v := range objects[i].Views {
			if !v.Present() {
				continue
			}
			if w, h, err := s.size(v); err == nil {
				return w, h, true
			}
		}
	}
	return 0, 0, false
}

// size returns width and height of the image of v, from its header or the cache.
func (s Source) size(v View) (w, h int, err error) {
	if s.Cache != nil && v.Data == nil {
		m, err := s.Cache.find(kindImage, v)
		if err == nil && m.Error != "" {
			err = errors.New(m.Error)
		}
		if err != nil {
			return 0, 0, err
		}
		return m.Width, m.Height, nil
	}
	memory := scratches.Get().(*scratch)
	defer scratches.Put(memory)
	data, err := v.content(memory)
	if err != nil {
		return 0, 0, err
	}
	return s.Fit.size(data, v)
}
