package dataset

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"mvag-torch/configs"
)

// errCache is the fault of a cache, as opposed to that of a picture.
var errCache = errors.New("data.cache")

const prepareAgain = "run mvag-torch dataset prepare again"

// Cache is an opened folder of prepared pictures and masks
// (docs/format/cache.md). It is safe for concurrent use.
type Cache struct {
	root    string // data.root
	crop    int
	records map[key]*cached
	maps    [][]byte
}

// cached is a record in memory.
type cached struct {
	record
	shard  string
	pixels []byte      // in the mapped file
	sound  atomic.Bool // checksum and origin were compared
}

// shardFiles lists the shards of a cache in order.
func shardFiles(dir string) ([]string, error) {
	return filepath.Glob(filepath.Join(escapeGlob(dir), "pixels-*.shard"))
}

// escapeGlob makes a folder's name stand for itself in a pattern.
func escapeGlob(dir string) string {
	var out []byte
	for _, b := range []byte(dir) {
		if b == '*' || b == '?' || b == '[' || b == '\\' {
			out = append(out, '\\')
		}
		out = append(out, b)
	}
	return string(out)
}

// openCache opens data.cache for the pictures of set, all of which it has to
// hold.
func openCache(cfg configs.Data, set *Set) (*Cache, error) {
	c := &Cache{root: cfg.Root, crop: cfg.Crop, records: map[key]*cached{}}
	names, err := shardFiles(cfg.Cache)
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("%w: have no prepared pictures in %q; run mvag-torch dataset prepare", errCache, cfg.Cache)
	}
	for _, name := range names {
		if err == nil {
			err = c.add(name, NewFit(cfg).preprocessing())
		}
	}
	if err == nil {
		err = c.complete(cfg.Cache, set)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// add maps a shard.
func (c *Cache) add(name string, want preprocessing) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("%w: %w", errCache, oneLine(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("%w: %w", errCache, oneLine(err))
	}
	x, err := readShard(f, info.Size())
	if err != nil {
		return fmt.Errorf("%w: %s: %w; %s", errCache, printable(name), err, prepareAgain)
	}
	if x.Preprocessing != want {
		return otherPreprocessing(name, x.Preprocessing, want)
	}
	all, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", errCache, printable(name), err)
	}
	c.maps = append(c.maps, all)
	for _, r := range x.Records {
		m := &cached{record: r, shard: name}
		if r.Error == "" {
			m.pixels = all[r.Offset:][:r.length(c.crop)]
		}
		c.records[r.key] = m
	}
	return nil
}

func otherPreprocessing(name string, have, want preprocessing) error {
	return fmt.Errorf("%w: %s: have pictures made with %v, want %v; set another folder, or remove this one",
		errCache, printable(name), have, want)
}

// complete makes sure that everything of the set is there.
func (c *Cache) complete(dir string, set *Set) error {
	lacking, first := 0, ""
	for _, t := range tasksOf(set) {
		for _, want := range []struct {
			has  bool
			key  func(string, View) (key, error)
			path string
		}{{true, pictureKey, t.view.Path}, {t.masked(), maskKey, t.view.Mask}} {
			if !want.has {
				continue
			}
			k, err := want.key(c.root, t.view)
			if err != nil {
				return err
			}
			if c.records[k] == nil {
				if lacking++; lacking == 1 {
					first = want.path
				}
			}
		}
	}
	if lacking > 0 {
		return fmt.Errorf("%w: %s: lacks %d pictures and masks of the set, the first: %s; %s", errCache, printable(dir), lacking, printable(first), prepareAgain)
	}
	return nil
}

// Close unmaps the cache, which must not be in use any more.
func (c *Cache) Close() {
	for _, m := range c.maps {
		_ = unix.Munmap(m) // fails only for what is not mapped
	}
	c.maps = nil
}

// picture writes the fitted picture of v into dst [3, Crop, Crop], mask its
// fitted mask into dst [Crop, Crop].
func (c *Cache) picture(v View, dst []uint8) error {
	k, err := pictureKey(c.root, v)
	if err != nil {
		return err
	}
	return c.read(k, v.Path, dst)
}

func (c *Cache) mask(v View, dst []uint8) error {
	k, err := maskKey(c.root, v)
	if err != nil {
		return err
	}
	return c.read(k, v.Mask, dst)
}

// read copies a record. The first time, its checksum is compared, and whether
// the file it was made from is still the same.
func (c *Cache) read(k key, path string, dst []uint8) error {
	m := c.records[k]
	if m == nil {
		return fmt.Errorf("%w: lacks %s; %s", errCache, printable(path), prepareAgain)
	}
	sound := m.sound.Load()
	if !sound {
		if changed(path, m.origin) {
			return fmt.Errorf("%w: %s has changed since it was prepared; %s", errCache, printable(path), prepareAgain)
		}
	}
	if m.Error != "" {
		return errors.New(m.Error)
	}
	err := copyMapped(dst, m.pixels)
	if have := crc32.Checksum(dst, castagnoli); err == nil && !sound && have != m.CRC32C {
		err = fmt.Errorf("damaged: have the checksum %08x, want %08x", have, m.CRC32C)
	}
	if err != nil {
		return fmt.Errorf("%w: %s: pixels of %s: %w; remove that file and %s", errCache, printable(m.shard), printable(path), err, prepareAgain)
	}
	m.sound.Store(true)
	return nil
}

// copyMapped is copy for a source in a mapped file, which may have been cut or
// may be on a failing disk: reading it is then a fault of memory.
func copyMapped(dst, src []uint8) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("cannot be read: %v", fault)
		}
	}()
	copy(dst, src)
	return nil
}

// changed reports whether a file is another than it was. Its content counts: a
// copied file has another time. A file that is gone is no other.
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
