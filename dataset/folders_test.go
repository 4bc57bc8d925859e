package dataset

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mvag-torch/configs"
)

// TestFolders: how people arrange folders, what is found in them, and what is said about the rest.
func TestFolders(t *testing.T) {
	folder := configs.Data{Format: "folder", Views: 1, Good: "good"}
	bad := folder
	bad.Bad = "bad"
	masks := bad
	masks.Masks = "masks"
	cameras := masks
	cameras.Views, cameras.Pattern = 2, "{object}/{camera}"
	jpg := folder
	jpg.Pattern = "{object}.jpg"
	mvtec := configs.Data{Format: "mvtec", Views: 1}
	slashes := configs.Data{Format: "folder", Views: 1, Good: "good/", Bad: "./bad/", Masks: "masks//"}
	for _, tt := range []struct {
		name    string
		cfg     configs.Data
		files   []string
		want    string
		remarks []string
	}{
		{"good in any case", folder, []string{"cap/good/0.png", "lid/Good/0.png", "ring/GOOD/0.png", "nut/Ok/0.png", "rod/good /0.png"}, `
train cap/good/0: [cap/good/0.png]
train lid/good/0: [lid/Good/0.png]
train nut/good/0: [nut/Ok/0.png]
train ring/good/0: [ring/GOOD/0.png]
train rod/good/0: [rod/good /0.png]
`, nil},
		{"bad and masks in any case", masks, []string{"Good/0.png", "BAD/Dent/1.png", "Masks/Dent/1.png"}, `
train set/good/0: [Good/0.png]
test set/bad/Dent/1: [BAD/Dent/1.png Dent Masks/Dent/1.png]
`, nil},
		{"slashes at the end of names", slashes, []string{"good/0.png", "bad/1.png", "masks/1.png"}, `
train set/good/0: [good/0.png]
test set/bad/1: [bad/1.png bad masks/1.png]
`, nil},
		{"days, and too deep", bad, []string{"good/0.png", "good/day 1/0.png", "good/day 2/0.png", "good/a/b/0.png", "bad/dent/2.png", "bad/dent/day 1/2.png",
			"bad/3.png", "bad/dent/x/y/2.png"}, `
train set/good/0: [good/0.png]
train set/good/day 1/0: [good/day 1/0.png]
train set/good/day 2/0: [good/day 2/0.png]
test set/bad/3: [bad/3.png bad ]
test set/bad/dent/2: [bad/dent/2.png dent ]
test set/bad/dent/day 1/2: [bad/dent/day 1/2.png dent ]
`, []string{"passed over: images at another depth of folders: 2 (good/a/b/0.png)"}},
		{"masks that mirror days", masks, []string{"good/0.png", "bad/dent/d1/2.png", "bad/dent/d2/2.png", "masks/dent/d1/2.png", "masks/dent/d2/2_mask.png"}, `
train set/good/0: [good/0.png]
test set/bad/dent/d1/2: [bad/dent/d1/2.png dent masks/dent/d1/2.png]
test set/bad/dent/d2/2: [bad/dent/d2/2.png dent masks/dent/d2/2_mask.png]
`, nil},
		{"folders of masks in another case", mvtec, []string{"a/train/good/0.png", "a/test/cut/1.png", "a/test/Dent/1.png", "a/test/dent/2.png",
			"a/ground_truth/Cut/1_mask.png", "a/ground_truth/dent/2.png"}, `
train a/train/good/0: [a/train/good/0.png]
test a/test/Dent/1: [a/test/Dent/1.png Dent ]
test a/test/cut/1: [a/test/cut/1.png cut a/ground_truth/Cut/1_mask.png]
test a/test/dent/2: [a/test/dent/2.png dent a/ground_truth/dent/2.png]
`, nil},
		{"masks of days in one folder", masks, []string{"good/0.png", "bad/dent/d1/2.png", "bad/dent/d2/3.png", "masks/dent/2.png", "masks/3.png"}, `
train set/good/0: [good/0.png]
test set/bad/dent/d1/2: [bad/dent/d1/2.png dent masks/dent/2.png]
test set/bad/dent/d2/3: [bad/dent/d2/3.png dent masks/3.png]
`, nil},
		{"masks of all labels in one folder", masks, []string{"good/0.png", "bad/dent/2.png", "bad/cut/3.png", "masks/2.png", "masks/3.png", "masks/4.png"}, `
train set/good/0: [good/0.png]
test set/bad/cut/3: [bad/cut/3.png cut masks/3.png]
test set/bad/dent/2: [bad/dent/2.png dent masks/2.png]
`, []string{"passed over: masks of no image: 1 (masks/4.png)"}},
		{"a flat mask belongs to the image beside it", masks, []string{"good/0.png", "bad/2.png", "bad/cut/2.png", "masks/2.png"}, `
train set/good/0: [good/0.png]
test set/bad/2: [bad/2.png bad masks/2.png]
test set/bad/cut/2: [bad/cut/2.png cut ]
`, nil},
		{"masks of good images", mvtec, []string{"a/train/good/0.png", "a/test/Good/1.png", "a/test/cut/1.png", "a/ground_truth/Good/1.png", "a/ground_truth/cut/1.png"}, `
train a/train/good/0: [a/train/good/0.png]
test a/test/Good/1: [a/test/Good/1.png]
test a/test/cut/1: [a/test/cut/1.png cut a/ground_truth/cut/1.png]
`, nil},
		{"mvtec in capitals, with days", mvtec, []string{"a/Train/Good/d/0.png", "a/Test/cut/d/1.png", "a/Ground_Truth/cut/d/1_mask.png"}, `
train a/train/Good/d/0: [a/Train/Good/d/0.png]
test a/test/cut/d/1: [a/Test/cut/d/1.png cut a/Ground_Truth/cut/d/1_mask.png]
`, nil},
		{"what is in no place of mvtec", mvtec, []string{"a/train/good/0.png", "a/train/1.png", "a/2.png", "3.png", "a/new/4.png", "b/good/5.png", "a/train/good/6.gif",
			"a/test/cut/", "a/ground_truth/cut/7.png", "Thumbs.db = x", "a/desktop.ini = x", "a/train/good/@eaDir/8.png", "readme.txt = x"}, `
train a/train/good/0: [a/train/good/0.png]
`, []string{"passed over: images of formats that are not read: 1 (a/train/good/6.gif), folders that are no class: 1 (b), folders that are not read: 1 (a/new), " +
			"images outside the folders of labels: 2 (3.png), images at another depth of folders: 1 (a/train/1.png), folders without images: 1 (a/test/cut), masks of no image: 1 (a/ground_truth/cut/7.png)"}},
		{"classes without good images", folder, []string{"a/good/0.png", "b/1.png", "c/"}, `
train a/good/0: [a/good/0.png]
`, []string{"passed over: folders that are no class: 2 (b)"}},
		{"data.bad is not set", folder, []string{"good/0.png", "bad/1.png", "other/good/2.png", "3.png"}, `
train set/good/0: [good/0.png]
`, []string{"passed over: folders that are not read: 2 (bad), images outside the folders of labels: 1 (3.png)"}},
		{"another extension than the pattern's", jpg, []string{"good/0.JPG", "good/1.png"}, `
train set/good/0: [good/0.JPG]
`, []string{"passed over: other files: 1 (good/1.png)"}},
		{"a folder an object, and images beside them", cameras, []string{"good/a/1.png", "good/a/2.png", "good/3.png", "good/b/c/4.png", "bad/b/1.png", "bad/dent/c/2.png", "masks/dent/c/2.png"}, `
train set/good/a: [good/a/1.png] [good/a/2.png]
test set/bad/b: [bad/b/1.png bad ] []
test set/bad/dent/c: [] [bad/dent/c/2.png dent masks/dent/c/2.png]
`, []string{"passed over: images at another depth of folders: 2 (good/3.png)"}},
		{"what predict and eval wrote", bad, []string{"good/0.png", "good/heat/0.png", "good/heat/.mvag-torch-results = x", "good/out/.mvag-torch-results = x", "good/out/0.png",
			"bad/pictures/a.png", "bad/pictures/.mvag-torch-results = x", "bad/1.png", "bad/heat/2.png"}, `
train set/good/0: [good/0.png]
test set/bad/1: [bad/1.png bad ]
test set/bad/heat/2: [bad/heat/2.png heat ]
`, []string{"passed over: folders that mvag-torch wrote: 3 (good/heat)"}},
		{"classes in two cases", folder, []string{"cup/good/0.png", "Cup/good/0.png"}, `
train Cup/good/0: [Cup/good/0.png]
train cup/good/0: [cup/good/0.png]
`, []string{`classes that differ only in case: "Cup" and "cup"`}},
		{"extensions and letters of all kinds", folder, []string{"good/😀.JPG", "good/ö.Png", "good/ 1 .TIFF"}, `
train set/good/ 1 : [good/ 1 .TIFF]
train set/good/ö: [good/ö.Png]
train set/good/😀: [good/😀.JPG]
`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Root = lay(t, tt.files...)
			have, remarks := opens(t, tt.cfg)
			if have != tt.want {
				t.Errorf("have %s\nwant %s", have, tt.want)
			}
			remarks = slices.DeleteFunc(remarks, func(line string) bool { return strings.Contains(line, "no good test image") }) // TestNoGoodTestImage
			wantRemarks(t, remarks, tt.cfg.Root, tt.remarks...)
		})
	}
}

