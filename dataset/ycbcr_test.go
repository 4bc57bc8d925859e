package dataset

import (
	"image"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
)

// chromaImages returns JPEGs of all subsamplings, with sizes that end within a block, at its end and after its first
// sample, or that are too narrow to interpolate. The flat one has blues half-way between levels. The PNGs next to them
// are decoded by Pillow 13.0.0 with libjpeg-turbo 3.2.0, with and without SIMD. The JPEGs consist of blocks for which
// Go and libjpeg agree in every sample, so only chroma and colour could differ.
func chromaImages(t testing.TB) []string {
	t.Helper()
	names, err := filepath.Glob("testdata/chroma/*.jpg")
	if err != nil || len(names) == 0 {
		t.Fatalf("testdata/chroma: have %d images and error %v, want some", len(names), err)
	}
	return names
}

func TestChromaAsLibjpeg(t *testing.T) {
	for _, name := range chromaImages(t) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			data, err := readFile(name, nil)
			if err != nil {
				t.Fatal(err)
			}
			r, err := decode(data, false, maxPixels)
			if err != nil {
				t.Fatal(err)
			}
			asPNG(t, r, strings.TrimSuffix(name, ".jpg")+".png")
		})
	}
}

// TestYCbCr compares with the equations of JFIF for all chroma and every fifth luma. With 16 fractional bits, a half
// may be rounded either way.
func TestYCbCr(t *testing.T) {
	img := image.NewYCbCr(image.Rect(0, 0, 256, 1), image.YCbCrSubsampleRatio444)
	row := ycbcrRows(img)
	line := make([]uint8, 3*256)
	for y := 0; y < 256; y += 5 {
		for cb := range 256 {
			for cr := range 256 {
				img.Y[cr], img.Cb[cr], img.Cr[cr] = uint8(y), uint8(cb), uint8(cr)
			}
			row(line, 0, 256, 0)
			for cr := range 256 {
				l, u, v := float64(y), float64(cb)-128, float64(cr)-128
				for c, want := range [3]float64{l + 1.402*v, l - 0.344136*u - 0.714136*v, l + 1.772*u} {
					want = min(max(want, 0), 255)
					if have := line[3*cr+c]; math.Abs(float64(have)-want) > 0.502 {
						t.Fatalf("YCbCr %d, %d, %d, channel %d: have %d, want %.3f", y, cb, cr, c, have, want)
					}
				}
			}
		}
	}
}

// TestSubsampling compares parts of rows with the definition, in planes that extend beyond the image like those of the
// decoder.
func TestSubsampling(t *testing.T) {
	noise := rand.New(rand.NewPCG(1, 2))
	for ratio := image.YCbCrSubsampleRatio444; ratio <= image.YCbCrSubsampleRatio410; ratio++ {
		t.Run(ratio.String(), func(t *testing.T) {
			img := image.NewYCbCr(image.Rect(0, 0, 32, 16), ratio)
			for _, plane := range [][]uint8{img.Y, img.Cb, img.Cr} {
				for j := range plane {
					plane[j] = uint8(64 + noise.IntN(128))
				}
			}
			for w := 1; w <= 17; w++ {
				for h := 1; h <= 5; h++ {
					comparePart(t, img.SubImage(image.Rect(0, 0, w, h)).(*image.YCbCr), 0, w)
					comparePart(t, img.SubImage(image.Rect(0, 0, w, h)).(*image.YCbCr), w/3, w-w/4)
				}
			}
		})
	}
}

// comparePart compares the pixels x0 to x1-1 of every row with the definition.
func comparePart(t *testing.T, img *image.YCbCr, x0, x1 int) {
	t.Helper()
	size := img.Rect.Size()
	plain := image.NewYCbCr(img.Rect, image.YCbCrSubsampleRatio444)
	for y := range size.Y {
		for x := range size.X {
			i := plain.YOffset(x, y)
			plain.Y[i] = img.Y[img.YOffset(x, y)]
			plain.Cb[i], plain.Cr[i] = chromaAt(img, img.Cb, x, y), chromaAt(img, img.Cr, x, y)
		}
	}
	have, want := make([]uint8, 3*(x1-x0)), make([]uint8, 3*size.X)
	row, plainRow := ycbcrRows(img), ycbcrRows(plain)
	for y := range size.Y {
		row(have, x0, x1, y)
		plainRow(want, 0, size.X, y)
		for i := range have {
			if want := want[3*x0+i]; have[i] != want {
				t.Fatalf("%v, pixel %d, %d, channel %d: have %d, want %d", size, x0+i/3, y, i%3, have[i], want)
			}
		}
	}
}

// chromaAt returns the chroma of a pixel by libjpeg's definition: the mean of the nearest samples with weights 9, 3, 3,
// 1 or 3, 1, and alternating biases.
func chromaAt(img *image.YCbCr, plane []uint8, x, y int) uint8 {
	size := img.Rect.Size()
	at := func(x, y int) int {
		return int(plane[img.COffset(min(max(x, 0), size.X-1), min(max(y, 0), size.Y-1))])
	}
	// A pixel two to the side of an even one, or of an odd one on the other side, lies in the next nearest sample.
	u, v := x-2+x%2*4, y-2+y%2*4
	switch img.SubsampleRatio {
	case image.YCbCrSubsampleRatio422:
		if size.X > 4 {
			return uint8((3*at(x, y) + at(u, y) + 1 + x%2) / 4)
		}
	case image.YCbCrSubsampleRatio420:
		if size.X > 4 {
			return uint8((9*at(x, y) + 3*at(u, y) + 3*at(x, v) + at(u, v) + 8 - x%2) / 16)
		}
	case image.YCbCrSubsampleRatio440:
		return uint8((3*at(x, y) + at(x, v) + 1 + y%2) / 4)
	}
	return uint8(at(x, y))
}
