package dataset

import (
	"bytes"
	"encoding/binary"
	"image"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"

	"mvag-torch/configs"
)

// kinds returns BMP, TIFF and WebP files. The PNGs next to them are what Pillow 13.0.0 (libwebp 1.6.0) reads with
// convert('RGB'), except that 16-bit grayscale is v >> 8.
func kinds(t testing.TB) []string {
	t.Helper()
	var names []string
	for _, ext := range []string{"bmp", "tif", "webp"} {
		found, err := filepath.Glob("testdata/kinds/*." + ext)
		if err != nil || len(found) == 0 {
			t.Fatalf("testdata/kinds/*.%s: have %d images and error %v, want some", ext, len(found), err)
		}
		names = append(names, found...)
	}
	return names
}

// TestKindsAsPillow: BMP, TIFF and WebP equal Pillow in every value.
func TestKindsAsPillow(t *testing.T) {
	for _, name := range kinds(t) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			data, err := readFile(name, nil)
			if err != nil {
				t.Fatal(err)
			}
			turned := strings.HasPrefix(filepath.Base(name), "turned")
			r, err := decode(data, turned, maxPixels)
			if err != nil {
				t.Fatal(err)
			}
			asPNG(t, r, name+".png")
			if w, h, err := imageSize(data, turned); err != nil || w != r.w || h != r.h {
				t.Errorf("have size %dx%d and error %v, want %dx%d", w, h, err, r.w, r.h)
			}
		})
	}
}

// bmpBytes and tiffBytes return files with another size in the header.
func bmpBytes(t testing.TB, w, h uint32) []byte {
	var buf bytes.Buffer
	if err := bmp.Encode(&buf, texture(4, 4)); err != nil {
		t.Fatal(err)
	}
	data := buf.Bytes()
	binary.LittleEndian.PutUint32(data[18:], w)
	binary.LittleEndian.PutUint32(data[22:], h)
	return data
}

func tiffBytes(t testing.TB, w, h uint32) []byte {
	var buf bytes.Buffer
	if err := tiff.Encode(&buf, texture(4, 4), nil); err != nil {
		t.Fatal(err)
	}
	data := buf.Bytes()
	at := int(binary.LittleEndian.Uint32(data[4:])) + 2
	for ; ; at += 12 {
		value := w
		switch binary.LittleEndian.Uint16(data[at:]) {
		case 256:
		case 257:
			value = h
		case 278: // rows of a strip
			return data
		default:
			continue
		}
		if binary.LittleEndian.Uint16(data[at+2:]) == 3 {
			binary.LittleEndian.PutUint16(data[at+8:], uint16(value))
		} else {
			binary.LittleEndian.PutUint32(data[at+8:], value)
		}
	}
}

// webpBytes returns the header of a lossless WebP, whose sides are limited to 14 bits.
func webpBytes(w, h uint32) []byte {
	data := []byte("RIFF\x12\x00\x00\x00WEBPVP8L\x06\x00\x00\x00\x2f\x00\x00\x00\x00\x00")
	binary.LittleEndian.PutUint32(data[21:], (w-1)|(h-1)<<14)
	return data
}

// TestKindsThatLie: a header that promises more than the file can contain is refused before memory is allocated.
func TestKindsThatLie(t *testing.T) {
	for name, data := range map[string][]byte{
		"JPEG 65535x65535": lieJPEG(t, 65535, 65535),
		"PNG 65535x65535":  lie(t, 65535, 65535),
		"BMP 65535x65535":  bmpBytes(t, 65535, 65535),
		"BMP 65535x200":    bmpBytes(t, 65535, 200),
		"TIFF 65535x65535": tiffBytes(t, 65535, 65535),
		"TIFF 3000x3000":   tiffBytes(t, 3000, 3000),
		"WebP 16384x16384": webpBytes(16384, 16384),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "p")
			writeFile(t, path, data)
			allocated := testing.AllocsPerRun(1, func() {
				wantError(t, fitFile(Fit{Resize: configs.Square(8), Crop: configs.Square(8)}, path, make([]uint8, 192)), path+": ", "pixels")
			})
			if allocated > 1000 {
				t.Errorf("have %v allocations", allocated)
			}
		})
	}
}

