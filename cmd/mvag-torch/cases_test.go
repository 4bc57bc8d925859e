package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mvag-torch/eval/report"
	"mvag-torch/eval/score"
)

// writePNG writes an image.
func writePNG(t *testing.T, img image.Image, elements ...string) {
	t.Helper()
	path := filepath.Join(elements...)
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		var f *os.File
		if f, err = os.Create(path); err == nil {
			err = errors.Join(png.Encode(f, img), f.Close())
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestFlatImages trains, calibrates and judges where a camera has its cap on: black, white and gray images among the
// others, or black ones only. Losses, metrics and scores are finite.
func TestFlatImages(t *testing.T) {
	flat := func(v uint8) image.Image {
		img := image.NewGray(image.Rect(0, 0, 64, 64))
		draw.Draw(img, img.Rect, image.NewUniform(color.Gray{Y: v}), image.Point{}, draw.Src)
		return img
	}
	some, all := discs(t, 4), t.TempDir()
	for i, v := range []uint8{0, 255, 128} {
		writePNG(t, flat(v), some, "disc/train/good", fmt.Sprintf("9%d.png", i))
		writePNG(t, flat(v), some, "disc/test/good", fmt.Sprintf("9%d.png", i))
	}
	for i := range 8 {
		writePNG(t, flat(0), all, "disc/train/good", fmt.Sprintf("%d.png", i))
		writePNG(t, flat(0), all, "disc/test/good", fmt.Sprintf("%d.png", i))
	}
	partImage(t, 200, true, all, "disc/test/scratch/0.png")
	for _, root := range []string{some, all} {
		dir, model, _ := trained(t, append(onDiscs(root), "--set", "train.iterations=12")...)
		text, err := os.ReadFile(filepath.Join(dir, "quickstart", "train.jsonl"))
		if err != nil || strings.Count(string(text), "\n") != 13 || strings.Contains(string(text), "null") {
			t.Errorf("have %s, error %v, want a start and 12 finite losses", text, err)
		}
		must(t, "eval", "-m", model)
		results, err := report.Read(filepath.Join(dir, "quickstart", "results.json"))
		if err != nil {
			t.Fatal(err)
		}
		for n, v := range results.Classes[0].Values[:3] { // of images; there are no masks
			if math.IsNaN(v) || math.IsInf(v, 0) {
				t.Errorf("value %d: have %v", n, v)
			}
		}
		if root == some {
			must(t, "calibrate", "-m", model, filepath.Join(root, "disc/test/good/000.png"), filepath.Join(root, "disc/test/good/001.png"))
			out := must(t, "predict", "-m", model, filepath.Join(root, "disc/test/good"))
			if strings.Count(out, `"decision":`) != 14 || strings.Contains(out, "error") {
				t.Errorf("have %s, want decisions on 7 images and their objects", out)
			}
		}
	}
}

// TestCamerasByName trains on the example of docs/datasets.md: cameras left and right, objects by name. calibrate and
// predict group a folder and a table as training did, with --pattern with and without extension, too.
func TestCamerasByName(t *testing.T) {
	root := filepath.Join(t.TempDir(), "parts")
	photo := func(n int, defective bool, elements ...string) {
		t.Helper()
		path := partImage(t, uint64(n), defective, elements...)
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		img, err := png.Decode(f)
		if err != nil {
			t.Fatal(err)
		}
		out, err := os.Create(strings.TrimSuffix(path, ".png") + ".jpg")
		if err == nil {
			err = errors.Join(jpeg.Encode(out, img, nil), out.Close(), os.Remove(path))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	table := "path,object,camera\n"
	for i := range 8 {
		for c, camera := range []string{"left", "right"} {
			photo(2*i+c, false, root, "good", fmt.Sprintf("%04d_%s.png", i, camera))
			photo(100+2*i+c, false, root, "lot", fmt.Sprintf("%04d_%s.png", i, camera))
			if i < 3 {
				photo(200+2*i+c, c == 0, root, "bad", fmt.Sprintf("%04d_%s.png", i, camera))
				table += fmt.Sprintf("bad/%04d_%s.jpg,%04d,%s\n", i, camera, i, camera)
			}
		}
	}
	list := filepath.Join(root, "cameras.csv")
	if err := os.WriteFile(list, []byte(table), 0o600); err != nil {
		t.Fatal(err)
	}
	_, model, _ := trained(t, "--set", "data.format=folder", "--set", "data.root="+root, "--set", "data.bad=bad", "--set", "data.masks=''", "--set", "data.views=2",
		"--set", "data.pattern={object}_{camera}.jpg", "--set", "data.holdout=0", "--set", "train.holdout=0", "--set", "train.iterations=4")
	lot := filepath.Join(root, "lot")
	said(t, []string{"calibrate", "-m", model, lot}, "calibrating: 16 images of 8 objects", "8 good objects (16 images)")
	said(t, []string{"calibrate", "-m", model, "--pattern", "{object}_{camera}", lot}, "8 good objects (16 images)")
	refused(t, []string{"calibrate", "-m", model, filepath.Join(root, "good")}, "8 of 8 objects have training images")
	for _, args := range [][]string{{filepath.Join(root, "bad")}, {"--pattern", "{object}_{camera}", filepath.Join(root, "bad")}, {list}} {
		out, text := stderr(t, append([]string{"predict", "-m", model}, args...)...)
		if strings.Count(out, `"camera":1`) != 3 || strings.Count(out, `"camera":2`) != 3 || !strings.Contains(text, "6 images of 3 objects") {
			t.Errorf("%q: have %s%s, want 3 objects of 2 images", args, out, text)
		}
		if strings.Contains(text, "without an image") {
			t.Errorf("%q: have %s, want no view without an image", args, text)
		}
	}
	said(t, []string{"predict", "-m", model, filepath.Join(root, "bad", "0000_left.jpg"), filepath.Join(root, "bad", "0001_right.jpg")},
		"views without an image: 2; the first: "+filepath.Join(root, "bad", "0000")+": no image of camera C2\n", "2 images of 2 objects")
}

// TestOddImagesAreNamed gives predict and calibrate images that are turned by EXIF and images of 12 bits in 16: each
// kind is counted, with the first by name.
func TestOddImagesAreNamed(t *testing.T) {
	root := discs(t, 8)
	_, model, _ := trained(t, append(onDiscs(root), "--set", "train.holdout=0.25")...)
	lot := link(t, map[string]string{"turned.tif": "turned.tif", "rgb.tif": "rgb.tif"})
	for i, name := range []string{"dark1.png", "dark2.png"} {
		img := image.NewGray16(image.Rect(0, 0, 64, 64))
		for at := range 64 * 64 {
			img.SetGray16(at%64, at/64, color.Gray16{Y: uint16((at + i) % 4096)})
		}
		writePNG(t, img, lot, name)
	}
	for _, name := range []string{"predict", "calibrate"} {
		said(t, []string{name, "-m", model, lot},
			"images with an EXIF orientation that is not applied (data.exif): 1; the first: "+filepath.Join(lot, "turned.tif")+"\n",
			"16-bit images that use fewer bits, and so are dark (data.bits): 2; the first: "+filepath.Join(lot, "dark1.png")+"\n")
		_, text := stderr(t, name, "-m", model, filepath.Join(root, "disc/test/good"))
		if strings.Contains(text, "EXIF") || strings.Contains(text, "16-bit") {
			t.Errorf("%s: have %s, want nothing odd", name, text)
		}
	}
}

// TestEvalSaysWhatIsOdd holds that eval counts empty masks and files of other classes beside its maps, and names the
// image for which it has no map to save.
func TestEvalSaysWhatIsOdd(t *testing.T) {
	root := discs(t, 8)
	mask := image.NewGray(image.Rect(0, 0, 64, 64))
	writePNG(t, mask, root, "disc/ground_truth/scratch/000_mask.png")
	draw.Draw(mask, image.Rect(24, 30, 36, 35), image.White, image.Point{}, draw.Src)
	writePNG(t, mask, root, "disc/ground_truth/scratch/001_mask.png")
	dir, model, _ := trained(t, append(onDiscs(root), "--set", "train.holdout=0.25")...)
	maps := filepath.Join(dir, "maps")
	eval := []string{"eval", "-m", model, "--save-maps", maps}
	_, text := stderr(t, eval...)
	if want := `class "disc": masks of defective images that are empty, perhaps after resize and crop: 1 of 2;`; !strings.Contains(text, want) {
		t.Errorf("have %s, want %s", text, want)
	}
	if strings.Contains(text, "not of this evaluation") {
		t.Errorf("have %s, want no other maps", text)
	}
	for _, suffix := range []string{score.MapsSuffix, score.MasksSuffix, score.TableSuffix, ".txt"} {
		if err := os.WriteFile(filepath.Join(maps, "bolt"+suffix), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	writePNG(t, mask, root, "disc/ground_truth/scratch/000_mask.png")
	_, text = stderr(t, eval...)
	if !strings.Contains(text, maps+": 3 files of classes that are not of this evaluation") || !strings.Contains(text, "the first: bolt") {
		t.Errorf("have %s, want the maps of class bolt", text)
	}
	if strings.Contains(text, "are empty") {
		t.Errorf("have %s, want no empty mask", text)
	}
	broken := filepath.Join(root, "disc/test/good/002.png")
	if err := os.WriteFile(broken, []byte("\x89PNG\r\n\x1a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, append(eval, "--set", "data.on_error=skip", "--set", "data.max_unreadable=1"),
		`class "disc": object "disc/test/good/002": have maps of 0 images, want those of all 1 to save maps; left out (data.on_error: skip): `+broken)
}

// TestMasksMendedBetweenEvals interrupts an evaluation in its second class and mends the masks of the first: the
// resumed evaluation has the results of a fresh one, for the mended class too.
func TestMasksMendedBetweenEvals(t *testing.T) {
	root := t.TempDir()
	mask := func(class string, i, at int) {
		t.Helper()
		img := image.NewGray(image.Rect(0, 0, 64, 64))
		draw.Draw(img, image.Rect(at, 30, at+12, 35), image.White, image.Point{}, draw.Src)
		writePNG(t, img, root, class, "ground_truth/scratch", fmt.Sprintf("%d_mask.png", i))
	}
	for n, class := range []string{"a", "b"} {
		for i := range 4 {
			partImage(t, uint64(10*n+i), false, root, class, "train/good", fmt.Sprintf("%d.png", i))
			partImage(t, uint64(100+10*n+i), false, root, class, "test/good", fmt.Sprintf("%d.png", i))
		}
		for i := range 4 + 40*n { // the second class takes longer
			partImage(t, uint64(200+100*n+i), true, root, class, "test/scratch", fmt.Sprintf("%d.png", i))
			mask(class, i, 5)
		}
	}
	dir, model, _ := trained(t, onDiscs(root)...)
	run, fresh := filepath.Join(dir, "run"), filepath.Join(dir, "fresh")
	kill(t, run, "eval", "-m", model, "-o", run)
	for i := range 4 {
		mask("a", i, 24)
	}
	_, text := stderr(t, "eval", "-m", model, "-o", run)
	if strings.Contains(text, "resumed") || !strings.Contains(text, `left aside: `) || !strings.Contains(text, `class "a": have results of another`) {
		t.Errorf("have %s, want the results of class a left aside", text)
	}
	must(t, "eval", "-m", model, "-o", fresh)
	var have, want map[string]any
	for path, results := range map[string]*map[string]any{run: &have, fresh: &want} {
		data, err := os.ReadFile(filepath.Join(path, "results.json"))
		if err == nil {
			err = json.Unmarshal(data, results)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if fmt.Sprint(have["classes"]) != fmt.Sprint(want["classes"]) {
		t.Errorf("have %v, want %v", have["classes"], want["classes"])
	}
}
