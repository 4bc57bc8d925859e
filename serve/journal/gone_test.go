package journal

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestGone: nothing is written to a file that is no longer the one of its name, until it is put back.
func TestGone(t *testing.T) {
	folder := filepath.Dir
	moved := func(path string) string { return folder(path) + "-moved" }
	rename := func(path string) error { return os.Rename(folder(path), moved(path)) }
	putBack := func(path string) error {
		return errors.Join(os.RemoveAll(folder(path)), os.Rename(moved(path), folder(path)))
	}
	for name, test := range map[string]struct {
		gone, back func(path string) error
	}{
		"removed":        {os.Remove, nil},
		"folder removed": {func(path string) error { return os.RemoveAll(folder(path)) }, nil},
		"renamed": {func(path string) error { return os.Rename(path, path+"-moved") },
			func(path string) error { return os.Rename(path+"-moved", path) }},
		"folder renamed": {rename, putBack},
		"folder replaced": {func(path string) error {
			if err := errors.Join(rename(path), os.Mkdir(folder(path), 0o755)); err != nil {
				return err
			}
			other, err := Open(path, Options{}) // as a second service does
			if err == nil {
				err = other.Close()
			}
			return err
		}, putBack},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "so", "journal.db")
			if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			j := open(t, path, Options{To: []string{"lines"}})
			first := add(t, j, "key", "x")
			if err := errors.Join(j.There(), test.gone(path)); err != nil {
				t.Fatal(err)
			}
			_, _, appended := j.Append("", content("y"))
			_, asked := j.Pending("lines", 1)
			for what, err := range map[string]error{"There": j.There(), "Append": appended, "Pending": asked, "Put": j.Put("a", "b", nil),
				"Published": j.Published("lines", first.Seq)} {
				if err == nil || err.Error() != path+": "+errGone.Error() {
					t.Errorf("%s: have %v", what, err)
				}
			}
			if test.back == nil {
				return
			}
			if err := errors.Join(test.back(path), j.There()); err != nil {
				t.Fatal(err)
			}
			want := seqs([]Entry{first, add(t, j, "", "z")})
			_ = j.Close()
			if have := pending(t, open(t, path, Options{To: []string{"lines"}}), "lines"); !slices.Equal(have, want) {
				t.Errorf("have %v, want %v", have, want)
			}
		})
	}
}
