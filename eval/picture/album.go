package picture

import (
	"path/filepath"
	"slices"

	"mvag-torch/dataset"
	"mvag-torch/internal/heatmap"
)

// Album collects a few objects of each class for its sheet: the first good one, and of each defect code the one with
// the most defective views.
type Album struct {
	classes []string
	chosen  map[string][]string // object IDs by class
	views   map[string][]Tile   // by object ID
}

// perClass is the largest number of objects on a sheet.
const perClass = 3

// NewAlbum chooses among the test objects of data.
func NewAlbum(data *dataset.Set) *Album {
	a := &Album{classes: data.Classes, chosen: map[string][]string{}, views: map[string][]Tile{}}
	for _, class := range data.Classes {
		best, seen := map[string]*dataset.Object{}, map[string]int{}
		var codes []string
		for i := range data.Test {
			object := &data.Test[i]
			if object.Class != class {
				continue
			}
			code, count := defects(object)
			if best[code] == nil {
				codes = append(codes, code)
			}
			if best[code] == nil || count > seen[code] {
				best[code], seen[code] = object, count
			}
		}
		slices.Sort(codes) // "" first: the good object
		for _, code := range codes[:min(len(codes), perClass)] {
			a.chosen[class] = append(a.chosen[class], best[code].ID)
		}
	}
	return a
}

// defects is the first defect code of an object, "" where it is good, and the number of its defective views.
func defects(object *dataset.Object) (code string, count int) {
	for _, v := range object.Views {
		if v.Defective() {
			count++
			if code == "" {
				code = v.Code
			}
		}
	}
	return code, count
}

// Wants reports whether an object was chosen.
func (a *Album) Wants(object *dataset.Object) bool {
	return slices.Contains(a.chosen[object.Class], object.ID)
}

// Add keeps the views of an object if it was chosen.
func (a *Album) Add(object *dataset.Object, views []Tile) {
	if a.Wants(object) {
		a.views[object.ID] = views
	}
}

// Write writes one sheet per class, folder/NAME.png where name returns NAME, and returns the paths.
func (a *Album) Write(folder string, name func(class string) string, scale heatmap.Scale) ([]string, error) {
	var paths []string
	for _, class := range a.classes {
		var objects [][]Tile
		for _, id := range a.chosen[class] {
			if len(a.views[id]) > 0 { // else its images could not be read
				objects = append(objects, a.views[id])
			}
		}
		if objects == nil {
			continue
		}
		path := filepath.Join(folder, name(class)+".png")
		if err := write(path, sheet(objects, scale)); err != nil {
			return paths, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}
