package dataset

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// realiad reads the layout of Real-IAD (docs/datasets.md): index files <root>/<index>/<class>.json and images
// <root>/<images>/<prefix><image_path>. The original archives unpack with a doubled folder, so <root>/<index>/<index>
// and <root>/<images>/<class> are tried as well.
//
// An object is a folder of images, since S-numbers restart in each folder. Training images may be defective: the index
// files realiad_jsons_fuiad_* contain such. Each defective entry has a mask, except in Real-IAD Variety (format
// realiad_variety), where it may be null.
func (r reader) realiad() (*Set, error) {
	if err := r.wantFolder("data.root", r.Root, r.realiadLayout()); err != nil {
		return nil, err
	}
	images := filepath.Join(r.Root, r.Images)
	if r.probe {
		if err := r.wantFolder("data.images", images, r.realiadLayout()); err != nil {
			return nil, err
		}
	}
	dir, found, err := r.findIndex()
	if err != nil {
		return nil, err
	}
	classes, err := chooseClasses(dir, found, r.Classes)
	if err != nil {
		return nil, err
	}
	var listings []listing
	for _, class := range classes {
		file := r.find(filepath.Join(dir, class+".json"))
		data, err := readFile(file, nil)
		if err != nil {
			return nil, err
		}
		shots, err := r.realiadClass(data, class, images)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", printable(file), err)
		}
		listings = append(listings, listing{class, file, shots})
	}
	return assemble(listings, r.Views)
}

// realiadLayout describes the layout for messages.
func (r reader) realiadLayout() string {
	return fmt.Sprintf("want <root>/%s/<class>.json and <root>/%s/<class>/OK/S0001/...", r.Index, r.Images)
}

// findIndex returns the folder of the index files and its classes.
func (r reader) findIndex() (dir string, classes []string, err error) {
	plain := filepath.Join(r.Root, r.Index)
	for _, dir := range []string{plain, filepath.Join(plain, filepath.Base(r.Index))} {
		entries, err := os.ReadDir(dir)
		if err != nil && dir == plain {
			return "", nil, fmt.Errorf("data.index: no folder %q; %s", plain, r.realiadLayout())
		}
		for _, e := range entries {
			class, ok := strings.CutSuffix(e.Name(), ".json")
			if ok && !e.IsDir() && !hidden(class) {
				classes = append(classes, canonical(class))
			}
		}
		if len(classes) > 0 {
			return dir, slices.Compact(slices.Sorted(slices.Values(classes))), nil
		}
	}
	return "", nil, fmt.Errorf("data.index: no index file (*.json) in %q; %s", plain, r.realiadLayout())
}

// realiadClass returns the images of an index file, training images first. images is the folder data.images.
func (r reader) realiadClass(data []byte, class, images string) ([]shot, error) {
	idx, err := parseIndex(data)
	if err != nil {
		return nil, err
	}
	idx.Meta.Prefix = slashes(idx.Meta.Prefix)
	switch p := idx.Meta.Prefix; {
	case idx.Meta.NormalClass == "":
		return nil, errors.New(`meta.normal_class: have none, want the anomaly_class of good images ("OK")`)
	case p != "" && !filepath.IsLocal(p):
		return nil, fmt.Errorf("meta.prefix: have %q, which leaves the image folder", p)
	}
	var shots []shot
	for _, split := range []struct {
		name    string
		entries []indexEntry
	}{{"train", idx.Train}, {"test", idx.Test}} {
		for i, e := range split.entries {
			s, err := e.shot(class, idx.Meta.NormalClass, r.Views, r.Format == "realiad_variety")
			if err != nil {
				return nil, fmt.Errorf("%s[%d]: %w", split.name, i, err)
			}
			s.test = split.name == "test"
			shots = append(shots, s)
		}
	}
	base, err := r.findImages(images, class, idx.Meta.Prefix, shots)
	if err != nil {
		return nil, err
	}
	for i := range shots {
		s := &shots[i]
		s.Path = r.find(filepath.Join(base, s.Path))
		if s.Mask != "" {
			s.Mask = r.find(filepath.Join(base, s.Mask))
		}
	}
	return shots, nil
}

