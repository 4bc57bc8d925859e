package dataset

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"

	"mvag-torch/configs"
)

// A tiffTag is a field of a TIFF's directory, with one value.
type tiffTag struct{ tag, value uint16 }

// tiffOf returns a TIFF with these tags instead of, or besides, those of an RGB image.
func tiffOf(t testing.TB, change ...tiffTag) []byte {
	t.Helper()
	tags := map[uint16]uint16{256: 2, 257: 2, 258: 8, 259: 1, 262: 2, 273: 500, 277: 3, 278: 2, 279: 12}
	for _, c := range change {
		tags[c.tag] = c.value
	}
	data := binary.LittleEndian.AppendUint16([]byte("II*\x00\x08\x00\x00\x00"), uint16(len(tags)))
	for tag := range uint16(65535) {
		if value, ok := tags[tag]; ok {
			data = binary.LittleEndian.AppendUint16(data, tag)
			data = binary.LittleEndian.AppendUint16(data, tiffUint16)
			data = binary.LittleEndian.AppendUint32(data, 1)
			data = binary.LittleEndian.AppendUint32(data, uint32(value))
		}
	}
	return append(data, make([]byte, 600)...)
}

// jpegWith returns a JPEG with another marker of its frame header, or other bits per value.
func jpegWith(t testing.TB, marker, bits byte) []byte {
	data := jpegBytes(t, texture(8, 8))
	at := bytes.Index(data, []byte{0xff, 0xc0})
	data[at+1], data[at+4] = marker, bits
	return data
}

// bmpWith returns a BMP with another number of bits and compression.
func bmpWith(t testing.TB, bits, compression uint16) []byte {
	var buf bytes.Buffer
	if err := bmp.Encode(&buf, texture(4, 4)); err != nil {
		t.Fatal(err)
	}
	data := buf.Bytes()
	binary.LittleEndian.PutUint16(data[28:], bits)
	binary.LittleEndian.PutUint16(data[30:], compression)
	return data
}

// TestRefusedByName: a kind of file that is not read is refused in one line by its name, as an image and as a mask.
func TestRefusedByName(t *testing.T) {
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"BigTIFF":                {[]byte("II+\x00\x08\x00\x00\x00"), "BigTIFF (offsets of 64 bits), want"},
		"BigTIFF, big endian":    {[]byte("MM\x00+\x00\x08\x00\x00"), "BigTIFF (offsets of 64 bits), want"},
		"GIF":                    {[]byte("GIF89a......"), "GIF, want JPEG"},
		"HEIC":                   {[]byte("\x00\x00\x00\x18ftypheic"), "HEIC, want JPEG"},
		"AVIF":                   {[]byte("\x00\x00\x00\x18ftypavif"), "AVIF, want JPEG"},
		"JPEG 2000":              {[]byte("\x00\x00\x00\x0cjP  \r\n"), "JPEG 2000, want JPEG"},
		"Git LFS":                {[]byte("version https://git-lfs.github.com/spec/v1\noid sha256:00"), "a Git LFS pointer, not the image itself"},
		"planar TIFF":            {tiffOf(t, tiffTag{284, 2}), "TIFF: have planes one after the other (planar), want"},
		"JPEG in TIFF":           {tiffOf(t, tiffTag{259, 7}, tiffTag{262, 6}), "TIFF: have JPEG inside, want"},
		"old JPEG in TIFF":       {tiffOf(t, tiffTag{259, 6}), "TIFF: have JPEG inside, want"},
		"Zstandard in TIFF":      {tiffOf(t, tiffTag{259, 50000}), "TIFF: have Zstandard compression, want"},
		"LZMA in TIFF":           {tiffOf(t, tiffTag{259, 34925}), "TIFF: have LZMA compression, want"},
		"fax":                    {tiffOf(t, tiffTag{259, 4}, tiffTag{258, 1}, tiffTag{277, 1}, tiffTag{262, 0}), "TIFF: have fax compression, want"},
		"float":                  {tiffOf(t, tiffTag{339, 3}, tiffTag{258, 32}), "TIFF: have floating-point values, want"},
		"signed":                 {tiffOf(t, tiffTag{339, 2}, tiffTag{258, 16}), "TIFF: have signed integers, want"},
		"CMYK TIFF":              {tiffOf(t, tiffTag{262, 5}, tiffTag{277, 4}), "TIFF: have CMYK, want"},
		"CIELab":                 {tiffOf(t, tiffTag{262, 8}), "TIFF: have CIELab, want"},
		"Bayer":                  {tiffOf(t, tiffTag{262, 32803}, tiffTag{277, 1}), "TIFF: have the raw pixels of a colour sensor, want"},
		"gray with alpha":        {tiffOf(t, tiffTag{262, 1}, tiffTag{277, 2}), "TIFF: have grayscale or palette with 2 channels, want one"},
		"12 bits, packed":        {tiffOf(t, tiffTag{262, 1}, tiffTag{277, 1}, tiffTag{258, 12}), "TIFF: have 12 bits per value, want 1, 8 or 16"},
		"32 bits":                {tiffOf(t, tiffTag{262, 1}, tiffTag{277, 1}, tiffTag{258, 32}), "TIFF: have 32 bits per value, want 1, 8 or 16"},
		"reversed bits":          {tiffOf(t, tiffTag{262, 1}, tiffTag{277, 1}, tiffTag{258, 1}, tiffTag{266, 2}), "TIFF: have the bits of a byte in reverse order (FillOrder 2)"},
		"JPEG of 12 bits":        {jpegWith(t, 0xc1, 12), "JPEG: have 12 bits per value, want 8"},
		"arithmetic JPEG":        {jpegWith(t, 0xc9, 8), "JPEG: have arithmetic coding, want Huffman coding"},
		"arithmetic progressive": {jpegWith(t, 0xca, 8), "JPEG: have arithmetic coding, want Huffman coding"},
		"lossless JPEG":          {jpegWith(t, 0xc3, 8), "lossless JPEG, want one of discrete cosine transform"},
		"JPEG-LS":                {jpegWith(t, 0xf7, 8), "JPEG-LS, want"},
		"hierarchical JPEG":      {jpegWith(t, 0xc5, 8), "JPEG: have hierarchical coding, want"},
		"BMP of 16 bits":         {bmpWith(t, 16, 0), "BMP: have 16 bits per pixel, want"},
		"BMP of 16 bits, masks":  {bmpWith(t, 16, 3), "BMP: have 16 bits per pixel, want"},
		"BMP, run lengths":       {bmpWith(t, 8, 1), "BMP: have run-length coding, want no compression"},
		"BMP with a PNG":         {bmpWith(t, 24, 5), "BMP: have a PNG inside, want no compression"},
		"animated WebP":          {[]byte("RIFF\x2c\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x02\x00\x00\x00\x03\x00\x00\x03\x00\x00ANIM"), "WebP: have an animation, want one image"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, fit := range []Fit{{}, {labels: true}} {
				_, err := fit.decode(new(scratch), tt.data, maxPixels)
				wantError(t, err, tt.want)
				if strings.Contains(err.Error(), "unsupported") || strings.Contains(err.Error(), "\n") {
					t.Errorf("have %q", err)
				}
			}
		})
	}
}