// TestMaskOfGoodFolder: a mask in ground_truth/good is kept with its image, for dataset check and eval.
func TestMaskOfGoodFolder(t *testing.T) {
	set, err := Open(configs.Data{Format: "mvtec", Views: 1, Root: lay(t, "a/train/good/0.png", "a/test/ok/1.png", "a/ground_truth/ok/1_mask.png")})
	if err != nil {
		t.Fatal(err)
	}
	v := set.Test[0].Views[0]
	if v.Defective() || filepath.Base(v.Mask) != "1_mask.png" {
		t.Errorf("have %+v, want a good image with a mask", v)
	}
}

func TestFolderFaults(t *testing.T) {
	folder := configs.Data{Format: "folder", Views: 1, Good: "good", Bad: "bad", Masks: "masks"}
	mvtec := configs.Data{Format: "mvtec", Views: 1}
	for _, tt := range []struct {
		name  string
		cfg   configs.Data
		files []string
		want  []string
	}{
		{"two folders of good images", folder, []string{"good/0.png", "Good/1.png"}, []string{`have the folders "Good" and "good" for "good", want one of them`}},
		{"good and ok", folder, []string{"a/good/0.png", "a/ok/1.png"}, []string{`set/a: have the folders "good" and "ok" for "good"`}},
		{"two of a split", mvtec, []string{"a/train/good/0.png", "a/Train/good/0.png"}, []string{`set/a: have the folders "Train" and "train" for "train"`}},
		{"good and ok in test", mvtec, []string{"a/train/good/0.png", "a/test/good/0.png", "a/test/ok/1.png"}, []string{`a/test: have the folders "good" and "ok" for "good"`}},
		{"good and normal in train", mvtec, []string{"a/train/good/0.png", "a/train/Normal/1.png"}, []string{`a/train: have the folders "Normal" and "good" for "good"`}},
		{"good among bad", folder, []string{"good/0.png", "bad/dent/1.png", "bad/good/2.png", "masks/"}, []string{"bad/good: have a folder of good images in data.bad"}},
		{"normal among bad", folder, []string{"good/0.png", "bad/dent/1.png", "bad/Normal/2.png", "masks/"}, []string{"bad/Normal: have a folder of good images"}},
		{"two folders of masks", mvtec, []string{"a/train/good/0.png", "a/test/cut/1.png", "a/ground_truth/Cut/1.png", "a/ground_truth/CUT/1.png"},
			[]string{`a/ground_truth: have the folders "CUT" and "Cut" for "cut"`}},
		{"only formats that are not read", mvtec, []string{"a/train/good/0.png", "b/train/good/0.jp2", "b/train/good/1.jp2", "b/test/cut/0.heic"},
			[]string{`class "b": have only images of formats that are not read: 3 (`, "b/train/good/0.jp2); want one of .bmp"}},
		{"one mask for two images", folder, []string{"good/0.png", "bad/cut/1.png", "bad/dent/1.png", "masks/1.png"},
			[]string{"masks/1.png: have one mask for ", `bad/cut/1.png"`, `bad/dent/1.png"`}},
		{"flat masks of other names", folder, []string{"good/0.png", "bad/cut/1.png", "masks/1_gt.png"}, []string{"set/masks: have no mask named like its image"}},
		{"twins by extension", folder, []string{"good/a.png", "good/a.jpg", "bad/", "masks/"}, []string{`object "set/good/a": two images for camera C1`, "a.jpg", "a.png"}},
		{"twins of one day", folder, []string{"good/d/a.png", "good/d/a.tif", "bad/", "masks/"}, []string{`object "set/good/d/a": two images for camera C1`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Root = lay(t, tt.files...)
			_, err := Open(tt.cfg)
			wantError(t, err, tt.want...)
		})
	}
}

