package api

import (
	"bytes"
	"image"
	"image/png"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/image/bmp"
)

// TestBitmap decodes what bitmap makes, with golang.org/x/image/bmp, for widths with and without padding.
func TestBitmap(t *testing.T) {
	for _, width := range []int{1, 2, 3, 4, 61} {
		height := 7
		pixels := make([]byte, 3*width*height)
		for i := range pixels {
			pixels[i] = byte(rand.Uint32())
		}
		img, err := bmp.Decode(bytes.NewReader(bitmap(pixels, width, height)))
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := png.Encode(&b, img); err != nil {
			t.Fatal(err)
		}
		if have := pixelsOf(t, b.String()); !slices.Equal(have, pixels) {
			t.Errorf("width %d: have other pixels", width)
		}
	}
}

// BenchmarkPixels compares ways to hand decoded pixels to package dataset, which takes files.
func BenchmarkPixels(b *testing.B) {
	const width, height = 2448, 2048
	pixels := make([]byte, 3*width*height)
	for i := range pixels {
		pixels[i] = byte(rand.Uint32())
	}
	b.Run("BMP", func(b *testing.B) {
		for b.Loop() {
			if _, err := bmp.Decode(bytes.NewReader(bitmap(pixels, width, height))); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("PNG", func(b *testing.B) {
		img := image.NewRGBA(image.Rect(0, 0, width, height))
		for i := range width * height {
			copy(img.Pix[4*i:], pixels[3*i:][:3])
			img.Pix[4*i+3] = 255
		}
		for b.Loop() {
			var out bytes.Buffer
			if err := (&png.Encoder{CompressionLevel: png.NoCompression}).Encode(&out, img); err != nil {
				b.Fatal(err)
			}
			if _, err := png.Decode(&out); err != nil {
				b.Fatal(err)
			}
		}
	})
}
