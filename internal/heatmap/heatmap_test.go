package heatmap

import (
	"image"
	"image/color"
	"math"
	"testing"
)

func TestImage(t *testing.T) {
	planes := []uint8{10, 20, 30, 40 /* red */, 1, 2, 3, 6 /* green */, 4, 6, 8, 10}
	two, all, one := image.Pt(2, 2), image.Rect(0, 0, 2, 2), []image.Point{{}}
	img := Image(planes, two, one, all, two)
	if have, want := img.RGBAAt(1, 0), (color.RGBA{20, 2, 6, 255}); have != want {
		t.Errorf("have %v, want %v", have, want)
	}
	if have, want := Image(planes, two, one, all, image.Pt(1, 1)).RGBAAt(0, 0), (color.RGBA{25, 3, 7, 255}); have != want {
		t.Errorf("one pixel: have %v, want the mean %v", have, want)
	}
	below := Image(planes, two, one, image.Rect(0, 1, 2, 2), image.Pt(4, 1))
	if below.Rect != image.Rect(0, 0, 4, 1) || below.RGBAAt(0, 0).R != 30 || below.RGBAAt(3, 0).R != 40 {
		t.Errorf("the lower half: have %v, want 30 to 40 in 4 x 1 pixels", below)
	}
}

func TestOverlayAndBlend(t *testing.T) {
	two := image.Pt(2, 2)
	img := Image([]uint8{100, 100, 100, 100, 50, 50, 50, 50, 200, 200, 200, 200}, two, []image.Point{{}}, image.Rectangle{Max: two}, two)
	values, mask := []float32{0, 1, 0.5, 0}, []bool{true, false, false, false}
	over, blend := Overlay(img, values, nil), Blend(img, values, nil)
	if over.RGBAAt(0, 0) != img.RGBAAt(0, 0) {
		t.Errorf("have %v, want the image where values are 0", over.RGBAAt(0, 0))
	}
	if a, b := Gray(over.RGBAAt(1, 0)), Gray(over.RGBAAt(0, 1)); a <= b {
		t.Errorf("have brightness %v of 1 and %v of 0.5, want more of the higher", a, b)
	}
	if p := blend.RGBAAt(0, 0); p == img.RGBAAt(0, 0) {
		t.Errorf("have %v, want a tint even where values are 0", p)
	}
	white := color.RGBA{255, 255, 255, 255}
	outlined := Overlay(img, values, mask)
	for i, want := range []bool{false, true, true, false} { // 4-neighbours of the first pixel
		if have := outlined.RGBAAt(i%2, i/2) == white; have != want {
			t.Errorf("pixel %d: have white %v, want %v", i, have, want)
		}
	}
}

func TestHeat(t *testing.T) {
	img := Heat([]float32{-1, 0, 1, 2}, 2)
	if img.RGBAAt(0, 0) != img.RGBAAt(1, 0) || img.RGBAAt(0, 1) != img.RGBAAt(1, 1) {
		t.Error("values beyond [0, 1] have colours of their own")
	}
}

// TestImageOfTiles joins tiles of a ramp that is steeper down than across, whose content ends between two pixels of the
// image: it shows the ramp, without a seam.
func TestImageOfTiles(t *testing.T) {
	tile, corners := image.Pt(40, 24), []image.Point{{0, 0}, {25, 0}, {50, 0}, {0, 16}, {25, 16}, {50, 16}}
	var tiles []uint8
	for _, at := range corners {
		for range 3 {
			for i := range tile.X * tile.Y {
				tiles = append(tiles, uint8(at.X+i%tile.X+3*(at.Y+i/tile.X)))
			}
		}
	}
	content := image.Rect(7, 3, 83, 38)
	for _, size := range []image.Point{{90, 40}, {76, 35}, {31, 14}, {19, 7}} {
		img := Image(tiles, tile, corners, content, size)
		if img.Rect.Max != size {
			t.Fatalf("have %v, want %v", img.Rect, size)
		}
		x, y := 76/float64(size.X), 35/float64(size.Y)
		for i := range size.X * size.Y {
			px, py := i%size.X, i/size.X
			want := 7 + (float64(px)+0.5)*x - 0.5 + 3*(3+(float64(py)+0.5)*y-0.5)
			// A pixel at a border of a tile is made of those of the tile alone.
			if have := float64(img.Pix[4*i]); math.Abs(have-want) > max(3, 1.2*y) || img.Pix[4*i+3] != 255 {
				t.Fatalf("%v, (%d, %d): have %v, want %.1f", size, px, py, have, want)
			}
		}
	}
}

func TestOutlineOfRectangle(t *testing.T) {
	img := image.NewRGBA(image.Rect(0, 0, 5, 2))
	mask := make([]bool, 10)
	mask[4], mask[6] = true, true
	drawn := Draw(img, mask, func(int, color.RGBA) color.RGBA { return color.RGBA{A: 255} })
	for i, want := range []bool{false, true, false, true, false, true, false, true, false, true} {
		if have := drawn.RGBAAt(i%5, i/5).R == 255; have != want {
			t.Errorf("(%d, %d): have white %v, want %v", i%5, i/5, have, want)
		}
	}
}
