package line

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"mvag-torch/dataset"
	"mvag-torch/inspect"
	"mvag-torch/internal/machine"
	"mvag-torch/serve/metrics"
)

// Model says what a model that is loaded can do.
type Model struct {
	Name        string    `json:"name"`
	Path        string    `json:"-"`
	Views       int       `json:"views"`
	Cameras     []string  `json:"cameras"` // [Views]
	Classes     []Class   `json:"classes"`
	Width       int       `json:"width"` // of what it sees of an image, in pixels
	Height      int       `json:"height"`
	Checkpoint  string    `json:"checkpoint"`  // as in Judge
	Calibration string    `json:"calibration"` // as in Judge
	Loaded      time.Time `json:"loaded"`
	Bytes       int64     `json:"bytes"`        // by which the process grew when it was loaded
	MemoryBytes int64     `json:"memory_bytes"` // of what is remembered of good parts
	FalseAlarm  float64   `json:"false_alarm"`  // rate that was asked for
	// Samples is whether the checkpoint has the scores that its thresholds rest on, without which nothing can be added to
	// the calibration.
	Samples bool `json:"samples"`

	Naming dataset.Naming `json:"-"`
}

// Class is a class that a model knows, "" for any other.
type Class struct {
	Name      string  `json:"name"`
	Head      string  `json:"head"`      // that judges it
	Threshold float64 `json:"threshold"` // of objects
	Basis     string  `json:"basis"`
	Rate      float64 `json:"rate"`    // of false alarms that holds
	Objects   int     `json:"objects"` // that the threshold rests on
}

// ClassNames are the names of the classes, without that of any other.
func (m Model) ClassNames() (names []string) {
	for _, c := range m.Classes {
		if c.Name != "" {
			names = append(names, c.Name)
		}
	}
	return names
}

// slot is the place of a model, which may change while objects are judged.
type slot struct {
	ModelOptions
	line *Line

	reloading sync.Mutex // one at a time
	mu        sync.RWMutex
	live      *live // nil after close
}

// live is a model that is loaded.
type live struct {
	inspector *inspect.Inspector
	model     Model
	judge     Judge
	setup     *inspect.Setup // what the file says; it is closed
	levels    string         // as in Stored
	any       bool           // it can judge an object of no class
	use       sync.WaitGroup // objects that it judges
}

// load reads the file of a model and lets it judge a first object, so that it is ready. The log says so.
func (l *Line) load(ctx context.Context, m ModelOptions, log *slog.Logger) (*live, error) {
	before := resident()
	opt := inspect.Options{Set: m.Set, Wait: l.opt.Wait, Pixels: l.opt.Pixels, Log: func(line string) { log.Info(line, "model", m.Name) }}
	if l.opt.Metrics != nil {
		opt.Batch = l.opt.Metrics.Batch
	}
	u, err := inspect.Read(m.Path, opt)
	if err != nil {
		return nil, err
	}
	defer u.Close()
	model, err := describe(m, u)
	if err != nil {
		return nil, err
	}
	v := &live{model: model, judge: Judge{m.Name, model.Checkpoint, model.Calibration}, setup: u, any: u.Judges([]dataset.Object{{}}) == nil}
	if len(u.Heads.Levels) > 0 {
		text, _ := json.Marshal(u.Heads.Levels) // finite numbers
		v.levels = hex.EncodeToString(hashOf(text))
	}
	if v.inspector, err = u.Start(); err != nil {
		return nil, err
	}
	if err := v.first(ctx); err != nil {
		_ = v.inspector.Close() // the first error tells more
		return nil, fmt.Errorf("%s: first object: %w", m.Path, err)
	}
	debug.FreeOSMemory() // of what was only needed to load it
	v.model.Bytes = max(0, resident()-before)
	log.Info("model is ready", "model", m.Name, "file", m.Path, "views", model.Views, "classes", model.ClassNames(),
		"grown_by", machine.Size(v.model.Bytes), "memory_of_parts", machine.Size(model.MemoryBytes), "checkpoint", model.Checkpoint[:12])
	return v, nil
}

// hashOf is 8 bytes of a SHA-256.
func hashOf(text []byte) []byte {
	sum := sha256.Sum256(text)
	return sum[:8]
}

// describe tells what the model of a checkpoint can do.
func describe(m ModelOptions, u *inspect.Setup) (Model, error) {
	scoring, calibration, err := u.Identity()
	if err != nil {
		return Model{}, err
	}
	viewport := dataset.NewFit(u.Config.Data).Viewport()
	model := Model{
		Name: m.Name, Path: m.Path, Views: u.Config.Data.Views, Cameras: u.Trained.Naming.CameraNames(u.Config.Data.Views),
		Width: viewport.Width(), Height: viewport.Height(), Checkpoint: scoring, Calibration: calibration, Loaded: time.Now().UTC(),
		MemoryBytes: u.Memory.Bytes(), FalseAlarm: u.Calibration.FalseAlarm, Samples: u.MayAdd() == nil, Naming: u.Trained.Naming,
	}
	for _, class := range append(u.Classes(), "") {
		head, err := u.Heads.Head(u.Config.Inspect.Head, class, u.Memory)
		if err != nil || u.Heads.Of(head) == nil {
			continue // it cannot be judged
		}
		scale := u.Heads.Of(head).Object.For(class)
		model.Classes = append(model.Classes, Class{class, head, scale.Threshold, scale.Basis, scale.Rate, scale.Objects})
	}
	return model, nil
}

