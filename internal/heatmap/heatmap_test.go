package heatmap

import (
	"image/color"
	"testing"
)

func TestImage(t *testing.T) {
	planes := []uint8{10, 20, 30, 40 /* red */, 1, 2, 3, 6 /* green */, 4, 6, 8, 10}
	img := Image(planes, 2, 2)
	if have, want := img.RGBAAt(1, 0), (color.RGBA{20, 2, 6, 255}); have != want {
		t.Errorf("have %v, want %v", have, want)
	}
	if have, want := Image(planes, 2, 1).RGBAAt(0, 0), (color.RGBA{25, 3, 7, 255}); have != want {
		t.Errorf("one pixel: have %v, want the mean %v", have, want)
	}
}

func TestOverlayAndBlend(t *testing.T) {
	img := Image([]uint8{100, 100, 100, 100, 50, 50, 50, 50, 200, 200, 200, 200}, 2, 2)
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
