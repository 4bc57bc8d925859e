package feature

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"mvag-torch/internal/lock"
	"mvag-torch/internal/testenv"
)

var header = Header{Backbone: "abc", Layers: []int{1, 3}, Fuse: [][]int{{0}, {1}}, Settings: map[string]string{"data.crop": "28"}, Views: 3, ViewBytes: 10}

// object returns the key, presence and features of object i.
func object(i int) (Key, []bool, []byte) {
	key := Key{byte(i), byte(i), 7} // those of others differ in more than a bit, as hashes do
	return key, []bool{true, i%2 == 0, true}, bytes.Repeat([]byte{byte(i + 1)}, 30)
}

func put(t *testing.T, s *Store, objects ...int) {
	t.Helper()
	for _, i := range objects {
		key, present, features := object(i)
		if err := s.Put(key, present, features, true); err != nil {
			t.Fatal(err)
		}
	}
}

func check(t *testing.T, s *Store, objects ...int) {
	t.Helper()
	for _, i := range objects {
		p, wantPresent, want := object(i)
		present, have := make([]bool, 3), make([]byte, 30)
		if err := s.Read(p, present, have); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(present, wantPresent) || !bytes.Equal(have, want) {
			t.Errorf("object %d: have %v %v, want %v %v", i, present, have, wantPresent, want)
		}
	}
}

