package dataset

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"mvag-torch/configs"
)

func pngBytes(t testing.TB, img image.Image) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := png.Encode(&buf, img); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func jpegBytes(t testing.TB, img image.Image) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := jpeg.Encode(&buf, img, nil); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// texture returns an image in which every pixel differs from its neighbours.
func texture(w, h int) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range img.Pix {
		img.Pix[i] = uint8(i*i>>3 ^ i*37)
		if i%4 == 3 {
			img.Pix[i] = 255
		}
	}
	return img
}

// decode decodes an image as by default, or with its EXIF orientation.
func decode(data []byte, exif bool, limit int) (raster, error) {
	return Fit{Exif: exif}.decode(new(scratch), data, limit)
}

// pixels returns all rows of r.
func (r raster) pixels() []uint8 {
	pix := make([]uint8, r.w*r.h*r.channels)
	for y := range r.h {
		r.row(pix[y*r.w*r.channels:], 0, r.w, y)
	}
	return pix
}

// TestDecodePNG: each kind of PNG is read as by Pillow's convert('RGB').
func TestDecodePNG(t *testing.T) {
	one := image.Rect(0, 0, 1, 1)
	nrgba := image.NewNRGBA(one)
	nrgba.SetNRGBA(0, 0, color.NRGBA{200, 100, 50, 3})
	clear := image.NewNRGBA(one)
	clear.SetNRGBA(0, 0, color.NRGBA{200, 100, 50, 0})
	deep := image.NewNRGBA64(one)
	deep.SetNRGBA64(0, 0, color.NRGBA64{0xc8ff, 0x6480, 0x3201, 0x8000})
	opaque := image.NewRGBA64(one)
	opaque.SetRGBA64(0, 0, color.RGBA64{0xc8ff, 0x6480, 0x3201, 0xffff})
	gray := image.NewGray(one)
	gray.SetGray(0, 0, color.Gray{77})
	gray16 := image.NewGray16(one)
	gray16.SetGray16(0, 0, color.Gray16{0x4dff})
	palette := image.NewPaletted(one, color.Palette{color.NRGBA{1, 2, 3, 255}, color.NRGBA{200, 100, 50, 0}})
	palette.SetColorIndex(0, 0, 1)
	rgb := []uint8{200, 100, 50}
	for _, tt := range []struct {
		name string
		img  image.Image
		want []uint8
	}{
		{"alpha is dropped", nrgba, rgb},
		{"transparent", clear, rgb},
		{"16 bits with alpha", deep, rgb},
		{"16 bits", opaque, rgb},
		{"gray", gray, []uint8{77}},
		{"gray of 16 bits", gray16, []uint8{77}},
		{"palette with a transparent colour", palette, rgb},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := decode(pngBytes(t, tt.img), false, maxPixels)
			if err != nil {
				t.Fatal(err)
			}
			if have := r.pixels(); !bytes.Equal(have, tt.want) {
				t.Errorf("have %v, want %v", have, tt.want)
			}
		})
	}
}

// TestCMYK: white, black, a pure ink, and a rounded mixture: black leaves 255-51 = 204 of the light, of which half a
// magenta ink leaves MULDIV255(128, 204) = 102.
func TestCMYK(t *testing.T) {
	img := &image.CMYK{Rect: image.Rect(0, 0, 4, 1), Stride: 16, Pix: []uint8{
		0, 0, 0, 0, 9, 9, 9, 255, 255, 0, 0, 0, 0, 128, 255, 51}}
	r, err := newRaster(img)
	if err != nil {
		t.Fatal(err)
	}
	want := []uint8{255, 255, 255, 0, 0, 0, 0, 255, 255, 204, 102, 0}
	if have := r.pixels(); !bytes.Equal(have, want) {
		t.Errorf("have %v, want %v", have, want)
	}
}

// TestGrayOfRGB: weights 0.299, 0.587 and 0.114 with 16 fractional bits, as in Pillow's mode L.
func TestGrayOfRGB(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 4, 1))
	copy(img.Pix, []uint8{255, 0, 0, 255, 0, 255, 0, 255, 0, 0, 255, 255, 255, 255, 255, 255})
	r, err := newRaster(img)
	if err != nil {
		t.Fatal(err)
	}
	if have, want := r.gray().pixels(), []uint8{76, 150, 29, 255}; !bytes.Equal(have, want) {
		t.Errorf("have %v, want %v", have, want)
	}
}

