package dataset

import (
	"cmp"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// shot is one picture as a reader found it; its View has no camera yet.
type shot struct {
	class  string
	object string // unique in the class
	camera string // as the set names it; "" where pictures are objects
	test   bool
	View
}

// listing is what a reader made of one class.
type listing struct {
	class string
	index string // its file or folder, for messages
	shots []shot
}

// assemble groups pictures into objects of that many views, in order of
// appearance.
func assemble(listings []listing, views int) (*Set, error) {
	place, err := places(listings, views)
	if err != nil {
		return nil, err
	}
	set := new(Set)
	for _, s := range listings {
		train, test, err := s.objects(place, views)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", printable(s.index), err)
		}
		set.Classes, set.index = append(set.Classes, s.class), append(set.index, s.index)
		set.Train, set.Test = append(set.Train, train...), append(set.Test, test...)
		set.Missing = append(set.Missing, missing(train)...)
		set.Missing = append(set.Missing, missing(test)...)
	}
	return set, nil
}

// objects groups the pictures of one class; place gives the 0-based camera of
// a name.
func (s listing) objects(place map[string]int, views int) (train, test []Object, err error) {
	if len(s.shots) == 0 {
		return nil, nil, fmt.Errorf("no pictures of class %q", s.class)
	}
	if strings.ContainsFunc(s.class, unicode.IsControl) || strings.ContainsAny(s.class, `/\`) || s.class == "" {
		return nil, nil, fmt.Errorf("class: have %q, want a name without control characters and path separators", s.class)
	}
	type entry struct {
		test bool
		n    int
	}
	at := map[string]entry{}
	for _, shot := range s.shots {
		list := &train
		if shot.test {
			list = &test
		}
		id := path.Join(s.class, shot.object)
		e, ok := at[id]
		switch {
		case !ok:
			e = entry{shot.test, len(*list)}
			at[id] = e
			*list = append(*list, newObject(s.class, id, views))
		case e.test != shot.test:
			return nil, nil, fmt.Errorf("object %q: is in train and in test, want it in one (%q)", id, shot.Path)
		}
		view := &(*list)[e.n].Views[place[shot.camera]]
		if view.Present() {
			return nil, nil, fmt.Errorf("object %q: two pictures for one camera, %q and %q",
				id, filepath.Base(view.Path), filepath.Base(shot.Path))
		}
		camera := view.Camera
		*view = shot.View
		view.Camera = camera
	}
	return train, test, nil
}

// places numbers the cameras of a set from 0. Names that are numbers from 1 to
// views are those cameras; other names are numbered in order, 2 before 10, and
// must then be as many as views.
func places(listings []listing, views int) (map[string]int, error) {
	numbers, place := true, map[string]int{}
	for _, s := range listings {
		for _, shot := range s.shots {
			n, err := strconv.Atoi(shot.camera)
			numbers = numbers && err == nil && n >= 1 && n <= views
			place[shot.camera] = n - 1
		}
	}
	if numbers {
		return place, nil
	}
	names := make([]string, 0, len(place))
	for name := range place {
		names = append(names, name)
	}
	slices.SortFunc(names, natural)
	if len(names) != views {
		shown := fmt.Sprintf("%q", names[:min(len(names), 8)])
		return nil, fmt.Errorf("data.views: have %d, want %d as the set has cameras: %s", views, len(names), shown)
	}
	for i, name := range names {
		place[name] = i
	}
	return place, nil
}

// natural orders numbers by value and before words.
func natural(a, b string) int {
	x, errX := strconv.Atoi(a)
	y, errY := strconv.Atoi(b)
	switch {
	case errX == nil && errY == nil:
		return cmp.Or(cmp.Compare(x, y), cmp.Compare(a, b))
	case errX == nil:
		return -1
	case errY == nil:
		return 1
	}
	return cmp.Compare(a, b)
}

// probe looks for the first picture of each split and the first mask: enough to
// notice a wrong root before hours of training.
func (s listing) probe() error {
	var train, test, mask bool
	for _, shot := range s.shots {
		seen := &train
		if shot.test {
			seen = &test
		}
		var files []string
		if !*seen {
			*seen, files = true, append(files, shot.Path)
		}
		if !mask && shot.Mask != "" {
			mask, files = true, append(files, shot.Mask)
		}
		for _, file := range files {
			if _, err := os.Stat(file); err != nil {
				return fmt.Errorf("%s: %w", printable(s.index), oneLine(err))
			}
		}
	}
	return nil
}
