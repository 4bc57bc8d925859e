package watch

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"mvag-torch/dataset"
	"mvag-torch/internal/atomicfile"
	"mvag-torch/serve/line"
)

// work is an object on its way.
type work struct {
	group
	idents []ident // [files], as they were taken
	key    string
	model  string

	judged *line.Judged
	err    error  // why it was not judged
	again  bool   // the files changed or the service stops: they wait as before
	to     string // folder for the files
}

// begin takes an object that is ready.
func (w *Watcher) begin(ctx context.Context, model line.Model, g group) {
	x := &work{group: g, model: cmp.Or(w.cfg.Model, model.Name)}
	present := len(g.files)
	switch {
	case g.late:
		w.count(CountLate, 1)
		w.log.Warn("late views of an object that was judged without them; they are judged on their own", "object", g.object.ID, "views", present)
		w.late.came(g.object)
	case present < len(g.object.Views):
		w.count(CountIncomplete, 1)
		w.log.Info("object is judged without all its views", "object", g.object.ID, "views", present, "of", len(g.object.Views), "after", w.cfg.Timeout)
		w.late.note(g.object)
	}
	for _, f := range x.files {
		f.state = busy
		x.idents = append(x.idents, f.ident)
	}
	x.key = w.key(x.files)
	w.busy++
	w.workers.Go(func() {
		w.judge(ctx, x)
		w.results <- x
	})
}

// key names an object by the files of its images: path, size, time of change and inode.
func (w *Watcher) key(files []*file) string {
	var list []string
	for _, f := range files {
		list = append(list, fmt.Sprintf("%q %d %d %d\n", f.rel, f.ident.Size, f.ident.MTime, f.inode))
	}
	slices.Sort(list)
	h := sha256.New()
	fmt.Fprintf(h, "%q\n", w.root)
	for _, line := range list {
		_, _ = io.WriteString(h, line)
	}
	return "folder " + hex.EncodeToString(h.Sum(nil))
}

// judge runs beside Run and touches nothing but x.
func (w *Watcher) judge(ctx context.Context, x *work) {
	if x.again = !w.read(x); x.again {
		return
	}
	r := line.Request{Model: x.model, Source: line.FromFolder, Key: x.key, Object: x.object}
	tries, said := 0, ""
	for failures := 0; ; failures++ {
		if ctx.Err() != nil {
			x.again = true
			return
		}
		err := w.note(x, false)
		if err == nil {
			// What was begun is finished, also when the service stops.
			x.judged, err = w.opt.Judge(context.WithoutCancel(ctx), r)
		} else {
			if w.opt.Refused != nil {
				w.opt.Refused(err)
			}
			err = &line.StoreError{Err: err}
		}
		var busy *line.BusyError
		var store *line.StoreError
		var unknown *line.UnknownError
		pause := backoff(failures)
		switch {
		case err == nil:
			x.to = doneFolder
			if x.judged.Decision == line.Failed {
				x.to = failedFolder
			}
			return
		case errors.Is(err, line.ErrClosed):
			x.again = true
			return
		case errors.As(err, &busy):
			pause = min(max(pause, busy.RetryAfter), 10*time.Second)
		case errors.As(err, &store):
			if text := err.Error(); text != said {
				said = text
				w.log.Debug("result cannot be stored, will try again", "object", x.object.ID, "error", err)
			}
		case errors.As(err, &unknown), tries == 2:
			x.err, x.to = err, failedFolder
			return
		default:
			tries++
		}
		sleep(ctx, pause)
	}
}

// backoff is 50 ms, doubled after each failure up to 10 s, with jitter.
func backoff(failures int) time.Duration {
	d := min(50*time.Millisecond<<min(failures, 8), 10*time.Second)
	return d/2 + rand.N(d/2+1)
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// read reads the images, so that what is judged is what the key says; false where a file is no longer what was seen. A
// file that cannot be read is an image that cannot be judged.
func (w *Watcher) read(x *work) bool {
	root, err := os.OpenRoot(w.root) // which no link leads out of
	if err != nil {
		return false
	}
	defer root.Close()
	at := 0
	for i := range x.object.Views {
		v := &x.object.Views[i]
		if !v.Present() {
			continue
		}
		f := x.files[at]
		data, err := readFile(root, f.rel, x.idents[at])
		switch {
		case errors.Is(err, errChanged), errors.Is(err, fs.ErrNotExist):
			return false
		case err != nil:
			w.log.Error("image cannot be read", "file", f.rel, "error", atomicfile.Cause(err))
			data = []byte{}
		}
		*v = dataset.View{Camera: v.Camera, Path: f.rel, Data: data}
		at++
	}
	return true
}

var errChanged = errors.New("changed meanwhile")

// maxFile bounds the bytes of an image.
const maxFile = 1 << 30

func readFile(root *os.Root, rel string, want ident) ([]byte, error) {
	f, err := root.OpenFile(filepath.FromSlash(rel), os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe may have taken its name
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if want.Size > maxFile {
		return nil, fmt.Errorf("have %d bytes, want at most %d", want.Size, maxFile)
	}
	data, err := io.ReadAll(io.LimitReader(f, want.Size+1))
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if have, _ := identOf(info); have != want || int64(len(data)) != want.Size {
		return nil, errChanged
	}
	return data, nil
}

// finish enters what became of an object.
func (w *Watcher) finish(x *work) {
	w.busy--
	now := time.Now()
	for _, f := range x.files {
		f.state = over
		if x.again {
			f.state, f.since = waiting, now
		}
	}
	switch {
	case x.again:
		return
	case x.err != nil:
		w.log.Error("object refused", "object", x.object.ID, "error", x.err)
	case x.judged.Decision == line.Failed:
		w.log.Error("object could not be judged", "object", x.object.ID, "id", x.judged.ID, "error", x.judged.Error)
	}
	w.leave(x)
}
