// Package feature keeps what the frozen encoder gave for training objects, so that it is computed once: in memory, or
// in a file that runs share. It knows bytes and objects, not tensors.
//
// The file grows by whole records and is never rewritten (docs/format/features.md): a run that dies loses the record it
// was writing, nothing else.
package feature

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"mvag-torch/internal/atomicfile"
	"mvag-torch/internal/lock"
	"mvag-torch/internal/machine"
	"mvag-torch/internal/regularfile"
)

// Format is the value of the header's key "format".
const Format = "mvag-torch features 2"

// Header says what decides the features of an object besides its images.
type Header struct {
	Format    string            `json:"format"`
	Backbone  string            `json:"backbone_sha256"`
	Layers    []int             `json:"layers"`
	Fuse      [][]int           `json:"fuse"`
	Settings  map[string]string `json:"settings"` // of the configuration, those that decide features
	Views     int               `json:"views"`
	ViewBytes int               `json:"view_bytes"` // of one view of one object
}

// Key identifies an object and its images as they are now.
type Key [16]byte

const (
	headerBytes = 4096
	recordHead  = 64 // key, presence of views, checksum, zeros
)

// Store holds one record an object. Put belongs to one goroutine; after Seal or Attach, Read may be called from several.
//
// Processes of a machine share one copy: one of them has the store of NewMemory or OpenFile and puts all records, which
// the others see with NewView and Attach.
type Store struct {
	header Header
	kept   map[Key][]byte // records of this process alone, head and features

	path   string     // "" in memory
	own    *lock.Lock // keeps other writers away from the file; nil after Seal
	file   *os.File   // without a name in memory; nil before Attach
	writes bool       // file is open for writing
	end    int64      // of the whole records of the file
	mapped []byte     // the file, after Seal or Attach
	at     map[Key]int
}

// Place is where the processes that share a store find it.
type Place struct {
	Path string `json:"path"`
	End  int64  `json:"end"` // of the records that they share
}

// newStore returns a store in the file below folder that belongs to h, or in memory if folder is "", and the text of the
// header.
func newStore(folder string, h Header) (*Store, []byte, error) {
	h.Format = Format
	s := &Store{header: h, kept: map[Key][]byte{}, at: map[Key]int{}, end: headerBytes}
	text, err := json.Marshal(h)
	if err == nil && len(text) >= headerBytes {
		err = fmt.Errorf("features: have a header of %d bytes, want less than %d", len(text), headerBytes)
	}
	if folder != "" {
		sum := sha256.Sum256(text)
		s.path = filepath.Join(folder, "features-"+hex.EncodeToString(sum[:8])+".bin")
	}
	return s, text, err
}

// NewMemory returns an empty store in memory: a file without a name, which ends with the processes that have it open.
func NewMemory(h Header) (*Store, error) {
	s, text, err := newStore("", h)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("features", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("train.cache_features: memory: %w; disk keeps them in a file", err)
	}
	s.file = os.NewFile(uintptr(fd), "features in memory")
	if err := s.begin(text); err != nil {
		return nil, errors.Join(err, s.file.Close())
	}
	return s, nil
}

// OpenFile opens the file below folder that belongs to h, or makes it. It is locked against other runs that would write
// to it until Seal or Close. Where another one writes to it, OpenFile waits for what that computes, or until ctx ends: then
// the error is that of ctx and the *[lock.Held], of which waiting is told before.
func OpenFile(ctx context.Context, folder string, h Header, waiting func(*lock.Held)) (*Store, error) {
	s, text, err := newStore(folder, h)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, fmt.Errorf("%s: %w", folder, atomicfile.Cause(err))
	}
	if s.own, err = lock.Wait(ctx, strings.TrimSuffix(s.path, ".bin")+".lock", s.path, waiting); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("%w; %w", err, ctx.Err())
		}
		return nil, err
	}
	if s.file, err = regularfile.Update(s.path); err != nil {
		s.unlock()
		return nil, fmt.Errorf("%s: %w", s.path, atomicfile.Cause(err))
	}
	s.writes = true
	if err := s.load(text); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Warning says that nothing keeps other writers away from the file; "" where they are.
func (s *Store) Warning() string { return s.own.Warning() }

// begin writes the header.
func (s *Store) begin(text []byte) error {
	page := make([]byte, headerBytes)
	copy(page, text)
	_, err := s.file.WriteAt(page, 0)
	return s.named(err)
}

// load checks or writes the header of the file and finds the records.
func (s *Store) load(header []byte) error {
	info, err := s.file.Stat()
	if err != nil {
		return s.named(err)
	}
	if info.Size() < headerBytes { // new, or its writer died at once
		return s.begin(header)
	}
	if err := s.same(header); err != nil {
		return err
	}
	return s.find(info.Size())
}

// same compares the header of the file.
func (s *Store) same(header []byte) error {
	page := make([]byte, headerBytes)
	if _, err := s.file.ReadAt(page, 0); err != nil {
		return s.named(err)
	}
	if have := bytes.TrimRight(page, "\x00"); !bytes.Equal(have, header) {
		return fmt.Errorf("%s: have header %.80q, want %.80q; remove the file to compute the features anew",
			s.file.Name(), have, header)
	}
	return nil
}

// find lists the whole records of a file of the given size; what follows them is overwritten by the next record.
func (s *Store) find(size int64) error {
	stride := s.stride()
	count := (size - headerBytes) / stride
	s.end = headerBytes + count*stride
	for i := range count {
		var key Key
		if _, err := s.file.ReadAt(key[:], headerBytes+i*stride); err != nil {
			return s.named(err)
		}
		s.at[key] = int(i)
	}
	return nil
}

