// Package watch judges the images that appear in a folder, as cameras and their programs write them: each object once,
// over restarts too. A file is taken when it stopped growing, an object when all its cameras are there, or some time
// after its last file.
//
// No wall clock decides anything: waits are measured by the monotonic clock, and times of files are only compared for
// being the same. The date names the folders of what is done, no more.
package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"mvag-torch/dataset"
	"mvag-torch/internal/lock"
	"mvag-torch/serve/journal"
	"mvag-torch/serve/line"
)

// What is done with the files of a judged object.
const (
	Move  = "move"  // into the folders done/DATE and failed/DATE of the watched folder
	Leave = "leave" // they stay, and the journal says that they were judged
)

// Folder is a watched folder.
type Folder struct {
	Path     string        `yaml:"path"`
	Model    string        `yaml:"model"`    // name of the model; "" is the only one, or the one that knows the class
	Class    string        `yaml:"class"`    // of all objects; "" takes it from the pattern
	Pattern  string        `yaml:"pattern"`  // of file names, as dataset.Naming has it; "" is that of the model
	Settle   time.Duration `yaml:"settle"`   // a file is complete that has not changed for so long; 0 is 500 ms
	Timeout  time.Duration `yaml:"timeout"`  // after its last file, an object is judged without the others; 0 is 10 s
	Poll     time.Duration `yaml:"poll"`     // the folder is read at least so often; 0 is 2 s
	Done     string        `yaml:"done"`     // Move or Leave; "" is Move
	Parallel int           `yaml:"parallel"` // objects judged at once; 0 is 4
}

// WithDefaults fills in what is not set.
func (f Folder) WithDefaults() Folder {
	for to, value := range map[*time.Duration]time.Duration{&f.Settle: 500 * time.Millisecond, &f.Timeout: 10 * time.Second, &f.Poll: 2 * time.Second} {
		if *to == 0 {
			*to = value
		}
	}
	if f.Done == "" {
		f.Done = Move
	}
	if f.Parallel == 0 {
		f.Parallel = 4
	}
	return f
}

// Check returns an error for values that cannot be used. The folder need not be there.
func (f Folder) Check() error {
	switch {
	case f.Path == "":
		return errors.New("path: have none, want a folder")
	case f.Settle < 0 || f.Timeout < 0 || f.Poll < 0 || f.Parallel < 0:
		return fmt.Errorf("%s: settle, timeout, poll, parallel: want no negative values", f.Path)
	case f.Done != "" && f.Done != Move && f.Done != Leave:
		return fmt.Errorf("%s: done: have %q, want %q or %q", f.Path, f.Done, Move, Leave)
	}
	if err := (dataset.Naming{Pattern: f.Pattern}).Check(); err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	return nil
}

// Judge is line.Line.Judge.
type Judge func(ctx context.Context, r line.Request) (*line.Judged, error)

// What is counted.
const (
	CountLate       = "late"       // objects of views that came after the others were judged
	CountIncomplete = "incomplete" // objects judged without all their views
	CountPassedOver = "passed"     // files that are not read: temporary, hidden, links, masks, no images
	CountUnassigned = "unassigned" // images of no object, by their name
)

// Options are of New.
type Options struct {
	Judge   Judge
	Model   func() (line.Model, error) // says how files are named and how many cameras there are; asked each time
	Journal *journal.Journal           // where it is noted which files were judged
	Log     *slog.Logger
	Count   func(what string, n int) // may be nil
	Refused func(error)              // is told what the journal does not take; may be nil. It is tried again
}

// Watcher watches one folder.
type Watcher struct {
	cfg  Folder
	opt  Options
	root string // absolute
	log  *slog.Logger

	// Of the goroutine of Run.
	files   map[string]*file // by path relative to root, with slashes
	handled map[handled]bool // files that are judged and stay
	masks   map[string]ident // that lie beside their images, by path
	leaving []*work          // files that are judged and still have to be moved
	scans   int
	said    map[string]string // what was logged about a path or a matter, so that it is said once
	late    lateViews
	gone    bool       // the folder cannot be read
	ready   []group    // objects of the last scan that are still to be begun
	model   line.Model // of then

	own     *lock.Lock // keeps other services out of the folder; nil where nothing does
	results chan *work
	workers sync.WaitGroup
	busy    int
}