// TestLinkLoops: circular links below a folder of images are passed over, others are followed.
func TestLinkLoops(t *testing.T) {
	root := lay(t, "good/0.png", "elsewhere/day/1.png", "elsewhere/loop/2.png")
	for from, to := range map[string]string{"good/up": "..", "good/self": ".", "good/day": "../elsewhere/day", "good/loop": "../elsewhere/loop", "elsewhere/loop/back": "../../good"} {
		if err := os.Symlink(to, filepath.Join(root, from)); err != nil {
			t.Fatal(err)
		}
	}
	have, remarks := opens(t, configs.Data{Format: "folder", Views: 1, Good: "good", Root: root})
	if want := "\ntrain set/good/0: [good/0.png]\ntrain set/good/day/1: [good/day/1.png]\ntrain set/good/loop/2: [good/loop/2.png]\n"; have != want {
		t.Errorf("have %s, want %s", have, want)
	}
	wantRemarks(t, remarks, root, "passed over: folders that are not read: 1 (elsewhere), circular links: 3 (good/loop/back)")
}

// TestHoldoutOfDays: an object of one name and another day is another object, on one side of the hold-out.
func TestHoldoutOfDays(t *testing.T) {
	var files []string
	for i := range 10 {
		for _, day := range []string{"", "mon/", "tue/"} {
			files = append(files, fmt.Sprintf("good/%s%d_1.png", day, i), fmt.Sprintf("good/%s%d_2.png", day, i))
		}
	}
	set, err := Open(configs.Data{Format: "folder", Views: 2, Good: "good", Pattern: "{object}_{camera}", Holdout: 0.2, Root: lay(t, files...)})
	if err != nil || len(set.Train) != 24 || len(set.Test) != 6 || len(set.Missing) > 0 {
		t.Errorf("have %+v and error %v, want 24 and 6 whole objects", set, err)
	}
}

