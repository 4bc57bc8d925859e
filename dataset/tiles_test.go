package dataset

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"io"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"mvag-torch/configs"
)

var tiledFit = Fit{Mode: Tiles, Resize: configs.Size{10, 16}, Crop: configs.Size{6, 8}, Overlap: 0.25}

// TestPad: an image keeps its aspect ratio, in the middle of the mean colour.
func TestPad(t *testing.T) {
	gray := image.NewGray(image.Rect(0, 0, 12, 6))
	for i := range gray.Pix {
		gray.Pix[i] = uint8(3 * i)
	}
	for name, img := range map[string]image.Image{"RGB": texture(12, 6), "gray": gray} {
		t.Run(name, func(t *testing.T) {
			f := Fit{Mode: Pad, Resize: configs.Square(8), Crop: configs.Size{6, 8}}
			have := make([]uint8, 3*48)
			w, h, err := f.Image(View{Path: "p", Data: pngBytes(t, img)}, have)
			if err != nil || w != 12 || h != 6 {
				t.Fatal(w, h, err)
			}
			want := make([]uint8, 3*32) // 8 x 4
			if _, _, err := (Fit{Resize: configs.Size{4, 8}, Crop: configs.Size{4, 8}}).Image(View{Path: "p", Data: pngBytes(t, img)}, want); err != nil {
				t.Fatal(err)
			}
			for c, mean := range []uint8{124, 116, 104} {
				edge := bytes.Repeat([]byte{mean}, 8)
				if plane := have[c*48:][:48]; !bytes.Equal(plane, slices.Concat(edge, want[c*32:][:32], edge)) {
					t.Errorf("channel %d: have %v", c, plane)
				}
			}
		})
	}
}

