package dataset

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"path/filepath"
)

// Stamp identifies a file and its content without reading it. Content counts as unchanged while name, size and
// modification time are the same.
type Stamp struct {
	Name     string `json:"name"`     // slash-separated path relative to data.root, "" if there is no file
	Size     int64  `json:"size"`     // in bytes, -1 if the file does not exist
	Modified int64  `json:"modified"` // in nanoseconds since 1970
}

// String returns the stamp in one line.
func (s Stamp) String() string { return fmt.Sprintf("%q %d %d", s.Name, s.Size, s.Modified) }

// Stamps returns the stamps of the image and the mask of v. For what is in the cache, they are the stamps of the
// original files when they were prepared.
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

// TrainLists identifies the training objects of each class: a hexadecimal SHA-256 over their IDs in order. A hold-out
// of the same fraction and seed is the same if they are ([Set.HoldOut]).
func (s *Set) TrainLists() map[string]string {
	hashes := map[string]hash.Hash{}
	for i := range s.Train {
		o := &s.Train[i]
		if hashes[o.Class] == nil {
			hashes[o.Class] = sha256.New()
		}
		fmt.Fprintf(hashes[o.Class], "%q\n", o.ID) // a hash never fails
	}
	lists := map[string]string{}
	for class, h := range hashes {
		lists[class] = hex.EncodeToString(h.Sum(nil))
	}
	return lists
}

// Identity returns a hexadecimal SHA-256 over objects and their files: class, ID, and for each view its camera, defect
// code, how its files are read, and the [Stamp] of image and mask. It is the same with and without a cache, and for a
// set that was copied together with its modification times. It does not notice content that changes without changing
// size or time.
func (s *Set) Identity(objects []Object) string {
	return s.identify(objects, func(is Stamp) any { return is })
}

// IdentityOfCopy is [Set.Identity] without the modification times: that of a copy of the files, too.
func (s *Set) IdentityOfCopy(objects []Object) string {
	return s.identify(objects, func(is Stamp) any { return fmt.Sprintf("%q %d", is.Name, is.Size) })
}

func (s *Set) identify(objects []Object, of func(Stamp) any) string {
	texts := make([]bytes.Buffer, len(objects)) // of files that may lie far away
	_ = parallel(context.Background(), 0, len(objects), func(i int) (int, error) {
		o, text := &objects[i], &texts[i]
		fmt.Fprintf(text, "%q %q\n", o.Class, o.ID)
		for _, v := range o.Views {
			image, mask := s.Source.Stamps(v)
			fmt.Fprintf(text, "%d %q %d/%d %d %v %v\n", v.Camera, v.Code, v.Part, v.Parts, v.Bits, of(image), of(mask))
		}
		return 1, nil
	}, func(int) {})
	hash := sha256.New() // writing to it never fails
	for i := range texts {
		_, _ = hash.Write(texts[i].Bytes())
	}
	return fmt.Sprintf("%x", hash.Sum(nil))
}

// Fingerprint returns a hexadecimal SHA-256 over what has to be the same where several processes train on copies of a
// set: the classes, the depths of 16-bit images, and the training objects as [Set.IdentityOfCopy] has them.
func (s *Set) Fingerprint() string {
	return fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "%q %v %s", s.Classes, s.Source.Depths, s.IdentityOfCopy(s.Train))))
}
