package dataset

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"slices"
)

// Masks are labels, not photographs: a mask becomes 0 (background) and 255 (defect) before it is resized, whatever its
// encoding. docs/datasets.md has the rules.

// MaxLevels is the number of values up to which a mask has labels; one with more is antialiased or a photograph.
const MaxLevels = 16

// A pixel of a mask as a number: its value or colour, 0 for background, and whether its alpha is above 0.
const visible = 1 << 63

// labelsOf reads an image of exact values as a mask. Alpha counts if some pixels are transparent and some are not:
// transparent ones are background, and if all others have the same value, those are the defects.
func labelsOf(s *scratch, img image.Image) (raster, error) {
	b := img.Bounds()
	pix := s.labelRoom(b.Dx() * b.Dy())
	var found values
	switch img := img.(type) {
	case *image.Gray:
		var numbers [256]uint64
		for v := range numbers {
			numbers[v] = visible | uint64(v)
		}
		counts := countBytes(img.Pix, img.Stride, b)
		found.resaved(&counts)
		found.labelBytes(pix, b.Dx(), img.Pix, img.Stride, &counts, &numbers)
	case *image.Paletted:
		counts := countBytes(img.Pix, img.Stride, b)
		numbers := indices(img.Palette, &counts)
		found.labelBytes(pix, b.Dx(), img.Pix, img.Stride, &counts, &numbers)
	case *image.Gray16:
		found.labelPixels(pix, b.Dx(), img.Pix, img.Stride, 2)
	case *image.RGBA:
		found.labelPixels(pix, b.Dx(), img.Pix, img.Stride, 4)
	case *image.NRGBA:
		found.labelPixels(pix, b.Dx(), img.Pix, img.Stride, 4)
	case *image.RGBA64:
		found.labelPixels(pix, b.Dx(), img.Pix, img.Stride, 8)
	case *image.NRGBA64:
		found.labelPixels(pix, b.Dx(), img.Pix, img.Stride, 8)
	default:
		return raster{}, fmt.Errorf("pixels of an unknown kind %T", img)
	}
	r := bytesRaster(pix, b.Dx(), b.Dy(), 1)
	r.labels, r.kinds = true, found.kinds()
	return r, nil
}

// labelRoom returns memory for n labels, valid until the next call.
func (s *scratch) labelRoom(n int) []uint8 {
	s.labels = slices.Grow(s.labels[:0], n)[:n]
	return s.labels
}

// countBytes counts pixels of one byte by value.
func countBytes(pix []uint8, stride int, b image.Rectangle) (counts [256]int) {
	for y := range b.Dy() {
		for _, v := range pix[y*stride:][:b.Dx()] {
			counts[v]++
		}
	}
	return counts
}

// labelBytes labels pixels of one byte, which have the numbers given.
func (d *values) labelBytes(dst []uint8, w int, pix []uint8, stride int, counts *[256]int, numbers *[256]uint64) {
	for v, n := range counts {
		if n > 0 {
			d.add(numbers[v])
		}
	}
	var labels [256]uint8
	for v := range labels {
		labels[v] = d.label(numbers[v])
	}
	for y := range len(dst) / w {
		row := dst[y*w:][:w]
		for x, v := range pix[y*stride:][:w] {
			row[x] = labels[v]
		}
	}
}

// labelPixels labels pixels of 2 bytes (gray of 16 bits), 4 or 8 (red, green, blue and alpha). Masks are flat, so that
// most pixels equal the one before.
func (d *values) labelPixels(dst []uint8, w int, pix []uint8, stride, size int) {
	row := make([]uint64, w)
	var counts [256]int // of 8 bits, by the brightest channel
	for _, labelling := range []bool{false, true} {
		var last uint64
		label, value, first := uint8(0), uint8(0), true
		for y := range len(dst) / w {
			load(row, pix[y*stride:], size)
			out := dst[y*w:][:w]
			for x, p := range row {
				if p != last || first {
					last, first = p, false
					if labelling {
						label = d.label(number(p, size))
					} else {
						d.add(number(p, size))
						value = uint8(max(p>>24&255, p>>16&255, p>>8&255))
					}
				}
				counts[value]++
				out[x] = label
			}
		}
		if !labelling && size == 4 && !d.alpha() {
			d.resaved(&counts)
		}
	}
}

// load reads pixels of 2, 4 or 8 bytes.
func load(dst []uint64, src []uint8, size int) {
	switch size {
	case 2:
		for x := range dst {
			dst[x] = uint64(binary.BigEndian.Uint16(src[2*x:]))
		}
	case 4:
		for x := range dst {
			dst[x] = uint64(binary.BigEndian.Uint32(src[4*x:]))
		}
	default:
		for x := range dst {
			dst[x] = binary.BigEndian.Uint64(src[8*x:])
		}
	}
}

// number returns the number of a pixel of 2, 4 or 8 bytes.
func number(p uint64, size int) uint64 {
	bits := 2 * size // of alpha, the last of four values
	switch {
	case size == 2:
		return p | visible
	case p&(1<<bits-1) == 0:
		return p >> bits
	}
	return p>>bits | visible
}

// indices returns the numbers of the colours of a palette. Background is index 0, but if that is not black and exactly
// one colour of the image is, background is that one.
func indices(palette color.Palette, counts *[256]int) (numbers [256]uint64) {
	background := 0
	var black []int
	for i, c := range palette {
		n := color.NRGBAModel.Convert(c).(color.NRGBA)
		if n.A > 0 {
			numbers[i] = visible
		}
		if n.R|n.G|n.B == 0 && (counts[i] > 0 || i == 0) {
			black = append(black, i)
		}
	}
	if len(black) == 1 {
		background = black[0]
	}
	for i := range numbers {
		if i != background {
			numbers[i] |= uint64(i + 1)
		}
	}
	return numbers
}

