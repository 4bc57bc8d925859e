package watch

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"mvag-torch/dataset"
	"mvag-torch/internal/atomicfile"
)

// ident tells contents of a file apart: another size or time of change is another content.
type ident struct {
	Size  int64 `json:"size"`
	MTime int64 `json:"mtime"` // nanoseconds, only compared
}

// handled names a content of a file.
type handled struct {
	rel   string
	ident ident
}

// file is an image in the folder.
type file struct {
	rel   string // relative to the folder, with slashes
	ident ident
	inode uint64
	since time.Time // when this content was seen first
	seen  int       // number of the scan that saw it first
	state state
}

type state int

const (
	waiting state = iota // to be judged
	busy                 // being judged
	over                 // judged, or told to be of no object; it stays where it is
)

// patience is how long the content has to stay the same. A file of no bytes is one that a program has only just created,
// unless it stays so.
func (f *file) patience(cfg Folder) time.Duration {
	if f.ident.Size == 0 {
		return max(cfg.Settle, cfg.Timeout)
	}
	return cfg.Settle
}

// The folders of what is done.
const (
	doneFolder   = "done"
	failedFolder = "failed"
)

// maxDepth bounds the folders below the watched one.
const maxDepth = 16

// listing is what a scan finds.
type listing struct {
	files  map[string]fs.FileInfo
	masks  map[string]fs.FileInfo
	passed map[string]string // why a path is not read
	dirs   []string          // relative, with slashes
}

// scan reads the folder and enters what changed; false where it cannot be read.
func (w *Watcher) scan(notify *fsnotify.Watcher) bool {
	if err := w.hold(); err != nil {
		w.gone = true
		w.say("folder", err.Error(), func() { w.log.Error("another process watches the folder, waiting for it", "error", err) })
		return false
	}
	l := listing{files: map[string]fs.FileInfo{}, masks: map[string]fs.FileInfo{}, passed: map[string]string{}}
	if err := w.walk(&l, ".", 0); err != nil {
		w.gone = true
		w.say("folder", err.Error(), func() {
			w.log.Error("folder cannot be read, waiting for it", "error", atomicfile.Cause(err))
		})
		return false
	}
	now := time.Now()
	if w.gone {
		w.log.Info("folder is there again")
		w.gone = false
		delete(w.said, "folder")
		for _, f := range w.files {
			f.since = now
		}
	}
	w.scans++
	w.subscribe(notify, l.dirs)
	w.passMasks(&l)
	w.tellPassed(l.passed)
	for rel, info := range l.files {
		w.enter(rel, info, now)
	}
	for rel, f := range w.files {
		if _, there := l.files[rel]; !there && f.state != busy {
			delete(w.files, rel)
			delete(w.said, rel)
		}
	}
	return true
}

func identOf(info fs.FileInfo) (ident, uint64) {
	var inode uint64
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		inode = s.Ino
	}
	return ident{info.Size(), info.ModTime().UnixNano()}, inode
}

// enter notes the state of a file that the scan found.
func (w *Watcher) enter(rel string, info fs.FileInfo, now time.Time) {
	id, inode := identOf(info)
	f := w.files[rel]
	switch {
	case f == nil:
		f = &file{rel: rel, ident: id, inode: inode, since: now, seen: w.scans}
		w.files[rel] = f
	case f.ident == id || f.state == busy: // a worker compares by itself
		f.inode = inode
		return
	default:
		f.ident, f.inode, f.since, f.state = id, inode, now, waiting
		delete(w.said, rel)
	}
	if w.handled[handled{rel, id}] {
		f.state = over
	}
}

// walk lists a folder and those below it. Only an error of the watched folder itself is returned.
func (w *Watcher) walk(l *listing, rel string, depth int) error {
	dir := filepath.Join(w.root, filepath.FromSlash(rel))
	entries, err := os.ReadDir(dir)
	if err != nil {
		if rel == "." {
			return err
		}
		if !errors.Is(err, fs.ErrNotExist) {
			l.passed[rel] = "folder cannot be read: " + atomicfile.Cause(err).Error()
		}
		return nil
	}
	if depth > 0 {
		marked := slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == ".mvag-torch-results" })
		if marked {
			return nil
		}
	}
	l.dirs = append(l.dirs, rel)
	var images []string
	for _, e := range entries {
		name := path.Join(rel, e.Name())
		switch {
		case depth == 0 && e.Name() == lockName:
		case e.IsDir() && depth == 0 && (e.Name() == doneFolder || e.Name() == failedFolder):
		case isTemporary(e.Name()):
			l.passed[name] = isTemporaryText
		case e.IsDir() && depth == maxDepth:
			l.passed[name] = "folder too deep"
		case e.IsDir():
			_ = w.walk(l, name, depth+1)
		case e.Type()&fs.ModeSymlink != 0:
			l.passed[name] = "link"
		case !e.Type().IsRegular():
			l.passed[name] = "not a file"
		case !dataset.IsImage(e.Name()):
			l.passed[name] = "no image of a format that can be read"
		default:
			info, err := e.Info()
			if err == nil {
				l.files[name], images = info, append(images, e.Name())
			} else if !errors.Is(err, fs.ErrNotExist) { // moved away meanwhile
				l.passed[name] = atomicfile.Cause(err).Error()
			}
		}
	}
	for _, mask := range dataset.Masks(images) {
		name := path.Join(rel, mask)
		l.masks[name] = l.files[name]
		delete(l.files, name)
	}
	return nil
}

const isTemporaryText = "temporary or hidden"

// isTemporary reports names under which programs write files that they rename when they are complete.
func isTemporary(name string) bool {
	lower := strings.ToLower(name)
	for _, suffix := range []string{".part", ".tmp", ".temp", "~", ".filepart", ".partial", ".crdownload", ".swp", ".lock"} {
		if strings.HasSuffix(lower, suffix) {
			return true
		}
	}
	return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "~")
}

// tellPassed counts what is not read, and names the first of each kind but temporary files.
func (w *Watcher) tellPassed(passed map[string]string) {
	fresh := 0
	for rel, why := range passed {
		w.say("passed "+rel, why, func() {
			if fresh++; why != isTemporaryText {
				w.say("first that is "+why, why, func() { w.log.Warn("passed over, and others like it", "file", rel, "reason", why) })
			}
		})
	}
	w.count(CountPassedOver, fresh)
	for matter := range w.said {
		if rel, ok := strings.CutPrefix(matter, "passed "); ok && passed[rel] == "" {
			delete(w.said, matter)
		}
	}
}

// subscribe asks the system for notices about the folders. Where it has none, or too few, polling is enough.
func (w *Watcher) subscribe(notify *fsnotify.Watcher, dirs []string) {
	if notify.Events == nil {
		return
	}
	known := map[string]bool{}
	for _, dir := range notify.WatchList() {
		known[dir] = true
	}
	for _, rel := range dirs {
		dir := filepath.Join(w.root, filepath.FromSlash(rel))
		if known[dir] {
			continue
		}
		if err := notify.Add(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.say("notices", err.Error(), func() {
				w.log.Warn("no notices of the system for a folder, it is only read again and again",
					"path", rel, "error", atomicfile.Cause(err))
			})
			return
		}
	}
}
