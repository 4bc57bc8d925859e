package dataset

import (
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"math/rand/v2"
	"reflect"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/internal/libjpeg"
)

// TestGeometry: where images lie in the viewport, and which part of them is seen.
func TestGeometry(t *testing.T) {
	for _, tt := range []struct {
		mode         string
		resize, crop configs.Size
		w, h         int
		content      image.Rectangle
		seen         [4]float64
	}{
		{Squash, configs.Square(448), configs.Square(392), 1024, 512, image.Rect(0, 0, 392, 392), [4]float64{64, 32, 896, 448}},
		{Squash, configs.Size{200, 100}, configs.Size{100, 100}, 50, 50, image.Rect(0, 0, 100, 100), [4]float64{0, 12.5, 50, 25}},
		{Pad, configs.Square(100), configs.Square(100), 200, 100, image.Rect(0, 25, 100, 75), [4]float64{0, 0, 200, 100}},
		{Pad, configs.Square(100), configs.Square(80), 200, 100, image.Rect(0, 15, 80, 65), [4]float64{20, 0, 160, 100}},
		{Pad, configs.Size{50, 100}, configs.Size{40, 90}, 100, 100, image.Rect(20, 0, 70, 40), [4]float64{0, 10, 100, 80}},
		{Pad, configs.Size{100, 60}, configs.Size{100, 60}, 6, 10, image.Rect(0, 0, 60, 100), [4]float64{0, 0, 6, 10}}, // enlarged
		{Pad, configs.Square(100), configs.Square(100), 1000, 1, image.Rect(0, 49, 100, 50), [4]float64{0, 0, 1000, 1}},
		{Tiles, configs.Size{90, 160}, configs.Square(40), 2048, 1536, image.Rect(20, 0, 140, 90), [4]float64{0, 0, 2048, 1536}},
	} {
		f := Fit{Mode: tt.mode, Resize: tt.resize, Crop: tt.crop}
		if have := f.Content(tt.w, tt.h); have != tt.content {
			t.Errorf("%+v: have the image at %v", tt, have)
		}
		x, y, w, h := f.Seen(tt.w, tt.h)
		if have := [4]float64{x, y, w, h}; have != tt.seen {
			t.Errorf("%+v: have %v seen", tt, have)
		}
	}
}

func TestTileCorners(t *testing.T) {
	for _, tt := range []struct {
		side, crop int
		overlap    float64
		want       []int
	}{
		{448, 448, 0.25, []int{0}},
		{449, 448, 0.25, []int{0, 1}},
		{896, 448, 0, []int{0, 448}},
		{897, 448, 0, []int{0, 225, 449}},
		{784, 448, 0.25, []int{0, 336}},
		{1120, 448, 0.25, []int{0, 336, 672}},
		{1000, 400, 0.5, []int{0, 200, 400, 600}},
		{24, 10, 0.3, []int{0, 7, 14}}, // 10*(1-0.3) is less than 7 in float64
	} {
		if have := (Fit{Overlap: tt.overlap}).corners(tt.side, tt.crop); !reflect.DeepEqual(have, tt.want) {
			t.Errorf("%+v: have %v", tt, have)
		}
	}
	f := Fit{Mode: Tiles, Resize: configs.Size{8, 12}, Crop: configs.Size{8, 6}}
	if have := fmt.Sprint(f.Tiles()); have != "[(0,0) (6,0)]" {
		t.Errorf("have %v", have)
	}
	f.Resize = configs.Size{16, 12}
	if have := fmt.Sprint(f.Tiles()); have != "[(0,0) (6,0) (0,8) (6,8)]" {
		t.Errorf("have %v, want row by row", have)
	}
	f.Mode = Pad
	if have := fmt.Sprint(f.Tiles()); have != "[(0,0)]" {
		t.Errorf("have %v, want one", have)
	}
}

