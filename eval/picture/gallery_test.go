package picture

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mvag-torch/dataset"
	"mvag-torch/internal/heatmap"
)

// parts are objects of two classes whose scores fall with their number; every second one is defective in its first
// view.
func parts(n int) ([]dataset.Object, map[string]float64) {
	var objects []dataset.Object
	scores := map[string]float64{}
	for i := range n {
		o := dataset.Object{Class: []string{"a", "b"}[i/2%2], ID: fmt.Sprintf("%03d", i), Views: []dataset.View{{Path: "x"}, {Camera: 1}, {Camera: 2, Path: "x"}}}
		if i%2 == 1 {
			o.Views[0].Code = "dent"
		}
		objects = append(objects, o)
		scores[o.ID] = float64(n - i)
	}
	return objects, scores
}

// TestGallery asks about objects in several orders: the same are kept.
func TestGallery(t *testing.T) {
	objects, scores := parts(48)
	const size = 16
	var first []Exhibit
	for seed := range uint64(3) {
		rand.New(rand.NewPCG(seed, 1)).Shuffle(len(objects), func(i, j int) { objects[i], objects[j] = objects[j], objects[i] })
		g := NewGallery(&dataset.Set{Classes: []string{"a", "b"}})
		for i := range objects {
			o := &objects[i]
			if !g.Wants(o, scores[o.ID]) {
				continue
			}
			mask := make([]bool, size*size)
			mask[5] = o.Defective()
			var tiles []Tile
			for _, camera := range []int{1, 3} {
				tiles = append(tiles, Tile{camera, grays(size), make([]float32, size*size), mask})
			}
			g.Add(o, tiles)
		}
		have, err := g.Exhibits(true, func(string, float32) float32 { return 0.5 })
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, e := range have {
			ids = append(ids, e.Class+e.Object)
			checkPlates(t, e, size)
		}
		want := []string{"a045", "a041", "a037", "a033", "a000", "a004", "a008", "a012", "b047", "b043", "b039", "b035", "b002", "b006", "b010", "b014"}
		if !slices.Equal(ids, want) {
			t.Errorf("have %q, want %q", ids, want)
		}
		if first == nil {
			first = have
		} else if !slices.EqualFunc(have, first, func(a, b Exhibit) bool { return bytes.Equal(a.Views[0].Map, b.Views[0].Map) }) {
			t.Error("images depend on the order")
		}
	}
}

// grays is an image of size x size pixels.
func grays(size int) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, size, size))
	for i := range img.Pix {
		img.Pix[i] = uint8(i/4%200) | 255*uint8(i%4/3)
	}
	return img
}

// checkPlates decodes the images of an exhibit, whose second camera is absent.
func checkPlates(t *testing.T, e Exhibit, size int) {
	t.Helper()
	if len(e.Views) != 2 || e.Views[0].Camera != 1 || e.Views[1].Camera != 3 {
		t.Fatalf("%s: have views %d, want cameras 1 and 3", e.Object, len(e.Views))
	}
	for _, p := range e.Views {
		if defective := e.Object[2]%2 == 1; defective != (p.Mask != nil) {
			t.Errorf("%s: have %d bytes of mask", e.Object, len(p.Mask))
		}
		for _, file := range [][]byte{p.Image, p.Map, p.Mask} {
			if file == nil {
				continue
			}
			img, err := jpeg.Decode(bytes.NewReader(file))
			if err != nil || img.Bounds() != image.Rect(0, 0, size, size) {
				t.Errorf("%s: have %v, error %v", e.Object, img, err)
			}
		}
	}
	img, err := jpeg.Decode(bytes.NewReader(e.Views[0].Map))
	if err != nil {
		t.Fatal(err)
	}
	if r, _, b, _ := img.At(2, 12).RGBA(); r < b+b/2 {
		t.Errorf("%s: have colour %v in the map, want red, the middle", e.Object, img.At(2, 12))
	}
}

// TestFewObjectsOfManyClasses bounds what a gallery keeps.
func TestFewObjectsOfManyClasses(t *testing.T) {
	for classes, want := range map[int]int{1: 4, 6: 4, 8: 3, 30: 1} {
		if g := NewGallery(&dataset.Set{Classes: make([]string, classes)}); g.each != want {
			t.Errorf("%d classes: have %d objects of each, want %d", classes, g.each, want)
		}
	}
}

// TestAlbum has a chosen object of which only the third camera's image could be read, and one of which none could.
func TestAlbum(t *testing.T) {
	objects, _ := parts(4)
	a := NewAlbum(&dataset.Set{Classes: []string{"a", "b"}, Test: objects})
	const size = 16
	for i := range objects {
		if o := &objects[i]; o.Class == "a" && a.Wants(o) {
			a.Add(o, []Tile{{3, grays(size), make([]float32, size*size), nil}}[:1-i])
		}
	}
	folder := t.TempDir()
	paths, err := a.Write(folder, strings.ToUpper, heatmap.Scale{High: 1})
	if err != nil || len(paths) != 1 || paths[0] != filepath.Join(folder, "A.png") {
		t.Fatalf("have %q, error %v, want one sheet", paths, err)
	}
	text, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(text))
	if err != nil || img.Bounds() != image.Rect(0, 0, 3*(size+gap)+gap, 2*(size+gap)+2*gap) {
		t.Fatalf("have %v, error %v, want three columns and two lines", img.Bounds(), err)
	}
	at := 2*(size+gap) + gap
	if have := color.RGBAModel.Convert(img.At(at+3, gap)); have != grays(size).At(3, 0) {
		t.Errorf("third camera: have %v, want its pixel", have)
	}
	if have := color.RGBAModel.Convert(img.At(gap, gap)); have != background {
		t.Errorf("first camera: have %v, want the background", have)
	}
}
