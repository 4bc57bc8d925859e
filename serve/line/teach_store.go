package line

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"mvag-torch/dataset"
	"mvag-torch/inspect"
	"mvag-torch/internal/atomicfile"
	"mvag-torch/internal/regularfile"
)

// sessionFile is the file in the folder of a session that says what it is.
const sessionFile = "session.json"

// teachFolder has a folder for each session.
func (l *Line) teachFolder() string { return filepath.Join(l.opt.Folder, "teach") }

// staged is the checkpoint that a session builds.
func (s *session) staged() string { return filepath.Join(s.folder, "checkpoint.safetensors") }

// file is an image of a session.
func (s *session) file(p taughtPart, f taughtFile) string {
	return filepath.Join(s.folder, fmt.Sprintf("%04d_C%d", p.Number, f.Camera+1))
}

// write stores the images of an object.
func (s *session) write(p taughtPart, o dataset.Object) error {
	for _, f := range p.Files {
		err := atomicfile.Write(s.file(p, f), func(w io.Writer) error {
			_, err := w.Write(o.Views[f.Camera].Data)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// object is object i of a session, with its files.
func (s *session) object(i, views int) dataset.Object {
	o := dataset.Object{ID: s.Session.Class + "/" + s.Session.Objects[i].Object, Class: s.Session.Class, Views: make([]dataset.View, views)}
	for j := range o.Views {
		o.Views[j].Camera = j
	}
	for _, f := range s.Parts[i].Files {
		o.Views[f.Camera].Path = s.file(s.Parts[i], f)
	}
	return o
}

// saveTaught stores a session, so that it survives a restart, and tells of it. The caller holds the lock.
func (l *Line) saveTaught(s *session) error {
	err := atomicfile.Write(filepath.Join(s.folder, sessionFile), func(w io.Writer) error { return json.NewEncoder(w).Encode(s) })
	if err != nil {
		return &StoreError{err}
	}
	l.events.send("teach", s.Session)
	return nil
}

// restoreTeaching takes up the sessions that the folder has. What was being built has to be built again. What a process
// that was killed has left is removed. Folders that are no session of a model of this line are left alone, which is said.
func (l *Line) restoreTeaching() error {
	l.teaching.sessions = map[string]*session{}
	entries, err := os.ReadDir(l.teachFolder())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		folder := filepath.Join(l.teachFolder(), e.Name())
		if ofSession.MatchString(e.Name()) && l.removeEnded(folder) {
			continue
		}
		s, err := readSession(folder, func(model string) (int, bool) {
			m, ok := l.Model(model)
			return m.Views, ok
		})
		if err == nil && s.Session.ID != e.Name() {
			err = fmt.Errorf("have session %q, want that of its folder", s.Session.ID)
		}
		if err != nil {
			l.opt.Log.Warn("a folder is left alone: it is not a session that can go on", "folder", folder, "cause", err)
			continue
		}
		if s.set = l.slot(s.Session.Model).Set; s.Session.State == Building {
			s.Session.State, s.Session.Step, s.Session.Error = FailedSession, "", "the service stopped meanwhile: want it built again"
		}
		if !l.removeLive(s) {
			l.tidyTaught(s)
			l.teaching.sessions[s.Session.ID] = s
		}
	}
	return nil
}

// maxSession bounds the bytes of what is said of a session, which are about 300 for an object of one image.
const maxSession = 64 << 20

// readSession reads the session of a folder, of a model of so many views.
func readSession(folder string, viewsOf func(model string) (views int, ok bool)) (*session, error) {
	text, err := regularfile.Read(filepath.Join(folder, sessionFile), maxSession)
	if err != nil {
		return nil, err
	}
	s := &session{folder: folder}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, err
	}
	if len(s.Parts) != len(s.Session.Objects) {
		return nil, fmt.Errorf("have %d parts of %d objects", len(s.Parts), len(s.Session.Objects))
	}
	views, ok := viewsOf(s.Session.Model)
	if !ok {
		return nil, fmt.Errorf("have a session of model %q, which is not served", s.Session.Model)
	}
	for _, p := range s.Parts {
		outside := func(f taughtFile) bool { return f.Camera < 0 || f.Camera >= views }
		if i := slices.IndexFunc(p.Files, outside); i >= 0 {
			return nil, fmt.Errorf("have camera C%d, want C1 to C%d", p.Files[i].Camera+1, views)
		}
	}
	s.Session.Need = inspect.MinEnroll
	return s, nil
}
