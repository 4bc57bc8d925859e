package dataset

import (
	"crypto/sha256"
	"fmt"
	"hash/crc32"
	"os"
)

// prepareTask is a view to prepare: its picture, its mask, or both.
type prepareTask struct {
	view          View
	picture, mask *record // nil where it is there already
}

// masked reports whether evaluation asks for the mask of a view.
func (t *prepareTask) masked() bool { return t.view.Mask != "" && t.view.Defective() }

// tasksOf lists the views of a set that have a picture.
func tasksOf(set *Set) []prepareTask {
	var tasks []prepareTask
	for _, objects := range [][]Object{set.Train, set.Test} {
		for i := range objects {
			for _, v := range objects[i].Views {
				if v.Present() {
					tasks = append(tasks, prepareTask{view: v})
				}
			}
		}
	}
	return tasks
}

// task prepares one view. A picture that cannot be read ends the preparation or
// is left out, as data.on_error has it; the record says so.
func (p *preparer) task(f *os.File, t *prepareTask, pixels []uint8) error {
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	fit := p.source.Fit
	if t.picture != nil {
		t.picture.origin = originOf(t.view.Path)
		r, err := fit.read(s, t.view.Path, t.view)
		if err == nil {
			fit.picture(s, r, pixels)
		}
		if err := p.put(f, t.view, t.picture, s, pixels, err); err != nil {
			return err
		}
	}
	if t.mask == nil {
		return nil
	}
	t.mask.origin = originOf(t.view.Mask)
	w, h, err := fit.size(s, t.view)
	var plane []uint8
	if err == nil {
		var r raster
		if r, err = fit.readMask(s, t.view, w, h); err == nil {
			plane = fit.fitMask(s, r)
		}
	}
	return p.put(f, t.view, t.mask, s, plane, err)
}

// put writes the pixels of a record, made of the file that s holds, or what
// kept them from being made.
func (p *preparer) put(f *os.File, v View, r *record, s *scratch, pixels []uint8, err error) error {
	if err != nil {
		r.Error = err.Error()
		if !p.source.Skip(v, err) {
			return err
		}
		return nil
	}
	r.SHA256 = fmt.Sprintf("%x", sha256.Sum256(s.file))
	r.CRC32C = crc32.Checksum(pixels, castagnoli)
	if _, err := f.WriteAt(pixels, r.Offset); err != nil {
		return fmt.Errorf("data.cache: %w", oneLine(err))
	}
	return nil
}