// lossyLabels reads an image of lossy compression as a mask. Its values ring around edges, so a pixel is a defect from
// half of the highest value of the file on, by its brightest channel. Alpha counts as in labelsOf.
func (r raster) lossyLabels(s *scratch) raster {
	pix, line := s.labelRoom(r.w*r.h), make([]uint8, r.w*r.channels)
	var counts [256]int // of opaque pixels by value
	opaque := 0
	for y := range r.h {
		r.row(line, 0, r.w, y)
		for x := range r.w {
			v := slices.Max(line[x*r.channels:][:r.channels])
			pix[y*r.w+x] = v
			if r.alpha == nil || r.alpha(x, y) != 0 {
				opaque++
				counts[v]++
			}
		}
	}
	masked := opaque > 0 && opaque < r.w*r.h
	if opaque == 0 {
		for _, v := range pix {
			counts[v]++
		}
	}
	top := 255
	for top > 0 && counts[top] == 0 {
		top--
	}
	const noise = 8 // of lossy black
	least := max(1, (top+1)/2)
	if masked && top < noise {
		least = 0
	}
	for i, v := range pix {
		pix[i] = 0
		if int(v) >= least && !(masked && r.alpha(i%r.w, i/r.w) == 0) {
			pix[i] = 255
		}
	}
	labels := bytesRaster(pix, r.w, r.h, 1)
	labels.labels, labels.kinds = true, []Finding{LossyMask}
	between := 0
	for v := top/4 + 1; v < 3*top/4; v++ {
		between += counts[v]
	}
	if between > r.w*r.h/20 { // more than the edges of a mask
		labels.kinds = append(labels.kinds, MaskLevels)
	}
	return labels
}

// mask is a mask read as labels.
type mask struct {
	raster     // one channel: 0 is background, 255 a defect
	marked int // pixels with a defect
}

// readMask decodes the mask of v, whose encoded image is given. kinds of the result say what is odd about it.
func (f Fit) readMask(s *scratch, v View, img []byte) (mask, error) {
	f.Scaled, f.labels = false, true
	data, err := readFile(v.Mask, s.mask)
	if err != nil {
		return mask{}, err
	}
	s.mask = data
	r, err := f.decodePart(s, data, v.Mask, v)
	if err != nil {
		return mask{}, err
	}
	w, h, err := f.size(img, v)
	if err != nil {
		return mask{}, err
	}
	if r.w != w || r.h != h {
		return mask{}, f.sizeError(v, img, r, w, h)
	}
	m := mask{raster: r}
	m.count()
	if !v.Defective() && m.marked > 0 {
		m.kinds = append(m.kinds, MaskOnGood)
	}
	if m.marked > 0 && (bytes.Equal(data, img) || slices.Contains(m.kinds, MaskLevels) && f.sameImage(data, img)) {
		m.kinds = append(m.kinds, MaskIsImage)
	}
	return m, nil
}

// count counts defective pixels. Masks that mark everything, or more than half of the image and of its border, are
// findings.
func (m *mask) count() {
	border, line := 0, make([]uint8, m.w)
	for y := range m.h {
		m.row(line, 0, m.w, y)
		n := bytes.Count(line, []byte{255})
		m.marked += n
		if y == 0 || y == m.h-1 {
			border += n
			continue
		}
		for _, x := range []int{0, m.w - 1} {
			if line[x] != 0 {
				border++
			}
		}
	}
	switch all := m.w * m.h; {
	case m.marked == all:
		m.kinds = append(m.kinds, FullMask)
	case 2*m.marked > all && border > m.w+m.h-2: // half of the border
		m.kinds = append(m.kinds, InvertedMask)
	}
}

// sameImage reports whether two files contain the same image, in grayscale.
func (f Fit) sameImage(a, b []byte) bool {
	f.labels, f.Bits = false, 0
	var rows [2]raster
	for i, data := range [][]byte{a, b} {
		r, err := f.decode(new(scratch), data, maxPixels)
		if err != nil {
			return false
		}
		rows[i] = r.gray()
	}
	if rows[0].w != rows[1].w || rows[0].h != rows[1].h {
		return false
	}
	one, other := make([]uint8, rows[0].w), make([]uint8, rows[0].w)
	for y := range rows[0].h {
		rows[0].row(one, 0, len(one), y)
		rows[1].row(other, 0, len(other), y)
		if !bytes.Equal(one, other) {
			return false
		}
	}
	return true
}

// sizeError says that a mask differs in size from its image.
type sizeError struct {
	v                          View
	haveW, haveH, wantW, wantH int
	hint                       string // if the mask fits the image in another orientation
}

func (e *sizeError) Error() string {
	return fmt.Sprintf("%s: have %dx%d pixels, want %dx%d as its image %s%s",
		printable(e.v.Mask), e.haveW, e.haveH, e.wantW, e.wantH, printable(e.v.Path), e.hint)
}

func (f Fit) sizeError(v View, img []byte, r raster, w, h int) error {
	e := &sizeError{v: v, haveW: r.w, haveH: r.h, wantW: w, wantH: h}
	f.Exif = !f.Exif
	if w, h, err := f.size(img, v); err == nil && w == r.w && h == r.h {
		e.hint = fmt.Sprintf("; it fits the image with data.exif: %t (EXIF orientation %d)", f.Exif, orientation(img))
	}
	return e
}
