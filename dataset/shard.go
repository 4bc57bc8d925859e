package dataset

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/url"
	"os"
	"path/filepath"

	"mvag-torch/configs"
)

// The format of a shard, a file of the cache (docs/format/cache.md).
const (
	shardMagic   = "MVAGPIXL"
	shardVersion = 3
	shardPrefix  = 32   // bytes: magic, version, checksum, offset and length of the index
	shardData    = 4096 // offset of the first record
	recordAlign  = 64
	maxIndex     = 1 << 28 // bytes
	pixelVersion = 2       // version of the computation from file to pixels
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// preprocessing identifies how pixels of a cache were computed.
type preprocessing struct {
	Fit    string       `json:"fit,omitempty"` // Pad if images keep their aspect ratio, as for Tiles; "" is Squash
	Resize configs.Size `json:"resize"`
	Crop   configs.Size `json:"crop"` // the viewport
	Exif   bool         `json:"exif"`
	JPEG   string       `json:"jpeg"`   // decoder
	Pixels int          `json:"pixels"` // pixelVersion
}

func (f Fit) preprocessing() preprocessing {
	p := preprocessing{"", f.Resize, f.Viewport(), f.Exif, f.jpegDecoder(), pixelVersion}
	if f.keepsAspect() {
		p.Fit = Pad
	}
	return p
}

func (p preprocessing) String() string {
	return fmt.Sprintf("fit %s, resize %v, crop %v, exif %t, JPEGs by %s, pixels of version %d",
		cmp.Or(p.Fit, Squash), p.Resize, p.Crop, p.Exif, p.JPEG, p.Pixels)
}

// key identifies a record: the image or the mask of a view.
type key struct {
	Kind  string  `json:"kind"` // image or mask
	Path  relPath `json:"path"`
	Part  int     `json:"part,omitempty"` // View.Part and so on
	Parts int     `json:"parts,omitempty"`
}

const (
	kindImage = "image"
	kindMask  = "mask"
)

// relPath is a slash-separated path relative to data.root. In JSON it is percent-encoded, since a name may contain any
// bytes.
type relPath string

func (p relPath) MarshalText() ([]byte, error) {
	return []byte((&url.URL{Path: "/" + string(p)}).EscapedPath()[1:]), nil
}

func (p *relPath) UnmarshalText(text []byte) error {
	path, err := url.PathUnescape(string(text))
	*p = relPath(path)
	return err
}

// newKey returns the key of the image or mask of v; root is data.root.
func newKey(kind, root string, v View) (key, error) {
	path := v.Path
	if kind == kindMask {
		path = v.Mask
	}
	below, err := filepath.Rel(root, path)
	return key{kind, relPath(filepath.ToSlash(below)), v.Part, v.Parts}, err
}

// length returns the size of a record in bytes; view is that of the viewport.
func (k key) length(view configs.Size) int64 {
	if k.Kind == kindMask {
		return int64(view.Area())
	}
	return 3 * int64(view.Area())
}

// origin describes a file at the time it was prepared.
type origin struct {
	Size     int64  `json:"size"`     // in bytes, -1 if there was no file
	Modified int64  `json:"modified"` // nanoseconds since 1970
	SHA256   string `json:"sha256"`   // "" if it could not be read
}

// originOf describes a file without reading it. One that cannot be looked at is taken for missing.
func originOf(path string) origin {
	o, _ := lookAt(path)
	return o
}

// lookAt is originOf with the reason for which a file cannot be looked at.
func lookAt(path string) (origin, error) {
	info, err := os.Stat(path)
	if err != nil {
		return origin{Size: -1}, oneLine(err)
	}
	return origin{Size: info.Size(), Modified: info.ModTime().UnixNano()}, nil
}

// record is an entry in the index of a shard.
type record struct {
	key
	Offset int64  `json:"offset"`
	CRC32C uint32 `json:"crc32c"`
	Width  int    `json:"width,omitempty"` // of the original image or mask
	Height int    `json:"height,omitempty"`
	origin
	traits
	Error string `json:"error,omitempty"` // why there are no pixels
}

// shardIndex is the JSON at the end of a shard.
type shardIndex struct {
	Preprocessing preprocessing `json:"preprocessing"`
	Records       []record      `json:"records"`
}

// errNoShard says that a file is not a shard.
var errNoShard = errors.New("not a shard of an image cache")

// readShard reads and checks the index of a shard of size bytes.
func readShard(f io.ReaderAt, size int64) (*shardIndex, error) {
	var prefix [shardPrefix]byte
	if _, err := f.ReadAt(prefix[:], 0); err != nil || string(prefix[:8]) != shardMagic {
		return nil, errNoShard
	}
	version, sum := binary.LittleEndian.Uint32(prefix[8:]), binary.LittleEndian.Uint32(prefix[12:])
	at, n := binary.LittleEndian.Uint64(prefix[16:]), binary.LittleEndian.Uint64(prefix[24:])
	switch {
	case version != shardVersion:
		return nil, fmt.Errorf("have a shard of version %d, want %d", version, shardVersion)
	case n > maxIndex || at < shardData || at > uint64(size) || n != uint64(size)-at:
		return nil, fmt.Errorf("damaged: have %d bytes, want an index of %d bytes at byte %d to end it", size, n, at)
	}
	text := make([]byte, n)
	if _, err := f.ReadAt(text, int64(at)); err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	if have := crc32.Checksum(text, castagnoli); have != sum {
		return nil, fmt.Errorf("damaged: have an index of checksum %08x, want %08x", have, sum)
	}
	var x shardIndex
	if err := json.Unmarshal(text, &x); err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	return &x, x.check(int64(at))
}

// check returns an error unless all records lie between the header and end.
func (x *shardIndex) check(end int64) error {
	crop := x.Preprocessing.Crop
	if min(crop[0], crop[1]) < 1 || max(crop[0], crop[1]) > maxSide {
		return fmt.Errorf("index: have a crop of %v, want 1 to %d", crop, maxSide)
	}
	seen := map[key]bool{}
	for _, r := range x.Records {
		sum, err := hex.DecodeString(r.SHA256)
		switch {
		case r.Kind != kindImage && r.Kind != kindMask, seen[r.key], err != nil, len(sum) != 0 && len(sum) != 32:
			return fmt.Errorf("index: have the %q %q with SHA-256 %q, want an image or mask, each once, and a hash", r.Kind, r.Path, r.SHA256)
		case r.Error == "" && (r.Offset < shardData || r.Offset%recordAlign != 0 || r.Offset > end-r.length(crop)):
			return fmt.Errorf("index: have %q at byte %d, want it before byte %d", r.Path, r.Offset, end)
		}
		seen[r.key] = true
	}
	return nil
}

// seal writes the index at offset end of a shard, then the header.
func (x *shardIndex) seal(f io.WriterAt, end int64) error {
	text, err := json.Marshal(x)
	if err != nil {
		return err
	}
	return writeIndex(f, end, text)
}

func writeIndex(f io.WriterAt, end int64, text []byte) error {
	var prefix bytes.Buffer
	prefix.WriteString(shardMagic)
	for _, v := range []any{uint32(shardVersion), crc32.Checksum(text, castagnoli), uint64(end), uint64(len(text))} {
		_ = binary.Write(&prefix, binary.LittleEndian, v) // a buffer never fails
	}
	if _, err := f.WriteAt(text, end); err != nil {
		return err
	}
	_, err := f.WriteAt(prefix.Bytes(), 0)
	return err
}
