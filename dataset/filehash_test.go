package dataset

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sumOf is the hash of a file by another way.
func sumOf(t testing.TB, path string) FileHash {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	return FileHash(sum[:8])
}

func TestFileHashesAsText(t *testing.T) {
	for _, list := range []FileHashes{{}, {{1}}, {{1}, {1, 0, 0, 0, 0, 0, 0, 2}, {255, 1}}} {
		text, err := list.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var back FileHashes
		if err := back.UnmarshalText(text); err != nil || back == nil || !slices.Equal(back, list) {
			t.Errorf("have %v, error %v, want %v", back, err, list)
		}
	}
	for text, want := range map[string]string{
		"AQ":                     "have 1 bytes, want a multiple of 8",
		"!":                      "illegal base64",
		"AgAAAAAAAAABAAAAAAAAAA": "out of order",
	} {
		var list FileHashes
		if err := list.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: have %v, want %q", text, err, want)
		}
	}
	big := make(FileHashes, 36465) // Real-IAD's training images
	if text, _ := big.MarshalText(); len(text) != 388960 {
		t.Errorf("have %d bytes, want 388960 as documented", len(text))
	}
}

// TestReadImages holds that what a source reads is known by the hash of the file, with a cache and without, each once,
// and that nothing else is: no image that could not be read.
func TestReadImages(t *testing.T) {
	cfg := cacheSet(t, 3)
	if _, _, err := prepare(t, context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	plain := cfg
	plain.Cache = ""
	for _, cfg := range []struct {
		name string
		set  *Set
	}{{"files", opened(t, plain)}, {"cache", opened(t, cfg)}} {
		source := cfg.set.Source
		source.Read = &ReadImages{}
		dst, want := make([]uint8, 3*6*6), FileHashes{{7}}
		for range 2 {
			for _, v := range cfg.set.Train[1].Views {
				if _, _, err := source.Image(v, dst); err != nil {
					t.Fatal(err)
				}
				want = append(want, sumOf(t, v.Path))
			}
			if _, _, err := source.Image(View{Path: filepath.Join(plain.Root, "list.csv")}, dst); err == nil {
				t.Error("a table was read as an image")
			}
		}
		if err := source.NoteUnread(&cfg.set.Train[2]); err != nil {
			t.Fatal(err)
		}
		for _, v := range cfg.set.Train[2].Views {
			want = append(want, sumOf(t, v.Path))
		}
		slices.SortFunc(want, compareHashes)
		want = slices.Compact(want)
		have := source.Read.Hashes(FileHashes{{7}})
		if len(want) != 5 || !slices.Equal(have, want) {
			t.Errorf("%s: have %v, want %v", cfg.name, have, want)
		}
		if h := sumOf(t, cfg.set.Train[0].Views[0].Path); have.Has(h) {
			t.Errorf("%s: an image that was not read is known", cfg.name)
		}
		gone := Object{Views: []View{{Path: filepath.Join(plain.Root, "gone.png")}}}
		if err := source.NoteUnread(&gone); err == nil || !strings.Contains(err.Error(), "gone.png") {
			t.Errorf("%s: have %v, want an error that names the file", cfg.name, err)
		}
	}
}

// TestSift has objects of two views: one where one view only is a training image, one whose views are those of another,
// one that shares a view with another, and files that cannot be read.
func TestSift(t *testing.T) {
	objects := objectsOf(t, 5)
	trained := FileHashes{sumOf(t, objects[2].Views[1].Path)}
	dir := t.TempDir()
	for i := range 2 {
		if err := os.Symlink(objects[0].Views[i].Path, filepath.Join(dir, fmt.Sprint(i, ".png"))); err != nil {
			t.Fatal(err)
		}
	}
	link := Object{ID: "link", Views: []View{{Path: filepath.Join(dir, "0.png")}, {Camera: 1, Path: filepath.Join(dir, "1.png")}}}
	half := Object{ID: "half", Views: []View{{Path: objects[0].Views[0].Path}, {Camera: 1, Path: objects[3].Views[1].Path}}}
	var broken []Object
	for i := range 2 {
		broken = append(broken, Object{ID: fmt.Sprint("broken", i), Views: []View{{Path: filepath.Join(dir, "none.png")}}})
	}
	mixed := Object{ID: "mixed", Views: []View{broken[0].Views[0], objects[2].Views[1]}} // unreadable, but trained on
	all := slices.Concat(objects, []Object{link, half, mixed}, broken)
	for _, s := range []Source{{Fit: smallFit}, {Fit: smallFit, Skipped: &Skipped{}}} {
		found, err := s.Sift(t.Context(), all, trained)
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range []struct {
			name string
			have []Object
			want string
		}{
			{"new", found.New, "gear/OK/S0000 gear/OK/S0001 gear/OK/S0003 gear/OK/S0004 half broken0 broken1"},
			{"trained", found.Trained, "gear/OK/S0002 mixed"},
			{"copies", found.Copies, "link"},
		} {
			var ids []string
			for _, o := range kind.have {
				ids = append(ids, o.ID)
			}
			if have := strings.Join(ids, " "); have != kind.want {
				t.Errorf("%s: have %s, want %s", kind.name, have, kind.want)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (Source{}).Sift(ctx, all, trained); err == nil {
		t.Error("cancelled: have no error")
	}
}

func FuzzFileHashes(f *testing.F) {
	for _, text := range []string{"", "AQ", "AQAAAAAAAAA", "AgAAAAAAAAABAAAAAAAAAA", "AQAAAAAAAAACAAAAAAAAAA"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var list, again FileHashes
		if list.UnmarshalText(text) != nil {
			return
		}
		back, err := list.MarshalText()
		if err != nil || again.UnmarshalText(back) != nil || !slices.Equal(list, again) {
			t.Errorf("%q: have %q, error %v", text, back, err)
		}
		for _, h := range list {
			if !list.Has(h) {
				t.Errorf("%q: %x is not found", text, h)
			}
		}
	})
}
