package main

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mvag-torch/model/calibration"
)

// partImage writes the image of part n: noise on a disc, with a bright bar if it is defective. Everything follows from n.
func partImage(t *testing.T, n uint64, defective bool, elements ...string) string {
	t.Helper()
	r := rand.New(rand.NewPCG(n, 1))
	img := image.NewRGBA(image.Rect(0, 0, 64, 64))
	for y := range 64 {
		for x := range 64 {
			v := 60 + r.IntN(10)
			if (x-32)*(x-32)+(y-32)*(y-32) < 600 {
				v += 90
			}
			if defective && x/12 == 2 && y/5 == 6 {
				v = 250
			}
			img.SetRGBA(x, y, color.RGBA{uint8(v), uint8(v), uint8(v - 5), 255})
		}
	}
	writePNG(t, img, elements...)
	return filepath.Join(elements...)
}

// discs writes a set in MVTec's layout: train good training images, 4 good and 2 defective test images without masks.
func discs(t *testing.T, train int) (root string) {
	t.Helper()
	root = t.TempDir()
	for i := range train {
		partImage(t, uint64(i), false, root, "disc/train/good", fmt.Sprintf("%03d.png", i))
	}
	for i := range 4 {
		partImage(t, uint64(100+i), false, root, "disc/test/good", fmt.Sprintf("%03d.png", i))
	}
	for i := range 2 {
		partImage(t, uint64(200+i), true, root, "disc/test/scratch", fmt.Sprintf("%03d.png", i))
	}
	return root
}

// onDiscs are settings for a set of discs: enough iterations to read each training image.
func onDiscs(root string) []string {
	return []string{"--set", "data.format=mvtec", "--set", "data.root=" + root, "--set", "data.views=1", "--set", "train.iterations=4"}
}

// attempt runs the program in this process and returns what it wrote, and its error.
func attempt(t *testing.T, args ...string) (out, text string, err error) {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	saved := os.Stderr
	os.Stderr = file
	out, err = command(t, args...)
	os.Stderr = saved
	written, readErr := os.ReadFile(file.Name())
	if readErr != nil {
		t.Fatal(readErr)
	}
	return out, string(written), err
}

// refused runs the program and wants one line of error that contains all of want.
func refused(t *testing.T, args []string, want ...string) {
	t.Helper()
	_, _, err := attempt(t, args...)
	if err == nil {
		t.Errorf("%q: no error, want %q", args, want)
		return
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: have %q, want one line with %q", args, err, w)
		}
	}
}

// said runs the program and wants all of want on stdout or stderr.
func said(t *testing.T, args []string, want ...string) {
	t.Helper()
	out, text := stderr(t, args...)
	for _, w := range want {
		if !strings.Contains(out+text, w) {
			t.Errorf("%q: have %s%s, want %q", args, out, text, w)
		}
	}
}

// rewrite changes the metadata of a checkpoint.
func rewrite(t *testing.T, path string, change func(meta map[string]string)) {
	t.Helper()
	f := openFile(t, path)
	meta := f.Metadata()
	change(meta)
	for key := range f.Metadata() {
		if _, kept := meta[key]; !kept {
			meta[key] = "" // Rewrite removes it
		}
	}
	if err := f.Rewrite(meta, "", nil); err != nil {
		t.Fatal(err)
	}
}

