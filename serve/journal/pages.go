package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"syscall"
	"time"

	"mvag-torch/internal/atomicfile"
)

// Layout of bbolt's file: pages of one size, of which several in a row make a long one. bbolt trusts the pages: one
// that leads back to itself is followed until there is no memory, and a list of free pages of any length is allocated.
// Neither can be recovered from, so they are checked before bbolt opens the file.
const (
	pageHead    = 16 // id uint64, flags uint16, count uint16, further pages uint32
	elementSize = 16 // branch: position, key length uint32, page uint64; leaf: flags, position, key and value length
	branchPage  = 0x01
	leafPage    = 0x02
	freePage    = 0x10
	bucketValue = 0x01        // flag of an element of a leaf
	bucketStart = 16          // root page, 0 for one that follows in the value; sequence
	noFreelist  = ^uint64(0)  // the list is not stored
	longList    = 0xFFFF      // count of a list of free pages whose length is its first number
	lockWait    = time.Second // for another service that is ending
)

// header is one of the two headers of a file, of which the newer intact one counts.
type header struct {
	size        uint64 // of a page, in bytes
	root, free  uint64 // pages of the buckets and of the list of free pages
	pages       uint64 // how many there are
	transaction uint64
}

// readHeader returns the header at an offset: 16 bytes of the page, then magic, version, page size, flags (4 bytes
// each), root (16), free list, number of pages, transaction (8 each), and the FNV-1a checksum of those.
func readHeader(f *os.File, at int64) (h header, ok bool, err error) {
	const magic, version = 0xED0CDAED, 2
	b := make([]byte, 64)
	if _, err := f.ReadAt(b, at+pageHead); errors.Is(err, io.EOF) {
		return h, false, nil
	} else if err != nil {
		return h, false, err
	}
	le := binary.NativeEndian
	sum := fnv.New64a()
	_, _ = sum.Write(b[:56])
	h = header{uint64(le.Uint32(b[8:])), le.Uint64(b[16:]), le.Uint64(b[32:]), le.Uint64(b[40:]), le.Uint64(b[48:])}
	return h, le.Uint32(b) == magic && le.Uint32(b[4:]) == version && le.Uint64(b[56:]) == sum.Sum64(), nil
}

// check checks that the file is as long as its newest intact header says, and the pages that this leads to. bbolt maps
// the file into memory, where reading beyond its end would end the process. The headers are at 0 and at the page size.
func check(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("not a file")
	}
	const least, most = 1 << 10, 1 << 16 // page sizes are powers of two
	for at := int64(0); at <= most; at = max(2*at, least) {
		h, ok, err := readHeader(f, at)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if h.size < least || h.size > most || h.size&(h.size-1) != 0 || at != 0 && uint64(at) != h.size {
			return fmt.Errorf("have pages of %d bytes: %w", h.size, errDamaged)
		}
		if other, ok, err := readHeader(f, int64(h.size)); err != nil {
			return err
		} else if ok && other.transaction > h.transaction {
			size := h.size
			h = other
			h.size = size
		}
		if most := uint64(info.Size()) / h.size; h.pages > most {
			return fmt.Errorf("have %d bytes, want %d pages of %d: %w", info.Size(), h.pages, h.size, errDamaged)
		}
		return checkPages(f, h)
	}
	return errDamaged
}

// checkPages checks the pages that can be reached from the newest header: each is there, is reached once, is not free,
// and what it says lies within it, in ascending order.
func checkPages(f *os.File, h header) error {
	p := pages{r: f, header: h, seen: make([]bool, h.pages)}
	if err := p.walk(h.root); err != nil {
		return err
	}
	if h.free == noFreelist {
		return nil
	}
	return p.free(h.free)
}

// pages reads the pages of a file.
type pages struct {
	r io.ReaderAt
	header
	seen []bool // by page
}