// lie returns a PNG that claims to have w x h pixels of 8-bit RGBA.
func lie(t testing.TB, w, h uint32) []byte {
	data := pngBytes(t, texture(1, 1))
	binary.BigEndian.PutUint32(data[16:], w)
	binary.BigEndian.PutUint32(data[20:], h)
	binary.BigEndian.PutUint32(data[29:], crc32.ChecksumIEEE(data[12:29]))
	return data
}

// lieJPEG returns a JPEG with another size in its frame header.
func lieJPEG(t testing.TB, w, h uint16) []byte {
	data := jpegBytes(t, texture(8, 8))
	at := bytes.Index(data, []byte{0xff, 0xc0})
	binary.BigEndian.PutUint16(data[at+5:], h)
	binary.BigEndian.PutUint16(data[at+7:], w)
	return data
}

// fitView writes the fitted image of v.
func fitView(s Source, v View, dst []uint8) error {
	_, _, err := s.Image(v, dst)
	return err
}

// fitFile writes the fitted image of a file.
func fitFile(f Fit, path string, dst []uint8) error {
	return fitView(Source{Fit: f}, View{Path: path}, dst)
}

// TestDecode: an image in memory and its file give the same pixels and the size after EXIF orientation, or that of the
// part.
func TestDecode(t *testing.T) {
	dir := t.TempDir()
	strip := filepath.Join(dir, "strip.png")
	writeFile(t, strip, pngBytes(t, texture(12, 4)))
	fit := Fit{Resize: configs.Square(8), Crop: configs.Square(6), Exif: true}
	for _, tt := range []struct {
		view View
		w, h int
	}{
		{View{Path: "testdata/kinds/turned.tif"}, 8, 9},
		{View{Path: strip}, 12, 4},
		{View{Path: strip, Part: 1, Parts: 3}, 4, 4},
	} {
		t.Run(filepath.Base(tt.view.Path), func(t *testing.T) {
			want, have := make([]uint8, 108), make([]uint8, 108)
			w, h, err := fit.Image(tt.view, want)
			if err != nil || w != tt.w || h != tt.h {
				t.Fatalf("have %dx%d and error %v, want %dx%d", w, h, err, tt.w, tt.h)
			}
			if tt.view.Data, err = os.ReadFile(tt.view.Path); err != nil {
				t.Fatal(err)
			}
			tt.view.Path = "upload"
			w, h, err = Source{Fit: fit, Cache: &Cache{}}.Image(tt.view, have)
			if err != nil || w != tt.w || h != tt.h || !bytes.Equal(have, want) {
				t.Errorf("from memory: have %dx%d, error %v, other pixels %t", w, h, err, !bytes.Equal(have, want))
			}
		})
	}
	err := fitView(Source{Fit: fit}, View{Path: "up\nload", Data: []byte("no image")}, make([]uint8, 108))
	wantError(t, err, `"up\nload": not a JPEG`)
}

func TestImageErrors(t *testing.T) {
	photo, drawing := jpegBytes(t, texture(64, 64)), pngBytes(t, texture(64, 64))
	for _, tt := range []struct {
		name    string
		data    []byte
		phrases []string
	}{
		{"empty", nil, []string{"the file is empty"}},
		{"text", []byte("hello"), []string{"not a JPEG, PNG, BMP, TIFF or WebP"}},
		{"truncated JPEG", photo[:len(photo)/2], []string{"truncated JPEG"}},
		{"JPEG without its end", photo[:len(photo)-2], []string{"truncated JPEG"}},
		{"JPEG header only", photo[:20], []string{"truncated JPEG"}},
		{"truncated PNG", drawing[:len(drawing)/2], []string{"truncated PNG"}},
		{"PNG header only", drawing[:12], []string{"truncated PNG"}},
		{"damaged PNG", slices.Concat(drawing[:60], []byte{drawing[60] ^ 1}, drawing[61:]), []string{": PNG: "}},
		{"damaged JPEG", slices.Concat(photo[:2], []byte("\xff\xd9")), []string{"JPEG: "}},
		{"too many pixels", lie(t, 65535, 65535), []string{"have 65535x65535 pixels, want at most 268435456"}},
		{"too wide", lie(t, 1<<30, 1), []string{"have 1073741824x1 pixels, want sides of at most 65535"}},
		{"more pixels than bytes", lie(t, 8000, 8000), []string{"the header says 8000x8000 pixels, more than"}},
		{"JPEG with too many pixels", lieJPEG(t, 65535, 65535), []string{"have 65535x65535 pixels"}},
		{"JPEG with more pixels than bytes", lieJPEG(t, 4000, 4000), []string{"the header says 4000x4000 pixels"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "image")
			writeFile(t, path, tt.data)
			err := fitFile(Fit{Resize: configs.Square(8), Crop: configs.Square(8)}, path, make([]uint8, 3*64))
			wantError(t, err, append(tt.phrases, path+": ")...)
		})
	}
	t.Run("missing", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "image")
		wantError(t, fitFile(Fit{Resize: configs.Square(8), Crop: configs.Square(8)}, path, make([]uint8, 3*64)), path+": ", "no such file")
	})
	t.Run("folder", func(t *testing.T) {
		path := t.TempDir()
		wantError(t, fitFile(Fit{Resize: configs.Square(8), Crop: configs.Square(8)}, path, make([]uint8, 3*64)), path+": not a regular file")
	})
	t.Run("device", func(t *testing.T) {
		wantError(t, fitFile(Fit{Resize: configs.Square(8), Crop: configs.Square(8)}, "/dev/zero", make([]uint8, 3*64)), "/dev/zero: not a regular file")
	})
}

