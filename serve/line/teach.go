package line

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"mvag-torch/dataset"
	"mvag-torch/inspect"
)

// Bounds of what is taught at a time.
const (
	MostSessions      = 4 // that are not live
	MostTaughtObjects = 500
	MostTaughtBytes   = 2 << 30 // of the images of a session
)

// The states of a Session.
const (
	Collecting = "collecting"
	Building   = "building"
	Ready      = "ready" // it can be tried and go live
	Live       = "live"
	// FailedSession may be built again.
	FailedSession = "failed"
)

// Session is a class that is being taught.
type Session struct {
	ID      string        `json:"id"`
	Model   string        `json:"model"`
	Class   string        `json:"class"`
	Replace bool          `json:"replace"`
	State   string        `json:"state"`
	Objects []TaughtPart  `json:"objects"`
	Need    int           `json:"need"` // accepted objects, at least
	Step    string        `json:"step,omitempty"`
	Done    int           `json:"done"` // images, of Total, in this step
	Total   int           `json:"total"`
	Result  *TaughtResult `json:"result,omitempty"` // once it is ready
	Error   string        `json:"error,omitempty"`
	Time    time.Time     `json:"time"` // of its beginning
}

// TaughtPart is an object of a session.
type TaughtPart struct {
	Object   string   `json:"object"`
	Cameras  []string `json:"cameras"`
	Accepted bool     `json:"accepted"`
	Reason   string   `json:"reason"` // why it is refused, or what is odd about it
	Why
}

// Why says for programs why an object is refused, or what is odd about it.
type Why struct {
	Code   string `json:"code,omitempty"`   // WhyUnreadable and so on; "" for nothing
	Camera string `json:"camera,omitempty"` // of the image that it is about
	Of     string `json:"of,omitempty"`     // the camera or the object that it is compared with, or what the decoder says
}

// The codes of Why.
const (
	WhyUnreadable = "unreadable" // an image cannot be read
	WhyTwice      = "twice"      // the image of a camera is the same file as that of another
	WhySingle     = "single"     // it is an image of no camera
	WhySame       = "same"       // it has the same files as another object
	WhyCameras    = "cameras"    // it has other cameras than another object
	WhyTrained    = "trained"    // the model was trained on an image
	WhySize       = "size"       // an image has another size than that of another object; accepted all the same
)

// TaughtResult is what a session has built.
type TaughtResult struct {
	Objects     int     `json:"objects"`
	Threshold   float64 `json:"threshold"`
	Rate        float64 `json:"rate"`
	Basis       string  `json:"basis"`
	MemoryBytes int64   `json:"memory_bytes"` // of all classes
}

// teaching are the sessions.
type teaching struct {
	mu       sync.Mutex
	sessions map[string]*session
	stopped  bool
	building sync.WaitGroup
}

// session is a Session and what only this package knows of it. It is stored in its folder.
type session struct {
	Session Session      `json:"session"`
	Parts   []taughtPart `json:"parts"` // of Session.Objects
	Base    [2]string    `json:"base"`  // identity of the checkpoint that it was built from

	folder string
	set    []string           // settings of the model
	stop   context.CancelFunc // of what is being built
	going  bool               // live
	told   time.Time
	trying sync.Mutex
	tried  *live // of the staged checkpoint
}

// taughtPart is what is stored of an object.
type taughtPart struct {
	Files  []taughtFile `json:"files"`
	Number int          `json:"number"`
}

// taughtFile is an image of an object.
type taughtFile struct {
	Camera int    `json:"camera"` // from 0
	Name   string `json:"name"`   // as the client calls it
	SHA256 string `json:"sha256"`
	Bytes  int64  `json:"bytes"`
	Width  int    `json:"width"`
	Height int    `json:"height"`
}

// Teach begins a session: a class for a model, which replaces an earlier one of that name where replace is set. Errors are
// *UnknownError and *ConflictError.
func (l *Line) Teach(model, class string, replace bool) (Session, error) {
	s, err := l.pick(model, "")
	if err != nil {
		return Session{}, err
	}
	class = dataset.Canonical(class)
	live := s.now()
	if live == nil {
		return Session{}, ErrClosed
	}
	if err := mayTeach(live.setup, s.Name, class, replace); err != nil {
		return Session{}, err
	}
	l.teaching.mu.Lock()
	defer l.teaching.mu.Unlock()
	open := 0
	for _, other := range l.teaching.sessions {
		if other.Session.State != Live {
			open++
		}
	}
	switch {
	case l.teaching.stopped:
		return Session{}, ErrClosed
	case open >= MostSessions:
		return Session{}, coded("sessions", "teach: have %d sessions, which is as many as may be: want one discarded", open)
	}
	id := rand.Text()[:12]
	folder, err := l.makeFolders(filepath.Base(l.teachFolder()), id)
	if err != nil {
		return Session{}, &StoreError{err}
	}
	n := &session{folder: folder, set: s.Set, Session: Session{
		ID: id, Model: s.Name, Class: class, Replace: replace, State: Collecting, Objects: []TaughtPart{}, Need: inspect.MinEnroll, Time: time.Now().UTC()}}
	l.teaching.sessions[id] = n
	return n.Session, l.saveTaught(n)
}

// session finds one. The caller holds the lock.
func (l *Line) session(id string) (*session, error) {
	if s := l.teaching.sessions[id]; s != nil {
		return s, nil
	}
	return nil, unknown("teach: have no session %.100q", id)
}

