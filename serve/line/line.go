// Package line judges objects with one model or several, and stores what it says of each in a journal before anyone is
// told. Whatever brings objects, by HTTP, folder or MQTT, calls [Line.Judge].
package line

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mvag-torch/dataset"
	"mvag-torch/inspect"
	"mvag-torch/serve/journal"
	"mvag-torch/serve/metrics"
)

// Options of Open.
type Options struct {
	Models   []ModelOptions
	Folder   string // for drawings and what is taught
	Journal  *journal.Journal
	Queue    int           // most objects that are decoded, wait or are judged, over all models
	Wait     time.Duration // bound on waiting for a fuller batch
	Pictures bool          // keep drawings of the images
	Pixels   int           // most pixels of an image; 0 is what package dataset allows
	// Incomplete says what becomes of an object without an image of every camera: IncompleteJudge, also as "", or
	// IncompleteFail.
	Incomplete string
	Log        *slog.Logger
	Metrics    *metrics.Metrics
}

// ModelOptions name a model and its file.
type ModelOptions struct {
	Name string
	Path string   // checkpoint or bundle
	Set  []string // settings that override those of the checkpoint, as "eval.objects=4"
}

// Line judges objects. It is safe for concurrent use.
type Line struct {
	opt     Options
	slots   []*slot
	places  chan struct{} // one token for each object on its way
	pace    atomic.Int64  // nanoseconds from one answer to the next while objects wait, smoothed
	events  events
	storing storing

	changing sync.Mutex // of files of models, by a person
	drifts   drifts
	teaching teaching

	mu      sync.Mutex
	closing bool
	busy    sync.WaitGroup           // calls of Judge
	keys    map[string]chan struct{} // of requests on their way
}

// Open loads the models and removes what a process that was killed has left. The caller closes the Line.
func Open(ctx context.Context, opt Options) (*Line, error) {
	l := &Line{opt: opt, places: make(chan struct{}, opt.Queue), keys: map[string]chan struct{}{}}
	for _, m := range opt.Models {
		if slices.ContainsFunc(l.slots, func(s *slot) bool { return s.Name == m.Name }) {
			return nil, errors.Join(fmt.Errorf("models: have %q twice, want names of their own", m.Name), l.closeModels())
		}
		live, err := l.load(ctx, m, opt.Log)
		if err != nil {
			return nil, errors.Join(err, l.closeModels())
		}
		l.slots = append(l.slots, &slot{ModelOptions: m, line: l, live: live})
	}
	if opt.Metrics != nil {
		opt.Metrics.Queue(func() (int, int) { return len(l.places), cap(l.places) })
	}
	if err := errors.Join(l.restoreDrift(), l.restoreTeaching()); err != nil {
		return nil, errors.Join(err, l.closeModels())
	}
	l.tidy()
	l.tellModels()
	return l, nil
}

// ErrClosed is the error of Judge after Close.
var ErrClosed = errors.New("the service stops")

