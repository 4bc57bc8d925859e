package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/dataset"
)

// small is a set that renders in about a second.
var small = Options{Size: 64, Train: 1, Good: 1, Bad: 3, Seed: 7}

func render(t *testing.T, opt Options) Summary {
	t.Helper()
	sum, err := Render(t.Context(), opt, nil)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// tree maps the files below root to their content.
func tree(t *testing.T, root string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		files[filepath.ToSlash(name)], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestRenderDoesNotDependOnWorkers(t *testing.T) {
	var trees [2]map[string][]byte
	for i, workers := range []int{1, 3} {
		opt := small
		opt.Out, opt.Workers = filepath.Join(t.TempDir(), "set"), workers
		render(t, opt)
		trees[i] = tree(t, opt.Out)
	}
	if len(trees[0]) != len(trees[1]) {
		t.Errorf("have %d and %d files", len(trees[0]), len(trees[1]))
	}
	for name, data := range trees[0] {
		if !bytes.Equal(data, trees[1][name]) {
			t.Errorf("%s differs", name)
		}
	}
}

// TestRenderLayout reads what was rendered as a data set of Real-IAD.
func TestRenderLayout(t *testing.T) {
	opt := small
	opt.Out = filepath.Join(t.TempDir(), "new", "set")
	last := 0
	sum, err := Render(t.Context(), opt, func(done, total int) {
		if done != last+views || total != 3*25 {
			t.Errorf("progress: have %d of %d, want %d of 75", done, total, last+views)
		}
		last = done
	})
	if err != nil {
		t.Fatal(err)
	}
	set, err := dataset.Open(configs.Data{Format: "realiad", Root: opt.Out, Index: IndexFolder, Images: ImageFolder, Views: views, Resize: configs.Square(64), Crop: configs.Square(64)})
	if err != nil {
		t.Fatal(err)
	}
	found, err := dataset.Check(t.Context(), set, set.Source.Fit, dataset.CheckOptions{MaskRule: dataset.MaskGT05, MapSize: configs.Square(64)})
	if err != nil || len(found.Faults) > 0 {
		t.Fatalf("have faults %q and error %v", found.Faults, err)
	}
	files := 1 + usual // manifest and index files
	for i, c := range classes[:usual] {
		have := found.Classes[i]
		want := ClassSummary{Name: have.Class, Objects: 5, Images: 25, Defective: have.Defective, Hidden: 15 - have.Defective}
		if have.Class != c.name || sum.Classes[i] != want || have.TrainObjects != 1 || have.DefectiveObjects != 3 || len(have.Codes) != 3 ||
			have.Sizes["64x64"] != 25 || len(have.Findings) > 0 {
			t.Errorf("have %+v and summary %+v", have, sum.Classes[i])
		}
		ids := []string{c.name + "/OK/S0002"}
		for _, code := range c.codes {
			ids = append(ids, c.name+"/NG/"+code+"/S0001")
		}
		for k, o := range set.Test[4*i : 4*i+4] {
			if o.ID != ids[k] {
				t.Errorf("have object %s, want %s", o.ID, ids[k])
			}
			for _, v := range o.Views {
				if v.Mask != "" {
					checkMask(t, v)
				}
			}
		}
		files += have.Images + have.Defective
	}
	if have := len(tree(t, opt.Out)); have != files {
		t.Errorf("have %d files, want %d", have, files)
	}
}

// checkMask requires an 8-bit grayscale PNG of 0 and 255, named like its image.
func checkMask(t *testing.T, v dataset.View) {
	t.Helper()
	data, err := os.ReadFile(v.Mask)
	if err != nil {
		t.Fatal(err)
	}
	im, err := png.Decode(bytes.NewReader(data))
	mask, ok := im.(*image.Gray)
	if err != nil || !ok {
		t.Fatalf("%s: have %T and error %v, want 8-bit grayscale", v.Mask, im, err)
	}
	if set, other := bytes.Count(mask.Pix, []byte{255}), bytes.Count(mask.Pix, []byte{0}); set < 4 || set+other != len(mask.Pix) {
		t.Errorf("%s: have %d pixels of 255 and %d of 0", v.Mask, set, other)
	}
	if want := strings.TrimSuffix(v.Path, "jpg") + "png"; v.Mask != want {
		t.Errorf("have mask %s, want %s", v.Mask, want)
	}
}

func TestRenderCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	opt := small
	opt.Out = t.TempDir()
	_, err := Render(ctx, opt, func(done, total int) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("have %v, want %v", err, context.Canceled)
	}
	for _, name := range []string{IndexFolder, manifestFile} {
		if _, err := os.Stat(filepath.Join(opt.Out, name)); err == nil {
			t.Errorf("an interrupted render has %s", name)
		}
	}
	other := opt
	other.Seed++
	if _, err := Render(t.Context(), other, nil); err == nil || !strings.Contains(err.Error(), "have a set of ") {
		t.Errorf("another set: have %v, want it refused", err)
	}
	const cut = ".mvag-0123456789abcdef.tmp" // as a kill leaves it
	if err := os.WriteFile(filepath.Join(opt.Out, cut), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fresh := opt
	fresh.Out = t.TempDir()
	if sum := render(t, opt); sum.Reused {
		t.Error("have the interrupted set, want it rendered again")
	}
	render(t, fresh)
	if have, want := tree(t, opt.Out), tree(t, fresh.Out); !maps.EqualFunc(have, want, bytes.Equal) {
		t.Errorf("rendered again: have %d files, want the %d of a set that was not interrupted", len(have), len(want))
	}
}

func TestRenderExistingFolder(t *testing.T) {
	opt := Options{Out: t.TempDir(), Size: 64, Train: 1, Seed: 3}
	first := render(t, opt)
	before := tree(t, opt.Out)
	again := render(t, opt)
	if !again.Reused || first.Reused {
		t.Errorf("have reused %v then %v, want false then true", first.Reused, again.Reused)
	}
	again.Reused = false
	if fmt.Sprint(again) != fmt.Sprint(first) {
		t.Errorf("have summary %v, want %v", again, first)
	}
	refuse := func(name, want string, change func(*Options)) {
		t.Helper()
		other := opt
		change(&other)
		if _, err := Render(t.Context(), other, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: have %v, want %q", name, err, want)
		}
	}
	refuse("seed", "have a set of size 64, train 1, good 0, bad 0, seed 3", func(o *Options) { o.Seed = 4 })
	refuse("size", "want size 80", func(o *Options) { o.Size = 80 })
	refuse("classes", "want classes gear, size 64", func(o *Options) { o.Classes = []string{"gear"} })
	if after := tree(t, opt.Out); len(after) != len(before) {
		t.Errorf("have %d files, want %d", len(after), len(before))
	}
	for name := range before {
		if strings.HasSuffix(name, "C3_20260105080000.jpg") {
			if err := os.Remove(filepath.Join(opt.Out, name)); err != nil {
				t.Fatal(err)
			}
			refuse("lost image", filepath.Base(name), func(*Options) {})
		}
	}
	manifest := filepath.Join(opt.Out, manifestFile)
	if err := os.WriteFile(manifest, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	refuse("broken manifest", "demo.json", func(*Options) {})
	if err := os.Remove(manifest); err != nil {
		t.Fatal(err)
	}
	refuse("no manifest", "want an empty or a new folder", func(*Options) {})
	refuse("a file", "index.json", func(o *Options) {
		o.Out = filepath.Join(opt.Out, "index.json")
		if err := os.WriteFile(o.Out, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRenderOptions(t *testing.T) {
	tests := []struct {
		name, want string
		opt        Options
	}{
		{"tiny", "size: have 8, want 64 to 2048", Options{Size: 8, Train: 1}},
		{"huge", "size: have 4096", Options{Size: 4096, Train: 1}},
		{"no training", "train: have 0, want 1", Options{}},
		{"negative", "good: have -1, want 0", Options{Train: 1, Good: -1}},
		{"too many", "bad: have 10000", Options{Train: 1, Bad: 10000}},
		{"unknown class", `classes: have "bolt", want any of bottle_cap, `, Options{Train: 1, Classes: []string{"gear", "bolt"}}},
		{"class twice", `classes: have "gear" twice`, Options{Train: 1, Classes: []string{"gear", "gear"}}},
		{"workers", "workers: have -2", Options{Train: 1, Workers: -2}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.opt.Out = filepath.Join(t.TempDir(), "out")
			_, err := Render(t.Context(), test.opt, nil)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("have %v, want %q", err, test.want)
			}
			if _, err := os.Stat(test.opt.Out); err == nil {
				t.Error("the folder was made")
			}
		})
	}
}

// FuzzManifest: whatever demo.json contains, a folder without images is not a complete set.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"revision": 1, "size": 64, "train": 1, "good": 1, "bad": 3, "seed": 7, "summary": {"classes": []}}`))
	f.Add([]byte(`{"summary": null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		opt := small
		opt.Out = t.TempDir()
		if err := os.WriteFile(filepath.Join(opt.Out, manifestFile), data, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, ok, err := existing(opt); ok || err == nil {
			t.Errorf("have %v, %v, want an error", ok, err)
		}
	})
}
