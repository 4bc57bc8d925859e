package watch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"mvag-torch/dataset"
	"mvag-torch/internal/atomicfile"
	"mvag-torch/serve/line"
)

// notes is the kind of the notes in the journal, whose keys are those of the objects. A note is there from before an
// object is judged until its files are moved, or for as long as they stay. So a service that ended in between knows
// which files belonged to which object, although some are moved and others came.
const notes = "watch"

type note struct {
	Folder string           `json:"folder"`
	Files  map[string]ident `json:"files"`
	Judged bool             `json:"judged,omitempty"` // for files that stay
}

// note writes the note of an object.
func (w *Watcher) note(x *work, judged bool) error {
	n := note{Folder: w.root, Files: map[string]ident{}, Judged: judged}
	for i, f := range x.files {
		n.Files[f.rel] = x.idents[i]
	}
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return w.opt.Journal.Put(notes, x.key, text)
}

// restore reads the notes: files of objects that were judged are only moved, or stay.
func (w *Watcher) restore() error {
	var broken error
	found := 0
	err := w.opt.Journal.Values(notes, func(key string, value []byte) bool {
		var n note
		if broken = json.Unmarshal(value, &n); broken != nil {
			broken = fmt.Errorf("note %q of the journal: %w", key, broken)
			return false
		}
		if n.Folder != w.root {
			return true
		}
		for rel := range n.Files {
			if !filepath.IsLocal(filepath.FromSlash(rel)) {
				broken = fmt.Errorf("note %q of the journal: have the file %q, want one below the folder", key, rel)
				return false
			}
		}
		to, judged, err := w.outcome(key, n)
		if err != nil {
			broken = err
			return false
		}
		if !judged {
			broken = w.opt.Journal.Remove(notes, key)
			return broken == nil
		}
		if w.cfg.Done == Leave && w.allGone(n) {
			broken = w.opt.Journal.Remove(notes, key)
			return broken == nil
		}
		x := &work{key: key, to: to}
		for rel, id := range n.Files {
			w.handled[handled{rel, id}] = true
			x.files = append(x.files, &file{rel: rel, ident: id, state: over})
			x.idents = append(x.idents, id)
		}
		if found++; w.cfg.Done == Move {
			w.leaving = append(w.leaving, x)
		}
		return true
	})
	if found > 0 {
		w.log.Info("objects were judged before", "objects", found)
	}
	return errors.Join(err, broken)
}

