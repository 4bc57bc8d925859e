package dataset

import (
	"bytes"
	"encoding/binary"
)

// EXIF orientations: 1 is upright; from 5 on, width and height are exchanged.
const (
	upright    = 1
	transposed = 5
)

// orientation returns the EXIF orientation of a JPEG or TIFF file, 1 to 8. It is 1 if there is none or it cannot be
// read, as in other programs.
func orientation(data []byte) int {
	if !bytes.HasPrefix(data, []byte("\xff\xd8")) {
		return tiffOrientation(data)
	}
	const app1, startOfScan = 0xe1, 0xda
	for data = data[2:]; len(data) >= 4 && data[0] == 0xff; {
		if data[1] == 0xff { // a fill byte before the marker
			data = data[1:]
			continue
		}
		size := 2 + int(binary.BigEndian.Uint16(data[2:])) // including the marker
		if data[1] == startOfScan || size < 4 || size > len(data) {
			break
		}
		if tiff, ok := bytes.CutPrefix(data[4:size], []byte("Exif\x00\x00")); ok && data[1] == app1 {
			return tiffOrientation(tiff)
		}
		data = data[size:]
	}
	return upright
}

// tiffOrientation finds the orientation in a TIFF structure.
func tiffOrientation(tiff []byte) int {
	if o, ok := tiffShort(tiff, 0x0112); ok && upright <= o && o <= 8 {
		return o
	}
	return upright
}

// tiffShort returns the 16-bit value of a tag in the first directory of a TIFF structure.
func tiffShort(tiff []byte, tag uint16) (value int, ok bool) {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(tiff, []byte("II*\x00")):
		order = binary.LittleEndian
	case bytes.HasPrefix(tiff, []byte("MM\x00*")):
		order = binary.BigEndian
	default:
		return 0, false
	}
	if len(tiff) < 8 {
		return 0, false
	}
	at := int64(order.Uint32(tiff[4:]))
	if at+2 > int64(len(tiff)) {
		return 0, false
	}
	entries := int(order.Uint16(tiff[at:]))
	const entrySize, short = 12, 3
	for fields := tiff[at+2:]; entries > 0 && len(fields) >= entrySize; entries-- {
		if order.Uint16(fields) == tag {
			return int(order.Uint16(fields[8:])), order.Uint16(fields[2:]) == short
		}
		fields = fields[entrySize:]
	}
	return 0, false
}

// oriented applies EXIF orientation o to r.
func (r raster) oriented(o int) raster {
	w, h, n := r.w, r.h, r.channels
	if o >= transposed {
		w, h = h, w
	}
	pix := make([]uint8, w*h*n)
	line := make([]uint8, r.w*n)
	for y := range r.h {
		r.row(line, 0, r.w, y)
		for x := range r.w {
			u, v := turn(o, x, y, r.w, r.h)
			copy(pix[(v*w+u)*n:][:n], line[x*n:])
		}
	}
	return bytesRaster(pix, w, h, n)
}

// turn returns the position of pixel x, y of a w x h image after orientation o is applied.
func turn(o, x, y, w, h int) (u, v int) {
	if o >= transposed {
		x, y, w, h = y, x, h, w
	}
	switch o {
	case 2, 6: // mirror horizontally
		return w - 1 - x, y
	case 3, 7: // rotate by 180 degrees
		return w - 1 - x, h - 1 - y
	case 4, 8: // mirror vertically
		return x, h - 1 - y
	}
	return x, y
}
