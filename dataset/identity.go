package dataset

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"
)

// Stamp identifies a file and its content without reading it: content is taken as unchanged while name, size and time
// of modification are the same.
type Stamp struct {
	Name     string `json:"name"`     // relative to data.root, with slashes; "" where there is no file
	Size     int64  `json:"size"`     // in bytes, -1 where the file is not there
	Modified int64  `json:"modified"` // in nanoseconds since 1970
}

// String is the stamp as a line, whatever bytes the name has.
func (s Stamp) String() string { return fmt.Sprintf("%q %d %d", s.Name, s.Size, s.Modified) }

// Stamps returns those of the image and the mask of a view. What is in the cache has the stamp of the file that it was
// made from, whether that file is there or not.
func (s Source) Stamps(v View) (image, mask Stamp) {
	return s.stamp(kindImage, v), s.stamp(kindMask, v)
}

func (s Source) stamp(kind string, v View) Stamp {
	k, err := newKey(kind, s.root, v)
	path := k.file(v)
	k.Kind = kind
	switch {
	case path == "":
		return Stamp{}
	case err != nil: // one of root and path is absolute, the other is not
		k.Path = relPath(filepath.ToSlash(path))
	}
	is := originOf(path)
	if s.Cache != nil && s.Cache.records[k] != nil {
		is = s.Cache.records[k].origin
	}
	return Stamp{string(k.Path), is.Size, is.Modified}
}

// Identity returns a SHA-256 in hexadecimal of objects and their files: of class, ID, and for each view its camera, its
// defect code, how its files are read, and the [Stamp] of its image and mask. It is the same from the files and from a
// cache of them, and for a set that was moved with its times; content that changed with neither size nor time is not
// noticed.
func (s *Set) Identity(objects []Object) string {
	hash := sha256.New() // to which writing never fails
	for i := range objects {
		o := &objects[i]
		fmt.Fprintf(hash, "%q %q\n", o.Class, o.ID)
		for _, v := range o.Views {
			image, mask := s.Source.Stamps(v)
			fmt.Fprintf(hash, "%d %q %d/%d %t %v %v\n", v.Camera, v.Code, v.Part, v.Parts, v.MaskLabels, image, mask)
		}
	}
	return fmt.Sprintf("%x", hash.Sum(nil))
}