// TestTooManyUnreadable: with on_error skip, a tenth of the images of a class that cannot be read stops, in training or
// test, with and without a cache; data.max_unreadable allows more.
func TestTooManyUnreadable(t *testing.T) {
	var files []string
	for i := range 20 {
		files = append(files, fmt.Sprintf("a/train/good/%02d.png", i), fmt.Sprintf("b/train/good/%02d.png", i))
	}
	for i := range 5 {
		files = append(files, fmt.Sprintf("a/test/good/%02d.png", i))
	}
	cfg := configs.Data{Format: "mvtec", Views: 1, OnError: "skip", MaxUnreadable: 0.1, Fit: "squash", Resize: configs.Square(4), Crop: configs.Square(4), Root: lay(t, files...)}
	spoil := func(names ...string) {
		for _, name := range names {
			writeFile(t, filepath.Join(cfg.Root, name), []byte("no image"))
		}
	}
	pass := func(cfg configs.Data, test bool) error {
		set, err := Open(cfg)
		if err != nil {
			return err
		}
		objects := set.Train
		if test {
			objects = set.Test
		}
		l, err := NewEvalLoader(t.Context(), objects, LoaderOptions{Source: set.Source, Objects: 2, Prefetch: 1, Workers: 1})
		if err != nil {
			return err
		}
		defer l.Close()
		for err == nil {
			_, err = l.Next()
		}
		return err
	}
	const end = "EOF"
	spoil("a/train/good/03.png", "b/train/good/03.png") // a twentieth of each
	wantError(t, pass(cfg, false), end)
	spoil("a/train/good/07.png")
	wantError(t, pass(cfg, false), "a/train/good/07.png: ", `with it, 2 of 20 training images of class "a" cannot be read, want less than a fraction of 0.1 (data.max_unreadable)`)
	wantError(t, pass(cfg, true), end)
	spoil("a/test/good/00.png")
	wantError(t, pass(cfg, true), `with it, 1 of 5 test images of class "a" cannot be read`)
	cached := cfg
	cached.Cache = t.TempDir()
	_, _, err := prepare(t, t.Context(), cached)
	wantError(t, err, `images of class "a" cannot be read`, "data.max_unreadable")
	cached.MaxUnreadable = 1
	if _, skipped, err := prepare(t, t.Context(), cached); err != nil || len(skipped.Lines()) != 4 {
		t.Errorf("have error %v and %q left out, want 4 images", err, skipped.Lines())
	}
	wantError(t, pass(cached, false), end)
	cached.MaxUnreadable = 0.1
	wantError(t, pass(cached, false), `2 of 20 training images of class "a" cannot be read`)
	for i := range 20 {
		spoil(fmt.Sprintf("b/train/good/%02d.png", i))
	}
	cfg.MaxUnreadable = 0.6
	wantError(t, pass(cfg, false), `with it, 12 of 20 training images of class "b" cannot be read`)
	cfg.MaxUnreadable = 1
	wantError(t, pass(cfg, false), end)
}

