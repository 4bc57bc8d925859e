package dataset

import (
	"bytes"
	"fmt"
	"image"
	"math"
	"path/filepath"
	"testing"

	"mvag-torch/configs"
)

func rasterOf(t testing.TB, img image.Image) raster {
	t.Helper()
	r, err := newRaster(img)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// square resizes r to out x out pixels and returns the n x n from (off, off) on.
func (z *resizer) square(r raster, out, off, n int) []uint8 {
	dst := make([]uint8, r.channels*n*n)
	z.resize(r, image.Pt(out, out), image.Rect(off, off, off+n, off+n), canvas{dst, image.Pt(n, n)}, image.Point{})
	return dst
}

// TestResizeSame: a resize to the same size changes nothing.
func TestResizeSame(t *testing.T) {
	img := texture(20, 20)
	have := new(resizer).square(rasterOf(t, img), 20, 0, 20)
	if !bytes.Equal(have, planes(img)) {
		t.Error("the image has changed")
	}
}

// TestResizeFlat: an image of one value keeps it at any size, since weights sum to 1 within rounding.
func TestResizeFlat(t *testing.T) {
	for _, value := range []uint8{0, 1, 127, 254, 255} {
		for _, size := range [][2]int{{1, 1}, {3, 50}, {999, 7}, {2000, 31}} {
			img := image.NewGray(image.Rect(0, 0, size[0], size[1]))
			for i := range img.Pix {
				img.Pix[i] = value
			}
			have := new(resizer).square(rasterOf(t, img), 40, 4, 32)
			for _, v := range have {
				if v != value {
					t.Fatalf("%dx%d of %d: have %d", size[0], size[1], value, v)
				}
			}
		}
	}
}

// TestResizeCrop: computing only the crop gives the same pixels as cropping the whole.
func TestResizeCrop(t *testing.T) {
	z := new(resizer) // shared: buffers of one size must not show in the next
	for _, tt := range []struct{ w, h, out, off, n int }{
		{100, 70, 40, 4, 32}, {17, 90, 40, 9, 21}, {5, 5, 40, 0, 33}, {64, 64, 8, 7, 1},
	} {
		r := rasterOf(t, texture(tt.w, tt.h))
		whole, part := z.square(r, tt.out, 0, tt.out), z.square(r, tt.out, tt.off, tt.n)
		for c := range 3 {
			for y := range tt.n {
				want := whole[(c*tt.out+tt.off+y)*tt.out+tt.off:][:tt.n]
				if have := part[(c*tt.n+y)*tt.n:][:tt.n]; !bytes.Equal(have, want) {
					t.Fatalf("%+v, channel %d, row %d: have %v, want %v", tt, c, y, have, want)
				}
			}
		}
	}
}

// TestResizeFloat compares with the same filter in float64 without rounding between the passes, to within 1.
func TestResizeFloat(t *testing.T) {
	for _, tt := range []struct{ w, h, out int }{{50, 31, 16}, {9, 11, 24}, {16, 40, 16}} {
		r := rasterOf(t, texture(tt.w, tt.h))
		pix := r.pixels()
		have := new(resizer).square(r, tt.out, 0, tt.out)
		for y := range tt.out {
			for x := range tt.out {
				for c := range 3 {
					sum, weight := 0.0, 0.0
					for v := range tt.h {
						for u := range tt.w {
							w := triangle(v, y, tt.h, tt.out) * triangle(u, x, tt.w, tt.out)
							sum += w * float64(pix[3*(v*tt.w+u)+c])
							weight += w
						}
					}
					got := float64(have[(c*tt.out+y)*tt.out+x])
					if math.Abs(got-sum/weight) > 1 {
						t.Fatalf("%+v, pixel %d, %d: have %g, want %.2f", tt, x, y, got, sum/weight)
					}
				}
			}
		}
	}
}

// triangle returns the weight of input pixel u for output pixel x.
func triangle(u, x, in, out int) float64 {
	scale := float64(in) / float64(out)
	distance := float64(u) + 0.5 - (float64(x)+0.5)*scale
	return max(0, 1-math.Abs(distance)/max(scale, 1))
}

func TestFitOffset(t *testing.T) {
	for _, tt := range []struct{ resize, crop, want int }{
		{448, 392, 28}, {256, 224, 16}, {5, 4, 0}, {7, 4, 2}, {9, 4, 2}, {4, 4, 0},
	} {
		if have := (Fit{Resize: configs.Square(tt.resize), Crop: configs.Square(tt.crop)}).Offset(); have != image.Pt(tt.want, tt.want) {
			t.Errorf("%d to %d: have %v, want %d (as Python's round)", tt.resize, tt.crop, have, tt.want)
		}
	}
}

func TestFitRoom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.png")
	writeFile(t, path, pngBytes(t, texture(4, 4)))
	wantError(t, fitFile(Fit{Resize: configs.Square(4), Crop: configs.Square(4)}, path, make([]uint8, 47)), "dst: have 47 values, want 48")
}

