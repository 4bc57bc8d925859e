package dataset

import (
	"errors"
	"fmt"
	"slices"
)

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
