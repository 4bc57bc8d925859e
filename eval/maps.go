package eval

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/eval/score"
	"mvag-torch/internal/npy"
)

// mapFile is the two arrays of a class that is being evaluated (docs/format/maps.md). All methods do nothing on nil.
type mapFile struct {
	prefix      string
	maps, masks *npy.File
	objects     []dataset.Object
	first       []int // row of the first image of each object, and of what follows the last
}

// createMaps creates the files of a class in folder; nil where folder is "".
func createMaps(folder, class string, objects []dataset.Object, size configs.Size) (*mapFile, error) {
	if folder == "" {
		return nil, nil
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	f := &mapFile{prefix: filepath.Join(folder, score.FileName(class)), objects: objects, first: []int{0}}
	for i, o := range objects {
		f.first = append(f.first, f.first[i]+images(o))
	}
	rows := f.first[len(objects)]
	var err error
	if f.maps, err = npy.Create(f.prefix+score.MapsSuffix, npy.Float32, rows, size.Height(), size.Width()); err != nil {
		return nil, err
	}
	if f.masks, err = npy.Create(f.prefix+score.MasksSuffix, npy.Bool, rows, size.Height(), size.Width()); err != nil {
		f.maps.Close()
		return nil, err
	}
	return f, nil
}

// write writes the maps of an object; index is its position in the list of createMaps.
func (f *mapFile) write(index int, views []view) error {
	if f == nil {
		return nil
	}
	if want := f.first[index+1] - f.first[index]; len(views) != want {
		return fmt.Errorf("object %q: have maps of %d images, want those of all %d to save maps; left out (data.on_error: skip): %s",
			f.objects[index].ID, len(views), want, leftOut(f.objects[index], views))
	}
	for i, v := range views {
		row := f.first[index] + i
		if err := f.maps.WriteFloats(row, v.Scores); err != nil {
			return err
		}
		if err := f.masks.WriteBools(row, v.Mask); err != nil {
			return err
		}
	}
	return nil
}

// leftOut returns the file of the first image of an object that is not among views.
func leftOut(o dataset.Object, views []view) string {
	for _, v := range o.Views {
		if v.Present() && !slices.ContainsFunc(views, func(have view) bool { return have.Camera == v.Camera+1 }) {
			return v.Path
		}
	}
	return ""
}

// commit gives the files their names, the table beside them first.
func (f *mapFile) commit(result score.Result) error {
	if f == nil {
		return nil
	}
	if err := score.WriteLines(f.prefix+score.TableSuffix, result.Images); err != nil {
		return err
	}
	if err := f.masks.Commit(); err != nil {
		return err
	}
	return f.maps.Commit()
}

// close removes what was not committed.
func (f *mapFile) close() {
	if f != nil {
		f.maps.Close()
		f.masks.Close()
	}
}