// first judges a gray object.
func (v *live) first(ctx context.Context) error {
	gray := image.NewGray(image.Rect(0, 0, 64, 64))
	for i := range gray.Pix {
		gray.Pix[i] = 128
	}
	var b bytes.Buffer
	if err := png.Encode(&b, gray); err != nil {
		return err
	}
	o := dataset.Object{ID: "first", Views: make([]dataset.View, v.model.Views)}
	if !v.any && len(v.model.Classes) > 0 {
		o.Class = v.model.Classes[0].Name
	}
	for i := range o.Views {
		o.Views[i] = dataset.View{Camera: i, Data: b.Bytes()}
	}
	r, err := v.inspector.Object(ctx, o)
	if err == nil && r.Verdict == nil {
		err = fmt.Errorf("%s", r.Images[0].Error)
	}
	return err
}

// object judges an object. One of no class is of the class of the model, where that knows only one.
func (v *live) object(ctx context.Context, o dataset.Object) (*inspect.Result, error) {
	if known := v.model.ClassNames(); o.Class == "" && len(known) == 1 {
		o.Class = known[0]
	}
	return v.inspector.Object(ctx, o)
}

// judges returns why the model cannot judge objects of a class.
func (v *live) judges(class string) error {
	known := v.model.ClassNames()
	switch {
	case class == "" && !v.any && len(known) != 1:
		return &UnknownError{fmt.Sprintf("class: have none, want one that model %q knows: %q", v.model.Name, known)}
	case class != "" && len(known) > 0 && !slices.Contains(known, class):
		return &UnknownError{fmt.Sprintf("class: have %q, want one that model %q knows: %q", class, v.model.Name, known)}
	}
	return nil
}

// acquire returns the model for an object of a class; the caller calls use.Done.
func (s *slot) acquire(class string) (*live, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.live == nil {
		return nil, ErrClosed
	}
	if err := s.live.judges(class); err != nil {
		return nil, err
	}
	s.live.use.Add(1)
	return s.live, nil
}

// reload loads the file anew and puts it in the place of the running model, which first answers what it has taken.
func (s *slot) reload(ctx context.Context) error {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	fresh, err := s.line.load(ctx, s.ModelOptions, s.line.opt.Log)
	if err != nil {
		return err
	}
	s.mu.Lock()
	old := s.live
	if old != nil {
		fresh.model.Bytes = max(fresh.model.Bytes, old.model.Bytes) // memory of earlier ones is used again
		s.live = fresh
	}
	s.mu.Unlock()
	if old == nil { // closed meanwhile
		return cmp.Or(fresh.inspector.Close(), ErrClosed)
	}
	old.use.Wait()
	defer debug.FreeOSMemory()
	return old.inspector.Close()
}

// close frees the model once it has answered what it has taken.
func (s *slot) close() error {
	s.mu.Lock()
	live := s.live
	s.live = nil
	s.mu.Unlock()
	if live == nil {
		return nil
	}
	live.use.Wait()
	return live.inspector.Close()
}

// Reload reads the file of a model again, or of all for "", while the running ones go on. A model that cannot be loaded
// stays as it is, which is logged.
func (l *Line) Reload(ctx context.Context, name string) error {
	if name != "" && l.slot(name) == nil {
		return &UnknownError{fmt.Sprintf("model: have %.100q, want one of %q", name, l.names())}
	}
	var all []error
	for _, s := range l.slots {
		if name != "" && s.Name != name {
			continue
		}
		if err := s.reload(ctx); err != nil {
			l.opt.Log.Error("a model could not be loaded again; the running one stays", "model", s.Name, "error", err)
			all = append(all, l.failed(metrics.Reload, fmt.Errorf("model %q stays as it is: %w", s.Name, err)))
		}
	}
	l.tellModels()
	return errors.Join(all...)
}

// Models are those that are loaded, in the order of the options.
func (l *Line) Models() []Model {
	var models []Model
	for _, s := range l.slots {
		s.mu.RLock()
		if s.live != nil {
			models = append(models, s.live.model)
		}
		s.mu.RUnlock()
	}
	return models
}

// Model returns the model of a name.
func (l *Line) Model(name string) (Model, bool) {
	models := l.Models()
	i := slices.IndexFunc(models, func(m Model) bool { return m.Name == name })
	if i < 0 {
		return Model{}, false
	}
	return models[i], true
}

// tellModels tells metrics and watchers which models there are.
func (l *Line) tellModels() {
	models := l.Models()
	l.events.send("models", models)
	if l.opt.Metrics == nil {
		return
	}
	var known []metrics.Model
	for _, m := range models {
		k := metrics.Model{Name: m.Name, Checkpoint: m.Checkpoint, Calibration: m.Calibration, Classes: m.ClassNames()}
		for i := range m.Cameras {
			k.Cameras = append(k.Cameras, fmt.Sprint("C", i+1))
		}
		known = append(known, k)
	}
	l.opt.Metrics.Models(known)
}

// resident is the memory of the process in bytes; 0 where the system does not tell.
func resident() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if fields := strings.Fields(string(text)); err == nil && len(fields) > 1 {
		pages, _ := strconv.ParseInt(fields[1], 10, 64)
		return pages * int64(os.Getpagesize())
	}
	return 0
}