func TestKindsTruncated(t *testing.T) {
	for _, name := range kinds(t) {
		data, err := readFile(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		for n := range len(data) {
			_, _ = decode(data[:n], true, 1<<16) // no panic; padding may be cut without harm
		}
	}
}

// TestKindsRefused: kinds that would be decoded wrongly or not at all are errors.
func TestKindsRefused(t *testing.T) {
	for name, phrase := range map[string]string{
		"bits_g4.tif": "TIFF: have fax compression, want no compression, LZW",
		"cmyk.tif":    "TIFF: have CMYK, want grayscale, palette or RGB",
	} {
		path := filepath.Join("testdata/refused", name)
		wantError(t, fitFile(Fit{Resize: configs.Square(8), Crop: configs.Square(8)}, path, make([]uint8, 192)), path+": "+phrase)
	}
}

// TestLoaderParts: a loader returns the parts of a strip.
func TestLoaderParts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "s.png")
	img := texture(12, 6)
	writeFile(t, file, pngBytes(t, img))
	object := Object{ID: "a", Views: []View{{Path: file, Parts: 2}, {Path: file, Camera: 1, Part: 1, Parts: 2}}}
	l := evaluate(t, []Object{object}, LoaderOptions{Source: Source{Fit: Fit{Resize: configs.Square(6), Crop: configs.Square(6)}}, Objects: 1, Prefetch: 1})
	defer l.Close()
	b, err := l.Next()
	if err != nil {
		t.Fatal(err)
	}
	want := append(planes(img.SubImage(image.Rect(0, 0, 6, 6))), planes(img.SubImage(image.Rect(6, 0, 12, 6)))...)
	if !bytes.Equal(b.Pixels, want) {
		t.Error("the images are not the parts of the strip")
	}
}

// TestStraight: premultiplied colours are divided by alpha.
func TestStraight(t *testing.T) {
	eight := &image.RGBA{Rect: image.Rect(0, 0, 2, 1), Stride: 8, Pix: []uint8{100, 50, 0, 128, 1, 2, 3, 255}}
	sixteen := image.NewRGBA64(eight.Rect)
	for x := range 2 {
		sixteen.Set(x, 0, eight.At(x, 0))
	}
	for _, img := range []image.Image{eight, sixteen} {
		if have, want := rasterOf(t, img).pixels(), []uint8{199, 99, 0, 1, 2, 3}; !bytes.Equal(have, want) {
			t.Errorf("%T: have %v, want %v", img, have, want)
		}
	}
}

// TestPart: the parts of a strip are its columns, in image and mask.
func TestPart(t *testing.T) {
	dir := t.TempDir()
	strip, mask := filepath.Join(dir, "s.png"), filepath.Join(dir, "m.png")
	img := texture(12, 4)
	writeFile(t, strip, pngBytes(t, img))
	marks := image.NewGray(image.Rect(0, 0, 12, 4))
	for i := range 4 {
		marks.Pix[i*12+5] = 1 // in part 1, column 1
	}
	writeFile(t, mask, pngBytes(t, marks))
	fit := Fit{Resize: configs.Square(4), Crop: configs.Square(4)}
	for part := range 3 {
		view := View{Path: strip, Mask: mask, Code: "x", Part: part, Parts: 3}
		have := make([]uint8, 48)
		if err := fitView(Source{Fit: fit}, view, have); err != nil {
			t.Fatal(err)
		}
		want := planes(img.SubImage(image.Rect(4*part, 0, 4*part+4, 4)))
		if !bytes.Equal(have, want) {
			t.Errorf("part %d: have %v, want %v", part, have, want)
		}
		found, err := maskOf(fit, view, MaskGT05, 4)
		if err != nil {
			t.Fatal(err)
		}
		for i, defect := range found {
			if defect != (part == 1 && i%4 == 1) {
				t.Errorf("part %d, pixel %d: have %t", part, i, defect)
			}
		}
	}
	wantError(t, fitView(Source{Fit: fit}, View{Path: strip, Part: 1, Parts: 5}, make([]uint8, 48)), strip, "strip 12 pixels wide", "its 5 images")
}
