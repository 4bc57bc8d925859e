package line

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mvag-torch/dataset"
	"mvag-torch/inspect/inspecttest"
	"mvag-torch/serve/journal"
)

// TestKeyOfOtherContent: the answer for one part is never that for another under the same key.
func TestKeyOfOtherContent(t *testing.T) {
	l := open(t, nil, ModelOptions{Name: "parts", Path: inspecttest.Checkpoint(t)})
	objects := inspecttest.Objects(t, inspecttest.Trained, 12)
	first := judge(t, l, Request{Key: "k", Source: FromHTTP, Object: objects[0]})
	for name, test := range map[string]struct {
		source string
		change func(r *Request)
		same   bool
	}{
		"the same":          {FromHTTP, func(*Request) {}, true},
		"other name":        {FromHTTP, func(r *Request) { r.Object.ID = "S18" }, false},
		"other class":       {FromHTTP, func(r *Request) { r.Object.Class = "" }, false},
		"other image":       {FromHTTP, func(r *Request) { r.Object.Views[2].Data = objects[1].Views[2].Data }, false},
		"fewer images":      {FromHTTP, func(r *Request) { r.Object.Views[2] = dataset.View{Camera: 2} }, false},
		"cameras swapped":   {FromInfer, func(r *Request) { v := r.Object.Views; v[0].Data, v[1].Data = v[1].Data, v[0].Data }, false},
		"other file name":   {FromPage, func(r *Request) { r.Object.Views[0].Path = "x.png" }, true},
		"key of a folder's": {FromFolder, func(r *Request) { r.Object.ID = "S18" }, true},
	} {
		r := Request{Key: "k", Source: test.source, Object: objects[0]}
		r.Object.Views = slices.Clone(objects[0].Views)
		test.change(&r)
		j, err := l.Judge(t.Context(), r)
		var conflict *ConflictError
		switch {
		case test.same && (err != nil || !j.Again || j.ID != first.ID):
			t.Errorf("%s: have %v, %v, want the record again", name, j, err)
		case !test.same && (!errors.As(err, &conflict) || !conflict.Key || !strings.Contains(err.Error(), first.ID)):
			t.Errorf("%s: have %v, want a conflict", name, err)
		}
	}
	_, _, err := l.Journal().Append("old", func(id string) ([]byte, error) { // as before there were hashes
		return json.Marshal(Stored{Record: Record{ID: id}})
	})
	if err != nil {
		t.Fatal(err)
	}
	if j := judge(t, l, Request{Key: "old", Source: FromHTTP, Object: objects[0]}); !j.Again {
		t.Errorf("old entry: have %+v, want it again", j.Record)
	}
}

// TestStoring: when drawings or the journal refuse, that is said once, and the line is not ready until it finds out that they
// take something again.
func TestStoring(t *testing.T) {
	objects := inspecttest.Objects(t, inspecttest.Trained, 3)
	path := inspecttest.Checkpoint(t)
	for name, test := range map[string]struct {
		block, free func(l *Line) error
		cause       string
	}{
		"no folder for drawings": {
			func(l *Line) error { return os.WriteFile(filepath.Join(l.opt.Folder, "objects"), nil, 0o600) },
			func(l *Line) error { return os.Remove(filepath.Join(l.opt.Folder, "objects")) },
			"objects",
		},
		"full spool": {
			func(l *Line) error {
				_, _, err := l.Journal().Append("", func(string) ([]byte, error) { return []byte("{}"), nil })
				return err
			},
			func(l *Line) error { return l.Journal().Published("lines", 1) },
			"journal.db: 1 entries are pending",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var said bytes.Buffer
			j, err := journal.Open(filepath.Join(t.TempDir(), "journal.db"), journal.Options{To: []string{"lines"}, Spool: 1})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = j.Close() })
			l := open(t, func(o *Options) { o.Journal, o.Log = j, slog.New(slog.NewTextHandler(&said, nil)) }, ModelOptions{Name: "parts", Path: path})
			if err := errors.Join(l.Ready(), test.block(l)); err != nil {
				t.Fatal(err)
			}
			var store *StoreError
			for _, o := range objects {
				if _, err := l.Judge(t.Context(), Request{Object: o}); !errors.As(err, &store) {
					t.Fatalf("have %v, want it refused", err)
				}
				if err := l.Ready(); err == nil || !strings.Contains(err.Error(), test.cause) {
					t.Errorf("have %v, want %s", err, test.cause)
				}
			}
			if err := errors.Join(test.free(l), l.Ready(), l.Ready()); err != nil {
				t.Error(err)
			}
			judge(t, l, Request{Object: objects[0]})
			for text, want := range map[string]int{"level=ERROR": 1, "cannot be stored": 1, "can be stored again": 1} {
				if n := strings.Count(said.String(), text); n != want {
					t.Errorf("have %q %d times, want %d: %s", text, n, want, said.String())
				}
			}
			if _, err := os.Stat(filepath.Join(l.opt.Folder, "objects", "probe")); err == nil {
				t.Error("have the probe left")
			}
		})
	}
}
