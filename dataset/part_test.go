package dataset

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestParts: the parts of a batch are the batch.
func TestParts(t *testing.T) {
	objects := make([]Object, 14)
	for i := range objects {
		objects[i].ID = fmt.Sprint(i)
	}
	orders := map[int][]func(k int) []*Object{}
	for _, n := range []int{0, 1, 2, 3, 6} {
		for i := range max(1, n) {
			order, err := TrainOrder(objects, 6, 3)
			if err != nil {
				t.Fatal(err)
			}
			orders[n] = append(orders[n], Part{i, n}.Of(order))
		}
	}
	for k := range 5 {
		want := orders[0][0](k)
		for n, parts := range orders {
			var have []*Object
			for _, part := range parts {
				p := part(k)
				if len(p) != (Part{0, n}).Objects(6) {
					t.Errorf("%d parts: have %d objects in one", n, len(p))
				}
				have = append(have, p...)
			}
			if len(have) != 6 || !slices.Equal(have, want) {
				t.Errorf("batch %d in %d parts: have %v, want %v", k, n, have, want)
			}
		}
	}
}

// TestSkippedByOthers: what other processes have left out, below other roots, counts as what this one has, once.
func TestSkippedByOthers(t *testing.T) {
	var objects []Object
	for i := range 10 {
		objects = append(objects, Object{Class: "nut", ID: fmt.Sprint(i), Views: []View{{Path: fmt.Sprintf("/b/%d.png", i)}}})
	}
	here, there := Source{root: "/b", Skipped: &Skipped{most: 0.3}}, Source{root: "/a", Skipped: &Skipped{most: 0.3}}
	here.Skipped.Expect("training images", objects)
	for _, path := range []string{"/a/1.png", "/a/2.png", "/a/1.png"} {
		if err := there.Skip(View{Path: path}, errors.New(path+": torn")); err != nil {
			t.Fatal(err)
		}
	}
	said := there.NewlySkipped()
	if want := []LeftOut{{"1.png", "/a/1.png: torn"}, {"2.png", "/a/2.png: torn"}}; !slices.Equal(said, want) {
		t.Errorf("have %v, want %v", said, want)
	}
	if more := there.NewlySkipped(); more != nil {
		t.Errorf("have %v again", more)
	}
	for range 2 {
		if err := here.SkippedBy(said); err != nil {
			t.Fatal(err)
		}
	}
	if more := here.NewlySkipped(); more != nil || len(here.Skipped.Lines()) != 2 {
		t.Errorf("have %v to tell and %q left out, want none and two", more, here.Skipped.Lines())
	}
	wantError(t, here.Skip(View{Path: "/b/7.png"}, errors.New("/b/7.png: torn")), "3 of 10 training images of class \"nut\"")
	if (Source{}).NewlySkipped() != nil || (Source{}).SkippedBy(said) != nil {
		t.Error("a source that skips nothing has something to say")
	}
}

// TestFingerprint: it changes with the objects, their images and the sizes of those, and not with root and times.
func TestFingerprint(t *testing.T) {
	of := func(sizes map[string]int, change func(*Set)) string {
		s := &Set{Classes: []string{"nut"}, Source: Source{root: t.TempDir()}}
		for _, id := range []string{"a", "b"} {
			o := Object{Class: "nut", ID: id, Views: make([]View, 2)}
			for c := range o.Views {
				name := fmt.Sprintf("%s%d.png", id, c)
				o.Views[c] = View{Camera: c, Path: filepath.Join(s.Source.root, name)}
				if err := os.WriteFile(o.Views[c].Path, make([]byte, 5+sizes[name]), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s.Train = append(s.Train, o)
		}
		change(s)
		return s.Fingerprint()
	}
	none := func(*Set) {}
	want := of(nil, none)
	if have := of(nil, none); have != want {
		t.Error("another root: have another fingerprint")
	}
	for name, have := range map[string]string{
		"size":   of(map[string]int{"b1.png": 1}, none),
		"object": of(nil, func(s *Set) { s.Train[1].ID = "c" }),
		"order":  of(nil, func(s *Set) { slices.Reverse(s.Train) }),
		"absent": of(nil, func(s *Set) { s.Train[1].Views[0].Path = "" }),
		"gone":   of(nil, func(s *Set) { _ = os.Remove(s.Train[0].Views[1].Path) }),
	} {
		if have == want {
			t.Errorf("%s: have the same fingerprint", name)
		}
	}
}
