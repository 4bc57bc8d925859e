package watch

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"mvag-torch/serve/journal"
)

// FuzzNotes holds that of whatever a journal notes of a watched folder, no file is moved but those below the folder, else
// the watcher refuses it in a line.
func FuzzNotes(f *testing.F) {
	dir := f.TempDir()
	root := filepath.Join(dir, "in")
	f.Add([]byte(`{"folder":"ROOT","files":{"a.png":{"size":1,"mtime":2}},"judged":true}`))
	f.Add([]byte(`{"folder":"ROOT","files":{"../a.png":{"size":1,"mtime":2}},"judged":true}`))
	f.Add([]byte(`{"folder":"ROOT","files":{"/etc/passwd":{},"b/../../c.png":{}},"judged":true}`))
	f.Add([]byte(`{"folder":"ROOT","files":{"":{}},"judged":true}`))
	f.Add([]byte(`null`))
	j, err := journal.Open(filepath.Join(dir, "journal.db"), journal.Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = j.Close() })
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := j.Put(notes, "key", []byte(strings.ReplaceAll(string(text), "ROOT", root))); err != nil {
			t.Fatal(err)
		}
		w := &Watcher{root: root, cfg: Folder{Done: Move}, opt: Options{Journal: j}, log: slog.New(slog.DiscardHandler),
			handled: map[handled]bool{}, files: map[string]*file{}}
		if err := w.restore(); err != nil && strings.ContainsAny(err.Error(), "\n\x1b\x00") {
			t.Errorf("have %q, want a line", err)
		}
		for _, x := range w.leaving {
			for _, file := range x.files {
				if from := filepath.Join(root, file.rel); !strings.HasPrefix(from, root+"/") && from != root {
					t.Errorf("have %q to be moved", from)
				}
			}
		}
	})
}