// TestPixelLimit: a limit of the Fit holds for what the header says, and never raises that of the package.
func TestPixelLimit(t *testing.T) {
	drawing := pngBytes(t, texture(64, 64))
	for _, tt := range []struct {
		name   string
		pixels int
		data   []byte
		phrase string // of the error
	}{
		{"as many", 64 * 64, drawing, ""},
		{"one too many", 64*64 - 1, drawing, "photo: have 64x64 pixels, want at most 4095 together"},
		{"no limit", 0, drawing, ""},
		{"above that of the package", 1 << 40, lie(t, 65535, 65535), "want at most 268435456"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fit := Fit{Resize: configs.Square(8), Crop: configs.Square(8), Pixels: tt.pixels}
			_, _, err := fit.Image(View{Path: "photo", Data: tt.data}, make([]uint8, 3*64))
			if tt.phrase == "" && err == nil {
				return
			}
			wantError(t, err, tt.phrase)
		})
	}
}

// TestTruncatedJPEG: a JPEG truncated anywhere is an error.
func TestTruncatedJPEG(t *testing.T) {
	data := jpegBytes(t, texture(24, 24))
	for n := range len(data) {
		if _, err := decode(data[:n], false, maxPixels); err == nil {
			t.Fatalf("cut at byte %d of %d: have no error", n, len(data))
		}
	}
}

// TestFlatImages: images of one colour, which compress best, are not mistaken for files with a false header.
func TestFlatImages(t *testing.T) {
	bits := image.NewPaletted(image.Rect(0, 0, 4096, 4096), color.Palette{color.Black, color.White})
	var buf bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&buf, bits); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"1-bit PNG":     buf.Bytes(),
		"gray PNG":      pngBytes(t, image.NewGray(image.Rect(0, 0, 2048, 2048))),
		"gray JPEG":     jpegBytes(t, image.NewGray(image.Rect(0, 0, 2048, 2048))),
		"coloured JPEG": jpegBytes(t, image.NewNRGBA(image.Rect(0, 0, 2048, 2048))),
	} {
		r, err := decode(data, false, maxPixels)
		if err != nil {
			t.Errorf("%s of %d bytes: %v", name, len(data), err)
		}
		t.Logf("%s: %d pixels a byte", name, r.w*r.h/len(data))
	}
}

// FuzzImage decodes and fits anything of at most 4096 pixels.
func FuzzImage(f *testing.F) {
	f.Add(pngBytes(f, texture(5, 3)))
	f.Add(pngBytes(f, image.NewGray16(image.Rect(0, 0, 3, 3))))
	f.Add(pngBytes(f, image.NewPaletted(image.Rect(0, 0, 9, 2), color.Palette{color.White, color.Black})))
	f.Add(jpegBytes(f, texture(17, 9)))
	f.Add(jpegBytes(f, image.NewGray(image.Rect(0, 0, 8, 8))))
	f.Add(withOrientation(jpegBytes(f, texture(6, 9)), binary.BigEndian, 6))
	f.Add(lie(f, 60, 60))
	f.Add(lieJPEG(f, 60, 60))
	for _, name := range append(chromaImages(f), kinds(f)...) {
		data, err := readFile(name, nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	fit := Fit{Resize: configs.Square(7), Crop: configs.Square(5), Exif: true}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decode(data, true, 1<<12)
		if err != nil {
			return
		}
		w, h, err := imageSize(data, true)
		if err != nil || w != r.w || h != r.h {
			t.Errorf("have size %dx%d and error %v, want %dx%d", w, h, err, r.w, r.h)
		}
		fit.draw(new(scratch), r, fit.area(), Background, make([]uint8, 3*25))
		new(resizer).square(r.gray(), 7, 1, 5)
	})
}
