package dataset

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"mvag-torch/configs"
)

// openRealIAD opens a set in the layout of Real-IAD (realiad.md section B):
// index files <root>/<index>/<class>.json and pictures
// <root>/<images>/<prefix><image_path>. The archives of the original unpack
// with a doubled folder, so <root>/<index>/<index> and <root>/<images>/<class>
// are taken where the plain ones do not hold the files.
//
// Defective training pictures are legal: the index files realiad_jsons_fuiad_*
// have them. Every defective entry has a mask, except in Real-IAD Variety
// (format realiad_variety), where it may be null.
func openRealIAD(cfg configs.Data, probe bool) (*Set, error) {
	if err := wantFolder("data.root", cfg.Root, layout(cfg)); err != nil {
		return nil, err
	}
	images := filepath.Join(cfg.Root, cfg.Images)
	if !probe {
		return readRealIAD(cfg, func(string, *index) (string, error) { return images, nil })
	}
	if err := wantFolder("data.images", images, layout(cfg)); err != nil {
		return nil, err
	}
	return readRealIAD(cfg, func(class string, idx *index) (string, error) {
		return findPictures(images, class, idx)
	})
}

// readRealIAD reads the index files; locate returns the folder to which the
// paths of a class are relative.
func readRealIAD(cfg configs.Data, locate func(class string, idx *index) (string, error)) (*Set, error) {
	dir, found, err := findIndex(cfg)
	if err != nil {
		return nil, err
	}
	classes, err := chooseClasses(dir, found, cfg.Classes)
	if err != nil {
		return nil, err
	}
	set := &Set{Classes: classes}
	for _, class := range classes {
		file := filepath.Join(dir, class+".json")
		data, err := readFile(file, nil)
		if err != nil {
			return nil, err
		}
		if err := set.addRealIAD(data, class, cfg, locate); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		set.index = append(set.index, file)
	}
	return set, nil
}

// addRealIAD appends the objects of one index file.
func (s *Set) addRealIAD(data []byte, class string, cfg configs.Data, locate func(string, *index) (string, error)) error {
	idx, err := parseIndex(data)
	if err != nil {
		return err
	}
	if err := idx.check(class, cfg.Format == "realiad_variety"); err != nil {
		return err
	}
	base, err := locate(class, idx)
	if err != nil {
		return err
	}
	g := grouper{class: class, base: filepath.Join(base, idx.Meta.Prefix), normal: idx.Meta.NormalClass,
		views: cfg.Views, split: map[string]string{}}
	train, err := g.group("train", idx.Train)
	if err != nil {
		return err
	}
	test, err := g.group("test", idx.Test)
	if err != nil {
		return err
	}
	s.Train, s.Test = append(s.Train, train...), append(s.Test, test...)
	s.Missing = append(s.Missing, missing(train)...)
	s.Missing = append(s.Missing, missing(test)...)
	return nil
}

// check refuses what would mislabel pictures or leave the root, entry by entry;
// maskless says that defective pictures may lack a mask.
func (idx *index) check(class string, maskless bool) error {
	if idx.Meta.NormalClass == "" {
		return errors.New(`meta.normal_class: have none, want the anomaly_class of good pictures ("OK")`)
	}
	if p := idx.Meta.Prefix; p != "" && !filepath.IsLocal(p) {
		return fmt.Errorf("meta.prefix: have %q, which leaves the picture folder", p)
	}
	if len(idx.Train)+len(idx.Test) == 0 {
		return errors.New("no pictures in train and test")
	}
	for _, split := range []struct {
		name    string
		entries []indexEntry
	}{{"train", idx.Train}, {"test", idx.Test}} {
		for i, e := range split.entries {
			if err := e.check(class, idx.Meta.NormalClass, maskless); err != nil {
				return fmt.Errorf("%s[%d]: %w", split.name, i, err)
			}
		}
	}
	return nil
}