// Judge judges an object and stores the record. When it returns, the record is on the disk. A request whose key is known
// gets the record that there is, if its content is the same (Request.Key); if the first of that key is on its way, it
// waits for that. An object that could not be judged, or not all of it, has a record that says so, and no error.
//
// Errors are *BusyError, *UnknownError, *ConflictError of a key, *StoreError, ErrClosed, the cause of ctx, or that of
// the model.
func (l *Line) Judge(ctx context.Context, r Request) (*Judged, error) {
	if !l.enter() {
		return nil, ErrClosed
	}
	defer l.busy.Done()
	if err := l.opt.Journal.There(); err != nil {
		return nil, l.refused(err)
	}
	for r.Key != "" {
		first, leave := l.take(r.Key)
		if first == nil {
			defer leave()
			if e, ok, err := l.opt.Journal.ByKey(r.Key); err != nil {
				return nil, l.refused(err)
			} else if ok {
				return l.again(e, r)
			}
			break
		}
		select {
		case <-first:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	select {
	case l.places <- struct{}{}:
		defer func() { <-l.places }()
	default:
		return nil, l.failed(metrics.Busy, &BusyError{l.retryAfter()})
	}
	live, err := l.choose(r)
	if err != nil {
		return nil, l.failed(metrics.Unknown, err)
	}
	defer live.use.Done()
	result, err := live.object(ctx, r.Object)
	if err != nil {
		return nil, l.failed(reasonOf(ctx), err)
	}
	return l.store(r, live, result)
}

// enter counts a call of Judge; false after Close.
func (l *Line) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closing {
		l.busy.Add(1)
	}
	return !l.closing
}

// reasonOf is why judging failed.
func reasonOf(ctx context.Context) metrics.Reason {
	if ctx.Err() != nil {
		return metrics.Canceled
	}
	return metrics.Judging
}

// failed counts an error and returns it.
func (l *Line) failed(why metrics.Reason, err error) error {
	if l.opt.Metrics != nil {
		l.opt.Metrics.Error(why)
	}
	return err
}

// retryAfter estimates when there is a free place: after half of the queue.
func (l *Line) retryAfter() time.Duration {
	wait := time.Duration(l.pace.Load()) * time.Duration(max(1, cap(l.places)/2))
	return min(max(wait.Round(time.Second), time.Second), time.Minute)
}

// store writes the record of a result to the journal and tells those who watch.
func (l *Line) store(r Request, live *live, result *inspect.Result) (*Judged, error) {
	j := &Judged{Record: l.recordOf(r, live, result), Result: result}
	var drawings encoded
	if l.opt.Pictures {
		if pictures := Pictures(result); len(pictures) > 0 {
			var err error
			if drawings, err = encode(pictures); err != nil {
				return nil, l.failed(metrics.Store, &StoreError{fmt.Errorf("pictures: %w", err)}) // of no disk
			}
			j.Pictures = true
		}
	}
	samples, content := Samples(result.Samples()), askedFor(r) // before Append: one object at a time is in there
	e, exists, err := l.opt.Journal.Append(r.Key, func(id string) ([]byte, error) {
		j.ID = id
		if j.Pictures {
			if err := l.keep(id, drawings); err != nil {
				return nil, err
			}
		}
		return json.Marshal(Stored{j.Record, samples, live.levels, content})
	})
	if err != nil {
		return nil, l.refused(err)
	}
	l.storing.works(l.opt.Log)
	if exists { // another service wrote it; nothing is said twice
		return l.again(e, r)
	}
	l.warn(j.Record, live.model.Cameras)
	l.count(j)
	l.events.send("object", j.Record)
	l.observe(j.Record, e.Seq, live)
	return j, nil
}

// count enters a judged object in the metrics.
func (l *Line) count(j *Judged) {
	if l.opt.Metrics == nil {
		return
	}
	o := metrics.Object{Class: j.Class, Decision: j.Decision, Source: j.Source, Score: math.NaN()}
	if j.Decision != Failed {
		o.Score = j.Verdict.Calibrated
	}
	for _, line := range j.Images {
		image := metrics.Image{Decision: Failed}
		if line.Camera > 0 {
			image.Camera = fmt.Sprint("C", line.Camera)
		}
		if line.Verdict != nil {
			image.Decision = line.Decision
		} else {
			l.opt.Metrics.Error(metrics.Unread)
		}
		o.Images = append(o.Images, image)
	}
	l.opt.Metrics.Object(o)
	l.opt.Metrics.Waited(j.Result.Waited)
	l.pace.Store((7*l.pace.Load() + int64(j.Result.Took)) / 8)
}

// choose returns the model that judges a request; the caller calls live.use.Done.
func (l *Line) choose(r Request) (*live, error) {
	s, err := l.pick(r.Model, r.Object.Class)
	if err != nil {
		return nil, err
	}
	return s.acquire(r.Object.Class)
}

// Pick returns the model of a name, or for "" the only one, or the one that knows the class. The error is an
// *UnknownError, also where the model cannot judge the class.
func (l *Line) Pick(name, class string) (Model, error) {
	s, err := l.pick(name, class)
	if err != nil {
		return Model{}, err
	}
	live, err := s.acquire(class)
	if err != nil {
		return Model{}, err
	}
	defer live.use.Done()
	return live.model, nil
}

func (l *Line) pick(name, class string) (*slot, error) {
	if name != "" {
		if s := l.slot(name); s != nil {
			return s, nil
		}
		return nil, &UnknownError{fmt.Sprintf("model: have %.100q, want one of %q", name, l.names())}
	}
	if len(l.slots) == 1 {
		return l.slots[0], nil
	}
	var known []*slot
	for _, s := range l.slots {
		if live, err := s.acquire(class); err == nil {
			if live.use.Done(); slices.Contains(live.model.ClassNames(), class) {
				known = append(known, s)
			}
		}
	}
	if len(known) != 1 {
		return nil, &UnknownError{fmt.Sprintf("model: have none, want one of %q: %d of them know the class %.100q", l.names(), len(known), class)}
	}
	return known[0], nil
}

func (l *Line) slot(name string) *slot {
	for _, s := range l.slots {
		if s.Name == name {
			return s
		}
	}
	return nil
}

func (l *Line) names() (names []string) {
	for _, s := range l.slots {
		names = append(names, s.Name)
	}
	return names
}

// Journal is where records are stored.
func (l *Line) Journal() *journal.Journal { return l.opt.Journal }

// Close refuses further objects, waits until those taken are answered, and frees the models.
func (l *Line) Close() error {
	l.mu.Lock()
	l.closing = true
	l.mu.Unlock()
	l.busy.Wait()
	err := l.stopTeaching()
	l.events.close()
	return errors.Join(err, l.closeModels())
}

func (l *Line) closeModels() error {
	var all []error
	for _, s := range l.slots {
		all = append(all, s.close())
	}
	return errors.Join(all...)
}

// NameOf is the name of a model that is given by its file alone: the file without folder and extension, or the folder of
// a run for its checkpoint.
func NameOf(path string) string {
	base := filepath.Base(path)
	name := strings.TrimSuffix(base, filepath.Ext(base))
	if name == "checkpoint" {
		if abs, err := filepath.Abs(path); err == nil {
			name = filepath.Base(filepath.Dir(abs))
		}
	}
	return dataset.Canonical(name)
}
