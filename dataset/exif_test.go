package dataset

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/internal/testenv"
)

// appMarker returns an APP1 segment.
func appMarker(body []byte) []byte {
	return slices.Concat([]byte{0xff, 0xe1}, binary.BigEndian.AppendUint16(nil, uint16(len(body)+2)), body)
}

// exifBody returns an Exif block with the orientation as second entry of its directory.
func exifBody(order binary.AppendByteOrder, kind, value uint16) []byte {
	body := []byte("Exif\x00\x00")
	if order == binary.AppendByteOrder(binary.LittleEndian) {
		body = append(body, "II*\x00"...)
	} else {
		body = append(body, "MM\x00*"...)
	}
	body = order.AppendUint32(body, 8)
	body = order.AppendUint16(body, 2)
	for _, entry := range [][3]uint16{{0x010f, 2, 0}, {0x0112, kind, value}} {
		body = order.AppendUint16(body, entry[0])
		body = order.AppendUint16(body, entry[1])
		body = order.AppendUint32(body, 1)
		body = order.AppendUint16(body, entry[2])
		body = order.AppendUint16(body, 0)
	}
	return body
}

// withOrientation puts an Exif block into a JPEG.
func withOrientation(jpeg []byte, order binary.AppendByteOrder, value uint16) []byte {
	return slices.Concat(jpeg[:2], appMarker([]byte("http://ns.adobe.com/xap/1.0/\x00")),
		appMarker(exifBody(order, 3, value)), jpeg[2:])
}

func TestOrientation(t *testing.T) {
	plain := jpegBytes(t, texture(8, 8))
	in := func(body []byte) []byte { return slices.Concat(plain[:2], appMarker(body), plain[2:]) }
	big := exifBody(binary.BigEndian, 3, 6)
	farOffset := slices.Clone(big)
	binary.BigEndian.PutUint32(farOffset[10:], 0xfffffffe)
	for _, tt := range []struct {
		name string
		data []byte
		want int
	}{
		{"none", plain, 1},
		{"not a JPEG", pngBytes(t, texture(2, 2)), 1},
		{"empty", nil, 1},
		{"big endian", withOrientation(plain, binary.BigEndian, 6), 6},
		{"little endian", withOrientation(plain, binary.LittleEndian, 8), 8},
		{"fill bytes", slices.Concat(plain[:2], []byte{0xff, 0xff}, appMarker(big)), 6},
		{"value 0", withOrientation(plain, binary.BigEndian, 0), 1},
		{"value 9", withOrientation(plain, binary.BigEndian, 9), 1},
		{"another type", in(exifBody(binary.BigEndian, 4, 6)), 1},
		{"cut in the tag", in(big[:len(big)-8]), 1},
		{"cut in the header", in(big[:9]), 1},
		{"offset beyond the end", in(farOffset), 1},
		{"segment beyond the end", []byte("\xff\xd8\xff\xe1\xff\xffExif\x00\x00"), 1},
		{"segment of no length", []byte("\xff\xd8\xff\xe1\x00\x00Exif\x00\x00"), 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if have := orientation(tt.data); have != tt.want {
				t.Errorf("have %d, want %d", have, tt.want)
			}
		})
	}
}

// TestOriented rotates the letters of a 3 x 2 image according to the table in the EXIF specification.
func TestOriented(t *testing.T) {
	stored := raster{w: 3, h: 2, channels: 1, row: func(dst []uint8, x0, x1, y int) {
		copy(dst, "abcdef"[y*3+x0:y*3+x1])
	}}
	for o, want := range map[int]string{
		1: "abc def", 2: "cba fed", 3: "fed cba", 4: "def abc",
		5: "ad be cf", 6: "da eb fc", 7: "fc eb da", 8: "cf be ad",
	} {
		r := stored.oriented(o)
		var rows []byte
		for y := range r.h {
			line := make([]uint8, r.w)
			r.row(line, 0, r.w, y)
			rows = append(append(rows, ' '), line...)
		}
		if have := string(rows[1:]); have != want {
			t.Errorf("orientation %d: have %q, want %q", o, have, want)
		}
	}
}

// TestGoldenExif: golden/preprocess/exif6.jpg, stored as 480 x 400, is rotated clockwise, and only on request.
func TestGoldenExif(t *testing.T) {
	data, err := readFile(testenv.Shared(t, "golden/preprocess/exif6.jpg"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if have := orientation(data); have != 6 {
		t.Fatalf("have orientation %d, want 6", have)
	}
	stored, err := decode(data, false, maxPixels)
	if err != nil {
		t.Fatal(err)
	}
	turned, err := decode(data, true, maxPixels)
	if err != nil {
		t.Fatal(err)
	}
	if stored.w != 480 || stored.h != 400 || turned.w != 400 || turned.h != 480 {
		t.Fatalf("have %dx%d stored and %dx%d turned", stored.w, stored.h, turned.w, turned.h)
	}
	a, b := stored.pixels(), turned.pixels()
	for y := range 400 {
		for x := range 480 {
			if !bytes.Equal(a[3*(y*480+x):][:3], b[3*(x*400+399-y):][:3]) {
				t.Fatalf("pixel %d, %d is not where it belongs", x, y)
			}
		}
	}
}

// TestMaskOfTurnedImage: the size of a mask is compared with that of the image after EXIF orientation.
func TestMaskOfTurnedImage(t *testing.T) {
	dir := t.TempDir()
	file, mask := filepath.Join(dir, "p.jpg"), filepath.Join(dir, "m.png")
	writeFile(t, file, withOrientation(jpegBytes(t, texture(8, 16)), binary.BigEndian, 6))
	for _, tt := range []struct {
		exif bool
		w, h int
	}{{true, 16, 8}, {false, 8, 16}} {
		writeFile(t, mask, pngBytes(t, texture(tt.w, tt.h)))
		v := View{Path: file, Mask: mask, Code: "AK"}
		if _, err := maskOf(Fit{Resize: configs.Square(8), Crop: configs.Square(8), Exif: tt.exif}, v, MaskGT0, 8); err != nil {
			t.Error(err)
		}
		_, err := maskOf(Fit{Resize: configs.Square(8), Crop: configs.Square(8), Exif: !tt.exif}, v, MaskGT0, 8)
		wantError(t, err, mask, fmt.Sprintf("have %dx%d pixels, want %dx%d", tt.w, tt.h, tt.h, tt.w), file)
	}
}

func FuzzOrientation(f *testing.F) {
	plain := jpegBytes(f, texture(8, 8))
	f.Add(plain)
	f.Add(withOrientation(plain, binary.BigEndian, 6))
	f.Add(withOrientation(plain, binary.LittleEndian, 3))
	f.Add([]byte("\xff\xd8\xff\xff\xff\xff\xff"))
	f.Add(withChunk(pngBytes(f, texture(2, 2)), "eXIf", exifBody(binary.BigEndian, 3, 6)[6:]))
	f.Add([]byte("RIFF\x20\x00\x00\x00WEBPVP8 \x01\x00\x00\x00..EXIF\x08\x00\x00\x00II*\x00\x08\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if o := orientation(data); o < 1 || o > 8 {
			t.Errorf("have orientation %d, want 1 to 8", o)
		}
		if o := tiffOrientation(data); o < 1 || o > 8 {
			t.Errorf("have TIFF orientation %d, want 1 to 8", o)
		}
		if c, err := codecOf(data); err == nil {
			_ = c.refused(data) // no panic
		}
	})
}