func open(t *testing.T, folder string) *Store {
	t.Helper()
	s, err := OpenFile(context.Background(), folder, header, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func inMemory(t *testing.T, h Header) *Store {
	t.Helper()
	s, err := NewMemory(h)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sealed(t *testing.T, s *Store) *Store {
	t.Helper()
	if err := s.Seal(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestMemory(t *testing.T) {
	s := inMemory(t, header)
	put(t, s, 4, 0, 1)
	check(t, sealed(t, s), 0, 1, 4)
	if p, _, _ := object(2); s.Has(p) {
		t.Error("has an object that was not put")
	}
}

func TestFileGoesOnAfterDeath(t *testing.T) {
	folder := t.TempDir()
	s := open(t, folder)
	put(t, s, 0, 1)
	s.Close() // without Seal
	f, err := os.OpenFile(s.Path(), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = fmt.Fprint(f, "half a record")
		f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	s = open(t, folder)
	for i, want := range []bool{true, true, false} {
		if p, _, _ := object(i); s.Has(p) != want {
			t.Errorf("object %d: have %v, want %v", i, !want, want)
		}
	}
	put(t, s, 2)
	check(t, sealed(t, s), 0, 1, 2)
	check(t, sealed(t, open(t, folder)), 2, 0) // readers do not lock each other out
}

// TestOwnRecords: what is not shared is there for this run alone.
func TestOwnRecords(t *testing.T) {
	folder := t.TempDir()
	s := open(t, folder)
	put(t, s, 0)
	key, present, features := object(1)
	if err := s.Put(key, present, features, false); err != nil {
		t.Fatal(err)
	}
	put(t, s, 2)
	check(t, sealed(t, s), 0, 1, 2)
	again := sealed(t, open(t, folder))
	check(t, again, 0, 2)
	if again.Has(key) {
		t.Error("a record that was not shared is in the file")
	}
}

func TestFileOfOtherSettings(t *testing.T) {
	folder := t.TempDir()
	open(t, folder).Close()
	other := header
	other.Settings = map[string]string{"data.crop": "14"}
	s, err := OpenFile(t.Context(), folder, other, nil)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, 1)
	s.Close()
	if p, _, _ := object(1); open(t, folder).Has(p) {
		t.Error("features of another crop were taken")
	}
}

func TestRefusals(t *testing.T) {
	want := func(err error, words ...string) {
		t.Helper()
		for _, word := range words {
			if err == nil || !strings.Contains(err.Error(), word) || strings.Contains(err.Error(), "\n") {
				t.Errorf("have %v, want one line with %q", err, word)
			}
		}
	}
	folder := t.TempDir()
	s := open(t, folder)
	waiting, stop := context.WithCancel(t.Context())
	_, err := OpenFile(waiting, folder, header, func(*lock.Held) { stop() })
	want(err, s.Path(), fmt.Sprintf("used by process %d on ", os.Getpid()))
	put(t, s, 0, 1)
	want(s.Put(Key{9}, []bool{true, true, true}, make([]byte, 29), true), "have 29 bytes")
	sealed(t, s)

	text, err := os.ReadFile(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	damaged := slices.Clone(text)
	damaged[len(damaged)-1] ^= 1
	if err := os.WriteFile(s.Path(), damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	again := sealed(t, open(t, folder))
	check(t, again, 0)
	p, present, features := object(1)
	want(again.Read(p, present, features), s.Path(), "record 1: damaged")

	copy(text, `{"format":"else"}`)
	if err := os.WriteFile(s.Path(), text, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = OpenFile(context.Background(), folder, header, nil)
	want(err, s.Path(), "have header", "remove the file")

	huge := header
	huge.ViewBytes = 1 << 50
	_, err = inMemory(t, huge).Room(10)
	want(err, "train.cache_features", "free memory", "disk")
	disk, err := OpenFile(t.Context(), folder, huge, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = disk.Room(10)
	want(err, "train.cache_features", folder, "10 objects")
}

// TestReplace: whatever happens to a record, reading it is ErrDamaged, and what replaces it is read afterwards, by others,
// too.
func TestReplace(t *testing.T) {
	stride := recordHead + 30
	for name, test := range map[string]struct {
		from, to int // the bytes of the file that are damaged; to is 0 for the end, which is cut off
	}{
		"presence":       {headerBytes + 16, headerBytes + 17},
		"checksum":       {headerBytes + 24, headerBytes + 25},
		"features":       {headerBytes + recordHead + 3, headerBytes + recordHead + 4},
		"all but key":    {headerBytes + 16, headerBytes + stride},
		"the file, cut":  {headerBytes, 0},
		"the last bytes": {headerBytes + stride - 1, headerBytes + stride},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			s := open(t, folder)
			put(t, s, 0, 1)
			sealed(t, s)
			other := sealed(t, open(t, folder))
			text, err := os.ReadFile(s.Path())
			if err == nil && test.to == 0 {
				err = os.Truncate(s.Path(), int64(test.from)) // all memory behind it faults
			} else if err == nil {
				for i := test.from; i < test.to; i++ {
					text[i] ^= 0x10
				}
				err = os.WriteFile(s.Path(), text, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			key, present, features := object(0)
			have, got := make([]bool, 3), make([]byte, 30)
			for _, s := range []*Store{s, other} {
				if err := s.Read(key, have, got); !errors.Is(err, ErrDamaged) || !strings.HasPrefix(err.Error(), s.Path()+": record 0: ") {
					t.Errorf("have %v, want that record 0 is damaged", err)
				}
			}
			if err := s.Replace(key, present, features); err != nil {
				t.Fatal(err)
			}
			check(t, s, 0)
			check(t, other, 0)
			if test.to > 0 {
				check(t, other, 1)
			}
		})
	}
}

// TestEachBit flips bits of a file of features, and cuts it: a record is right, damaged or not there, or the file is
// refused. With MVAG_FAULTS=all it flips each bit, else one of each byte.
func TestEachBit(t *testing.T) {
	folder := t.TempDir()
	s := open(t, folder)
	put(t, s, 0, 1)
	sealed(t, s)
	whole, err := os.ReadFile(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	var sum testenv.Tally
	path := s.Path()
	look := func(what string, at int, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		sum.Injected++
		s, err := OpenFile(context.Background(), folder, header, nil)
		if err != nil {
			sum.Refused++
			if !strings.HasPrefix(err.Error(), path) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%s at byte %d: have %v", what, at, err)
			}
			return
		}
		defer s.Close()
		if err := s.Seal(); err != nil {
			t.Fatal(err)
		}
		for i := range 2 {
			key, wantPresent, want := object(i)
			present, have := make([]bool, 3), make([]byte, 30)
			err := s.Read(key, present, have)
			switch {
			case !s.Has(key) || errors.Is(err, ErrDamaged):
				sum.Repaired++ // it is computed anew
			case err != nil || !slices.Equal(present, wantPresent) || !bytes.Equal(have, want):
				t.Fatalf("%s at byte %d: object %d: have %v %v, error %v", what, at, i, present, have, err)
			}
		}
	}
	for at := range whole {
		if at > 600 && at < headerBytes-8 {
			continue // zeros behind the header
		}
		for bit := range 8 {
			if os.Getenv("MVAG_FAULTS") != "all" && bit != at%8 {
				continue
			}
			text := bytes.Clone(whole)
			text[at] ^= 1 << bit
			look("a flipped bit", at, text)
		}
		look("a cut", at, whole[:at])
	}
	sum.Log(t, "a file of features")
}

// FuzzOpen opens files of any content: no panic, and what is read was put.
func FuzzOpen(f *testing.F) {
	folder := f.TempDir()
	s, err := OpenFile(context.Background(), folder, header, nil)
	if err != nil {
		f.Fatal(err)
	}
	for i := range 2 {
		key, present, features := object(i)
		if err := s.Put(key, present, features, true); err != nil {
			f.Fatal(err)
		}
	}
	s.Close()
	good, err := os.ReadFile(s.Path())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:headerBytes+100])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(s.Path(), text, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := OpenFile(context.Background(), folder, header, nil)
		if err != nil {
			return
		}
		defer s.Close()
		if err := s.Seal(); err != nil {
			t.Fatal(err)
		}
		for p := range s.at {
			present, features := make([]bool, 3), make([]byte, 30)
			_ = s.Read(p, present, features)
		}
	})
}