// shot converts an entry; paths stay as in the index, with slashes. It refuses what would mislabel images or leave the root. maskless
// allows defective images without a mask. The label is that of the entry, not of the folder: objects in NG have good
// views, and five original file names contradict their folder.
func (e indexEntry) shot(class, normal string, views int, maskless bool) (shot, error) {
	e.ImagePath = slashes(e.ImagePath)
	s := shot{class: class, object: path.Dir(e.ImagePath), View: View{Path: e.ImagePath, Mask: slashes(e.mask())}}
	var known bool
	_, s.camera, known = splitRealIAD(e.ImagePath)
	camera, _ := strconv.Atoi(s.camera)
	if !strings.EqualFold(strings.TrimSpace(e.AnomalyClass), strings.TrimSpace(normal)) {
		s.Code = e.AnomalyClass
	}
	switch {
	case canonical(e.Category) != class:
		return s, fmt.Errorf("category: have %q, want %q as the file is named", e.Category, class)
	case e.AnomalyClass == "":
		return s, errors.New("anomaly_class: have none, want a defect code or the normal class")
	case e.ImagePath == "":
		return s, errors.New("image_path: have none")
	case !filepath.IsLocal(e.ImagePath):
		return s, fmt.Errorf("image_path: have %q, which leaves the folder of the class", e.ImagePath)
	case s.Mask != "" && !filepath.IsLocal(s.Mask):
		return s, fmt.Errorf("mask_path: have %q, which leaves the folder of the class", s.Mask)
	case s.Code != "" && s.Mask == "" && !maskless:
		return s, fmt.Errorf("mask_path: have none for %q with anomaly_class %q, want a mask (data.format realiad_variety needs none)", e.ImagePath, s.Code)
	case s.Code == "" && s.Mask != "":
		return s, fmt.Errorf("mask_path: have %q for %q with anomaly_class %q, want null", s.Mask, e.ImagePath, normal)
	case !known:
		return s, fmt.Errorf("%q: no camera in the file name, want ..._C<camera>_<time>%s", e.ImagePath, path.Ext(e.ImagePath))
	case camera < 1 || camera > views:
		return s, fmt.Errorf("%q: unknown camera C%s, want C1..C%d", e.ImagePath, s.camera, views)
	}
	return s, nil
}

// findImages returns the folder that the paths of a class are relative to: images or its class folder, plus prefix. It
// only checks the first image of each split and the first mask, which detects a wrong root before hours of training;
// checking 150,000 files would take too long.
func (r reader) findImages(images, class, prefix string, shots []shot) (string, error) {
	folders := []string{filepath.Join(images, prefix), filepath.Join(images, class, prefix)}
	if !r.probe {
		const most = 64                                        // of a hundred thousand
		for i := 0; i < len(shots); i += 1 + len(shots)/most { // the first that is there tells
			for _, dir := range folders {
				if r.stat(r.find(filepath.Join(dir, shots[i].Path))) == nil {
					return dir, nil
				}
			}
		}
		return folders[0], nil
	}
	var probes []string
	for _, test := range []bool{false, true} {
		if i := slices.IndexFunc(shots, func(s shot) bool { return s.test == test }); i >= 0 {
			probes = append(probes, shots[i].Path)
		}
	}
	if i := slices.IndexFunc(shots, func(s shot) bool { return s.Mask != "" }); i >= 0 {
		probes = append(probes, shots[i].Mask)
	}
	for _, probe := range probes {
		folders = slices.DeleteFunc(folders, func(dir string) bool { return r.stat(r.find(filepath.Join(dir, probe))) != nil })
		if len(folders) == 0 {
			return "", fmt.Errorf("no file %q in data.images %q; want <root>/<images>/<meta.prefix><image_path>", filepath.Join(prefix, probe), images)
		}
	}
	return folders[0], nil
}
