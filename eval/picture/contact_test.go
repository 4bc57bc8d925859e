package picture

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"testing"
)

// noise makes images that do not compress.
func noise(w, h int) func() *image.RGBA {
	rng := rand.New(rand.NewPCG(1, 2))
	return func() *image.RGBA { return noisy(w, h, rng) }
}

func noisy(w, h int, rng *rand.Rand) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := range img.Pix {
		img.Pix[i] = uint8(rng.Uint32())
		if i%4 == 3 {
			img.Pix[i] = 255
		}
	}
	return img
}

func TestContact(t *testing.T) {
	many := func(n int, img func() *image.RGBA) (rows [][]*image.RGBA) {
		for range n {
			rows = append(rows, []*image.RGBA{img(), nil, img()})
		}
		return rows
	}
	gray := func(size int) func() *image.RGBA { return func() *image.RGBA { return grays(size) } }
	for name, c := range map[string]struct {
		rows  [][]*image.RGBA
		size  image.Point
		shown int
	}{
		"reduced, one camera absent":   {many(2, gray(256)), image.Pt(3*130+2, 2*130+2), 2},
		"small ones stay":              {many(1, gray(16)), image.Pt(3*18+2, 18+2), 1},
		"oblong":                       {many(1, noise(256, 64)), image.Pt(3*130+2, 34+2), 1},
		"smaller where more would not": {many(10, noise(128, 128)), image.Pt(3*66+2, 10*66+2), 10}, // 20 of 64 x 64 x 3 bytes
		"too many":                     {many(200, noise(32, 32)), image.Pt(3*26+2, 100*26+2), 100},
		"none":                         {nil, image.Point{}, 0},
	} {
		file, sheet, shown, err := Contact(c.rows, 400_000)
		if err != nil || shown != c.shown || len(file) > 400_000 {
			t.Errorf("%s: have %d rows in %d bytes, error %v, want %d", name, shown, len(file), err, c.shown)
		}
		if shown == 0 {
			continue
		}
		img, err := png.Decode(bytes.NewReader(file))
		if err != nil || img.Bounds().Size() != c.size || sheet.Rect.Size() != c.size {
			t.Errorf("%s: have %v, error %v, want %v", name, img.Bounds(), err, c.size)
		}
	}
}

// TestReduce averages blocks of four pixels.
func TestReduce(t *testing.T) {
	img := image.NewRGBA(image.Rect(0, 0, 4, 2))
	for i, v := range []uint8{10, 20, 100, 100, 30, 40, 100, 200} {
		img.SetRGBA(i%4, i/4, color.RGBA{v, 0, 255 - v, 255})
	}
	small := reduce(img, 2)
	want := []color.RGBA{{25, 0, 230, 255}, {125, 0, 130, 255}}
	if small.Rect != image.Rect(0, 0, 2, 1) || small.RGBAAt(0, 0) != want[0] || small.RGBAAt(1, 0) != want[1] {
		t.Errorf("have %v of %v, want %v", small.Pix, small.Rect, want)
	}
}