// TestMarkWithoutText: a mark that a killed process has left empty gets its text; one of an earlier version stays.
func TestMarkWithoutText(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "heat", ".mvag-torch-results")
	marked := func() string {
		t.Helper()
		err := MarkResults(filepath.Dir(mark))
		text, err2 := os.ReadFile(mark)
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	want := marked()
	for have, then := range map[string]string{"": want, "earlier": "earlier"} {
		if err := os.WriteFile(mark, []byte(have), 0o600); err != nil {
			t.Fatal(err)
		}
		if text := marked(); text != then || want == "" {
			t.Errorf("%q: have %q, want %q", have, text, then)
		}
	}
}

// TestOutputsAreNoInput: what predict and eval wrote is judged by nobody, whatever names it.
func TestOutputsAreNoInput(t *testing.T) {
	chdir(t, "day/a.png", "day/b_mask.png", "day/b.png", "day/out/predictions.jsonl", "day/out/heat/000001_a.png", "day/out/overlay/000001_a.png", "day/out/maps/x.npy",
		"run/pictures/cup.png", "mine/heat/c.png", "day/ground_truth/cut/a.png", "day/Masks/a.png")
	for _, dir := range []string{"day/out/heat", "day/out/overlay", "day/out/maps", "run/pictures"} {
		if err := MarkResults(dir); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		args []string
		want []string
	}{
		"folder": {[]string{"day"}, []string{":day/a.png[ 1/1=day/a.png ]", ":day/b.png[ 1/1=day/b.png ]",
			"passed over: masks next to their images: 1 (day/b_mask.png), folders of masks: 2 (day/Masks), folders that mvag-torch wrote: 3 (day/out/heat), other files: 1 (day/out/predictions.jsonl)"}},
		"glob": {[]string{"day/*"}, []string{":day/a.png[ 1/1=day/a.png ]", ":day/b.png[ 1/1=day/b.png ]",
			"passed over: masks next to their images: 1 (day/b_mask.png), folders of masks: 2 (day/Masks), folders that mvag-torch wrote: 3 (day/out/heat), other files: 1 (day/out/predictions.jsonl), folders without images: 1 (day/out)"}},
		"only masks":  {[]string{"da?/[Mo]*"}, nil},
		"only output": {[]string{"day/out/h*"}, nil},
		"typed masks": {[]string{"day/ground_truth"}, []string{":day/ground_truth/cut/a.png[ 1/1=day/ground_truth/cut/a.png ]"}},
		"image":       {[]string{"day/out/heat/000001_a.png", "mine/heat/c.png"}, []string{":mine/heat/c.png[ 1/1=mine/heat/c.png ]", "! day/out/heat/000001_a.png: was written by mvag-torch, want an image of a camera"}},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := Collect(tt.args, CollectOptions{Views: 1})
			if tt.want == nil {
				wantError(t, err, "passed over")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if have := describe(found); strings.Join(have, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("have\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
	_, err := Collect([]string{"run/pictures"}, CollectOptions{Views: 1})
	wantError(t, err, "run/pictures: was written by mvag-torch")
}

// TestSkippedWithoutClass: images of no class are not those of class "".
func TestSkippedWithoutClass(t *testing.T) {
	s := Skipped{most: 0.5}
	s.Expect("images", []Object{{Views: []View{{Path: "a.png"}}}})
	err := s.add("a.png", errors.New("broken"))
	wantError(t, err, "1 of 1 images cannot be read")
}
