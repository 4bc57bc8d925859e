package watch

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"mvag-torch/dataset"
	"mvag-torch/serve/line"
)

// group is an object that is ready to be judged.
type group struct {
	object dataset.Object
	files  []*file // one for each view that is present, in their order
	late   bool    // other views of it were judged before
}

// group puts the waiting files together and returns the objects that are ready, the oldest first, and when the next
// might be.
func (w *Watcher) group(model line.Model, now time.Time) (ready []group, next time.Duration) {
	next = w.cfg.Poll
	var waits []*file
	for _, f := range w.files {
		if f.state == waiting {
			waits = append(waits, f)
		}
	}
	slices.SortFunc(waits, func(a, b *file) int {
		return cmp.Or(cmp.Compare(a.seen, b.seen), cmp.Compare(a.ident.MTime, b.ident.MTime), strings.Compare(a.rel, b.rel))
	})
	objects, rejected := w.collect(model, waits)
	for _, o := range objects {
		last, settled := time.Time{}, true
		for _, f := range o.files {
			if f.since.After(last) {
				last = f.since
			}
			if left := f.patience(w.cfg) - now.Sub(f.since); left > 0 {
				settled, next = false, min(next, left)
			}
		}
		complete := len(o.files) == len(o.object.Views)
		if left := w.cfg.Timeout - now.Sub(last); settled && !complete && left > 0 {
			next = min(next, left)
		} else if settled {
			o.late = w.late.are(o.object)
			ready = append(ready, o)
		}
	}
	for f, err := range rejected {
		w.reject(model, f, err, now)
	}
	return ready, max(next, time.Millisecond)
}

// collect groups files by their names. What is in neither result conflicts with a file of its object, and waits until
// that is judged.
func (w *Watcher) collect(model line.Model, files []*file) (objects []group, rejected map[*file]error) {
	rejected = map[*file]error{}
	byPath := map[string]*file{}
	var list strings.Builder
	for _, f := range files {
		if !utf8.ValidString(f.rel) || strings.ContainsFunc(f.rel, unicode.IsControl) {
			rejected[f] = errors.New("name with characters that cannot be printed")
			continue
		}
		full := filepath.Join(w.root, filepath.FromSlash(f.rel))
		byPath[full] = f
		list.WriteString(full + "\n")
	}
	if len(byPath) == 0 {
		return nil, rejected
	}
	c, err := dataset.Collect([]string{"-"}, dataset.CollectOptions{Naming: w.naming(model), Views: model.Views, Class: w.cfg.Class,
		Classes: model.ClassNames(), Stdin: strings.NewReader(list.String())})
	if err != nil {
		w.say("collect", err.Error(), func() { w.log.Error("files cannot be put together to objects", "error", err) })
		return nil, rejected
	}
	unseen := maps.Clone(byPath)
	for _, o := range c.Objects {
		g := group{object: o}
		known := true
		for _, v := range o.Views {
			if v.Present() {
				g.files = append(g.files, byPath[v.Path])
				known = known && byPath[v.Path] != nil
			}
		}
		if !known { // of a name that was read otherwise
			continue
		}
		for _, v := range o.Views {
			delete(unseen, v.Path)
		}
		if err := unnamed(model, o); err != nil {
			for _, f := range g.files {
				rejected[f] = err
			}
			continue
		}
		g.object.ID = w.name(o.ID)
		objects = append(objects, g)
	}
	for _, r := range c.Rejected {
		if f := byPath[r.Path]; f != nil {
			rejected[f] = r.Err
			delete(unseen, r.Path)
		}
	}
	for _, f := range unseen {
		rejected[f] = errors.New("name that cannot be used in a list of files")
	}
	return objects, rejected
}

// naming is how files are named.
func (w *Watcher) naming(model line.Model) dataset.Naming {
	naming := model.Naming
	naming.Pattern = cmp.Or(w.cfg.Pattern, naming.Pattern)
	return naming
}

// unnamed says what the names of files do not tell and the model has to know.
func unnamed(model line.Model, o dataset.Object) error {
	if model.Views > 1 && len(o.Views) == 1 {
		return fmt.Errorf("name tells no camera, want one of %q, as the pattern of the model or the key pattern of watch has it", model.Cameras)
	}
	if known := model.ClassNames(); o.Class == "" && len(known) > 1 {
		return fmt.Errorf("name tells no class, want one of %q in it, or the key class of watch", known)
	}
	return nil
}

// name is the name of an object without the watched folder, or of that folder where nothing is left.
func (w *Watcher) name(id string) string {
	root := dataset.Canonical(filepath.ToSlash(w.root))
	id = filepath.ToSlash(id)
	if dataset.Canonical(id) == root {
		return path.Base(root)
	}
	rest, found := strings.CutPrefix(dataset.Canonical(id), root+"/")
	if !found {
		return id
	}
	return rest
}

// reject deals with a file that cannot be assigned together with the others. One that could be alone is a second image
// of a camera: it waits until the first is judged. Others are of no object.
func (w *Watcher) reject(model line.Model, f *file, err error, now time.Time) {
	if objects, _ := w.collect(model, []*file{f}); len(objects) == 1 {
		w.say(f.rel, err.Error(), func() { w.log.Info("a second image of a camera waits for the first to be judged", "file", f.rel) })
		return
	}
	if now.Sub(f.since) < max(w.cfg.Settle, w.cfg.Timeout) {
		return
	}
	w.say(f.rel, err.Error(), func() {
		w.log.Error("image of no object", "file", f.rel, "error", err)
		w.count(CountUnassigned, 1)
	})
	f.state = over
	if w.cfg.Done == Move {
		w.leave(&work{group: group{files: []*file{f}}, to: failedFolder})
	}
}

// lateViews remembers the cameras that were absent from objects judged without them.
type lateViews struct {
	absent map[[2]string]map[int]bool // by class and object
	order  [][2]string                // the oldest first
}

// maxLate bounds how many objects are remembered.
const maxLate = 10_000

func keyOf(o dataset.Object) [2]string { return [2]string{o.Class, o.ID} }

// note remembers an object that is judged without some of its views.
func (l *lateViews) note(o dataset.Object) {
	absent := map[int]bool{}
	for i, v := range o.Views {
		if !v.Present() {
			absent[i] = true
		}
	}
	if l.absent[keyOf(o)] == nil {
		l.order = append(l.order, keyOf(o))
	}
	l.absent[keyOf(o)] = absent
	if len(l.order) > maxLate {
		delete(l.absent, l.order[0])
		l.order = l.order[1:]
	}
}

// are says whether all views of an object were absent when it was judged before.
func (l *lateViews) are(o dataset.Object) bool {
	absent := l.absent[keyOf(o)]
	for i, v := range o.Views {
		if v.Present() && !absent[i] {
			return false
		}
	}
	return true
}

// came forgets views that were absent.
func (l *lateViews) came(o dataset.Object) {
	for i, v := range o.Views {
		if v.Present() {
			delete(l.absent[keyOf(o)], i)
		}
	}
}