// allGone says that no file of a note is there as it was judged, although there is something in the folder: an empty one
// may be a share that is away.
func (w *Watcher) allGone(n note) bool {
	if !occupied(w.root) {
		return false
	}
	for rel, id := range n.Files {
		info, err := os.Lstat(filepath.Join(w.root, filepath.FromSlash(rel)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false
		}
		if err == nil {
			if have, _ := identOf(info); have == id {
				return false
			}
		}
	}
	return true
}

// occupied says that there is something in a folder. It reads one name, since it is asked for each note.
func occupied(dir string) bool {
	f, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer f.Close()
	names, _ := f.Readdirnames(1)
	return len(names) > 0
}

// outcome says whether the object of a note was judged, and where its files go.
func (w *Watcher) outcome(key string, n note) (to string, judged bool, err error) {
	e, ok, err := w.opt.Journal.ByKey(key)
	if err != nil || !ok {
		return doneFolder, n.Judged, err
	}
	var s line.Stored
	if err := json.Unmarshal(e.Data, &s); err != nil {
		return "", false, fmt.Errorf("entry %s of the journal: %w", e.ID, err)
	}
	if s.Record.Decision == line.Failed {
		return failedFolder, true, nil
	}
	return doneFolder, true, nil
}

// leave moves the files of an object, or notes that they stay.
func (w *Watcher) leave(x *work) {
	if w.cfg.Done == Move {
		w.leaving = append(w.leaving, x)
		w.moveAgain()
		return
	}
	err := error(nil)
	if x.err != nil { // tried again after the next start
		err = w.opt.Journal.Remove(notes, x.key)
	} else {
		for i, f := range x.files {
			w.handled[handled{f.rel, x.idents[i]}] = true
		}
		err = w.note(x, true)
	}
	if err != nil {
		w.say("note", err.Error(), func() { w.log.Error("cannot note that files were judged", "object", x.object.ID, "error", err) })
	}
}

// moveAgain moves the files of judged objects. What cannot be moved now is tried again in the next round, and so is all
// while the journal is not there: it would not be known what was judged.
func (w *Watcher) moveAgain() {
	if len(w.leaving) == 0 {
		return
	}
	if err := w.opt.Journal.There(); err != nil {
		w.say("move", err.Error(), func() { w.log.Error("files of judged objects are not moved, will try again", "error", err) })
		return
	}
	list := w.leaving
	w.leaving = nil
	for _, x := range list {
		err := w.move(x)
		if err == nil && x.key != "" {
			err = w.opt.Journal.Remove(notes, x.key)
		}
		if err != nil {
			w.say("move", err.Error(), func() {
				w.log.Error("files of a judged object cannot be moved, will try again", "object", x.object.ID, "error", err)
			})
			w.leaving = append(w.leaving, x)
			continue
		}
		for i, id := range x.idents {
			delete(w.handled, handled{x.files[i].rel, id})
		}
	}
	if len(w.leaving) == 0 {
		delete(w.said, "move")
	}
}

// move moves those files of an object that are still what was judged.
func (w *Watcher) move(x *work) error {
	date := time.Now().Format(time.DateOnly)
	for i, f := range x.files {
		from := filepath.Join(w.root, filepath.FromSlash(f.rel))
		info, err := os.Lstat(from)
		if errors.Is(err, fs.ErrNotExist) {
			if _, err := os.Lstat(filepath.Join(w.root, x.to)); err != nil {
				return fmt.Errorf("%s: is away, and so is the folder of what is done", f.rel) // as of a share
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.rel, atomicfile.Cause(err))
		}
		if have, _ := identOf(info); len(x.idents) > 0 && have != x.idents[i] || !info.Mode().IsRegular() {
			w.log.Warn("file changed after it was judged; it is judged again", "file", f.rel)
			continue
		}
		if err := dataset.MarkResults(filepath.Join(w.root, x.to)); err != nil {
			return err
		}
		to, err := free(filepath.Join(w.root, x.to, date, filepath.FromSlash(f.rel)))
		if err != nil {
			return err
		}
		if err := os.Rename(from, to); err != nil {
			return fmt.Errorf("%s: %w", f.rel, atomicfile.Cause(err))
		}
		if w.files[f.rel] != nil && w.files[f.rel].state == over {
			delete(w.files, f.rel)
		}
		w.moveMasks(f.rel, filepath.Dir(to))
		w.tidy(x, path.Dir(f.rel))
	}
	return nil
}

// tidy removes the folder of an object that is complete, where the pattern has one for each object. Others may be about
// to be filled.
func (w *Watcher) tidy(x *work, dir string) {
	pattern := w.cfg.Pattern
	if pattern == "" {
		if m, err := w.opt.Model(); err == nil {
			pattern = m.Naming.Pattern
		}
	}
	complete := len(x.files) > 1 && len(x.files) == len(x.object.Views)
	if dir != "." && complete && strings.Contains(pattern, "{object}/") {
		_ = os.Remove(filepath.Join(w.root, filepath.FromSlash(dir))) // only an empty one can be removed
	}
}

// free makes the folder of path and returns path, or with _2 and so on before the extension a name that is not taken.
func free(path string) (string, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", fmt.Errorf("%s: %w", filepath.Dir(path), atomicfile.Cause(err))
	}
	ext := filepath.Ext(path)
	stem := strings.TrimSuffix(path, ext)
	for n := 2; ; n++ {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return path, nil
		} else if err != nil {
			return "", fmt.Errorf("%s: %w", path, atomicfile.Cause(err))
		}
		path = fmt.Sprintf("%s_%d%s", stem, n, ext)
	}
}
