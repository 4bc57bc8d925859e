package dataset

import (
	"fmt"
	"image"
	"image/color"
)

// raster is a decoded image, read row by row as interleaved bytes: one channel for grayscale images, else RGB.
type raster struct {
	w, h, channels int
	full           image.Point // size of the whole image, larger than w x h if it was decoded at a reduced scale
	// row writes pixels x0 to x1-1 of row y to dst, channels bytes each.
	row func(dst []uint8, x0, x1, y int)
	// pix contains all rows, if they exist in memory as row would write them.
	pix []uint8

	orientation int         // EXIF orientation of the file, applied or not
	deep        image.Image // the decoded image if its values have 16 bits
	bits        int         // how many of those are used
	// alpha is the alpha value of a pixel, if the image is lossy and has alpha.
	alpha  func(x, y int) uint8
	labels bool      // a mask: values are 0 and 255
	kinds  []Finding // what is odd about a mask
}

// bytesRaster wraps interleaved bytes [h, w, channels].
func bytesRaster(pix []uint8, w, h, channels int) raster {
	return raster{w: w, h: h, channels: channels, pix: pix, row: func(dst []uint8, x0, x1, y int) {
		copy(dst, pix[(y*w+x0)*channels:(y*w+x1)*channels])
	}}
}

// newRaster converts an image decoded from JPEG, PNG, BMP or TIFF as Pillow's convert('RGB') does (docs/model.md section
// 6): alpha is dropped, not multiplied in, and of 16-bit samples the high byte is used.
func newRaster(img image.Image) (raster, error) {
	b := img.Bounds()
	r := raster{w: b.Dx(), h: b.Dy(), channels: 3}
	switch img := img.(type) {
	case *image.Gray:
		r.channels, r.row = 1, everyByte(img.Pix, img.Stride, 1, 0)
	case *image.Gray16:
		r.channels, r.row = 1, everyByte(img.Pix, img.Stride, 2, 0)
	case *image.RGBA:
		r.row = everyByte(img.Pix, img.Stride, 4, 0, 1, 2)
		if !img.Opaque() { // a TIFF with premultiplied alpha
			r.row = straightRows(img)
		}
	case *image.NRGBA:
		r.row = everyByte(img.Pix, img.Stride, 4, 0, 1, 2)
	case *image.RGBA64:
		r.row = everyByte(img.Pix, img.Stride, 8, 0, 2, 4)
		if !img.Opaque() {
			r.row = straightRows(img)
		}
	case *image.NRGBA64:
		r.row = everyByte(img.Pix, img.Stride, 8, 0, 2, 4)
	case *image.Paletted:
		r.row = palettedRows(img)
	case *image.CMYK:
		r.row = cmykRows(img)
	case *image.YCbCr:
		r.row = ycbcrRows(img)
	default:
		return raster{}, fmt.Errorf("pixels of an unknown kind %T", img)
	}
	return r, nil
}

// everyByte takes the bytes at the given offsets of pixels of size bytes.
func everyByte(pix []uint8, stride, size int, offsets ...int) func([]uint8, int, int, int) {
	if len(offsets) == 1 {
		return func(dst []uint8, x0, x1, y int) {
			src := pix[y*stride+x0*size:]
			for i := range x1 - x0 {
				dst[i] = src[i*size+offsets[0]]
			}
		}
	}
	r, g, b := offsets[0], offsets[1], offsets[2]
	return func(dst []uint8, x0, x1, y int) {
		src := pix[y*stride+x0*size:]
		for i := range x1 - x0 {
			d, s := dst[3*i:3*i+3:3*i+3], src[i*size:(i+1)*size:(i+1)*size]
			d[0], d[1], d[2] = s[r], s[g], s[b]
		}
	}
}

// straightRows undoes premultiplied alpha.
func straightRows(img image.Image) func([]uint8, int, int, int) {
	b := img.Bounds()
	return func(dst []uint8, x0, x1, y int) {
		for i := range x1 - x0 {
			c := color.NRGBAModel.Convert(img.At(b.Min.X+x0+i, b.Min.Y+y)).(color.NRGBA)
			dst[3*i], dst[3*i+1], dst[3*i+2] = c.R, c.G, c.B
		}
	}
}

func palettedRows(img *image.Paletted) func([]uint8, int, int, int) {
	var table [256][3]uint8
	for i, c := range img.Palette {
		n := color.NRGBAModel.Convert(c).(color.NRGBA)
		table[i] = [3]uint8{n.R, n.G, n.B}
	}
	return func(dst []uint8, x0, x1, y int) {
		src := img.Pix[y*img.Stride+x0:]
		for i := range x1 - x0 {
			copy(dst[3*i:], table[src[i]][:])
		}
	}
}

// cmykRows converts inks (0 is none): each channel's remaining light is multiplied by the light that black lets
// through, rounded as in Pillow.
func cmykRows(img *image.CMYK) func([]uint8, int, int, int) {
	return func(dst []uint8, x0, x1, y int) {
		src := img.Pix[y*img.Stride+4*x0:]
		for i := range x1 - x0 {
			light := 255 - uint32(src[4*i+3])
			for c := range 3 {
				t := uint32(src[4*i+c])*light + 128
				dst[3*i+c] = uint8(light - (t+t>>8)>>8)
			}
		}
	}
}

// part returns the columns of r that belong to v.
func (r raster) part(v View) (raster, error) {
	if v.Parts == 0 {
		return r, nil
	}
	if r.w%v.Parts != 0 {
		return raster{}, fmt.Errorf("have a strip %d pixels wide, want a multiple of its %d images (data.views)", r.w, v.Parts)
	}
	row, width := r.row, r.w/v.Parts
	from := v.Part * width
	r.w, r.pix, r.full.X = width, nil, r.full.X/v.Parts
	r.row = func(dst []uint8, x0, x1, y int) { row(dst, from+x0, from+x1, y) }
	return r, nil
}

// gray returns r in one channel, weighted as in Pillow's convert('L').
func (r raster) gray() raster {
	if r.channels == 1 {
		return r
	}
	row := r.row
	line := make([]uint8, 3*r.w)
	r.channels, r.pix = 1, nil
	r.row = func(dst []uint8, x0, x1, y int) {
		row(line, x0, x1, y)
		for i := range x1 - x0 {
			p := line[3*i : 3*i+3 : 3*i+3]
			dst[i] = uint8((19595*uint32(p[0]) + 38470*uint32(p[1]) + 7471*uint32(p[2]) + 1<<15) >> 16)
		}
	}
	return r
}
