package dataset

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"mvag-torch/configs"
)

// The rules by which a resized mask becomes yes or no (model.md section 6).
const (
	MaskGT0  = "gt0"   // any value above 0 is a defect: masks grow by about a pixel
	MaskGT05 = "gt0.5" // at least half covered
)

// Fit is what becomes of an image before the model: a resize to Resize x Resize pixels whatever its aspect (Pillow's
// antialiased bilinear), then the Crop x Crop centre (model.md sections 6 and 7).
type Fit struct {
	Resize, Crop int
	Exif         bool // turn JPEG and TIFF images by their EXIF orientation
	// Scaled decodes JPEGs at the least eighths of their size that are not below Resize. It needs libjpeg-turbo, and
	// gives slightly other pixels.
	Scaled bool
}

// NewFit is what cfg says becomes of images.
func NewFit(cfg configs.Data) Fit {
	return Fit{Resize: cfg.Resize, Crop: cfg.Crop, Exif: cfg.Exif, Scaled: cfg.Decode == "scaled"}
}

// offset is where the crop begins; a half goes to the even side, as in torchvision.
func (f Fit) offset() int {
	return int(math.RoundToEven(float64(f.Resize-f.Crop) / 2))
}

// scratch is the memory that fitting one image needs.
type scratch struct {
	resizer
	file  []byte
	plane []uint8 // fitted pixels
	pix   []uint8 // of a decoded JPEG
}

// room returns n values, valid until the next call.
func (s *scratch) room(n int) []uint8 {
	s.plane = slices.Grow(s.plane[:0], n)[:n]
	return s.plane
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// Decode decodes an encoded image, which errors call name, and writes it fitted into dst as planes of red, green and
// blue, [3, Crop, Crop]. It returns the size of the image in pixels before the fit, after the turn by its EXIF
// orientation. It is safe for concurrent use.
func (f Fit) Decode(data []byte, name string, dst []uint8) (w, h int, err error) {
	return f.Image(View{Path: name, Data: data}, dst)
}

// Image is Decode for a view, out of its memory or its file. Of a strip it is one part.
func (f Fit) Image(v View, dst []uint8) (w, h int, err error) {
	if want := 3 * f.Crop * f.Crop; len(dst) != want {
		return 0, 0, fmt.Errorf("%s: have room for %d values, want %d", printable(v.Path), len(dst), want)
	}
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	r, err := f.readImage(s, v)
	if err != nil {
		return 0, 0, err
	}
	f.fit(s, r, dst)
	return r.full.X, r.full.Y, nil
}

// content returns the encoded image of a view, in memory of s where it is read from its file.
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

// readImage decodes the image of v and takes its part.
func (f Fit) readImage(s *scratch, v View) (raster, error) {
	data, err := v.content(s)
	if err != nil {
		return raster{}, err
	}
	return f.decodePart(s, data, v.Path, v)
}

// decodePart decodes a file of v, its image or its mask, and takes its part.
func (f Fit) decodePart(s *scratch, data []byte, name string, v View) (raster, error) {
	if v.Parts > 0 {
		f.Scaled = false // a part might begin within a pixel
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

// fit writes the three planes of an image.
func (f Fit) fit(s *scratch, r raster, dst []uint8) {
	s.resize(r, f.Resize, f.offset(), f.Crop, dst)
	if r.channels == 1 {
		n := f.Crop * f.Crop
		copy(dst[n:], dst[:n])
		copy(dst[2*n:], dst[:n])
	}
}

// Masks decodes the mask of v and returns it at size x size pixels, row by row, true where there is a defect: fitted as
// the image is, then by nearest pixel as PyTorch's interpolate, then by each rule, MaskGT0 and MaskGT05. A mask of
// another size than its image is an error. A good view has the empty mask.
func (s Source) Masks(v View, size int) (map[string][]bool, error) {
	n := s.Fit.Crop
	switch {
	case !v.Defective():
		return map[string][]bool{MaskGT0: make([]bool, size*size), MaskGT05: make([]bool, size*size)}, nil
	case v.Mask == "":
		return nil, fmt.Errorf("%s: defective image without a mask", printable(v.Path))
	case s.Cache != nil:
		plane := make([]uint8, n*n)
		if err := s.Cache.mask(v, plane); err != nil {
			return nil, err
		}
		return byRules(plane, n, size), nil
	}
	memory := scratches.Get().(*scratch)
	defer scratches.Put(memory)
	w, h, err := s.Fit.size(memory, v)
	if err != nil {
		return nil, err
	}
	r, err := s.Fit.readMask(memory, v, w, h)
	if err != nil {
		return nil, err
	}
	return byRules(s.Fit.fitMask(memory, r), n, size), nil
}

// byRules compares a fitted mask [n, n] by both rules at size x size pixels.
func byRules(plane []uint8, n, size int) map[string][]bool {
	return map[string][]bool{MaskGT0: nearest(plane, n, size, 0), MaskGT05: nearest(plane, n, size, 127)}
}

// fitMask returns the fitted mask [Crop, Crop], which s holds.
func (f Fit) fitMask(s *scratch, r raster) []uint8 {
	plane := s.room(f.Crop * f.Crop)
	s.resize(r, f.Resize, f.offset(), f.Crop, plane)
	return plane
}

// size returns the size of the image of v from its header.
func (f Fit) size(s *scratch, v View) (w, h int, err error) {
	data, err := v.content(s)
	if err != nil {
		return 0, 0, err
	}
	if w, h, err = imageSize(data, f.Exif); err != nil {
		return 0, 0, fmt.Errorf("%s: %w", printable(v.Path), err)
	}
	return w / max(v.Parts, 1), h, nil
}

// sizeError is a mask of another size than its image.
type sizeError struct {
	v                          View
	haveW, haveH, wantW, wantH int
}

func (e *sizeError) Error() string {
	return fmt.Sprintf("%s: have %dx%d pixels, want %dx%d as its image %s",
		printable(e.v.Mask), e.haveW, e.haveH, e.wantW, e.wantH, printable(e.v.Path))
}

// readMask decodes the mask of v, whose image has w x h pixels.
func (f Fit) readMask(s *scratch, v View, w, h int) (raster, error) {
	f.Scaled = false
	data, err := s.readFile(v.Mask)
	if err != nil {
		return raster{}, err
	}
	r, err := f.decodePart(s, data, v.Mask, v)
	if err != nil {
		return raster{}, err
	}
	if r.w != w || r.h != h {
		return raster{}, &sizeError{v, r.w, r.h, w, h}
	}
	r = r.gray()
	if v.MaskLabels {
		r = r.nonZero()
	}
	return r, nil
}

// nearest samples an n x n plane at size x size pixels and compares. The index is computed in float32 since PyTorch
// does.
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
