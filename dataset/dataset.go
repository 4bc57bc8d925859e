// Package dataset reads multi-view image sets: the index files, the images and masks they name, and a loader that
// decodes whole objects in parallel.
//
// An object is one physical part; a view is one camera's image of it. Axis letters: S objects in a batch, V views of
// an object (model.md). Batches are object-major: image s*V+j is view j of object s.
//
// A reader of a format is a function that turns the data block of the configuration into a [Set]; everything after it
// is the same for all formats.
package dataset

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"mvag-torch/configs"
)

// Mean and Std are the ImageNet statistics by which images are normalised, (v/255 - Mean)/Std for red, green and blue
// (model.md section 6). Pixels travel as bytes; the device normalises.
var (
	Mean = [3]float32{0.485, 0.456, 0.406}
	Std  = [3]float32{0.229, 0.224, 0.225}
)

// View is one camera's image of an object.
type View struct {
	Camera int    // 0-based camera: C1 is 0
	Path   string // the image file, "" where this camera's image is missing
	Data   []byte // the file's content where it is in memory, as of an upload; Path then only names it
	Mask   string // the mask file, "" where there is none
	Code   string // the defect code, "" where the image is good
	// Part of Parts: the file is a strip of Parts images of equal width side by side, its mask likewise, and this is
	// number Part, from 0. Parts is 0 where the file is the image.
	Part, Parts int
	// MaskLabels says that the mask holds labels of defect classes: any value but 0 is a defect, and taken as 255
	// before resizing.
	MaskLabels bool
}

// Present reports whether there is an image.
func (v View) Present() bool { return v.Path != "" || v.Data != nil }

// Defective reports whether the image shows a defect, by its label.
func (v View) Defective() bool { return v.Code != "" }

// Object is one part seen by all cameras.
type Object struct {
	Class string
	ID    string // class and folder of the images, unique in a set: "gear/NG/AK/S0001"
	Views []View // one a camera, in camera order; len is data.views
}

// Defective reports whether any view is defective.
func (o *Object) Defective() bool {
	return slices.ContainsFunc(o.Views, View.Defective)
}

// present is the number of views with an image.
func (o *Object) present() (n int) {
	for _, v := range o.Views {
		if v.Present() {
			n++
		}
	}
	return n
}

// MissingView is a camera that has no image of an object.
type MissingView struct {
	Object string // Object.ID
	Camera int    // 0-based
}

// String returns the line that reports m.
func (m MissingView) String() string {
	return fmt.Sprintf("%s: no image of camera C%d", printable(m.Object), m.Camera+1)
}

// Set is an opened data set.
type Set struct {
	Classes []string // as configured, or all by name
	Train   []Object // in index order, class after class
	Test    []Object
	Missing []MissingView // the views without an image, training objects first in each class
	Naming  Naming        // of the images: data.pattern and the names of the cameras
	Source  Source        // of the pixels

	index []string // the index file or folder of each class
}

// CheckTrain returns an error that names the first class without a training object. Open accepts such a class, since
// evaluation needs none.
func (s *Set) CheckTrain() error {
	trained := map[string]bool{}
	for i := range s.Train {
		trained[s.Train[i].Class] = true
	}
	for i, class := range s.Classes {
		if !trained[class] {
			return fmt.Errorf("%s: no training images of class %q", printable(s.index[i]), class)
		}
	}
	return nil
}

// readers are the formats by their name in data.format.
var readers = map[string]func(reader) (*Set, error){
	"folder":          reader.folder,
	"manta":           reader.manta,
	"mvtec":           reader.mvtec,
	"realiad":         reader.realiad,
	"realiad_variety": reader.realiad,
	"table":           reader.table,
	"visa":            reader.visa,
}

// Open reads the index of a data set, probes its images, and opens the cache of them where data.cache names one; then
// the images and masks themselves need not be there any more. Errors are one line that names the setting, file or entry
// at fault.
func Open(cfg configs.Data) (*Set, error) {
	if cfg.Cache == "" {
		return open(reader{cfg, disk{}, true})
	}
	cache, err := openCache(cfg)
	if err != nil {
		return nil, err
	}
	set, err := open(reader{cfg, disk{}, true})
	if err != nil && cache.alone() {
		set, err = open(reader{cfg, cache.files(), true})
	}
	if err == nil {
		err = cache.complete(cfg.Cache, set)
	}
	if err != nil {
		cache.Close()
		return nil, err
	}
	set.Source.Cache = cache
	return set, nil
}

// OpenIndex is Open for a set whose images may be elsewhere: it looks at none of the files that index files and tables
// name. Formats without an index need their folders, of which no file is opened.
func OpenIndex(cfg configs.Data) (*Set, error) { return open(reader{cfg, disk{}, false}) }

func open(r reader) (*Set, error) {
	read := readers[r.Format]
	if read == nil {
		known := slices.Sorted(maps.Keys(readers))
		return nil, fmt.Errorf("data.format: have %q, want %s", r.Format, strings.Join(known, ", "))
	}
	source := NewSource(r.Data)
	if err := source.Fit.checkDecoder(); err != nil {
		return nil, err
	}
	set, err := read(r)
	if err == nil {
		set.Source = source
	}
	return set, err
}
