package dataset

import (
	"fmt"
	"image"
	"slices"
	"sync"

	"mvag-torch/configs"
)

// The rules that binarise a resized mask (docs/model.md section 6).
const (
	MaskGT0  = "gt0"   // any value above 0 is a defect, which grows masks by about a pixel
	MaskGT05 = "gt0.5" // values of at least 128: the pixel is at least half covered
)

// Fit is the geometry of preprocessing: how images come to the size of the model, with Pillow's antialiased bilinear
// filter (docs/model.md section 6).
type Fit struct {
	Mode         string       // [Squash], [Pad] or [Tiles]; "" is Squash
	Resize, Crop configs.Size // of the canvas, and of a crop or tile
	Overlap      float64      // of tiles: the fraction that neighbours share at least
	Exif         bool         // apply the EXIF orientation
	// Bits is how many bits the values of 16-bit images use, 8 to 16, unless a View says; 0 means 16.
	Bits int
	// Scaled decodes JPEGs at a reduced scale, the smallest multiple of 1/8 that is not below their size on the canvas. It
	// needs libjpeg-turbo and changes pixels slightly.
	Scaled bool
	// Pixels is the most pixels that an image may have, 0 for as many as a large honest one has. The header is asked.
	Pixels int

	labels bool // decode masks
}

// NewFit returns the preprocessing that cfg describes.
func NewFit(cfg configs.Data) Fit {
	return Fit{Mode: cfg.Fit, Resize: cfg.Resize, Crop: cfg.Crop, Overlap: cfg.Overlap,
		Exif: cfg.Exif, Bits: fixedBits(cfg), Scaled: cfg.Decode == "scaled"}
}

// scratch is the reusable memory for fitting one image.
type scratch struct {
	resizer
	file   []byte  // of an image
	mask   []byte  // of a mask
	plane  []uint8 // fitted pixels
	pix    []uint8 // a decoded JPEG
	labels []uint8 // of a mask
}