// TestCalibrateWithNewImages holds that thresholds rest on images that the model was not trained on, each once.
func TestCalibrateWithNewImages(t *testing.T) {
	root := discs(t, 8)
	_, model, _ := trained(t, append(onDiscs(root), "--set", "train.holdout=0.25")...)
	train, test := filepath.Join(root, "disc/train/good"), filepath.Join(root, "disc/test/good")
	if c := calibrationOf(t, model); c.Objects != 2 || c.Source != fromHoldout {
		t.Errorf("have %+v, want the 2 objects of the hold-out", c)
	}
	calibrate := func(more ...string) []string { return append([]string{"calibrate", "-m", model}, more...) }

	said(t, calibrate(train), `left out: 6 of 8 objects have training images of this model ("`+train, "2 good objects (2 images)")
	if c := calibrationOf(t, model); c.Source != "images given to calibrate, without 6 trained on" {
		t.Errorf("have %q, want what was left out", c.Source)
	}
	copied, err := filepath.EvalSymlinks(t.TempDir())
	if err == nil {
		err = os.Symlink(test, filepath.Join(copied, "test"))
	}
	if err != nil {
		t.Fatal(err)
	}
	said(t, calibrate(test, test, filepath.Join(copied, "test")), "left out: 4 of 8 objects are copies of others, byte for byte", "4 good objects (4 images)")
	before := calibrationOf(t, model)
	bad := filepath.Join(t.TempDir(), "bad")
	for i := range 3 {
		partImage(t, uint64(400+i), true, bad, fmt.Sprintf("%03d.png", i))
	}
	said(t, calibrate(bad, test), "3 of 7 objects have names of defective ones (\""+bad, "7 good objects (7 images)")

	var onlyTrained []string
	_, text := stderr(t, calibrate(train)...)
	for i := range 8 { // those of the hold-out are not named as left out
		if path := filepath.Join(train, fmt.Sprintf("%03d.png", i)); len(onlyTrained) < 3 && strings.Contains(text, path) {
			onlyTrained = append(onlyTrained, path)
		}
	}
	must(t, calibrate(test)...)
	frozen := t.TempDir()
	for i := range 12 {
		partImage(t, 300, false, frozen, fmt.Sprintf("%03d.png", i))
	}
	refused(t, calibrate(onlyTrained...), "have 0 good objects, want at least 2: 3 of 3 objects have training images of this model")
	refused(t, calibrate(frozen), "have 1 good object, want at least 2: 11 of 12 objects are copies of others")
	refused(t, calibrate(append(onlyTrained, frozen)...), "3 of 15 objects have training images", "; 11 of 15 objects are copies")
	refused(t, calibrate(filepath.Join(frozen, "000.png")), "have 1 good object, want at least 2")
	if after := calibrationOf(t, model); after.Object.Pooled != before.Object.Pooled {
		t.Errorf("refused: have %+v, want the calibration as it was", after.Object.Pooled)
	}

	rewrite(t, model, func(meta map[string]string) { delete(meta, "train.images") })
	said(t, calibrate(train), model+" does not know its training images", "8 good objects (8 images)")
}

// TestHoldoutOfCopies trains on copies of one image: each object of the hold-out is a training image, and so there are
// no thresholds. Of a set of two images, each many times, one is left.
func TestHoldoutOfCopies(t *testing.T) {
	root := t.TempDir()
	for i := range 8 {
		partImage(t, 1, false, root, "disc/train/good", fmt.Sprintf("%03d.png", i))
		partImage(t, 2, false, root, "disc/test/good", fmt.Sprintf("%03d.png", i))
	}
	_, model, setting := trained(t, append(onDiscs(root), "--set", "train.holdout=0.25")...)
	rewriteless, text, err := attempt(t, append([]string{"train", "--resume"}, setting...)...)
	want := "no thresholds from the hold-out (train.holdout): have 0 good objects, want at least 2: 2 of 2 objects have training images of this model"
	if err != nil || rewriteless != "" || !strings.Contains(text, want) {
		t.Errorf("have %q, error %v, want %q", text, err, want)
	}
	refused(t, []string{"calibrate", "-m", model}, "2 of 2 objects have training images")
	refused(t, []string{"predict", "-m", model, root}, "have no calibration, want one: mvag-torch calibrate -m "+model)
	said(t, append([]string{"train", "--resume"}, append(setting, "--set", "train.holdout=0.25")...), "kernels: ")
}

