package dataset

import (
	"crypto/sha256"
	"fmt"
	"hash/crc32"
	"io"
)

// keys calls each for every image and every mask of the set.
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
	case v.Mask != "":
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
	origin, unknown := lookAt(t.file(t.view))
	t.origin = origin
	pixels, data, err := p.pixels(s, t)
	if err == nil && unknown != nil { // else the record would be one of a file that has changed
		return unknown
	}
	if err != nil {
		if err := p.source.Skip(t.view, err); err != nil {
			return err
		}
		t.Error = err.Error()
		return nil
	}
	t.SHA256 = fmt.Sprintf("%x", sha256.Sum256(data))
	t.CRC32C = crc32.Checksum(pixels, castagnoli)
	_, err = f.WriteAt(pixels, t.Offset)
	return err
}

// pixels computes the pixels of a record, and returns them with the file, in memory of s.
func (p *preparer) pixels(s *scratch, t *prepareTask) (pixels, file []byte, err error) {
	pixels = s.room(int(t.length(p.source.Fit.Viewport())))
	if t.Kind == kindMask {
		m, err := p.source.Fit.mask(s, t.view, pixels)
		t.Width, t.Height, t.Findings = m.full.X, m.full.Y, m.kinds
		return pixels, s.mask, err
	}
	r, err := p.source.Fit.image(s, t.view, pixels)
	if err == nil {
		t.Width, t.Height, t.traits = r.full.X, r.full.Y, p.source.Fit.traits(r)
	}
	return pixels, s.file, err
}