// TestTilesCover: tiles cover the viewport, stay within it, and share as much as asked up to a rounding of a pixel.
func TestTilesCover(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		crop := 14 * (1 + rng.IntN(30))
		side, overlap := crop+rng.IntN(3000), float64(rng.IntN(76))/100
		at := Fit{Overlap: overlap}.corners(side, crop)
		if at[0] != 0 || at[len(at)-1] != side-crop {
			t.Fatalf("%d of %d: have %v", crop, side, at)
		}
		for i := 1; i < len(at); i++ {
			if shared := float64(at[i-1] + crop - at[i]); shared < overlap*float64(crop)-1 || at[i] <= at[i-1] {
				t.Fatalf("%d of %d: have %v, which share %v of a tile", crop, side, at, shared/float64(crop))
			}
		}
		if n := len(at) - 1; n > 1 && float64(side-crop)/float64(n-1) <= float64(crop)*(1-overlap) {
			t.Fatalf("%d of %d: have %d tiles, more than needed", crop, side, n+1)
		}
	}
}

// TestEighths: a JPEG is not decoded below its size on the canvas, in either direction.
func TestEighths(t *testing.T) {
	size := configs.Size{448, 896}
	for _, tt := range []struct {
		mode   string
		w, h   int
		turned bool
		want   int
	}{
		{Squash, 7168, 3584, false, 1},
		{Squash, 7168, 3000, false, 2},
		{Squash, 4000, 7168, false, 2},
		{Squash, 3584, 7168, true, 1},
		{Pad, 7168, 448, false, 1}, // 896 x 56 on the canvas
		{Pad, 3584, 3584, false, 1},
		{Pad, 3000, 3584, true, 2}, // 448 high and 535 wide once turned
		{Pad, 100, 100, false, 8},
	} {
		f := Fit{Mode: tt.mode, Resize: size, Crop: size, Scaled: true}
		if have := f.eighths(tt.w, tt.h, tt.turned); have != tt.want {
			t.Errorf("%+v: have %d", tt, have)
		}
		if have := (Fit{Mode: tt.mode, Resize: size}).eighths(tt.w, tt.h, tt.turned); have != 8 {
			t.Errorf("%+v: have %d without data.decode: scaled", tt, have)
		}
	}
}

func TestTilesLine(t *testing.T) {
	objects := []Object{{Views: []View{{}, {Path: "no image"}, {Path: "p", Data: pngBytes(t, texture(20, 10))}}}}
	s := Source{Fit: Fit{Mode: Tiles, Resize: configs.Size{8, 12}, Crop: configs.Square(4), Overlap: 0.25}}
	const tiles = "tiles: each image becomes 3 x 4 tiles of 4 pixels, 12 times the work of one"
	if have := s.TilesLine(objects); have != tiles+"; 25 % of data.resize is empty at images of 20x10" {
		t.Errorf("have %q", have)
	}
	if have := s.TilesLine(nil); have != tiles {
		t.Errorf("have %q", have)
	}
	s.Fit.Mode = Pad
	if have := s.TilesLine(objects); have != "" {
		t.Errorf("have %q", have)
	}
}

// TestScaledTiles: a JPEG that is decoded at a reduced scale has nearly the pixels of one that is not, also turned and
// padded, and the size of the file.
func TestScaledTiles(t *testing.T) {
	if !libjpeg.Available {
		t.Skip("built without libjpeg-turbo")
	}
	img := image.NewNRGBA(image.Rect(0, 0, 320, 160))
	for y := range 160 {
		for x := range 320 {
			img.SetNRGBA(x, y, color.NRGBA{uint8(x / 2), uint8(y), uint8(x/4 + y/4), 255})
		}
	}
	v := View{Path: "p", Data: withOrientation(jpegBytes(t, img), binary.BigEndian, 6)}
	for _, mode := range []string{Squash, Pad, Tiles} {
		f := Fit{Mode: mode, Resize: configs.Size{40, 30}, Crop: configs.Size{20, 30}, Exif: true}
		exact, scaled := make([]uint8, f.imageBytes(0)), make([]uint8, f.imageBytes(0))
		if _, _, err := f.Image(v, exact); err != nil {
			t.Fatal(err)
		}
		f.Scaled = true
		w, h, err := f.Image(v, scaled)
		if err != nil || w != 160 || h != 320 {
			t.Fatal(w, h, err)
		}
		if largest, mean := difference(scaled, exact); largest > 6 || largest == 0 {
			t.Errorf("%s: differs by at most %d, %.2f on average", mode, largest, mean)
		}
	}
}
