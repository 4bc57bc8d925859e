package line

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mvag-torch/inspect/inspecttest"
	"mvag-torch/serve/journal"
)

// TestFolderIsGone takes the folder of a line or its journal away: objects are refused, known ones too, the line is not ready,
// and nothing is made in its place. Where it is put back, the line goes on.
func TestFolderIsGone(t *testing.T) {
	objects, path := inspecttest.Objects(t, inspecttest.Trained, 3), inspecttest.Checkpoint(t)
	rename := func(folder string) error { return os.Rename(folder, folder+"-moved") }
	putBack := func(folder string) error {
		return errors.Join(os.RemoveAll(folder), os.Rename(folder+"-moved", folder))
	}
	for name, test := range map[string]struct {
		gone, back func(folder string) error
		left       string // in the place of the folder
	}{
		"removed":         {os.RemoveAll, nil, "none"},
		"renamed":         {rename, putBack, "none"},
		"replaced":        {func(folder string) error { return errors.Join(rename(folder), os.Mkdir(folder, 0o755)) }, putBack, ""},
		"journal removed": {func(folder string) error { return os.Remove(filepath.Join(folder, "journal.db")) }, nil, "objects teach"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := filepath.Join(t.TempDir(), "so")
			var said strings.Builder
			l := openIn(t, folder, path, &said)
			known := Request{Key: "known", Object: objects[0]}
			first := judge(t, l, known)
			session, err := l.Teach("parts", "new", false)
			if err := errors.Join(err, l.Ready(), test.gone(folder)); err != nil {
				t.Fatal(err)
			}
			ready := l.Ready() // before an object was refused
			_, again := l.Judge(t.Context(), known)
			_, fresh := l.Judge(t.Context(), Request{Object: objects[1]})
			_, taught := l.Teach("parts", "other", false)
			want := filepath.Join(folder, "journal.db") + ": was removed, renamed or replaced"
			for what, err := range map[string]error{"again": again, "another": fresh, "teach": taught, "discard": l.Discard(session.ID),
				"ready": ready} {
				var store *StoreError
				if err == nil || !strings.HasPrefix(err.Error(), want) || what != "ready" && !errors.As(err, &store) {
					t.Errorf("%s: have %v, want %s", what, err, want)
				}
			}
			if left := list(t, folder); left != test.left {
				t.Errorf("have %q, want %q", left, test.left)
			}
			if n := strings.Count(said.String(), "level=ERROR"); n != 1 || !strings.Contains(said.String(), want) {
				t.Errorf("have it said %d times, want once: %s", n, said.String())
			}
			if test.back == nil {
				return
			}
			if err := errors.Join(test.back(folder), l.Ready()); err != nil {
				t.Fatal(err)
			}
			if j := judge(t, l, known); !j.Again || j.ID != first.ID {
				t.Errorf("have %s, want %s again", j.ID, first.ID)
			}
			judge(t, l, Request{Object: objects[1]})
			if err := l.Discard(session.ID); err != nil {
				t.Error(err)
			}
		})
	}
}

// openIn opens a line with its journal in a folder, which it makes.
func openIn(t *testing.T, folder, model string, log io.Writer) *Line {
	t.Helper()
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(filepath.Join(folder, "journal.db"), journal.Options{To: []string{"lines"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return open(t, func(o *Options) { o.Folder, o.Journal, o.Log = folder, j, slog.New(slog.NewTextHandler(log, nil)) },
		ModelOptions{Name: "parts", Path: model})
}

// list names what is in a folder, "none" where there is no folder.
func list(t *testing.T, folder string) string {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return "none"
	}
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}
