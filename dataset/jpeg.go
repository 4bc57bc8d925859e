package dataset

import (
	"errors"
	"image"
	"slices"

	"mvag-torch/internal/libjpeg"
)

// jpegDecoder names the JPEG decoder.
func (f Fit) jpegDecoder() string {
	switch {
	case f.Scaled:
		return "libjpeg-turbo, scaled"
	case libjpeg.Available:
		return "libjpeg-turbo"
	}
	return "image/jpeg"
}

// checkDecoder returns an error if scaled decoding is requested but not available.
func (f Fit) checkDecoder() error {
	if f.Scaled && !libjpeg.Available {
		return errors.New(`data.decode: have "scaled", want "exact": this program is built without libjpeg-turbo (make build TAGS=libjpeg)`)
	}
	return nil
}

// eighths is the scale at which a w x h image is decoded, in 1/8: the smallest that does not fall below its size on the
// canvas, which turned images reach on the other side.
func (f Fit) eighths(w, h int, turned bool) int {
	want := f.scaled(w, h)
	if turned {
		want = f.scaled(h, w)
		want.X, want.Y = want.Y, want.X
	}
	for n := 1; f.Scaled && n < 8; n++ {
		if (w*n+7)/8 >= want.X && (h*n+7)/8 >= want.Y {
			return n
		}
	}
	return 8
}

// libjpeg decodes a JPEG of w x h pixels into memory of s.
func (f Fit) libjpeg(s *scratch, data []byte, w, h int) (raster, error) {
	n := f.eighths(w, h, f.Exif && orientation(data) >= transposed)
	w, h = (w*n+7)/8, (h*n+7)/8
	const channels = 4 // at most
	s.pix = slices.Grow(s.pix[:0], channels*w*h)[:channels*w*h]
	p, err := libjpeg.Decode(data, n, s.pix)
	if err != nil {
		return raster{}, err
	}
	r := bytesRaster(s.pix[:p.Width*p.Height*p.Channels], p.Width, p.Height, p.Channels)
	if p.Channels < channels {
		return r, nil
	}
	for i, v := range r.pix {
		r.pix[i] = 255 - v // light is stored instead of ink
	}
	return newRaster(&image.CMYK{Pix: r.pix, Stride: channels * r.w, Rect: image.Rect(0, 0, r.w, r.h)})
}