// TestClassOfTheModel holds that a class that the model does not know is refused on the command line, and counted and
// named where a table has it.
func TestClassOfTheModel(t *testing.T) {
	root := discs(t, 8)
	dir, model, _ := trained(t, append(onDiscs(root), "--set", "train.holdout=0.25")...)
	test := filepath.Join(root, "disc/test/good")
	for _, name := range []string{"predict", "calibrate"} {
		refused(t, []string{name, "-m", model, "--class", "dics", test}, `--class: have "dics", want a class that `+model+` knows: "disc"`)
		_, _, err := attempt(t, name, "-m", model, "--class", "dics", test)
		var usage usageError
		if !errors.As(err, &usage) {
			t.Errorf("%s: have %v, want a usage error", name, err)
		}
		must(t, name, "-m", model, "--class", "disc", test)
	}
	if c := calibrationOf(t, model); c.Object.For("disc").Basis != calibration.ByClass || c.Object.For("disc").Objects != 4 {
		t.Errorf("have %+v, want thresholds of the class", c.Object)
	}
	list := filepath.Join(dir, "list.csv")
	table := "path,class\n"
	for i, class := range []string{"disc", "dics", "", "Disc"} {
		table += fmt.Sprintf("%s,%s\n", filepath.Join(test, fmt.Sprintf("%03d.png", i)), class)
	}
	if err := os.WriteFile(list, []byte(table), 0o600); err != nil {
		t.Fatal(err)
	}
	want := `2 objects of a class that ` + model + ` does not know: "Disc" (1), "dics" (1); known: "disc"`
	said(t, []string{"predict", "-m", model, list}, want)
	said(t, []string{"calibrate", "-m", model, list}, want, `thresholds of "disc" are gone: those of (any) apply instead`)
	if _, text := stderr(t, "calibrate", "-m", model, "--class", "disc", test); strings.Contains(text, "are gone") {
		t.Errorf("have %s, want no class without its thresholds", text)
	}
	labels := strings.NewReplacer("path,class", "path,class,label", "0.png,disc", "0.png,disc,ok", "1.png,dics", "1.png,,scratch",
		"2.png,", "2.png,,0", "3.png,Disc", "3.png,disc,NG").Replace(table)
	if err := os.WriteFile(list, []byte(labels), 0o600); err != nil {
		t.Fatal(err)
	}
	before := calibrationOf(t, model)
	refused(t, []string{"calibrate", "-m", model, list}, list+`:3: label: have "scratch", want good images`, "rows with such labels: 2; no image was judged")
	if after := calibrationOf(t, model); after.Source != before.Source || after.Object.Pooled != before.Object.Pooled {
		t.Errorf("refused: have %+v, want the calibration as it was", after.Object.Pooled)
	}
	said(t, []string{"predict", "-m", model, list}, `"label" in `+list, "4 images of 4 objects")
	rewrite(t, model, func(meta map[string]string) { delete(meta, "train.lists"); delete(meta, "memory") }) // nobody knows the classes
	must(t, "predict", "-m", model, "--class", "dics", test)
}

// TestUnfinishedModel holds that whoever uses a checkpoint of an unfinished training is told.
func TestUnfinishedModel(t *testing.T) {
	root := discs(t, 8)
	dir, model, _ := trained(t, append(onDiscs(root), "--set", "train.holdout=0.25")...)
	rewrite(t, model, func(meta map[string]string) { meta["iteration"] = "3" })
	want := model + ": the training is not finished: this is iteration 3 of 4"
	test := filepath.Join(root, "disc/test/good")
	said(t, []string{"eval", "-m", model, "-o", filepath.Join(dir, "e")}, want)
	said(t, []string{"predict", "-m", model, test}, want)
	said(t, []string{"calibrate", "-m", model, test}, want)
	rewrite(t, model, func(meta map[string]string) { meta["iteration"] = "4" })
	if _, text := stderr(t, "predict", "-m", model, test); strings.Contains(text, "not finished") {
		t.Errorf("finished: have %s", text)
	}
}

// TestInterrupted holds that each command says how to go on.
func TestInterrupted(t *testing.T) {
	root := discs(t, 8)
	dir, model, _ := trained(t, append(onDiscs(root), "--set", "train.holdout=0.25")...)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	test := filepath.Join(root, "disc/test/good")
	before := calibrationOf(t, model)
	for want, args := range map[string][]string{
		"interrupted; the same command goes on: 0 classes of 1 finished":              {"eval", "-m", model, "-o", filepath.Join(dir, "e")},
		"interrupted after 0 images; the same command starts with the first again":    {"predict", "-m", model, "-o", filepath.Join(dir, "p"), test},
		"interrupted; the checkpoint is as it was, and the same command starts again": {"calibrate", "-m", model, test},
	} {
		if err := run(ctx, append([]string{"mvag-torch"}, args...)); err == nil || err.Error() != want {
			t.Errorf("%q: have %v, want %q", args, err, want)
		}
	}
	if after := calibrationOf(t, model); after.Object.Pooled != before.Object.Pooled {
		t.Errorf("have %+v, want the calibration as it was", after.Object.Pooled)
	}
}

// TestFlagTwice: package cli would take the last.
func TestFlagTwice(t *testing.T) {
	for _, args := range [][]string{
		{"eval", "-m", "a", "-m", "b"}, {"eval", "-m", "a", "--model", "b"}, {"eval", "--model=a", "-m=b"},
		{"train", "-c", "a", "--config", "b"}, {"predict", "a", "-m", "b", "c", "--model", "d"},
	} {
		_, _, err := attempt(t, args...)
		var usage usageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), "have it twice, want it once") {
			t.Errorf("%q: have %v, want a usage error", args, err)
		}
	}
	if out, _, err := attempt(t, "config", "-c", "quickstart", "--set", "seed=2", "--set", "seed=3"); err != nil || !slices.Contains(strings.Split(out, "\n"), "seed: 3") {
		t.Errorf("--set twice: have %s, error %v", out, err)
	}
}
