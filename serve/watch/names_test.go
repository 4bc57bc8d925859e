package watch

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mvag-torch/serve/line"
)

// TestUnnamed: images whose names do not tell what the model has to know are of no part.
func TestUnnamed(t *testing.T) {
	classes := []line.Class{{Name: "gear"}, {Name: "cap"}}
	for name, test := range map[string]struct {
		views          int
		pattern, class string
		classes        []line.Class
		files          []string
		judged         []string
		failed         []string
		says           string
	}{
		"no camera": {2, "", "", nil, []string{"top.png", "gear_0001_OK_X_C1_1.png", "gear_0001_OK_X_C2_1.png"}, []string{"gear_0001_OK_X"},
			[]string{"top.png"}, `name tells no camera, want one of [\"C1\" \"C2\"]`},
		"pattern without camera": {2, "{object}", "", nil, []string{"S1.png"}, nil, []string{"S1.png"}, "name tells no camera"},
		"one camera":             {1, "", "", nil, []string{"top.png"}, []string{"top.png"}, nil, ""},
		"no class": {2, flat, "", classes, cameras("S1", 1, 2), nil, cameras("S1", 1, 2),
			`name tells no class, want one of [\"gear\" \"cap\"] in it, or the key class of watch`},
		"class of the folder": {2, flat, "cap", classes, cameras("S1", 1, 2), []string{"S1"}, nil, ""},
		"class in the name": {1, "{class}_{object}", "", classes, []string{"gear_1.png", "x.png"}, []string{"1"}, []string{"x.png"},
			"image of no object"},
		"one class": {2, flat, "", classes[:1], cameras("S1", 1, 2), []string{"S1"}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, test.views, test.pattern)
			b.model.Classes, b.cfg.Class = test.classes, test.class
			b.start()
			b.put(test.files...)
			done := slices.DeleteFunc(slices.Clone(test.files), func(f string) bool { return slices.Contains(test.failed, f) })
			b.expectTree(append(in("done", done...), in("failed", test.failed...)...)...)
			b.expect(test.judged...)
			if n := strings.Count(b.said(), "level=ERROR"); n != len(test.failed) || !strings.Contains(b.said(), test.says) {
				t.Errorf("have %d errors, want %d with %s: %s", n, len(test.failed), test.says, b.said())
			}
		})
	}
}

// TestMasks: masks next to their images are no images, and go where these go. A file of that name without one is an image.
func TestMasks(t *testing.T) {
	for done, want := range map[string][]string{
		Move:  in("done", "a.jpg", "a.png", "b.png", "b_mask.png", "c/d.png", "e_mask.png"),
		Leave: {"a.jpg", "a.png", "b.png", "b_mask.png", "c/d.png", "e_mask.png"},
	} {
		t.Run(done, func(t *testing.T) {
			b := newBench(t, 1, "")
			b.cfg.Done = done
			b.put("a.jpg", "a.png", "b.png", "b_mask.png", "c/d.png", "e_mask.png")
			b.start()
			b.expect("a.jpg", "b.png", "c/d.png", "e_mask.png")
			b.expectTree(want...)
			time.Sleep(150 * time.Millisecond) // some scans
			b.stop()
			b.start()
			b.put("f.png")
			b.expect("a.jpg", "b.png", "c/d.png", "e_mask.png", "f.png")
			want := 2
			if done == Leave { // and after the restart
				want = 4
			}
			if n := b.counted(CountPassedOver); n != want || !strings.Contains(b.said(), "mask beside its image") {
				t.Errorf("have %d passed over, want %d: %s", n, want, b.said())
			}
		})
	}
}

// TestMaskThatStays: a mask that cannot go with its image is not judged for that.
func TestMaskThatStays(t *testing.T) {
	b := newBench(t, 1, "")
	w, err := New(b.cfg, Options{Log: b.logger()})
	if err != nil {
		t.Fatal(err)
	}
	scan := func() string {
		l := listing{files: map[string]os.FileInfo{}, masks: map[string]os.FileInfo{}, passed: map[string]string{}}
		if err := w.walk(&l, ".", 0); err != nil {
			t.Fatal(err)
		}
		w.passMasks(&l)
		return fmt.Sprint(len(l.files), l.passed)
	}
	b.put("a.jpg", "a.png")
	if have := scan(); have != "1 map[a.png:mask beside its image]" {
		t.Errorf("have %s", have)
	}
	if err := os.Remove(filepath.Join(b.dir, "a.jpg")); err != nil {
		t.Fatal(err)
	}
	if have := scan(); have != "0 map[a.png:mask beside its image]" {
		t.Errorf("alone: have %s", have)
	}
	b.write("a.png", "another file of that name")
	if have := scan(); have != "1 map[]" {
		t.Errorf("changed: have %s", have)
	}
}