// TestTIFFsThatAreRead: tiles, one bit, 16 bits and a predictor are no reason to refuse.
func TestTIFFsThatAreRead(t *testing.T) {
	sixteen := image.NewRGBA64(image.Rect(0, 0, 3, 2))
	sixteen.Set(1, 1, color.NRGBA64{0x1234, 0x5678, 0x9abc, 0xffff})
	var buf bytes.Buffer
	if err := tiff.Encode(&buf, sixteen, &tiff.Options{Compression: tiff.Deflate, Predictor: true}); err != nil {
		t.Fatal(err)
	}
	r, err := decode(buf.Bytes(), false, maxPixels)
	if err != nil {
		t.Fatal(err)
	}
	if have := r.pixels()[3*4:][:3]; !bytes.Equal(have, []uint8{0x12, 0x56, 0x9a}) {
		t.Errorf("have %x", have)
	}
}

// withoutAdobe removes Adobe's marker from a JPEG.
func withoutAdobe(data []byte) []byte {
	at := bytes.Index(data, []byte("\xff\xee\x00\x0eAdobe"))
	return slices.Concat(data[:at], data[at+16:])
}

// TestCMYKWithoutAdobe: a JPEG of four channels without Adobe's marker is read as with it, as Pillow does. The file is
// testdata/cmyk.jpg, whose pixels by Pillow 13 are testdata/cmyk.jpg.png.
func TestCMYKWithoutAdobe(t *testing.T) {
	data, err := os.ReadFile("testdata/cmyk.jpg")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"Adobe": data, "bare": withoutAdobe(data)} {
		r, err := decode(data, false, maxPixels)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		near(t, r, "testdata/cmyk.jpg.png", 2)
	}
}

