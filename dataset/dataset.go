// Package dataset reads multi-view image data sets. It parses their index files or folders, decodes and fits images and
// masks, caches the result, and loads batches of whole objects in parallel.
//
// An object is one physical part; a view is one camera's image of it. Axis letters: S objects in a batch, V views of an
// object (docs/model.md). Batches are object-major: image s*V+j is view j of object s.
//
// Each format has a reader, which turns the data block of the configuration into a [Set]. Everything after the reader
// is the same for all formats.
package dataset

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"mvag-torch/configs"
)

// Mean and Std are the ImageNet statistics that normalise images: (v/255 - Mean)/Std for red, green and blue
// (docs/model.md section 6). Batches contain bytes; the device normalises.
var (
	Mean = [3]float32{0.485, 0.456, 0.406}
	Std  = [3]float32{0.229, 0.224, 0.225}
)

// View is one camera's image of an object.
type View struct {
	Camera int    // 0-based index: camera C1 is 0
	Path   string // the image file; "" if the image is missing or in Data only
	Data   []byte // the encoded image, if it is in memory; Path is then only its name in messages
	Mask   string // the mask file, "" if there is none; evaluation ignores that of a good image
	Code   string // the defect code, "" if the image is good
	// If Parts is not 0, the file is a strip of Parts images of equal width side by side, and so is its mask. This view
	// is image Part of the strip, counted from 0.
	Part, Parts int
	// Bits is how many bits the values of the image use if it has 16, 8 to 16; 0 means Fit.Bits.
	Bits int
	// Tile is 0 for all tiles of a Fit, or k for tile k-1 alone.
	Tile int
}

// Present reports whether there is an image.
func (v View) Present() bool { return v.Path != "" || v.Data != nil }

// Defective reports whether the image is labelled defective.
func (v View) Defective() bool { return v.Code != "" }

// Object is one part and its images.
type Object struct {
	Class string
	ID    string // class and name, unique in a set: "gear/NG/AK/S0001"
	Views []View // [V], one for each camera, in camera order
	Tile  int    // as View.Tile, of all views ([Tiled])
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

// MissingView is a view without an image.
type MissingView struct {
	Object string // Object.ID
	Camera int    // 0-based
}

// String describes m in one line.
func (m MissingView) String() string {
	return fmt.Sprintf("%s: no image of camera C%d", printable(m.Object), m.Camera+1)
}

// Set is an opened data set.
type Set struct {
	Classes []string // in configured order, or sorted by name
	Train   []Object // in index order, class by class
	Test    []Object
	Missing []MissingView // views without an image; for each class training objects come first
	Naming  Naming        // how image names say object and camera
	Source  Source        // where pixels and masks come from
	// PassedOver is what lies in the folders of the set, or is in its table, and is not used.
	PassedOver PassedOver

	index   []string // the index file or folder of each class, for messages
	surveys []survey // of each class, once they have been made
}

// CheckTrain returns an error that names the first class without training objects. Open accepts such a class because
// evaluation does not need them.
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

// readers maps data.format to the reader of that format.
var readers = map[string]func(reader) (*Set, error){
	"folder":          reader.folder,
	"manta":           reader.manta,
	"mvtec":           reader.mvtec,
	"realiad":         reader.realiad,
	"realiad_variety": reader.realiad,
	"table":           reader.table,
	"visa":            reader.visa,
}

// Open reads the index of a data set and checks that its first images and masks exist. If data.cache is set, it also
// opens the cache, and the original images and masks may be gone. An error is one line that names the setting, file or
// entry at fault.
func Open(cfg configs.Data) (*Set, error) {
	if cfg.Cache == "" {
		set, err := open(reader{cfg, newWalker(disk{}), true})
		if err == nil {
			set.UseDepths(nil)
		}
		return set, err
	}
	cache, err := openCache(cfg)
	if err != nil {
		return nil, err
	}
	set, err := open(reader{cfg, newWalker(disk{}), true})
	if err != nil && cache.alone() {
		set, err = open(reader{cfg, newWalker(cache.files()), true})
	}
	if err == nil {
		set.Source.Cache = cache
		set.UseDepths(nil)
		err = cache.complete(cfg.Cache, set)
	}
	if err != nil {
		cache.Close()
		return nil, err
	}
	return set, nil
}

// OpenIndex is Open without the images: it does not check the files that an index or table names. Formats without an
// index still need their folders, but none of the files in them is opened.
func OpenIndex(cfg configs.Data) (*Set, error) { return open(reader{cfg, newWalker(disk{}), false}) }

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
		set.Source, set.PassedOver = source, r.over
		set.Source.Skipped.Expect("training images", set.Train)
		set.Source.Skipped.Expect("test images", set.Test)
	}
	return set, err
}