// room returns memory for n values, valid until the next call.
func (s *scratch) room(n int) []uint8 {
	s.plane = slices.Grow(s.plane[:0], n)[:n]
	return s.plane
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// Image decodes the image of v, from memory or from its file, and writes it fitted to dst as planes of red, green and
// blue, [T, 3, crop height, crop width]: all tiles, or that which v says. It returns the width and height in pixels of
// the decoded image before the fit, after applying its EXIF orientation. For a strip, image and size are those of the
// part. Errors name the file. It is safe for concurrent use.
func (f Fit) Image(v View, dst []uint8) (w, h int, err error) {
	return Source{Fit: f}.Image(v, dst)
}

// checkRoom returns an error unless dst has room for the image of v.
func (f Fit) checkRoom(v View, dst []uint8) error {
	if want := f.imageBytes(v.Tile); len(dst) != want {
		return fmt.Errorf("%s: dst: have %d values, want %d", printable(v.Path), len(dst), want)
	}
	return nil
}

// image decodes the image of v with memory of s and writes all of the viewport to dst, [3, height, width].
func (f Fit) image(s *scratch, v View, dst []uint8) (raster, error) {
	r, err := f.readImage(s, v)
	if err == nil {
		f.draw(s, r, f.area(), Background, dst)
	}
	return r, err
}

// tiles decodes the image of v with memory of s and writes its tiles to dst.
func (f Fit) tiles(s *scratch, v View, dst []uint8) (raster, error) {
	windows := f.windows(v.Tile)
	if len(windows) > 1 {
		all := s.room(3 * f.Viewport().Area())
		r, err := f.image(s, v, all)
		if err == nil {
			f.cut(all, windows, dst)
		}
		return r, err
	}
	r, err := f.readImage(s, v)
	if err == nil {
		f.draw(s, r, windows[0], Background, dst)
	}
	return r, err
}

// draw writes the part of the viewport in window to dst, a plane for each value of fill, which is what surrounds the
// image.
func (f Fit) draw(s *scratch, r raster, window image.Rectangle, fill, dst []uint8) {
	placed := f.Placed(r.full.X, r.full.Y)
	visible := placed.Intersect(window)
	c, inner := canvas{dst, window.Size()}, visible.Sub(window.Min)
	s.resize(r, placed.Size(), visible.Sub(placed.Min), c, inner.Min)
	plane := c.size.X * c.size.Y
	for channel, value := range fill {
		if channel >= r.channels {
			copy(dst[channel*plane:][:plane], dst)
		}
		if inner != (image.Rectangle{Max: c.size}) {
			c.fill(channel, inner, value)
		}
	}
}

// cut copies windows of the pixels of the viewport, [3, height, width], to dst, [len(windows), 3, height, width].
func (f Fit) cut(pixels []uint8, windows []image.Rectangle, dst []uint8) {
	view := f.area().Size()
	if len(dst) == len(pixels) {
		copy(dst, pixels)
		return
	}
	for _, w := range windows {
		for c := range 3 {
			for y := w.Min.Y; y < w.Max.Y; y++ {
				dst = dst[copy(dst, pixels[(c*view.Y+y)*view.X+w.Min.X:][:w.Dx()]):]
			}
		}
	}
}

// mask writes the fitted mask of v to plane, all of the viewport, and returns the mask.
func (f Fit) mask(s *scratch, v View, plane []uint8) (mask, error) {
	img, err := v.content(s)
	if err != nil {
		return mask{}, err
	}
	m, err := f.readMask(s, v, img)
	if err == nil {
		f.draw(s, m.raster, f.area(), []uint8{0}, plane)
	}
	return m, err
}

// content returns the encoded image of v. A file is read into memory of s.
func (v View) content(s *scratch) ([]byte, error) {
	if v.Data != nil {
		return v.Data, nil
	}
	return s.readFile(v.Path)
}

func (s *scratch) readFile(path string) ([]byte, error) {
	data, err := readFile(path, s.file)
	if err == nil {
		s.file = data
	}
	return data, err
}

// readImage decodes the image of v, or its part of a strip.
func (f Fit) readImage(s *scratch, v View) (raster, error) {
	data, err := v.content(s)
	if err != nil {
		return raster{}, err
	}
	return f.decodePart(s, data, v.Path, v)
}

// decodePart decodes an image or mask file of v and cuts out its part.
func (f Fit) decodePart(s *scratch, data []byte, name string, v View) (raster, error) {
	if v.Parts > 0 {
		f.Scaled = false // a part might begin between reduced pixels
	}
	if v.Bits != 0 {
		f.Bits = v.Bits
	}
	r, err := f.decode(s, data, f.limit())
	if err == nil {
		r, err = r.part(v)
	}
	if err != nil {
		return raster{}, fmt.Errorf("%s: %w", printable(name), err)
	}
	return r, nil
}

// limit is the most pixels of an image.
func (f Fit) limit() int {
	if f.Pixels > 0 {
		return min(f.Pixels, maxPixels)
	}
	return maxPixels
}

// size returns width and height of the encoded image of v from its header.
func (f Fit) size(img []byte, v View) (w, h int, err error) {
	if w, h, err = imageSize(img, f.Exif); err != nil {
		return 0, 0, fmt.Errorf("%s: %w", printable(v.Path), err)
	}
	return w / max(v.Parts, 1), h, nil
}

// byRules resamples what a fitted mask [height, width] of the viewport shows of an image of w x h pixels to a size, and
// binarises it by both rules. The nearest pixel is taken, but unless images are squashed, pixels are averaged along a side
// that is reduced by more than 2, as maps are: small defects in large images would be passed over.
func (f Fit) byRules(s *scratch, plane []uint8, w, h int, size configs.Size) map[string][]bool {
	c, content := canvas{plane, f.area().Size()}, f.Content(w, h)
	averaged := content.Size()
	if f.keepsAspect() && averaged.X > 2*size.Width() {
		averaged.X = size.Width()
	}
	if f.keepsAspect() && averaged.Y > 2*size.Height() {
		averaged.Y = size.Height()
	}
	if averaged != content.Size() {
		c, content = s.shrink(c, content, averaged)
	}
	return map[string][]bool{MaskGT0: c.nearest(content, size, 0), MaskGT05: c.nearest(content, size, 127)}
}

// shrink resizes a part of one channel.
func (z *resizer) shrink(c canvas, part image.Rectangle, out image.Point) (canvas, image.Rectangle) {
	small, all := canvas{make([]uint8, out.X*out.Y), out}, image.Rectangle{Max: out}
	r := raster{w: part.Dx(), h: part.Dy(), channels: 1, row: func(dst []uint8, x0, x1, y int) {
		copy(dst, c.row(0, part.Min.X+x0, part.Min.Y+y, x1-x0))
	}}
	z.resize(r, out, all, small, image.Point{})
	return small, all
}

// nearest resamples a part of one channel to a size and compares values with a threshold. The index is computed in
// float32 as in PyTorch.
func (c canvas) nearest(part image.Rectangle, size configs.Size, above uint8) []bool {
	indices := func(n, size int) []int {
		at := make([]int, size)
		scale := float32(n) / float32(size)
		for i := range at {
			at[i] = min(int(float32(float32(i)*scale)), n-1)
		}
		return at
	}
	down, across := indices(part.Dy(), size.Height()), indices(part.Dx(), size.Width())
	mask := make([]bool, 0, size.Area())
	for _, v := range down {
		row := c.row(0, part.Min.X, part.Min.Y+v, part.Dx())
		for _, u := range across {
			mask = append(mask, row[u] > above)
		}
	}
	return mask
}
