package dataset

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"mvag-torch/configs"
	"mvag-torch/internal/regularfile"
)

// errCache marks errors of the cache, as opposed to errors of an image.
var errCache = errors.New("data.cache")

const prepareAgain = "run mvag-torch dataset prepare again"

// Cache is an open folder of prepared images and masks (docs/format/cache.md). It is safe for concurrent use.
type Cache struct {
	root    string // data.root
	view    configs.Size
	bits    int // depth of 16-bit images, unless a View says
	records map[key]*cached
	maps    [][]byte

	mu   sync.Mutex
	lost map[string]error // damages that the files of the images made good, by shard and image
}

// damage is the error of a record whose pixels are not what was prepared, while its file has not changed.
type damage struct{ error }

func (d damage) Unwrap() error { return d.error }

// mended reports whether err is a damage that the file at path can make good, and notes it then. The pixels of the file are
// the same.
func (c *Cache) mended(err error, path string) bool {
	var d damage
	if !errors.As(err, &d) || (disk{}).stat(path) != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost == nil {
		c.lost = map[string]error{}
	}
	c.lost[path] = d
	return true
}

// Mended says in a line which records were damaged, so that the files of their images were read; "" where none was.
func (c *Cache) Mended() string {
	if c == nil {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.lost) == 0 {
		return ""
	}
	first := slices.Min(slices.Collect(maps.Keys(c.lost)))
	if len(c.lost) == 1 {
		return fmt.Sprintf("read instead of a damaged record of the cache: 1 image or mask: %v", c.lost[first])
	}
	return fmt.Sprintf("read instead of damaged records of the cache: %d images or masks; the first: %v", len(c.lost), c.lost[first])
}

// cached is a record in memory.
type cached struct {
	record
	shard  string
	pixels []byte      // in the mapped file
	sound  atomic.Bool // checksum and origin have been verified
}

// shardFiles lists the shards of a cache in order.
func shardFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "pixels-") && strings.HasSuffix(e.Name(), ".shard") {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return names, oneLine(err)
}

// openCache opens data.cache.
func openCache(cfg configs.Data) (*Cache, error) {
	c := &Cache{root: cfg.Root, view: cfg.Viewport(), bits: NewFit(cfg).bits(), records: map[key]*cached{}}
	names, err := shardFiles(cfg.Cache)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errCache, err)
	case len(names) == 0:
		return nil, fmt.Errorf("%w: have no prepared images in %q; run mvag-torch dataset prepare", errCache, cfg.Cache)
	}
	for _, name := range names {
		if err := c.add(name, NewFit(cfg).preprocessing()); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// add maps a shard into memory.
func (c *Cache) add(name string, want preprocessing) error {
	f, size, err := regularfile.Open(name)
	if err != nil {
		return fmt.Errorf("%w: %w", errCache, oneLine(err))
	}
	defer f.Close()
	x, err := readShard(f, size)
	if err != nil {
		return fmt.Errorf("%w: %s: %w; %s", errCache, printable(name), err, prepareAgain)
	}
	if x.Preprocessing != want {
		return otherPreprocessing(name, x.Preprocessing, want)
	}
	all, err := unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", errCache, printable(name), err)
	}
	c.maps = append(c.maps, all)
	for _, r := range x.Records {
		m := &cached{record: r, shard: name}
		if r.Error == "" {
			m.pixels = all[r.Offset:][:r.length(c.view)]
		}
		c.records[r.key] = m
	}
	return nil
}

func otherPreprocessing(name string, have, want preprocessing) error {
	return fmt.Errorf("%w: %s: have images made with %v, want %v; set another folder, or remove this one",
		errCache, printable(name), have, want)
}

// complete returns an error unless the cache contains all images and masks of the set.
func (c *Cache) complete(dir string, set *Set) error {
	lacking, first := 0, ""
	err := set.keys(c.root, func(k key, v View) error {
		if m := c.records[k]; m != nil {
			return c.checkBits(m, v)
		}
		if lacking++; lacking == 1 {
			first = k.file(v)
		}
		return nil
	})
	if err == nil && lacking > 0 {
		err = fmt.Errorf("%w: %s: %d images and masks of the set are not prepared, the first: %s; %s", errCache, printable(dir), lacking, printable(first), prepareAgain)
	}
	return err
}

// recorded is the folder tree of the files that a cache was made from: by folder, the names in it and whether they are
// folders.
type recorded map[string]map[string]bool

