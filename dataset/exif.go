package dataset

import (
	"bytes"
	"encoding/binary"
	"iter"
)

// EXIF orientations: 1 is upright; from 5 on, width and height are exchanged.
const (
	upright    = 1
	transposed = 5
)

// orientation returns the EXIF orientation of an image file, 1 to 8. It is 1 if there is none or it cannot be read, as in
// other programs.
func orientation(data []byte) int {
	switch {
	case bytes.HasPrefix(data, []byte("\xff\xd8")):
		const app1 = 0xe1
		for marker, content := range segments(data) {
			if tiff, ok := bytes.CutPrefix(content, []byte("Exif\x00\x00")); ok && marker == app1 {
				return tiffOrientation(tiff)
			}
		}
		return upright
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
		return tiffOrientation(chunk(data[8:], binary.BigEndian, "eXIf"))
	case bytes.HasPrefix(data, []byte("RIFF")) && len(data) >= 12:
		return tiffOrientation(bytes.TrimPrefix(chunk(data[12:], binary.LittleEndian, "EXIF"), []byte("Exif\x00\x00")))
	}
	return tiffOrientation(data)
}

// segments yields marker and content of the segments of a JPEG that precede its first scan.
func segments(jpeg []byte) iter.Seq2[byte, []byte] {
	return func(yield func(byte, []byte) bool) {
		const startOfScan = 0xda
		for data := jpeg[2:]; len(data) >= 4 && data[0] == 0xff; {
			if data[1] == 0xff { // a fill byte before the marker
				data = data[1:]
				continue
			}
			size := 2 + int(binary.BigEndian.Uint16(data[2:])) // including the marker
			if data[1] == startOfScan || size < 4 || size > len(data) || !yield(data[1], data[4:size]) {
				return
			}
			data = data[size:]
		}
	}
}

// chunk returns the content of the first chunk of that name in a PNG (length, name, content, checksum; big-endian) or in
// a WebP (name, length, content, padding to an even length; little-endian); nil if there is none.
func chunk(chunks []byte, order binary.ByteOrder, name string) []byte {
	for len(chunks) >= 8 {
		length, have, end := int64(order.Uint32(chunks)), chunks[4:8], int64(4)
		if order == binary.ByteOrder(binary.LittleEndian) {
			length, have = int64(order.Uint32(chunks[4:])), chunks[:4]
			end = length & 1
		}
		if length > int64(len(chunks)-8) {
			return nil
		}
		if string(have) == name {
			return chunks[8:][:length]
		}
		chunks = chunks[min(8+length+end, int64(len(chunks))):]
	}
	return nil
}

// tiffOrientation finds the orientation in a TIFF structure.
func tiffOrientation(tiff []byte) int {
	if o, kind, ok := tiffValue(tiff, 0x0112); ok && kind == tiffUint16 && upright <= o && o <= 8 {
		return o
	}
	return upright
}

// The types of values in a TIFF structure that are read here.
const (
	tiffUint16 = 3
	tiffUint32 = 4
)

// tiffValue returns the first value of a tag in the first directory of a TIFF structure, and its type.
func tiffValue(tiff []byte, tag uint16) (value, kind int, ok bool) {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(tiff, []byte("II*\x00")):
		order = binary.LittleEndian
	case bytes.HasPrefix(tiff, []byte("MM\x00*")):
		order = binary.BigEndian
	default:
		return 0, 0, false
	}
	if len(tiff) < 8 {
		return 0, 0, false
	}
	at := int64(order.Uint32(tiff[4:]))
	if at+2 > int64(len(tiff)) {
		return 0, 0, false
	}
	entries := int(order.Uint16(tiff[at:]))
	const entrySize = 12
	for fields := tiff[at+2:]; entries > 0 && len(fields) >= entrySize; entries-- {
		if order.Uint16(fields) == tag {
			kind, count, values := int(order.Uint16(fields[2:])), order.Uint32(fields[4:]), fields[8:]
			if from := int64(order.Uint32(values)); kind == tiffUint16 && count > 2 || kind == tiffUint32 && count > 1 {
				if from+4 > int64(len(tiff)) {
					return 0, kind, false
				}
				values = tiff[from:] // more values than the entry has room for
			}
			if kind == tiffUint32 {
				return int(order.Uint32(values)), kind, true
			}
			return int(order.Uint16(values)), kind, kind == tiffUint16
		}
		fields = fields[entrySize:]
	}
	return 0, 0, false
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
	r.w, r.h, r.pix, r.row = w, h, pix, bytesRaster(pix, w, h, n).row
	return r
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
