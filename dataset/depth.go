package dataset

import (
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"maps"
	"slices"
	"strconv"
	"strings"

	"mvag-torch/configs"
)

// Cameras of 10, 12 or 14 bits write their values as they are into files of 16 bits, whose high byte then says next to
// nothing. data.bits says how many of the 16 bits are used.

const (
	fullBits    = 16
	unknownBits = -1 // classes have several depths, and the class of the image is not known
)

// Depths are the bits that 16-bit images of each class use, as data.bits auto found them. Classes without such images
// are absent.
type Depths map[string]int

// of returns the bits of an image of a class. A class that is absent has those that all others share.
func (d Depths) of(class string) int {
	if bits, ok := d[class]; ok {
		return bits
	}
	all := slices.Compact(slices.Sorted(maps.Values(d)))
	switch len(all) {
	case 0:
		return fullBits
	case 1:
		return all[0]
	}
	return unknownBits
}

// String lists the depths: "bolt 10, nut 12".
func (d Depths) String() string {
	var parts []string
	for _, class := range slices.Sorted(maps.Keys(d)) {
		parts = append(parts, fmt.Sprintf("%s %d", printable(class), d[class]))
	}
	return strings.Join(parts, ", ")
}

// At returns v, a view of an object of that class, to be read at the depth of the class where data.bits is auto.
func (s Source) At(v View, class string) View {
	if s.automatic {
		v.Bits = s.Depths.of(class)
	}
	return v
}

// bits is the depth of 16-bit images of a class.
func (s Source) bits(class string) int {
	if s.automatic {
		return s.Depths.of(class)
	}
	return s.Fit.bits()
}

// fixedBits is the value of data.bits, or 0 for auto.
func fixedBits(cfg configs.Data) int {
	bits, err := strconv.Atoi(cfg.Bits)
	if err != nil {
		return 0
	}
	return bits
}

// bits is the depth of 16-bit images.
func (f Fit) bits() int {
	if f.Bits == 0 {
		return fullBits
	}
	return f.Bits
}

// samples16 describes the 16-bit values of an image: those of a pixel have size bytes, of which the first channels
// values are colours. It returns nil for other images and for premultiplied alpha, which is undone by division and so
// does not depend on the depth.
func samples16(img image.Image) (pix []uint8, stride, size, channels int) {
	switch img := img.(type) {
	case *image.Gray16:
		return img.Pix, img.Stride, 2, 1
	case *image.NRGBA64:
		return img.Pix, img.Stride, 8, 3
	case *image.RGBA64:
		if img.Opaque() {
			return img.Pix, img.Stride, 8, 3
		}
	}
	return nil, 0, 0, 0
}

// deepModel reports whether an image with this colour model has 16-bit values.
func deepModel(m color.Model) bool {
	return m == color.Gray16Model || m == color.NRGBA64Model || m == color.RGBA64Model
}

func is16Bit(img image.Image) bool {
	switch img.(type) {
	case *image.Gray16, *image.NRGBA64, *image.RGBA64:
		return true
	}
	return false
}

// highest returns the highest value of a 16-bit image.
func highest(img image.Image) int {
	pix, stride, size, channels := samples16(img)
	if pix == nil {
		return 1<<fullBits - 1
	}
	top := uint16(0)
	b := img.Bounds()
	for y := range b.Dy() {
		row := pix[y*stride:][:b.Dx()*size]
		for x := 0; x < len(row); x += size {
			for c := 0; c < 2*channels; c += 2 {
				top = max(top, binary.BigEndian.Uint16(row[x+c:]))
			}
		}
	}
	return int(top)
}

// neededBits is the depth of a camera with values up to top: 8, 10, 12, 14 or 16 bits.
func neededBits(top int) int {
	for _, bits := range []int{8, 10, 12, 14} {
		if top>>bits == 0 {
			return bits
		}
	}
	return fullBits
}

// useBits makes a 16-bit image use its lower bits. A value that has more is an error.
func (r *raster) useBits(bits int) error {
	if bits == unknownBits {
		return errors.New("have 16 bits per value and no known class, want one: data.bits auto found several depths")
	}
	if r.bits = bits; bits == fullBits {
		return nil
	}
	pix, stride, size, channels := samples16(r.deep)
	if pix == nil {
		return nil
	}
	if top, limit := highest(r.deep), 1<<bits-1; top > limit {
		return fmt.Errorf("have the value %d, want at most %d (data.bits %d)", top, limit, bits)
	}
	shift := bits - 8
	r.row = func(dst []uint8, x0, x1, y int) {
		src := pix[y*stride+x0*size:]
		for i := range x1 - x0 {
			for c := range channels {
				dst[i*channels+c] = uint8(binary.BigEndian.Uint16(src[i*size+2*c:]) >> shift)
			}
		}
	}
	return nil
}