// TestJPEGsOfCameras: JPEGs that libjpeg reads with a warning, or without one, are the same image; JPEGs whose pixels are
// not all there are refused.
func TestJPEGsOfCameras(t *testing.T) {
	img := texture(40, 24)
	plain := jpegBytes(t, img)
	end := len(plain) - 2
	want, err := decode(plain, false, maxPixels)
	if err != nil {
		t.Fatal(err)
	}
	junk := make([]byte, 199)
	for i := range junk {
		junk[i] = byte(i + 1)
	}
	thumbnail := appMarker(append([]byte("Exif\x00\x00"), jpegBytes(t, texture(8, 8))...))
	for name, data := range map[string][]byte{
		"two bytes before the end":  slices.Concat(plain[:end], []byte{0x11, 0x22}, plain[end:]),
		"many bytes before the end": slices.Concat(plain[:end], junk, plain[end:]),
		"a trailer":                 append(slices.Clone(plain), bytes.Repeat([]byte("SERIAL=0815;EXPOSURE=12ms;"), 40)...),
		"fill bytes":                slices.Concat(plain[:2], bytes.Repeat([]byte{0xff}, 7), plain[2:]),
		"a thumbnail in front":      slices.Concat(plain[:2], thumbnail, plain[2:]),
		"a second image (MPO)":      slices.Concat(plain, jpegBytes(t, texture(8, 8))),
	} {
		r, err := decode(data, false, maxPixels)
		if err != nil || !bytes.Equal(r.pixels(), want.pixels()) {
			t.Errorf("%s: have another image, or error %v", name, err)
		}
	}
	for name, data := range map[string][]byte{
		"no end": plain[:end], "cut by 25 bytes": plain[:len(plain)-25], "cut in half": plain[:len(plain)/2],
		"zeros at the end": append(slices.Clone(plain[:end-60]), make([]byte, 60)...),
	} {
		if _, err := decode(data, false, maxPixels); err == nil || !strings.HasPrefix(err.Error(), "truncated JPEG: ") {
			t.Errorf("%s: have error %v", name, err)
		}
	}
	for _, name := range []string{"progressive", "restart", "rgb"} {
		data, err := os.ReadFile("testdata/cameras/" + name + ".jpg")
		if err != nil {
			t.Fatal(err)
		}
		r, err := decode(data, false, maxPixels)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		near(t, r, "testdata/cameras/"+name+".jpg.png", 3)
		if name == "restart" {
			at := bytes.Index(data, []byte{0xff, 0xd0})
			before := slices.Concat(data[:at], []byte{7, 8, 9}, data[at:])
			if r, err = decode(before, false, maxPixels); err != nil {
				t.Fatalf("bytes before a restart: %v", err)
			}
			near(t, r, "testdata/cameras/restart.jpg.png", 3)
		}
		if name == "progressive" {
			_, err := decode(data[:len(data)*2/3], false, maxPixels)
			wantError(t, err, "truncated JPEG: ")
		}
	}
}

// near compares r with a PNG, within most levels.
func near(t *testing.T, r raster, name string, most int) {
	t.Helper()
	want, have := planes(readPNG(t, name)), r.pixels()
	for i := range r.w * r.h {
		for c := range 3 {
			if h, w := int(have[i*r.channels+c%r.channels]), int(want[c*r.w*r.h+i]); h-w > most || w-h > most {
				t.Fatalf("%s: pixel %d, channel %d: have %d, want %d", name, i, c, h, w)
			}
		}
	}
}

// TestOrientationOfPNGAndWebP: other viewers apply the orientation in an eXIf chunk of a PNG and an EXIF chunk of a WebP,
// and so does data.exif; without it the image is a finding.
func TestOrientationOfPNGAndWebP(t *testing.T) {
	exif := exifBody(binary.LittleEndian, 3, 6)
	webp := []byte("RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x08\x00\x00\x00\x03\x00\x00\x02\x00\x00odd \x01\x00\x00\x00.\x00EXIF")
	webp = append(binary.LittleEndian.AppendUint32(webp, uint32(len(exif))), exif...)
	plain := pngBytes(t, texture(4, 3))
	png := withChunk(plain, "eXIf", exif[6:])
	for name, data := range map[string][]byte{"PNG": png, "WebP": webp} {
		if have := orientation(data); have != 6 {
			t.Errorf("%s: have orientation %d, want 6", name, have)
		}
		for n := range len(data) {
			if o := orientation(data[:n]); o != 6 && o != 1 {
				t.Errorf("%s: cut at %d: have orientation %d", name, n, o)
			}
		}
	}
	stored, turned := new(Notes), new(Notes)
	view := View{Path: "a.png", Data: png}
	dst := make([]uint8, 3)
	for notes, exif := range map[*Notes]bool{stored: false, turned: true} {
		w, h, err := Source{Fit: Fit{Resize: configs.Square(1), Crop: configs.Square(1), Exif: exif}, Notes: notes}.Image(view, dst)
		if err != nil || (w == 3) != exif || (h == 4) != exif {
			t.Errorf("exif %t: have %dx%d and error %v", exif, w, h, err)
		}
	}
	if have := stored.Summary()[Turned]; have != (Noted{1, "a.png"}) || len(turned.Summary()) > 0 {
		t.Errorf("have %v and %v", stored.Summary(), turned.Summary())
	}
	if have, want := NotedLines(stored.Summary()), "images with an EXIF orientation that is not applied (data.exif): 1; the first: a.png"; len(have) != 1 || have[0] != want {
		t.Errorf("have %q, want %q", have, want)
	}
}
