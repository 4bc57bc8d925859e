package line

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"mvag-torch/internal/atomicfile"
)

// A session has ended once its sessionFile is gone, and it has begun once that is there. Whatever else a kill leaves in
// its folder, the next start removes.

// ofSession matches the names of the folders of sessions.
var ofSession = regexp.MustCompile(`^[A-Z2-7]{12}$`)

// ofTaught matches the names of the files that a session may have besides its sessionFile.
var ofTaught = regexp.MustCompile(`^([0-9]{4,}_C[0-9]+|(checkpoint|former)\.safetensors)$`)

// end removes the file that makes a folder a session.
func (s *session) end() error {
	if err := os.Remove(filepath.Join(s.folder, sessionFile)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// remove ends a session and removes its folder.
func (s *session) remove() error {
	return errors.Join(s.end(), os.RemoveAll(s.folder))
}

// removeEnded removes a folder of a session that had ended, or not begun, when the service was killed. One in which
// somebody else has a file stays.
func (l *Line) removeEnded(folder string) bool {
	atomicfile.Sweep(folder)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return false
	}
	for _, e := range entries {
		if !ofTaught.MatchString(e.Name()) {
			return false
		}
	}
	if err := os.RemoveAll(folder); err != nil {
		l.opt.Log.Warn("the files of a session that has ended could not be removed", "folder", folder, "cause", err)
	} else {
		l.opt.Log.Info("the files of a session that has ended are removed", "folder", folder, "files", len(entries))
	}
	return true
}

// removeLive removes a session whose checkpoint is that of its model already: the service was killed before it could say so.
func (l *Line) removeLive(s *session) bool {
	if s.Session.State != Ready || !sameFiles(s.staged(), l.slot(s.Session.Model).Path) {
		return false
	}
	log := l.opt.Log.With("model", s.Session.Model, "class", s.Session.Class, "teach", s.Session.ID)
	if err := s.remove(); err != nil {
		log.Warn("what was taught is live; its files could not be removed", "folder", s.folder, "cause", err)
	} else {
		log.Info("what was taught is live since before the service was stopped")
	}
	return true
}

// tidyTaught removes from the folder of a session what it does not list: images of objects that were not answered for or
// that are forgotten, a checkpoint that was not finished, and the copy of a former one. Files of other names stay.
func (l *Line) tidyTaught(s *session) {
	listed := map[string]bool{s.staged(): s.Session.State == Ready}
	for i, p := range s.Parts {
		for _, f := range p.Files {
			listed[s.file(p, f)] = s.Session.Objects[i].Accepted
		}
	}
	entries, err := os.ReadDir(s.folder)
	removed := 0
	for _, e := range entries {
		if path := filepath.Join(s.folder, e.Name()); ofTaught.MatchString(e.Name()) && !listed[path] {
			err = errors.Join(err, os.Remove(path))
			removed++
		}
	}
	if log := l.opt.Log.With("model", s.Session.Model, "class", s.Session.Class, "teach", s.Session.ID); err != nil {
		log.Warn("not all files that a session does not list could be removed", "folder", s.folder, "cause", err)
	} else if removed > 0 {
		log.Info("files that a session does not list are removed", "files", removed)
	}
}

// sameFiles tells whether two files can be read and have the same bytes.
func sameFiles(a, b string) bool {
	f, err := os.Open(a)
	if err != nil {
		return false
	}
	defer f.Close()
	g, err := os.Open(b)
	if err != nil {
		return false
	}
	defer g.Close()
	x, y := make([]byte, 1<<20), make([]byte, 1<<20)
	for {
		n, err := io.ReadFull(f, x)
		m, err2 := io.ReadFull(g, y)
		switch end := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF); {
		case n != m || !bytes.Equal(x[:n], y[:m]) || (err == nil) != (err2 == nil):
			return false
		case err != nil:
			return end
		}
	}
}