// collecting finds a session whose objects may change.
func (l *Line) collecting(id string) (*session, error) {
	s, err := l.session(id)
	if err != nil {
		return nil, err
	}
	if state := s.Session.State; state == Building || state == Live {
		return nil, conflict("teach: the session is %s: its objects stay", state)
	}
	return s, s.settled()
}

// settled returns an error while the session is on its way to be live.
func (s *session) settled() error {
	if s.going {
		return conflict("teach: the session is about to go live, want to wait for that")
	}
	return nil
}

// mayTeach returns why a class cannot be taught to a model, a *ConflictError.
func mayTeach(u *inspect.Setup, model, class string, replace bool) error {
	err := u.MayEnroll(class, replace)
	switch {
	case err == nil:
		return nil
	case u.MayEnroll(class, !replace) != nil: // not for want of replace, or because of it
		return conflict("%v", err)
	case replace:
		return coded("class_unknown", "teach: model %q has no class %q to replace", model, class)
	}
	return coded("class_known", "teach: model %q knows a class %q already, want replace to forget its parts", model, class)
}

// Taught returns a session.
func (l *Line) Taught(id string) (Session, error) {
	l.teaching.mu.Lock()
	defer l.teaching.mu.Unlock()
	s, err := l.session(id)
	if err != nil {
		return Session{}, err
	}
	return s.copy(), nil
}

// AllTaught returns the sessions, the oldest first.
func (l *Line) AllTaught() []Session {
	l.teaching.mu.Lock()
	defer l.teaching.mu.Unlock()
	list := []Session{}
	for _, s := range l.teaching.sessions {
		list = append(list, s.copy())
	}
	slices.SortFunc(list, func(a, b Session) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID)) })
	return list
}

func (s *session) copy() Session {
	out := s.Session
	out.Objects = slices.Clone(out.Objects)
	return out
}

// TeachObject adds a good object with its encoded images to a session. It is accepted or refused with the reason, both of
// which are kept. An error says why neither is.
func (l *Line) TeachObject(id string, o dataset.Object) (TaughtPart, error) {
	l.teaching.mu.Lock()
	s, err := l.collecting(id)
	var v *live
	if err == nil {
		if v = l.slot(s.Session.Model).now(); v == nil {
			err = ErrClosed
		}
	}
	l.teaching.mu.Unlock()
	if err != nil {
		return TaughtPart{}, err
	}
	part, files, why := look(v, o, l.opt.Pixels) // decodes, without the lock
	l.teaching.mu.Lock()
	defer l.teaching.mu.Unlock()
	if s, err = l.collecting(id); err != nil {
		return TaughtPart{}, err
	}
	part.Object = cmp.Or(o.ID, fmt.Sprint("part ", len(s.Session.Objects)+1))
	kept := taughtPart{Files: files, Number: 1}
	if n := len(s.Parts); n > 0 {
		kept.Number = s.Parts[n-1].Number + 1
	}
	if err := s.room(part.Object, files); err != nil {
		return TaughtPart{}, err
	}
	if why.text == "" {
		why = cmp.Or(s.refuses(files), s.trainedOn(v, files))
	}
	if part.Accepted = why.text == ""; part.Accepted {
		why = s.odd(files)
		if err := s.write(kept, o); err != nil {
			return TaughtPart{}, &StoreError{err}
		}
	}
	part.Reason, part.Why = why.text, why.Why
	s.Session.Objects, s.Parts = append(s.Session.Objects, part), append(s.Parts, kept)
	s.changed()
	return part, l.saveTaught(s)
}

// changed says that what was built, if anything was, is no longer of these objects.
func (s *session) changed() {
	s.Session.State, s.Session.Result, s.Session.Error = Collecting, nil, ""
	s.forget()
}

// forget frees the model that was tried. Its objects are answered first.
func (s *session) forget() {
	if v := s.tried; v != nil {
		s.tried = nil
		v.use.Wait()
		_ = v.inspector.Close()
	}
}

// ForgetObject removes an object of a session.
func (l *Line) ForgetObject(id, object string) error {
	l.teaching.mu.Lock()
	defer l.teaching.mu.Unlock()
	s, err := l.collecting(id)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(s.Session.Objects, func(p TaughtPart) bool { return p.Object == object })
	if i < 0 {
		return unknown("teach: the session has no object %.100q", object)
	}
	gone := s.Parts[i]
	s.Session.Objects, s.Parts = slices.Delete(s.Session.Objects, i, i+1), slices.Delete(s.Parts, i, i+1)
	s.changed()
	if err := l.saveTaught(s); err != nil {
		return err
	}
	for _, f := range gone.Files { // after a kill before this, the next start does it
		_ = os.Remove(s.file(gone, f)) // it may have been refused; Discard removes the rest
	}
	return nil
}

// room returns why no object of this name and size fits the session.
func (s *session) room(name string, files []taughtFile) error {
	bytes := int64(0)
	for i, p := range s.Parts {
		if s.Session.Objects[i].Object == name {
			return coded("object_twice", "teach: have an object %.100q already, want another name", name)
		}
		if s.Session.Objects[i].Accepted {
			bytes += size(p.Files)
		}
	}
	if n := len(s.Parts); n >= MostTaughtObjects {
		return coded("objects", "teach: have %d objects, want at most %d", n+1, MostTaughtObjects)
	}
	if bytes += size(files); bytes > MostTaughtBytes {
		return coded("bytes", "teach: have images of %d bytes, want at most %d", bytes, MostTaughtBytes)
	}
	return nil
}

func size(files []taughtFile) (n int64) {
	for _, f := range files {
		n += f.Bytes
	}
	return n
}