// files returns the tree of the files that the cache was made from.
func (c *Cache) files() recorded {
	tree := recorded{}
	for k := range c.records {
		isFolder := false
		for path := c.path(k); filepath.Dir(path) != path; path = filepath.Dir(path) {
			dir := filepath.Dir(path)
			if tree[dir] == nil {
				tree[dir] = map[string]bool{}
			}
			tree[dir][filepath.Base(path)] = isFolder
			isFolder = true
		}
	}
	return tree
}

// path returns the file that a record was made from.
func (c *Cache) path(k key) string { return filepath.Join(c.root, filepath.FromSlash(string(k.Path))) }

// alone reports whether none of the files that the cache was made from exists.
func (c *Cache) alone() bool {
	for k := range c.records {
		if (disk{}).stat(c.path(k)) == nil {
			return false
		}
	}
	return true
}

func (t recorded) read(dir string) (f listed, err error) {
	names := t[filepath.Clean(dir)]
	if names == nil {
		return f, &fs.PathError{Op: "open", Path: printable(dir), Err: fs.ErrNotExist}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		switch {
		case names[name]:
			f.folders = append(f.folders, name)
		case isImage(name):
			f.images = append(f.images, name)
		default:
			f.others = append(f.others, name)
		}
	}
	return f, nil
}

func (t recorded) isFolder(dir string) bool { return t[filepath.Clean(dir)] != nil }

func (t recorded) stat(path string) error {
	if _, ok := t[filepath.Dir(filepath.Clean(path))][filepath.Base(path)]; !ok {
		return &fs.PathError{Op: "stat", Path: printable(path), Err: fs.ErrNotExist}
	}
	return nil
}

// Close unmaps the cache, which must no longer be in use.
func (c *Cache) Close() {
	for _, m := range c.maps {
		_ = unix.Munmap(m) // fails only for memory that is not mapped
	}
	c.maps = nil
}

// find returns a record.
func (c *Cache) find(kind string, v View) (*cached, error) {
	k, err := newKey(kind, c.root, v)
	if err != nil {
		return nil, err
	}
	if m := c.records[k]; m != nil {
		return m, nil
	}
	return nil, fmt.Errorf("%w: %s is not prepared; %s", errCache, printable(k.file(v)), prepareAgain)
}

// checkBits returns an error if a 16-bit image was prepared at another depth than that of v.
func (c *Cache) checkBits(m *cached, v View) error {
	if want := cmp.Or(v.Bits, c.bits); m.Bits != 0 && m.Bits != want {
		return fmt.Errorf("%w: %s was prepared as an image of %d bits, want %d (data.bits); %s", errCache, printable(v.Path), m.Bits, want, prepareAgain)
	}
	return nil
}

// read calls use with the pixels of a record. The first time, it verifies the checksum and that the original file has
// not changed. The original may be missing.
func (c *Cache) read(kind string, v View, use func(pixels []uint8)) (*cached, error) {
	m, err := c.find(kind, v)
	if err == nil {
		err = c.checkBits(m, v)
	}
	if err != nil {
		return nil, err
	}
	path, sound := m.key.file(v), m.sound.Load()
	if !sound && changed(path, m.origin) {
		return nil, fmt.Errorf("%w: %s has changed since it was prepared; %s", errCache, printable(path), prepareAgain)
	}
	if m.Error != "" {
		return nil, errors.New(m.Error)
	}
	sum := m.CRC32C
	err = regularfile.Mapped(func() {
		if !sound {
			sum = crc32.Checksum(m.pixels, castagnoli)
		}
		use(m.pixels)
	})
	if err == nil && sum != m.CRC32C {
		err = fmt.Errorf("damaged: have the checksum %08x, want %08x", sum, m.CRC32C)
	}
	if err != nil {
		return nil, damage{fmt.Errorf("%w: %s: pixels of %s: %w; remove that shard and %s", errCache, printable(m.shard), printable(path), err, prepareAgain)}
	}
	m.sound.Store(true)
	return m, nil
}

// changed reports whether a file differs from what it was. Content decides: a copy with another time is the same. A
// missing file has not changed.
func changed(path string, was origin) bool {
	is := originOf(path)
	switch {
	case is.Size < 0:
		return false
	case is.Size != was.Size:
		return true
	case is.Modified == was.Modified:
		return false
	}
	data, err := readFile(path, nil)
	if err != nil {
		return was.SHA256 != ""
	}
	return fmt.Sprintf("%x", sha256.Sum256(data)) != was.SHA256
}
