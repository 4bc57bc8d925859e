package dataset

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"slices"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"

	"mvag-torch/internal/libjpeg"
	"mvag-torch/internal/regularfile"
)

// Limits, so that a damaged or hostile file takes no more memory than a large honest one.
const (
	maxFileBytes = 1 << 28
	maxSide      = 1<<16 - 1 // the maximum of the JPEG format
	maxPixels    = 1 << 28
)

// readFile returns the content of a file, in buf if it is large enough. Errors name the file.
func readFile(name string, buf []byte) ([]byte, error) {
	f, size, err := regularfile.Open(name)
	switch {
	case errors.Is(err, regularfile.ErrKind):
		return nil, fmt.Errorf("%s: not a regular file", printable(name))
	case err != nil:
		return nil, oneLine(err)
	}
	defer f.Close()
	switch {
	case size == 0:
		return nil, fmt.Errorf("%s: the file is empty", printable(name))
	case size > maxFileBytes:
		return nil, fmt.Errorf("%s: have %d bytes, want at most %d", printable(name), size, maxFileBytes)
	}
	buf = slices.Grow(buf[:0], int(size))[:size]
	if _, err := io.ReadFull(f, buf); err != nil {
		return nil, fmt.Errorf("%s: %w", printable(name), err)
	}
	return buf, nil
}

// codec is an image format.
type codec struct {
	name   string
	magic  string // first bytes of a file; "?" is any byte
	end    string // end marker of a complete file, "" if there is none
	config func(io.Reader) (image.Config, error)
	decode func(io.Reader) (image.Image, error)
	// packed is an upper bound of pixels per byte. A JPEG block of 8 x 8 pixels takes at least a bit in its first scan
	// (twice as many pixels cover odd chroma-only scans). Deflate packs at most 1032 bytes of eight one-bit pixels into
	// one; the same bound is used for LZW in a TIFF. BMP is not compressed.
	packed int
	// free is a number of pixels that is always accepted: a flat WebP of any size takes a few bytes.
	free int
	// raster converts what decode returns.
	raster func(image.Image) (raster, error)
}

var codecs = []codec{
	{"JPEG", "\xff\xd8\xff", "\xff\xd9", jpeg.DecodeConfig, jpeg.Decode, 1 << 10, 0, newRaster},
	{"PNG", "\x89PNG\r\n\x1a\n", "IEND", png.DecodeConfig, png.Decode, 1032 * 8, 0, newRaster},
	{"BMP", "BM", "", bmp.DecodeConfig, bmp.Decode, 8, 0, newRaster},
	{"TIFF", "II*\x00", "", tiff.DecodeConfig, tiff.Decode, 1032 * 8, 0, newRaster},
	{"TIFF", "MM\x00*", "", tiff.DecodeConfig, tiff.Decode, 1032 * 8, 0, newRaster},
	{"WebP", "RIFF????WEBPVP8", "", webp.DecodeConfig, webp.Decode, 1 << 10, 1 << 24, webpRaster},
}

func codecOf(data []byte) (*codec, error) {
	for i := range codecs {
		if startsWith(data, codecs[i].magic) {
			return &codecs[i], nil
		}
	}
	return nil, foreignKind(data)
}

// size reads the header of an image. It refuses a size above limit pixels, or larger than the file can contain, before
// any memory is allocated for it.
func (c *codec) size(data []byte, limit int) (w, h int, err error) {
	if err := c.refused(data); err != nil {
		return 0, 0, err
	}
	config, err := c.config(bytes.NewReader(c.readable(data)))
	if err != nil {
		return 0, 0, c.fail(data, err)
	}
	w, h = config.Width, config.Height
	switch {
	case w < 1 || h < 1:
		err = fmt.Errorf("have %dx%d pixels, want at least 1x1", w, h)
	case w > maxSide || h > maxSide:
		err = fmt.Errorf("have %dx%d pixels, want sides of at most %d", w, h, maxSide)
	case w*h > limit:
		err = fmt.Errorf("have %dx%d pixels, want at most %d together", w, h, limit)
	case w*h > max(c.packed*len(data), c.free):
		err = fmt.Errorf("the header says %dx%d pixels, more than %d bytes can hold", w, h, len(data))
	}
	return w, h, err
}

// readable returns data as the decoder reads it.
func (c *codec) readable(data []byte) []byte {
	if c.name == "JPEG" {
		return withAdobe(data)
	}
	return data
}

// fail wraps an error of the decoder. A file without its end marker is reported as truncated, whatever the decoder met
// first. A few bytes of padding may follow the marker.
func (c *codec) fail(data []byte, err error) error {
	tail := data[max(0, len(data)-64):]
	if errors.Is(err, io.ErrUnexpectedEOF) || !bytes.Contains(tail, []byte(c.end)) {
		return fmt.Errorf("truncated %s: %w", c.name, err)
	}
	return fmt.Errorf("%s: %w", c.name, err)
}

// decode decodes an image of at most limit pixels and applies its EXIF orientation if f does. The result may use memory
// of s.
func (f Fit) decode(s *scratch, data []byte, limit int) (raster, error) {
	c, err := codecOf(data)
	if err != nil {
		return raster{}, err
	}
	w, h, err := c.size(data, limit)
	if err != nil {
		return raster{}, err
	}
	var r raster
	if c.name == "JPEG" && libjpeg.Available {
		if r, err = f.libjpeg(s, data, w, h); err != nil {
			return raster{}, c.fail(data, err)
		}
	} else {
		img, err := c.decode(bytes.NewReader(c.readable(data)))
		if err != nil {
			return raster{}, c.fail(data, err)
		}
		if r, err = f.raster(s, c, img); err != nil {
			return raster{}, err
		}
	}
	if f.labels && !r.labels {
		r = r.lossyLabels(s)
	}
	r.full, r.orientation = image.Pt(w, h), orientation(data)
	if f.Exif && r.orientation != upright {
		r = r.oriented(r.orientation)
		if r.full = image.Pt(w, h); r.orientation >= transposed {
			r.full = image.Pt(h, w)
		}
	}
	return r, nil
}

// raster converts a decoded image, or a decoded mask to labels if its values are exact.
func (f Fit) raster(s *scratch, c *codec, img image.Image) (raster, error) {
	if f.labels && !lossy(c, img) {
		return labelsOf(s, img)
	}
	r, err := c.raster(img)
	if err != nil || !is16Bit(img) {
		return r, err
	}
	r.deep = img
	return r, r.useBits(f.bits())
}

// lossy reports whether a decoded image is from a file of lossy compression.
func lossy(c *codec, img image.Image) bool {
	switch img.(type) {
	case *image.YCbCr, *image.NYCbCrA:
		return true
	}
	return c.name == "JPEG"
}

// imageSize returns width and height of an image as decode would return it.
func imageSize(data []byte, exif bool) (w, h int, err error) {
	c, err := codecOf(data)
	if err != nil {
		return 0, 0, err
	}
	w, h, err = c.size(data, maxPixels)
	if exif && orientation(data) >= transposed {
		w, h = h, w
	}
	return w, h, err
}
