package line

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"mvag-torch/serve/metrics"
)

// storing says whether records can be stored.
type storing struct {
	mu    sync.Mutex
	cause error // why not
	since time.Time

	probing sync.Mutex // one at a time
}

// refuses notes why something could not be stored, and says so where it could before.
func (s *storing) refuses(log *slog.Logger, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause == nil {
		s.since = time.Now()
		log.Error("results cannot be stored: no object is judged until they can", "error", err)
	}
	s.cause = err
}

// works notes that something was stored, and says so where it could not before.
func (s *storing) works(log *slog.Logger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil {
		log.Info("results can be stored again", "after", time.Since(s.since).Round(time.Millisecond))
	}
	s.cause = nil
}

func (s *storing) why() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause
}

// refused is the error of an object that could not be stored.
func (l *Line) refused(err error) error {
	l.Refused(err)
	return l.failed(metrics.Store, &StoreError{err})
}

// Refused notes that the journal or the disk did not take what belongs to an object.
func (l *Line) Refused(err error) { l.storing.refuses(l.opt.Log, err) }

// Ready is why an object could not be stored, where the last one could not; it is tried again. So it is where the journal
// is no longer there. It is nil otherwise.
func (l *Line) Ready() error {
	s := &l.storing
	if err := l.opt.Journal.There(); err != nil {
		l.Refused(err)
		return err
	}
	cause := s.why()
	if cause == nil || !s.probing.TryLock() {
		return cause
	}
	defer s.probing.Unlock()
	if err := l.probe(); err != nil {
		l.Refused(err)
		return err
	}
	s.works(l.opt.Log)
	return nil
}

const (
	probeBytes = 128 << 10 // about those of a record and its drawings
	probeFile  = "probe"   // in the folder of pictures
)

// makeFolders makes folders, one in the other, in the folder of the line, which is not made again where it is gone. It
// returns the innermost.
func (l *Line) makeFolders(names ...string) (path string, err error) {
	if err := l.opt.Journal.There(); err != nil {
		return "", err
	}
	path = l.opt.Folder
	for _, name := range names {
		path = filepath.Join(path, name)
		if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
	}
	return path, nil
}

// probe stores as much as an object does, where it does, and removes it.
func (l *Line) probe() error {
	const kind = "probe"
	j, filler := l.opt.Journal, bytes.Repeat([]byte("probe "), probeBytes/6)
	err := j.Room()
	if err == nil {
		err = j.Put(kind, kind, filler)
	}
	if err == nil {
		_, _, err = j.GetValue(kind, kind)
	}
	if err == nil {
		err = j.Remove(kind, kind)
	}
	if err != nil || !l.opt.Pictures {
		return err
	}
	folder, err := l.makeFolders("objects")
	if err != nil {
		return err
	}
	path := filepath.Join(folder, probeFile)
	if err := os.WriteFile(path, filler, 0o644); err != nil {
		return err
	}
	return os.Remove(path)
}