func (s *Store) stride() int64 { return recordHead + int64(s.header.Views)*int64(s.header.ViewBytes) }

// Path is the file, "" in memory.
func (s *Store) Path() string { return s.path }

// Has tells whether there is a record of the object.
func (s *Store) Has(key Key) bool {
	_, kept := s.kept[key]
	_, filed := s.at[key]
	return kept || filed
}

// Room returns the bytes that the records of n more objects take, and an error where they do not fit.
func (s *Store) Room(n int) (int64, error) {
	want := int64(n) * s.stride()
	free, where, hint := uint64(0), "of free memory", "; disk keeps them in a file"
	if s.path == "" {
		m := machine.ReadMemory()
		if m.Free == 0 { // unknown
			return want, nil
		}
		free = m.Free / 10 * 9 // something must be left for the program itself
	} else {
		var err error
		if free, err = machine.DiskFree(filepath.Dir(s.path)); err != nil {
			return want, err
		}
		where, hint = "free in "+filepath.Dir(s.path), ""
	}
	if uint64(want) > free {
		return want, fmt.Errorf("train.cache_features: have %s %s, want %s for the features of %d objects%s",
			machine.Size(free), where, machine.Size(uint64(want)), n, hint)
	}
	return want, nil
}

// Put adds the record of an object: present says which of its views are there, features are [views, ViewBytes]. Only a
// shared record goes to a file on disk, others are forgotten with the store. A view takes those others alone: the process
// that has the file puts what is shared.
func (s *Store) Put(key Key, present []bool, features []byte, shared bool) error {
	if len(present) != s.header.Views || recordHead+int64(len(features)) != s.stride() {
		return fmt.Errorf("features: have %d bytes of %d views, want %d of %d",
			len(features), len(present), s.stride()-recordHead, s.header.Views)
	}
	head := s.head(key, present, features)
	if !shared && s.path != "" {
		s.kept[key] = append(head, features...)
		return nil
	}
	if s.file == nil {
		return nil
	}
	if err := s.writeRecord(head, features, s.end); err != nil {
		return s.named(err)
	}
	s.at[key] = int((s.end - headerBytes) / s.stride())
	s.end += s.stride()
	return nil
}

func (s *Store) head(key Key, present []bool, features []byte) []byte {
	head := make([]byte, recordHead)
	copy(head, key[:])
	binary.LittleEndian.PutUint64(head[16:], bits(present))
	binary.LittleEndian.PutUint32(head[24:], checksum(bits(present), features))
	return head
}

// writeRecord writes the last bytes last: a new record is whole or not counted.
func (s *Store) writeRecord(head, features []byte, at int64) error {
	_, err := s.file.WriteAt(head, at)
	if err == nil {
		_, err = s.file.WriteAt(features, at+recordHead)
	}
	return err
}

// named is an error, which may be nil, behind the name of the file.
func (s *Store) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", s.file.Name(), atomicfile.Cause(err))
}

// bits has bit i set where view i is present.
func bits(present []bool) (b uint64) {
	for i, ok := range present {
		if ok {
			b |= 1 << i
		}
	}
	return b
}

var table = crc32.MakeTable(crc32.Castagnoli)

// checksum covers presence and features of a record.
func checksum(present uint64, features []byte) uint32 {
	return crc32.Update(crc32.Checksum(binary.LittleEndian.AppendUint64(nil, present), table), table, features)
}

// Seal ends writing: it brings a file to disk, lets other runs write to it and prepares for Read.
func (s *Store) Seal() error {
	if s.path != "" {
		if err := s.file.Sync(); err != nil {
			return s.named(err)
		}
	}
	s.unlock()
	return s.mapFile()
}

func (s *Store) unlock() {
	s.own.Release()
	s.own = nil
}

func (s *Store) mapFile() (err error) {
	if s.mapped, err = unix.Mmap(int(s.file.Fd()), 0, int(s.end), unix.PROT_READ, unix.MAP_SHARED); err != nil {
		return fmt.Errorf("%s: mmap: %w", s.file.Name(), err)
	}
	return nil
}

// Place is where other processes find the records that are shared: those of this machine in memory, those that see the
// folder in a file.
func (s *Store) Place() Place {
	if s.path != "" {
		return Place{s.path, s.end}
	}
	return Place{fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), s.file.Fd()), s.end}
}

// NewView returns a store for the records that another process puts in the file below folder that belongs to h, or in
// memory if folder is "". It has them after Attach.
func NewView(folder string, h Header) (*Store, error) {
	s, _, err := newStore(folder, h)
	return s, err
}

// Attach prepares a view for Read: p is the place of the store that was sealed. A file is looked for in the view's own
// folder. It is an error that is fs.ErrNotExist if there is none that has so many records.
func (s *Store) Attach(p Place) (err error) {
	size := int64(0)
	if s.file, size, err = regularfile.Open(cmp.Or(s.path, p.Path)); err != nil {
		return err
	}
	if size < p.End {
		return fmt.Errorf("%s: have %d bytes, want %d: %w", s.file.Name(), size, p.End, fs.ErrNotExist)
	}
	header, err := json.Marshal(s.header)
	if err == nil {
		err = s.same(header)
	}
	if err == nil {
		err = s.find(p.End)
	}
	if err != nil {
		return err
	}
	return s.mapFile()
}

// Close gives file and memory back. Without Seal, what was put in a file stays. The store may be nil.
func (s *Store) Close() error {
	if s == nil {
		return nil
	}
	s.unlock()
	if s.file == nil {
		return nil
	}
	var err error
	if s.mapped != nil {
		err = unix.Munmap(s.mapped)
		s.mapped = nil
	}
	return errors.Join(err, s.file.Close())
}