func (e indexEntry) check(class, normal string, maskless bool) error {
	mask := e.mask()
	switch {
	case e.Category != class:
		return fmt.Errorf("category: have %q, want %q as the file is named", e.Category, class)
	case e.AnomalyClass == "":
		return errors.New("anomaly_class: have none, want a defect code or the normal class")
	case e.ImagePath == "":
		return errors.New("image_path: have none")
	case !filepath.IsLocal(e.ImagePath):
		return fmt.Errorf("image_path: have %q, which leaves the folder of the class", e.ImagePath)
	case mask != "" && !filepath.IsLocal(mask):
		return fmt.Errorf("mask_path: have %q, which leaves the folder of the class", mask)
	case e.AnomalyClass != normal && mask == "" && !maskless:
		return fmt.Errorf("mask_path: have none for %q with anomaly_class %q, want a mask (data.format realiad_variety needs none)", e.ImagePath, e.AnomalyClass)
	case e.AnomalyClass == normal && mask != "":
		return fmt.Errorf("mask_path: have %q for %q with anomaly_class %q, want null", mask, e.ImagePath, normal)
	}
	return nil
}

// grouper gathers the pictures of a class into objects: S-numbers restart in
// every folder, so the key is the whole folder of the picture.
type grouper struct {
	class  string
	base   string            // folder to which the paths are relative
	normal string            // anomaly_class of good pictures
	views  int               // number of cameras
	split  map[string]string // the split that an object ID has been seen in
}

// group returns the objects of one split in order of appearance.
func (g *grouper) group(split string, entries []indexEntry) ([]Object, error) {
	var objects []Object
	at := map[string]int{}
	for i, e := range entries {
		id := path.Join(g.class, path.Dir(e.ImagePath))
		n, ok := at[id]
		if !ok {
			if other := g.split[id]; other != "" {
				return nil, fmt.Errorf("%s[%d]: object %q is in %s, too", split, i, id, other)
			}
			n = len(objects)
			at[id], g.split[id] = n, split
			objects = append(objects, newObject(g.class, id, g.views))
		}
		if err := g.put(&objects[n], e); err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", split, i, err)
		}
	}
	return objects, nil
}

func newObject(class, id string, views int) Object {
	o := Object{Class: class, ID: id, Views: make([]View, views)}
	for c := range o.Views {
		o.Views[c].Camera = c
	}
	return o
}

// put enters the picture of e in the place of its camera. The label is the
// entry's: objects in the NG folder have good views, and five file names of
// the original contradict their folder.
func (g *grouper) put(o *Object, e indexEntry) error {
	camera, err := cameraOf(e.ImagePath)
	if err != nil {
		return err
	}
	if camera < 1 || camera > g.views {
		return fmt.Errorf("%q: unknown camera C%d, want C1..C%d", e.ImagePath, camera, g.views)
	}
	v := &o.Views[camera-1]
	file := filepath.Join(g.base, e.ImagePath)
	if v.Present() {
		return fmt.Errorf("object %q: two pictures for camera C%d, %q and %q",
			o.ID, camera, filepath.Base(v.Path), filepath.Base(file))
	}
	v.Path = file
	if e.AnomalyClass != g.normal {
		v.Code = e.AnomalyClass
		if mask := e.mask(); mask != "" {
			v.Mask = filepath.Join(g.base, mask)
		}
	}
	return nil
}

// cameraOf returns the 1-based camera of a picture: the field before the last
// of its name, as in gear_0001_NG_AK_C3_20261124120000.jpg, or the last, where
// there is no time. Fields may be empty; some names have a double underscore.
func cameraOf(name string) (int, error) {
	base := path.Base(name)
	fields := strings.Split(strings.TrimSuffix(base, path.Ext(base)), "_")
	for _, field := range slices.Backward(fields[max(1, len(fields)-2):]) {
		digits, ok := strings.CutPrefix(field, "C")
		camera, err := strconv.ParseUint(digits, 10, 31)
		if ok && err == nil {
			return int(camera), nil
		}
	}
	return 0, fmt.Errorf("%q: no camera in the file name, want ..._C<camera>_<time>%s", name, path.Ext(base))
}

// missing lists the views of objects that have no picture.
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