// maskOf returns the mask of a view by one rule.
func maskOf(f Fit, v View, rule string, size int) ([]bool, error) {
	masks, err := Source{Fit: f}.Masks(v, configs.Square(size))
	return masks[rule], err
}

func TestMask(t *testing.T) {
	dir := t.TempDir()
	photo, mask := filepath.Join(dir, "p.png"), filepath.Join(dir, "m.png")
	writeFile(t, photo, pngBytes(t, texture(4, 2)))
	img := image.NewGray(image.Rect(0, 0, 4, 2))
	img.Pix = []uint8{0, 1, 127, 128, 0, 0, 255, 0}
	writeFile(t, mask, pngBytes(t, img))
	small := filepath.Join(dir, "small.png")
	writeFile(t, small, pngBytes(t, image.NewGray(image.Rect(0, 0, 2, 2))))
	square := filepath.Join(dir, "square.png")
	writeFile(t, square, pngBytes(t, image.NewGray(image.Rect(0, 0, 4, 4))))
	tall := Fit{Resize: configs.Square(4), Crop: configs.Square(4)}
	view := View{Path: photo, Mask: mask, Code: "AK"}

	t.Run("rules", func(t *testing.T) {
		// Any value but 0 is a defect. Enlarged from 2 to 4 rows, row 2 is 1/4 of row 0 and 3/4 of row 1.
		for rule, want := range map[string]string{MaskGT0: "[false true true true]", MaskGT05: "[false false true false]"} {
			have, err := maskOf(tall, view, rule, 4)
			if err != nil {
				t.Fatal(err)
			}
			if have := fmt.Sprint(have[8:12]); have != want {
				t.Errorf("%s: have %s, want %s", rule, have, want)
			}
		}
	})
	t.Run("good view", func(t *testing.T) {
		have, err := maskOf(tall, View{Path: photo}, MaskGT0, 3)
		if err != nil || len(have) != 9 {
			t.Errorf("have %v and error %v, want nine times false", have, err)
		}
	})
	for _, tt := range []struct {
		name    string
		view    View
		phrases []string
	}{
		{"another size", View{Path: photo, Mask: small, Code: "AK"},
			[]string{small + ": have 2x2 pixels, want 4x2", photo}},
		{"another height", View{Path: photo, Mask: square, Code: "AK"},
			[]string{square + ": have 4x4 pixels, want 4x2", photo}},
		{"no mask", View{Path: photo, Code: "AK"}, []string{photo, "without a mask"}},
		{"lost mask", View{Path: photo, Mask: dir + "/lost.png", Code: "AK"}, []string{"lost.png", "no such file"}},
		{"lost image", View{Path: dir + "/lost.png", Mask: mask, Code: "AK"}, []string{"lost.png", "no such file"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := maskOf(tall, tt.view, MaskGT0, 4)
			wantError(t, err, tt.phrases...)
		})
	}
}

// TestNearest: the index is floor(i*in/out), for sizes where that is exact in float32.
func TestNearest(t *testing.T) {
	for _, tt := range []struct{ n, size int }{{392, 256}, {224, 256}, {56, 64}, {5, 5}, {4, 1}} {
		plane := make([]uint8, tt.n*tt.n)
		for i := range plane {
			plane[i] = uint8(i/tt.n*7 + i%tt.n*3)
		}
		have := canvas{plane, image.Pt(tt.n, tt.n)}.nearest(image.Rect(0, 0, tt.n, tt.n), configs.Square(tt.size), 127)
		for y := range tt.size {
			for x := range tt.size {
				want := plane[y*tt.n/tt.size*tt.n+x*tt.n/tt.size] > 127
				if have[y*tt.size+x] != want {
					t.Fatalf("%d to %d, pixel %d, %d: have %t", tt.n, tt.size, x, y, !want)
				}
			}
		}
	}
}