// New prepares to watch a folder. Where another process watches it, the error is a *[lock.Held]. The caller calls Run or
// Close.
func New(f Folder, opt Options) (*Watcher, error) {
	if err := f.Check(); err != nil {
		return nil, err
	}
	root, err := filepath.Abs(f.Path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path, err)
	}
	f = f.WithDefaults()
	w := &Watcher{cfg: f, opt: opt, root: root, log: opt.Log.With("folder", f.Path), files: map[string]*file{}, handled: map[handled]bool{}, masks: map[string]ident{},
		said: map[string]string{}, late: lateViews{absent: map[[2]string]map[int]bool{}}, results: make(chan *work, f.Parallel)}
	return w, w.hold()
}

// Close lets others watch the folder.
func (w *Watcher) Close() {
	w.own.Release()
	w.own = nil
}

// Run watches until ctx ends and returns once the objects that it began are judged and moved. It returns an error only
// where the journal cannot be read.
func (w *Watcher) Run(ctx context.Context) error {
	defer w.Close()
	if err := w.restore(); err != nil {
		return err
	}
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		w.log.Warn("no notices of the system, the folder is only read again and again", "error", err, "every", w.cfg.Poll)
		notify = &fsnotify.Watcher{} // whose channels are nil
	} else {
		defer notify.Close()
	}
	for ctx.Err() == nil {
		begun := time.Now()
		next := w.round(ctx, notify)
		// A large folder on a slow share is not read all the time.
		rest := max(10*time.Millisecond, 3*time.Since(begun))
		w.wait(ctx, notify, max(next, rest), rest)
	}
	for w.busy > 0 {
		w.finish(<-w.results)
	}
	w.workers.Wait()
	return nil
}

// wait returns after a time, or soon after something happened, but not before least.
func (w *Watcher) wait(ctx context.Context, notify *fsnotify.Watcher, most, least time.Duration) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	soon := time.NewTimer(least)
	defer soon.Stop()
	rested, happened := false, false
	for !rested || !happened {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-soon.C:
			rested = true
		case x := <-w.results:
			w.finish(x)
			w.beginReady(ctx)
			happened = happened || len(w.ready) == 0
		case <-notify.Events:
			happened = true
		case err := <-notify.Errors:
			if err != nil {
				w.say("notices", err.Error(), func() { w.log.Warn("notices of the system are lost, the folder is read again and again", "error", err) })
			}
			happened = true
		}
	}
}

// round reads the folder, begins with the objects that are ready, and returns when to do so again at the latest.
func (w *Watcher) round(ctx context.Context, notify *fsnotify.Watcher) (next time.Duration) {
	w.ready = nil
	if !w.scan(notify) {
		return w.cfg.Poll
	}
	w.moveAgain()
	var err error
	if w.model, err = w.opt.Model(); err != nil {
		w.say("model", err.Error(), func() { w.log.Error("no model for the folder, will try again", "error", err) })
		return w.cfg.Poll
	}
	delete(w.said, "model")
	w.ready, next = w.group(w.model, time.Now())
	w.beginReady(ctx)
	return min(next, w.cfg.Poll)
}

// beginReady begins as many objects as may be on their way.
func (w *Watcher) beginReady(ctx context.Context) {
	for len(w.ready) > 0 && w.busy < w.cfg.Parallel && ctx.Err() == nil {
		g := w.ready[0]
		w.ready = w.ready[1:]
		w.begin(ctx, w.model, g)
	}
}

// say logs something once for a matter, until it changes or is forgotten.
func (w *Watcher) say(matter, text string, log func()) {
	if w.said[matter] != text {
		w.said[matter] = text
		log()
	}
}

func (w *Watcher) count(what string, n int) {
	if w.opt.Count != nil && n > 0 {
		w.opt.Count(what, n)
	}
}
