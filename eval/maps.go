package eval

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"

	"mvag-torch/dataset"
	"mvag-torch/eval/score"
	"mvag-torch/internal/npy"
)

// mapFile is the two arrays of a class that is being evaluated
// (docs/format/maps.md). All methods do nothing on nil.
type mapFile struct {
	folder, class string
	maps, masks   *npy.File
	first         []int // row of the first image of each object, and of what follows the last
}

const unfinished = ".part"

func createMaps(folder, class string, objects []dataset.Object, size int) (*mapFile, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	f := &mapFile{folder: folder, class: class}
	rows := 0
	for i := range objects {
		f.first = append(f.first, rows)
		rows += images(&objects[i])
	}
	f.first = append(f.first, rows)
	var err error
	if f.maps, err = npy.Create(f.path(score.MapsSuffix)+unfinished, npy.Float16, rows, size, size); err != nil {
		return nil, err
	}
	if f.masks, err = npy.Create(f.path(score.MasksSuffix)+unfinished, npy.Bool, rows, size, size); err != nil {
		f.maps.Close()
		return nil, err
	}
	return f, nil
}

func (f *mapFile) path(suffix string) string { return filepath.Join(f.folder, f.class+suffix) }

// write puts the maps of an object in their place.
func (f *mapFile) write(place int, views []score.View) error {
	if f == nil {
		return nil
	}
	if want := f.first[place+1] - f.first[place]; len(views) != want {
		return fmt.Errorf("saved maps: have %d images of an object, want its %d: data.on_error has left some out", len(views), want)
	}
	for i, v := range views {
		row := f.first[place] + i
		if err := cmp.Or(f.maps.WriteFloats(row, v.Scores), f.masks.WriteBools(row, v.Mask)); err != nil {
			return err
		}
	}
	return nil
}

// finish closes the arrays, gives them their names and writes the table beside
// them; after an error it removes them. It returns the first error.
func (f *mapFile) finish(result score.Result, err error) error {
	if f == nil {
		return err
	}
	err = cmp.Or(err, f.maps.Close(), f.masks.Close())
	if err == nil {
		err = score.WriteLines(f.path(score.TableSuffix), result.Images)
	}
	for _, suffix := range []string{score.MapsSuffix, score.MasksSuffix} {
		if err == nil {
			err = os.Rename(f.path(suffix)+unfinished, f.path(suffix))
		}
		if err != nil {
			os.Remove(f.path(suffix) + unfinished)
		}
	}
	return err
}