// read returns a page with those that it goes on in.
func (p *pages) read(id uint64) (data []byte, flags, count int, err error) {
	if id < 2 || id >= p.pages {
		return nil, 0, 0, fmt.Errorf("page %d of %d: %w", id, p.pages, errDamaged)
	}
	head := make([]byte, pageHead)
	if _, err := p.r.ReadAt(head, int64(id*p.size)); err != nil {
		return nil, 0, 0, err
	}
	le := binary.NativeEndian
	further := uint64(le.Uint32(head[12:]))
	if le.Uint64(head) != id || id+further >= p.pages {
		return nil, 0, 0, fmt.Errorf("page %d: have id %d and %d further pages of %d: %w", id, le.Uint64(head), further, p.pages, errDamaged)
	}
	for at := id; at <= id+further; at++ {
		if p.seen[at] {
			return nil, 0, 0, fmt.Errorf("page %d: reached twice: %w", at, errDamaged)
		}
		p.seen[at] = true
	}
	data = make([]byte, (1+further)*p.size)
	_, err = p.r.ReadAt(data, int64(id*p.size))
	return data, int(le.Uint16(data[8:])), int(le.Uint16(data[10:])), err
}

// walk checks a tree of pages and those of the buckets in it.
func (p *pages) walk(root uint64) error {
	for next := []uint64{root}; len(next) > 0; {
		id := next[len(next)-1]
		data, flags, count, err := p.read(id)
		if err != nil {
			return err
		}
		found, err := elements(data, flags, count)
		if err != nil {
			return fmt.Errorf("page %d: %w", id, err)
		}
		next = append(next[:len(next)-1], found...)
	}
	return nil
}

// elements checks the elements of a page and returns the pages that they lead to.
func elements(data []byte, flags, count int) (next []uint64, err error) {
	if flags != leafPage && (flags != branchPage || count == 0) || pageHead+count*elementSize > len(data) {
		return nil, fmt.Errorf("have flags %#x and %d elements in %d bytes: %w", flags, count, len(data), errDamaged)
	}
	le := binary.NativeEndian
	var before []byte
	for i := range count {
		at := uint64(pageHead + i*elementSize)
		e := data[at : at+elementSize]
		position, key, value := uint64(le.Uint32(e)), uint64(le.Uint32(e[4:])), uint64(0)
		if flags == leafPage {
			position, key, value = uint64(le.Uint32(e[4:])), uint64(le.Uint32(e[8:])), uint64(le.Uint32(e[12:]))
		}
		at += position
		if at+key+value > uint64(len(data)) {
			return nil, fmt.Errorf("element %d of %d: have it beyond the end: %w", i, count, errDamaged)
		}
		name := data[at : at+key]
		if i > 0 && bytes.Compare(before, name) >= 0 {
			return nil, fmt.Errorf("element %d of %d: not in order: %w", i, count, errDamaged)
		}
		before = name
		switch {
		case flags == branchPage:
			next = append(next, le.Uint64(e[8:]))
		case le.Uint32(e)&bucketValue != 0:
			more, err := bucket(data[at+key : at+key+value])
			if err != nil {
				return nil, fmt.Errorf("bucket %.40q: %w", name, err)
			}
			next = append(next, more...)
		}
	}
	return next, nil
}

// bucket checks the value of a bucket, which may have its only page in itself.
func bucket(value []byte) (next []uint64, err error) {
	if len(value) < bucketStart {
		return nil, errDamaged
	}
	le := binary.NativeEndian
	if root := le.Uint64(value); root != 0 {
		return []uint64{root}, nil
	}
	page := value[bucketStart:]
	if len(page) < pageHead || le.Uint16(page[8:]) != leafPage {
		return nil, errDamaged
	}
	return elements(page, leafPage, int(le.Uint16(page[10:])))
}

// free checks the list of free pages.
func (p *pages) free(id uint64) error {
	data, flags, count, err := p.read(id)
	if err != nil {
		return err
	}
	le := binary.NativeEndian
	list := data[pageHead:]
	n := uint64(count)
	if count == longList {
		n, list = le.Uint64(list), list[8:]
	}
	if flags != freePage || n > uint64(len(list)/8) {
		return fmt.Errorf("free pages: have flags %#x and %d pages in %d bytes: %w", flags, n, len(data), errDamaged)
	}
	for i := range n {
		at := le.Uint64(list[8*i:])
		if at < 2 || at >= p.pages || p.seen[at] {
			return fmt.Errorf("free pages: have page %d, which is used or is not there: %w", at, errDamaged)
		}
		p.seen[at] = true
	}
	return nil
}

// lock waits a little for the lock that bbolt holds on its file. Closing f gives it back.
func lock(f *os.File) error {
	for end := time.Now().Add(lockWait); ; time.Sleep(lockWait / 20) {
		err := atomicfile.Flock(f, syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case !errors.Is(err, syscall.EWOULDBLOCK):
			return err
		case time.Now().After(end):
			return errInUse
		}
	}
}
