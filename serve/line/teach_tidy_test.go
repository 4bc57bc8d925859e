package line

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// names are those of what a folder has.
func names(t *testing.T, folder string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// TestTeachTidies: what a kill leaves of sessions that had ended or not begun, in sessions that go on and beside the model is
// removed by the next start. What somebody else has there stays, and is said.
func TestTeachTidies(t *testing.T) {
	l, model := teachable(t, nil)
	collecting, live := taught(t, l, "nut", 3), taught(t, l, "bolt", 10)
	if s := built(t, l, live.ID); s.State != Ready {
		t.Fatalf("have %+v", s)
	}
	top := l.teachFolder()
	const temporary = ".mvag-0123456789abcdef.tmp"
	ended, foreign := strings.Repeat("A", 12), strings.Repeat("B", 12)
	for _, path := range []string{
		filepath.Join(ended, "0001_C1"), filepath.Join(ended, "checkpoint.safetensors"), filepath.Join(ended, temporary),
		filepath.Join(foreign, "0001_C1"), filepath.Join(foreign, "notes.txt"),
		filepath.Join(collecting.ID, "0004_C1"), filepath.Join(collecting.ID, "checkpoint.safetensors"),
		filepath.Join(collecting.ID, "former.safetensors"), filepath.Join(collecting.ID, temporary), filepath.Join(collecting.ID, "notes.txt"),
	} {
		path = filepath.Join(top, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("x"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	beside := filepath.Join(filepath.Dir(model), temporary)
	if err := errors.Join(os.WriteFile(beside, []byte("x"), 0o644), copyFile(model, filepath.Join(top, live.ID, "checkpoint.safetensors"))); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	next := open(t, func(o *Options) {
		o.Folder, o.Log = l.opt.Folder, slog.New(slog.NewTextHandler(&said, nil))
	}, l.slots[0].ModelOptions)
	if all := next.AllTaught(); len(all) != 1 || all[0].ID != collecting.ID || all[0].State != Collecting || len(all[0].Objects) != 3 {
		t.Errorf("have sessions %+v, want that which goes on", all)
	}
	want := []string{foreign, collecting.ID}
	slices.Sort(want)
	if have := names(t, top); !slices.Equal(have, want) {
		t.Errorf("have folders %q, want %q", have, want)
	}
	want = []string{"0001_C1", "0001_C2", "0001_C3", "0002_C1", "0002_C2", "0002_C3", "0003_C1", "0003_C2", "0003_C3", "notes.txt", sessionFile}
	if have := names(t, filepath.Join(top, collecting.ID)); !slices.Equal(have, want) {
		t.Errorf("the session that goes on: have files %q, want %q", have, want)
	}
	if have := names(t, filepath.Join(top, foreign)); !slices.Equal(have, []string{"0001_C1", "notes.txt"}) {
		t.Errorf("a folder of somebody else: have files %q", have)
	}
	if _, err := os.Stat(beside); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("beside the model: have %v, want no temporary file", err)
	}
	for _, text := range []string{"what was taught is live since before", "the files of a session that has ended are removed", "files that a session does not list are removed",
		"a folder is left alone: it is not a session that can go on\" folder=" + filepath.Join(top, foreign)} {
		if strings.Count(said.String(), text) != 1 {
			t.Errorf("have %s, want once %q", said.String(), text)
		}
	}
}

// TestTeachForgetsFirst: the images of an object go after the file of the session no longer lists them.
func TestTeachForgetsFirst(t *testing.T) {
	l, _ := teachable(t, nil)
	s := taught(t, l, "nut", 2)
	folder := filepath.Join(l.teachFolder(), s.ID)
	file := filepath.Join(folder, sessionFile)
	if err := errors.Join(os.Remove(file), os.Mkdir(file, 0o755), os.WriteFile(filepath.Join(file, "x"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	var full *StoreError
	if err := l.ForgetObject(s.ID, s.Objects[0].Object); !errors.As(err, &full) {
		t.Errorf("forgetting: have %v, want that the session cannot be stored", err)
	}
	if have := names(t, folder); !slices.Contains(have, "0001_C1") {
		t.Errorf("have %q, want the images that the file lists still", have)
	}
}
