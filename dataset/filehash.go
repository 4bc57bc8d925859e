package dataset

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"
)

// FileHash identifies the content of a file: the first 8 bytes of its SHA-256. The chance that one of 1,000 other files
// has the hash of one of 36,465 is 2e-12.
type FileHash [8]byte

// FileHashes is a sorted list, each hash once. Its text is the base64 of the hashes one after the other: 10.7 bytes a
// hash, 389 kB for the 36,465 training images of Real-IAD.
type FileHashes []FileHash

func compareHashes(a, b FileHash) int { return bytes.Compare(a[:], b[:]) }

// Has reports whether h is in the list.
func (l FileHashes) Has(h FileHash) bool {
	_, ok := slices.BinarySearchFunc(l, h, compareHashes)
	return ok
}

// MarshalText returns the text of the list.
func (l FileHashes) MarshalText() ([]byte, error) {
	var all []byte
	for _, h := range l {
		all = append(all, h[:]...)
	}
	return base64.RawStdEncoding.AppendEncode(nil, all), nil
}

// UnmarshalText reads a text of MarshalText. The list is not nil afterwards, even if it is empty.
func (l *FileHashes) UnmarshalText(text []byte) error {
	all, err := base64.RawStdEncoding.AppendDecode(nil, text)
	if err != nil {
		return err
	}
	size := len(FileHash{})
	if len(all)%size != 0 {
		return fmt.Errorf("have %d bytes, want a multiple of %d", len(all), size)
	}
	*l = make(FileHashes, 0, len(all)/size)
	for h := range slices.Chunk(all, size) {
		*l = append(*l, FileHash(h))
	}
	if !slices.IsSortedFunc(*l, compareHashes) {
		return fmt.Errorf("have hashes out of order")
	}
	return nil
}

// ReadImages collects the hashes of image files that were read. It is safe for concurrent use.
type ReadImages struct {
	mu     sync.Mutex
	byPath map[string]FileHash
}

// note enters the image of v unless its path is known; hash is called only then.
func (r *ReadImages) note(v View, hash func() (FileHash, error)) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	_, known := r.byPath[v.Path]
	r.mu.Unlock()
	if known {
		return nil
	}
	h, err := hash()
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byPath == nil {
		r.byPath = map[string]FileHash{}
	}
	r.byPath[v.Path] = h
	return nil
}

// Hashes returns the hashes of what was read, together with those of earlier.
func (r *ReadImages) Hashes(earlier FileHashes) FileHashes {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := slices.Clone(earlier)
	for _, h := range r.byPath {
		list = append(list, h)
	}
	slices.SortFunc(list, compareHashes)
	return slices.Compact(list)
}

// Content identifies the images of an object that were read: 8 bytes of a SHA-256 over their hashes, in order of the
// views, as base64. Objects whose files are equal byte for byte have the same; "" is that of an object of which none was
// read, and of all where r is nil.
func (r *ReadImages) Content(o *Object) string {
	if r == nil {
		return ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []byte
	for _, v := range o.Views {
		h, known := r.byPath[v.Path]
		if v.Data != nil {
			h, known = hashOf(v.Data), true
		}
		if known && v.Present() {
			all = append(all, h[:]...)
		}
	}
	if all == nil {
		return ""
	}
	h := hashOf(all)
	return base64.RawStdEncoding.EncodeToString(h[:])
}

// NoteUnread enters the images of an object in s.Read although s does not read them, since what is computed from them
// exists already.
func (s Source) NoteUnread(o *Object) error {
	for _, v := range o.Views {
		if !v.Present() {
			continue
		}
		if err := s.Read.note(v, func() (FileHash, error) { return s.hash(v) }); err != nil {
			return err
		}
	}
	return nil
}

// hash returns the hash of the image file of v. Where s has a cache, it is that of the file that was prepared.
func (s Source) hash(v View) (h FileHash, err error) {
	if v.Data != nil {
		return hashOf(v.Data), nil
	}
	if s.Cache != nil {
		if k, err := newKey(kindImage, s.root, v); err == nil && s.Cache.records[k] != nil && s.Cache.records[k].SHA256 != "" {
			sum, err := hex.DecodeString(s.Cache.records[k].SHA256)
			copy(h[:], sum)
			return h, err
		}
	}
	memory := scratches.Get().(*scratch)
	defer scratches.Put(memory)
	data, err := memory.readFile(v.Path)
	return hashOf(data), err
}

func hashOf(data []byte) FileHash {
	sum := sha256.Sum256(data)
	return FileHash(sum[:8])
}

// Sifted are objects by whether they say something new about a model.
type Sifted struct {
	New     []Object
	Trained []Object // any of their images is a training image
	Copies  []Object // all their images equal, byte for byte, those of an earlier object
}

// Sift compares the image files of objects with those that a model was trained on and with each other. It reads the
// files; one that cannot be read equals no other. The error is that of ctx.
func (s Source) Sift(ctx context.Context, objects []Object, trained FileHashes) (Sifted, error) {
	hashes := make([][]FileHash, len(objects)) // of the images of each object; nil if one cannot be read
	known := make([]bool, len(objects))
	err := parallel(ctx, 0, len(objects), func(i int) (int, error) {
		readable := true
		for _, v := range objects[i].Views {
			if !v.Present() {
				continue
			}
			h, err := s.hash(v)
			readable = readable && err == nil
			known[i] = known[i] || err == nil && trained.Has(h)
			hashes[i] = append(hashes[i], h)
		}
		if !readable {
			hashes[i] = nil
		}
		return 1, nil
	}, func(int) {})
	var out Sifted
	seen := map[string]bool{}
	for i, o := range objects {
		key := fmt.Sprint(hashes[i])
		switch {
		case known[i]:
			out.Trained = append(out.Trained, o)
		case hashes[i] != nil && seen[key]:
			out.Copies = append(out.Copies, o)
		default:
			seen[key] = true
			out.New = append(out.New, o)
		}
	}
	return out, err
}