// TestTilePixels: tiles are what they cover of the viewport, all at once and one by one, from files and from a cache, for
// images of several kinds, sizes and aspect ratios.
func TestTilePixels(t *testing.T) {
	deep := image.NewGray16(image.Rect(0, 0, 9, 21))
	for i := range deep.Pix {
		deep.Pix[i] = uint8(7 * i)
	}
	dir := t.TempDir()
	rows := "path,split,label,object,camera\n"
	var names []string
	for name, data := range map[string][]byte{
		"wide.png": pngBytes(t, texture(40, 11)), "high.png": pngBytes(t, texture(9, 30)), "deep.png": pngBytes(t, deep),
		"turned.jpg": withOrientation(jpegBytes(t, texture(30, 12)), binary.BigEndian, 6),
	} {
		writeFile(t, filepath.Join(dir, name), data)
		names = append(names, name)
		rows += fmt.Sprintf("%s,train,good,1,%d\n", name, len(names))
	}
	writeFile(t, filepath.Join(dir, "list.csv"), []byte(rows))
	cfg := configs.Data{Format: "table", Root: dir, Table: "list.csv", Views: len(names), Fit: Tiles, Exif: true,
		Resize: tiledFit.Resize, Crop: tiledFit.Crop, Overlap: tiledFit.Overlap, Cache: t.TempDir()}
	if _, _, err := prepare(t, t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	set := opened(t, cfg)
	views := set.Train[0].Views
	strip := pngBytes(t, texture(60, 11))
	for part := range 3 {
		views = append(views, View{Path: "strip", Data: strip, Part: part, Parts: 3})
	}
	f := set.Source.Fit
	corners := f.Tiles()
	if len(corners) != 6 {
		t.Fatalf("have %d tiles, want 6", len(corners))
	}
	for _, v := range views {
		canvas := make([]uint8, 3*160)
		pad := Fit{Mode: Pad, Resize: f.Resize, Crop: f.Resize, Exif: true}
		wantW, wantH, err := pad.Image(v, canvas)
		if err != nil {
			t.Fatal(err)
		}
		for from, source := range map[string]Source{"file": {Fit: f}, "cache": set.Source} {
			all := make([]uint8, len(corners)*3*48)
			if w, h, err := source.Image(v, all); err != nil || w != wantW || h != wantH {
				t.Fatal(v.Path, w, h, err)
			}
			for k, at := range corners {
				tile := make([]uint8, 3*48)
				v.Tile = k + 1
				if _, _, err := source.Image(v, tile); err != nil {
					t.Fatal(err)
				}
				v.Tile = 0
				for i := range tile {
					c, y, x := i/48, i/8%6, i%8
					want := canvas[(c*10+at.Y+y)*16+at.X+x]
					if have := all[k*144:][i]; have != want || tile[i] != want {
						t.Fatalf("%s of %s, tile %d, %d: have %d and %d, want %d", from, v.Path, k, i, have, tile[i], want)
					}
				}
			}
		}
	}
}

// TestPaddedMasks: the map of a mask shows what is seen of the image, whatever is around it; a defect of one pixel is
// there even if the map is much smaller.
func TestPaddedMasks(t *testing.T) {
	dir := t.TempDir()
	photo, file := filepath.Join(dir, "p.png"), filepath.Join(dir, "m.png")
	mask := image.NewGray(image.Rect(0, 0, 40, 20))
	writeFile(t, photo, pngBytes(t, texture(40, 20)))
	v := View{Path: photo, Mask: file, Code: "dent"}
	f := Fit{Mode: Pad, Resize: configs.Square(40), Crop: configs.Square(40)}
	for x := range 20 {
		for y := range 20 {
			mask.Pix[40*y+x] = 255
		}
	}
	writeFile(t, file, pngBytes(t, mask))
	have, err := Source{Fit: f}.Masks(v, configs.Size{20, 20})
	if err != nil {
		t.Fatal(err)
	}
	for i, marked := range have[MaskGT0] {
		if marked != (i%20 < 10) {
			t.Fatalf("row %d, column %d: have %t", i/20, i%20, marked)
		}
	}
	f = Fit{Mode: Tiles, Resize: configs.Size{20, 40}, Crop: configs.Square(10)}
	for at := range mask.Pix {
		clear(mask.Pix)
		mask.Pix[at] = 255
		writeFile(t, file, pngBytes(t, mask))
		have, err := Source{Fit: f}.Masks(v, configs.Size{4, 8})
		if err != nil || !slices.Contains(have[MaskGT0], true) || slices.Contains(have[MaskGT05], true) {
			t.Fatalf("pixel %d: have %v, %v", at, have, err)
		}
		if n := at/40/5*8 + at%40/5; !have[MaskGT0][n] {
			t.Fatalf("pixel %d is not marked at %d", at, n)
		}
	}
	clear(mask.Pix) // reduced by 4 across and 2 down, where the nearest rows are the even ones
	for y := range 20 {
		mask.Pix[40*y+3+4*(y%2)] = 255
	}
	writeFile(t, file, pngBytes(t, mask))
	have, err = Source{Fit: f}.Masks(v, configs.Size{10, 10})
	if err != nil {
		t.Fatal(err)
	}
	for i, marked := range have[MaskGT0] {
		if marked != (i%10 < 2) {
			t.Fatalf("row %d, column %d: have %t", i/10, i%10, marked)
		}
	}
	writeFile(t, file, pngBytes(t, image.NewGray(image.Rect(0, 0, 20, 40))))
	_, err = Source{Fit: f}.Masks(v, configs.Size{4, 8})
	wantError(t, err, file+": have 20x40 pixels, want 40x20")
}

// mixedObjects writes n objects of two cameras, whose images differ in size and aspect ratio.
func mixedObjects(t *testing.T, n int) []Object {
	dir := t.TempDir()
	objects := make([]Object, n)
	for i := range objects {
		objects[i] = Object{Class: "gear", ID: fmt.Sprint("gear/", i), Views: []View{{}, {Camera: 1}, {Camera: 2}}}
		for c, size := range []image.Point{{20, 10}, {9, 30}} {
			path := filepath.Join(dir, fmt.Sprintf("%d_%d.png", i, c))
			img := texture(size.X, size.Y)
			img.SetNRGBA(0, 0, color.NRGBA{uint8(40 * i), 9, 9, 255})
			writeFile(t, path, pngBytes(t, img))
			objects[i].Views[c].Path = path
		}
	}
	return objects
}

// TestTiledBatches: a batch of whole objects has all tiles, a batch of tiles one each, with the same pixels. An image
// that cannot be read lacks all its tiles and counts once.
func TestTiledBatches(t *testing.T) {
	objects := mixedObjects(t, 3)
	writeFile(t, objects[1].Views[1].Path, []byte("no image"))
	skipped := &Skipped{most: 0.5}
	skipped.Expect("images", Tiled(objects, tiledFit))
	opt := LoaderOptions{Source: Source{Fit: tiledFit, Skipped: skipped, Read: &ReadImages{}}, Objects: 1, Workers: 2, Prefetch: 2}
	whole := drain(t, evaluate(t, objects, opt), false)
	tiles := Tiled(objects, tiledFit)
	if len(tiles) != 18 || tiles[7].ID != "gear/1" || tiles[7].Tile != 2 || tiles[7].Views[2].Camera != 2 || !reflect.DeepEqual(tiles[7].Whole(), objects[1]) {
		t.Fatalf("have %d tiles, the eighth %+v", len(tiles), tiles[7])
	}
	single := drain(t, evaluate(t, tiles, opt), false)
	if n, want := opt.Memory(&objects[0]), int64(4*3*6*144); n != want || opt.Memory(&tiles[0]) != want/6 {
		t.Errorf("have %d bytes of memory for objects and %d for tiles, want %d and a sixth", n, opt.Memory(&tiles[0]), want)
	}
	for i, b := range single {
		all := whole[i/6]
		if b.Tiles != 1 || all.Tiles != 6 || !slices.Equal(b.Present, all.Present) || !slices.Equal(b.Content, all.Content) {
			t.Fatalf("have %d and %d tiles, %v and %v, %v and %v", b.Tiles, all.Tiles, b.Present, all.Present, b.Content, all.Content)
		}
		if !bytes.Equal(b.Pixels, all.TilePixels(i%6, nil)) {
			t.Fatalf("tile %d of %s differs", i%6, b.Objects[0].ID)
		}
	}
	b := whole[1]
	if fmt.Sprint(b.Present, b.Content) != "[true false false] [(0,1)-(16,9) (0,0)-(0,0) (0,0)-(0,0)]" {
		t.Errorf("have %v, %v", b.Present, b.Content)
	}
	if slices.Max(b.Pixels[6*144:]) != 0 {
		t.Error("the tiles of an absent image are not 0")
	}
	if n := len(skipped.Lines()); n != 1 {
		t.Errorf("have %d images left out, want 1", n)
	}
	if n := len(opt.Source.Read.Hashes(nil)); n != 5 {
		t.Errorf("have %d images read, want 5", n)
	}
}

// TestSmallerThanTile: an image smaller than a tile in both directions is an error that says what to do, or is left out;
// dataset check lists it. One that is merely enlarged is noted.
func TestSmallerThanTile(t *testing.T) {
	dir := t.TempDir()
	for name, img := range map[string]image.Image{"good/a.png": texture(7, 5), "good/b.png": texture(9, 3), "good/c.png": texture(20, 20)} {
		writeFile(t, filepath.Join(dir, name), pngBytes(t, img))
	}
	cfg := configs.Data{Format: "folder", Root: dir, Good: "good", Views: 1, Fit: Tiles,
		Resize: tiledFit.Resize, Crop: tiledFit.Crop, Overlap: tiledFit.Overlap, OnError: "skip", MaxUnreadable: 1}
	small := filepath.Join(dir, "good/a.png")
	want := small + ": have 7x5 pixels, want at least the 8x6 of a tile in one direction; set a smaller data.crop, or data.fit: pad"
	set := opened(t, cfg)
	found, err := Check(t.Context(), set, set.Source.Fit, checkOptions)
	if err != nil {
		t.Fatal(err)
	}
	if lines := found.Classes[0].Findings; fmt.Sprint(lines[Unreadable]) != "["+want+"]" ||
		fmt.Sprint(lines[Enlarged]) != fmt.Sprintf("[%s: 9x3 pixels]", filepath.Join(dir, "good/b.png")) {
		t.Errorf("have %v", lines)
	}
	if lines := set.Survey(); len(lines) != 1 || !strings.HasSuffix(lines[0], "of 3 training images looked at, 2 are smaller than data.resize (10 x 16) and enlarged to fill it") {
		t.Errorf("have %q", lines)
	}
	cached := cfg
	cached.Cache = t.TempDir()
	if _, _, err := prepare(t, t.Context(), cached); err != nil {
		t.Fatal(err)
	}
	for _, cfg := range []configs.Data{cfg, cached} {
		set := opened(t, cfg)
		set.Source.Notes = &Notes{}
		l := evaluate(t, set.Train, LoaderOptions{Source: set.Source, Objects: 3, Prefetch: 1})
		if b := drain(t, l, false)[0]; fmt.Sprint(b.Present) != "[false true true]" {
			t.Errorf("have %v", b.Present)
		}
		if lines := set.Source.Skipped.Lines(); len(lines) != 1 || lines[0] != want {
			t.Errorf("have %q", lines)
		}
		if noted := set.Source.Notes.Summary()[Enlarged]; noted.Files != 1 || !strings.HasSuffix(noted.First, "b.png") {
			t.Errorf("have %+v", noted)
		}
	}
	set = opened(t, cfg)
	set.Source.Skipped = nil
	_, err = evaluate(t, set.Train, LoaderOptions{Source: set.Source, Objects: 3, Prefetch: 1}).Next()
	wantError(t, err, want)
	if err == io.EOF {
		t.Error("have the end")
	}
}

// TestCacheOfTiles: a cache holds viewports, so that tiles of any size are cut out of it; what decides pixels is compared.
func TestCacheOfTiles(t *testing.T) {
	cfg := cacheSet(t, 2)
	cfg.Fit, cfg.Resize, cfg.Crop, cfg.Overlap = Tiles, configs.Size{8, 12}, configs.Square(4), 0.25
	plan, _, err := prepare(t, t.Context(), cfg)
	if want := 6*align(3*96) + 2*align(96); err != nil || plan.Bytes != want {
		t.Fatalf("have %d bytes and error %v, want %d", plan.Bytes, err, want)
	}
	other := cfg
	other.Crop, other.Overlap = configs.Size{8, 6}, 0.5
	whole := cfg
	whole.Fit, whole.Crop = Pad, cfg.Resize
	for _, cfg := range []configs.Data{cfg, other, whole} {
		set := opened(t, cfg)
		sameSource(t, set, Source{Fit: set.Source.Fit}, set.Source)
	}
	for want, change := range map[string]func(*configs.Data){
		"want fit squash, resize 8 x 12, crop 8 x 12,": func(c *configs.Data) { c.Fit, c.Crop = Squash, c.Resize },
		"want fit pad, resize 8 x 12, crop 4,":         func(c *configs.Data) { c.Fit = Pad },
		"want fit pad, resize 8, crop 8,":              func(c *configs.Data) { c.Resize = configs.Square(8) },
	} {
		other := cfg
		change(&other)
		_, err := Open(other)
		wantError(t, err, "have images made with fit pad, resize 8 x 12, crop 8 x 12,", want)
	}
}
