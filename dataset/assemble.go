package dataset

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"
)

// shot is one image as a reader found it. Its View has no camera index yet.
type shot struct {
	class  string
	object string // unique in the class
	camera string // name in the set; "" if each image is an object
	test   bool
	line   int // in a table, 0 if there is none
	View
}

// at names the place of an image in what lists it, for messages.
func (l listing) at(s shot) string {
	if s.line == 0 {
		return printable(l.index)
	}
	return fmt.Sprintf("%s:%d", printable(l.index), s.line)
}

// listing is what a reader found of one class.
type listing struct {
	class string
	index string // the file or folder it is from, for messages
	shots []shot
}

// assemble groups the images of all classes into objects, in order of appearance.
func assemble(listings []listing, views int) (*Set, error) {
	cameras, err := nameCameras(listings, views)
	if err != nil {
		return nil, err
	}
	set := &Set{Naming: Naming{Cameras: cameras}}
	for _, l := range listings {
		train, test, err := l.objects(set.Naming, views)
		if err != nil {
			return nil, err
		}
		set.Classes, set.index = append(set.Classes, l.class), append(set.index, l.index)
		set.Train, set.Test = append(set.Train, train...), append(set.Test, test...)
		set.Missing = append(set.Missing, missing(train)...)
		set.Missing = append(set.Missing, missing(test)...)
	}
	return set, nil
}

// CheckClass returns an error unless name can be that of a class.
func CheckClass(name string) error {
	if strings.ContainsFunc(name, unicode.IsControl) || strings.ContainsAny(name, `/\`) || name == "" {
		return fmt.Errorf("class: have %q, want a name without control characters and path separators", name)
	}
	return nil
}

// objects groups the images of one class.
func (l listing) objects(naming Naming, views int) (train, test []Object, err error) {
	if len(l.shots) == 0 {
		return nil, nil, fmt.Errorf("%s: no images of class %q", printable(l.index), l.class)
	}
	if err := CheckClass(l.class); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", l.at(l.shots[0]), err)
	}
	if err := l.checkLabels(); err != nil {
		return nil, nil, err
	}
	splits := map[bool]*grouper{false: newGrouper(views), true: newGrouper(views)}
	for _, s := range l.shots {
		id := path.Join(l.class, s.object)
		if splits[!s.test].has(l.class, id) {
			return nil, nil, fmt.Errorf("%s: object %q: is in train and in test, want it in one (%q)", l.at(s), id, s.Path)
		}
		camera, err := naming.Index(s.camera)
		if err == nil {
			err = splits[s.test].put(l.class, id, camera, s.View)
		}
		if err != nil {
			if first := l.earlier(s); first > 0 {
				err = fmt.Errorf("%w: the same path as line %d", err, first)
			}
			return nil, nil, fmt.Errorf("%s: %w", l.at(s), err)
		}
	}
	return splits[false].objects, splits[true].objects, nil
}

// earlier returns the line of an earlier row with the path of s, 0 if there is none.
func (l listing) earlier(s shot) int {
	i := slices.IndexFunc(l.shots, func(other shot) bool { return other.Path == s.Path })
	if i >= 0 && l.shots[i].line < s.line {
		return l.shots[i].line
	}
	return 0
}

// checkLabels returns an error if all training images of the class are labelled defective: then the labels have another
// meaning than ours.
func (l listing) checkLabels() error {
	var first *shot
	for i := range l.shots {
		switch s := &l.shots[i]; {
		case s.test:
		case !s.Defective():
			return nil
		case first == nil:
			first = s
		}
	}
	if first == nil {
		return nil
	}
	return fmt.Errorf("%s: label: have %q for %q, and no training image of class %q is good; good images have the label %s",
		l.at(*first), first.Code, first.Path, l.class, wantGood)
}

// grouper groups images into objects, in order of their first image.
type grouper struct {
	views   int
	objects []Object
	at      map[[2]string]int // index in objects, by class and ID
}

func newGrouper(views int) *grouper { return &grouper{views: views, at: map[[2]string]int{}} }

func (g *grouper) has(class, id string) bool {
	_, ok := g.at[[2]string{class, canonical(id)}]
	return ok
}

// put adds the image of a camera, given by its 0-based index.
func (g *grouper) put(class, id string, camera int, image View) error {
	id = canonical(id)
	if camera >= g.views {
		return fmt.Errorf("camera: have C%d, want C1 to C%d as there are %d views", camera+1, g.views, g.views)
	}
	n, ok := g.at[[2]string{class, id}]
	if !ok {
		n = len(g.objects)
		g.at[[2]string{class, id}] = n
		o := Object{Class: class, ID: id, Views: make([]View, g.views)}
		for c := range o.Views {
			o.Views[c].Camera = c
		}
		g.objects = append(g.objects, o)
	}
	view := &g.objects[n].Views[camera]
	if view.Present() {
		a, b := apart(view.Path, image.Path)
		return fmt.Errorf("object %q: two images for camera C%d, %s and %s", id, camera+1, a, b)
	}
	image.Camera = camera
	*view = image
	return nil
}

// missing lists the views without an image.
func missing(objects []Object) []MissingView {
	var list []MissingView
	for i := range objects {
		for _, v := range objects[i].Views {
			if !v.Present() {
				list = append(list, MissingView{Object: objects[i].ID, Camera: v.Camera})
			}
		}
	}
	return list
}

// probe checks that the first image of each split and the first mask exist, which detects a wrong root before hours of
// training.
func (l listing) probe(f files) error {
	var train, test, mask bool
	for _, shot := range l.shots {
		seen := &train
		if shot.test {
			seen = &test
		}
		var paths []string
		if !*seen {
			*seen, paths = true, append(paths, shot.Path)
		}
		if !mask && shot.Mask != "" {
			mask, paths = true, append(paths, shot.Mask)
		}
		for _, path := range paths {
			if err := f.stat(path); err != nil {
				return fmt.Errorf("%s: %w", l.at(shot), err)
			}
		}
	}
	return nil
}
