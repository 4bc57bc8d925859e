package dataset

import (
	"crypto/sha256"
	"fmt"
	"hash/crc32"
	"io"
)

// keys calls each for every image of the set and every mask that evaluation uses.
func (s *Set) keys(root string, each func(k key, v View) error) error {
	for _, objects := range [][]Object{s.Train, s.Test} {
		for i := range objects {
			for _, v := range objects[i].Views {
				for _, kind := range v.kinds() {
					k, err := newKey(kind, root, v)
					if err == nil {
						err = each(k, v)
					}
					if err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// kinds returns the kinds of records that a view has.
func (v View) kinds() []string {
	switch {
	case !v.Present():
		return nil
	case v.Mask != "" && v.Defective():
		return []string{kindImage, kindMask}
	}
	return []string{kindImage}
}

// file returns the file of v that a key names.
func (k key) file(v View) string {
	if k.Kind == kindMask {
		return v.Mask
	}
	return v.Path
}

// prepareTask is one record to prepare.
type prepareTask struct {
	view View
	record
}

// task computes the pixels of a record and writes them. A file that cannot be read stops the preparation or is left
// out, as data.on_error says; the record then contains the error.
func (p *preparer) task(f io.WriterAt, t *prepareTask) error {
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	t.origin = originOf(t.file(t.view))
	pixels, err := p.pixels(s, t)
	if err != nil {
		if !p.source.Skip(t.view, err) {
			return err
		}
		t.Error = err.Error()
		return nil
	}
	t.SHA256 = fmt.Sprintf("%x", sha256.Sum256(s.file)) // the last file read
	t.CRC32C = crc32.Checksum(pixels, castagnoli)
	if _, err := f.WriteAt(pixels, t.Offset); err != nil {
		return fmt.Errorf("data.cache: %w", oneLine(err))
	}
	return nil
}

// pixels computes the pixels of a record, in memory of s.
func (p *preparer) pixels(s *scratch, t *prepareTask) ([]uint8, error) {
	fit := p.source.Fit
	if t.Kind == kindMask {
		w, h, err := fit.size(s, t.view)
		if err != nil {
			return nil, err
		}
		r, err := fit.readMask(s, t.view, w, h)
		if err != nil {
			return nil, err
		}
		return fit.fitMask(s, r), nil
	}
	r, err := fit.readImage(s, t.view)
	if err != nil {
		return nil, err
	}
	t.Width, t.Height = r.full.X, r.full.Y
	pixels := s.room(int(t.length(fit.Crop)))
	fit.fit(s, r, pixels)
	return pixels, nil
}
