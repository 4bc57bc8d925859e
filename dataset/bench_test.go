package dataset

import (
	"bytes"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"testing"

	"mvag-torch/internal/testdata"
)

// photo writes the 1024 x 1024 centre of the largest golden photograph as a
// JPEG of quality 92, the size of Real-IAD's pictures.
func photo(b *testing.B) string {
	f, err := os.Open(testdata.Shared(b, "golden/preprocess/large.jpg"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	img, err := jpeg.Decode(f)
	if err != nil {
		b.Fatal(err)
	}
	centre := img.(*image.YCbCr).SubImage(image.Rect(192, 192, 1216, 1216))
	var buf bytes.Buffer
	if err := jpeg.Encode(&buf, centre, &jpeg.Options{Quality: 92}); err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(b.TempDir(), "photo.jpg")
	if err := os.WriteFile(path, buf.Bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}

func miniviewPicture(b *testing.B) string {
	return testdata.Shared(b, "miniview/realiad_256/gear/OK/S0001/gear_0001_OK_C1_20261124120000.jpg")
}

func BenchmarkPicture(b *testing.B) {
	for _, bb := range []struct {
		name string
		path string
		fit  Fit
	}{
		{"photo1024/448/392", photo(b), Fit{Resize: 448, Crop: 392}},
		{"miniview288/256/224", miniviewPicture(b), Fit{Resize: 256, Crop: 224}},
		{"miniview288/448/392", miniviewPicture(b), Fit{Resize: 448, Crop: 392}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			dst := make([]uint8, 3*bb.fit.Crop*bb.fit.Crop)
			b.ReportAllocs()
			for b.Loop() {
				if err := bb.fit.Picture(bb.path, dst); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkStages splits the time of the 1024 x 1024 picture.
func BenchmarkStages(b *testing.B) {
	data, err := readFile(photo(b), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := decode(data, false, maxPixels); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("resize", func(b *testing.B) {
		r, err := decode(data, false, maxPixels)
		if err != nil {
			b.Fatal(err)
		}
		s, dst := new(scratch), make([]uint8, 3*392*392)
		b.ReportAllocs()
		for b.Loop() {
			goldenFit.picture(s, r, dst)
		}
	})
	b.Run("rows", func(b *testing.B) {
		r, err := decode(data, false, maxPixels)
		if err != nil {
			b.Fatal(err)
		}
		line := make([]uint8, 3*r.w)
		for b.Loop() {
			for y := range r.h {
				r.row(line, 0, r.w, y)
			}
		}
	})
}
