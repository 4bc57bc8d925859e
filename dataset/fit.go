package dataset

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"mvag-torch/configs"
)

// The rules that binarise a resized mask (docs/model.md section 6).
const (
	MaskGT0  = "gt0"   // any value above 0 is a defect, which grows masks by about a pixel
	MaskGT05 = "gt0.5" // values of at least 128: the pixel is at least half covered
)

// Fit is the geometry of preprocessing: images are resized to Resize x Resize pixels whatever their aspect ratio
// (Pillow's antialiased bilinear filter), then cropped to the central Crop x Crop pixels (docs/model.md section 6).
type Fit struct {
	Resize, Crop int
	Exif         bool // apply the EXIF orientation
	// Bits is how many bits the values of 16-bit images use, 8 to 16, unless a View says; 0 means 16.
	Bits int
	// Scaled decodes JPEGs at a reduced scale, the smallest multiple of 1/8 that is not below Resize. It needs
	// libjpeg-turbo and changes pixels slightly.
	Scaled bool

	labels bool // decode masks
}

// NewFit returns the preprocessing that cfg describes.
func NewFit(cfg configs.Data) Fit {
	return Fit{Resize: cfg.Resize.Height(), Crop: cfg.Crop.Height(), Exif: cfg.Exif, Bits: fixedBits(cfg), Scaled: cfg.Decode == "scaled"}
}

// offset is where the crop begins. A half is rounded to even, as in torchvision.
func (f Fit) offset() int {
	return int(math.RoundToEven(float64(f.Resize-f.Crop) / 2))
}

// Seen returns which part of an image of w x h pixels the model sees: a width x height rectangle at (x, y), in pixels of
// the image, which need not be integers.
func (f Fit) Seen(w, h int) (x, y, width, height float64) {
	across, down := float64(w)/float64(f.Resize), float64(h)/float64(f.Resize)
	at, side := float64(f.offset()), float64(f.Crop)
	return at * across, at * down, side * across, side * down
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
// blue, [3, Crop, Crop]. It returns the width and height in pixels of the decoded image before the fit, after applying
// its EXIF orientation. For a strip, image and size are those of the part. Errors name the file. It is safe for
// concurrent use.
func (f Fit) Image(v View, dst []uint8) (w, h int, err error) {
	return Source{Fit: f}.Image(v, dst)
}

// checkRoom returns an error unless dst has room for the image of v.
func (f Fit) checkRoom(v View, dst []uint8) error {
	if want := 3 * f.Crop * f.Crop; len(dst) != want {
		return fmt.Errorf("%s: dst: have %d values, want %d", printable(v.Path), len(dst), want)
	}
	return nil
}

// image decodes the image of v with memory of s and writes it fitted to dst.
func (f Fit) image(s *scratch, v View, dst []uint8) (raster, error) {
	r, err := f.readImage(s, v)
	if err == nil {
		f.fit(s, r, dst)
	}
	return r, err
}

// mask writes the fitted mask of v to plane, [Crop, Crop], and returns what is odd about it.
func (f Fit) mask(s *scratch, v View, plane []uint8) ([]Finding, error) {
	img, err := v.content(s)
	if err != nil {
		return nil, err
	}
	m, err := f.readMask(s, v, img)
	if err != nil {
		return nil, err
	}
	s.resize(m.raster, f.Resize, f.offset(), f.Crop, plane)
	return m.kinds, nil
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
	r, err := f.decode(s, data, maxPixels)
	if err == nil {
		r, err = r.part(v)
	}
	if err != nil {
		return raster{}, fmt.Errorf("%s: %w", printable(name), err)
	}
	return r, nil
}

// fit resizes and crops r to three planes in dst.
func (f Fit) fit(s *scratch, r raster, dst []uint8) {
	s.resize(r, f.Resize, f.offset(), f.Crop, dst)
	if r.channels == 1 {
		n := f.Crop * f.Crop
		copy(dst[n:], dst[:n])
		copy(dst[2*n:], dst[:n])
	}
}

// byRules resamples a fitted mask [n, n] to size x size pixels and binarises it by both rules.
func byRules(plane []uint8, n, size int) map[string][]bool {
	return map[string][]bool{MaskGT0: nearest(plane, n, size, 0), MaskGT05: nearest(plane, n, size, 127)}
}

// size returns width and height of the encoded image of v from its header.
func (f Fit) size(img []byte, v View) (w, h int, err error) {
	if w, h, err = imageSize(img, f.Exif); err != nil {
		return 0, 0, fmt.Errorf("%s: %w", printable(v.Path), err)
	}
	return w / max(v.Parts, 1), h, nil
}

// nearest resamples a plane [n, n] to size x size pixels and compares values with a threshold. The index is computed in
// float32 as in PyTorch.
func nearest(plane []uint8, n, size int, above uint8) []bool {
	at := make([]int, size)
	scale := float32(n) / float32(size)
	for i := range at {
		at[i] = min(int(float32(float32(i)*scale)), n-1)
	}
	mask := make([]bool, size*size)
	for y, v := range at {
		row := plane[v*n:][:n]
		for x, u := range at {
			mask[y*size+x] = row[u] > above
		}
	}
	return mask
}
