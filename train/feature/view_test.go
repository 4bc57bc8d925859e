package feature

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// view is a view of a store that was sealed.
func view(t *testing.T, folder string, p Place) *Store {
	t.Helper()
	v, err := NewView(folder, header)
	if err == nil {
		err = v.Attach(p)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

// sameFile tells whether two stores have the same file mapped.
func sameFile(t *testing.T, a, b *Store) bool {
	t.Helper()
	var s [2]unix.Stat_t
	for i, x := range []*Store{a, b} {
		if err := unix.Fstat(int(x.file.Fd()), &s[i]); err != nil {
			t.Fatal(err)
		}
	}
	return s[0].Ino == s[1].Ino && s[0].Dev == s[1].Dev
}

// TestViewOfMemory: a view has the memory of the store itself, which has no name in any folder.
func TestViewOfMemory(t *testing.T) {
	s := inMemory(t, header)
	key, present, features := object(2)
	put(t, s, 1)
	if err := s.Put(key, present, features, false); err != nil { // there is nothing else where it could be shared
		t.Fatal(err)
	}
	sealed(t, s)
	v := view(t, "", s.Place())
	check(t, v, 1, 2)
	if !sameFile(t, s, v) || v.Path() != "" {
		t.Error("the view has a copy")
	}
	if name, err := os.Readlink(s.Place().Path); err != nil || !strings.HasPrefix(name, "/memfd:") {
		t.Errorf("have the file %s, %v, want none with a name", name, err)
	}
	if _, err := v.file.WriteAt(features, 0); err == nil {
		t.Error("a view can write")
	}
}

// TestViewOfFile: a view has the records of its owner, and those that are not shared of its own.
func TestViewOfFile(t *testing.T) {
	folder := t.TempDir()
	s := open(t, folder)
	put(t, s, 0)
	v, err := NewView(folder, header)
	if err != nil {
		t.Fatal(err)
	}
	put(t, v, 1) // its owner does
	put(t, s, 1)
	key, present, features := object(2)
	for _, x := range []*Store{s, v} {
		if err := x.Put(key, present, features, false); err != nil {
			t.Fatal(err)
		}
	}
	sealed(t, s)
	other := open(t, folder) // of a run that begins before the view has seen the file
	put(t, other, 3)
	if err := v.Attach(s.Place()); err != nil {
		t.Fatal(err)
	}
	check(t, v, 0, 1, 2)
	if key, _, _ := object(3); v.Has(key) {
		t.Error("has what was added later")
	}
	if err := errors.Join(v.Close(), other.Close()); err != nil {
		t.Fatal(err)
	}
	var none *Store
	if err := none.Close(); err != nil {
		t.Error(err)
	}
}

func TestRefusedViews(t *testing.T) {
	folder := t.TempDir()
	s := open(t, folder)
	put(t, s, 0, 1)
	sealed(t, s)
	attach := func(folder string, p Place) error {
		v, err := NewView(folder, header)
		if err == nil {
			err = errors.Join(v.Attach(p), v.Close())
		}
		return err
	}
	elsewhere, short := t.TempDir(), t.TempDir()
	text, err := os.ReadFile(s.Path())
	if err == nil {
		err = os.WriteFile(filepath.Join(short, filepath.Base(s.Path())), text[:len(text)-1], 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{elsewhere, short} {
		if err := attach(at, s.Place()); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), at) {
			t.Errorf("have %v, want that the file is not there", err)
		}
	}
	wrong := slices.Clone(text)
	copy(wrong, `{"format":"else"}`)
	if err := os.WriteFile(filepath.Join(short, filepath.Base(s.Path())), wrong, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := attach(short, s.Place()); err == nil || !strings.Contains(err.Error(), "have header") {
		t.Errorf("have %v", err)
	}
	if err := attach("", Place{"/proc/self/fd/999999", headerBytes}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("have %v, want that there is no memory", err)
	}
}
