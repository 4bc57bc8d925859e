// Package inspect judges objects with a trained model: scores, decisions at calibrated thresholds, regions of defects,
// heat maps and overlays. It also calibrates those thresholds with good objects. The commands predict and calibrate
// stand on it.
//
// Images are decoded and maps are drawn in goroutines; the device thread does nothing but run the model.
package inspect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/tensor"
	"mvag-torch/model/calibration"
	"mvag-torch/model/checkpoint"
	"mvag-torch/model/memory"
)

// Options of Open and Read.
type Options struct {
	// Config takes the place of the checkpoint's configuration. It must agree with it in everything that decides
	// scores.
	Config *configs.Config
	// Set overrides settings of the checkpoint's configuration, as "eval.objects=4". It is not applied to Config.
	Set []string
	// Uncalibrated accepts a checkpoint without a calibration, to make one.
	Uncalibrated bool
	// Owned says that the caller keeps other processes from changing the checkpoint, as [checkpoint.Own] does.
	Owned bool
	// Log gets a line that says what computes the model, and one if predictions cannot be captured for cuda_graph. It may
	// be nil.
	Log func(line string)
	// Pixels is the most pixels that an image may have; 0 is what package dataset allows. A larger one counts as one that
	// cannot be read.
	Pixels int
	// Wait bounds the time that a batch of [Inspector.Object] waits for objects whose images are still being decoded.
	Wait time.Duration
	// Batch is told the number of objects of each such batch; it may be nil.
	Batch func(objects int)
}

// Setup is what a checkpoint says before its model is loaded.
type Setup struct {
	Path        string
	Config      configs.Config           // of the run, with the options applied
	Trained     checkpoint.Info          // as the checkpoint has it
	Bundle      *checkpoint.Bundle       // nil where the file is none
	Calibration *calibration.Calibration // of inspect.head, or of the headline; nil where there is none
	Heads       calibration.Heads        // all that there are
	Samples     *calibration.Samples     // what Heads rest on, and what was added to it; nil where the file does not tell
	Memory      *memory.Memory           // nil where there is none
	Notes       *dataset.Notes           // collects what is odd about the files that are read; may be nil
	file        *checkpoint.File
	found       fs.FileInfo // of the file when it was read
	owned       bool        // no other process changes it
	log         func(line string)
	pixels      int
	wait        time.Duration
	batch       func(objects int)
}

// Read reads a checkpoint without its model. The caller closes the Setup.
func Read(path string, opt Options) (*Setup, error) {
	found, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	f, err := checkpoint.Open(path)
	if err != nil {
		return nil, err
	}
	u := &Setup{Path: path, file: f, found: found, owned: opt.Owned, log: opt.Log, pixels: opt.Pixels, wait: opt.Wait, batch: opt.Batch}
	if u.log == nil {
		u.log = func(string) {}
	}
	if err := u.read(opt); err != nil {
		f.Close()
		return nil, err
	}
	return u, nil
}

func (u *Setup) read(opt Options) error {
	if u.file.Info == nil {
		return fmt.Errorf("%s: have bare weights, want a checkpoint", u.Path)
	}
	u.Trained, u.Bundle = *u.file.Info, u.file.Bundle
	var err error
	if opt.Config != nil {
		u.Config = *opt.Config
	} else if u.Config, err = u.file.Config(opt.Set...); err != nil {
		return err
	}
	u.Config.Adopt(u.Trained.Config)
	if diff := configs.Diff(u.Config, u.Trained.Config, configs.Features, configs.Scores); len(diff) > 0 {
		return &configs.Error{Faults: []configs.Fault{{Msg: diff[0] + " as in " + u.Path}}}
	}
	if u.Memory, err = memory.Read(u.file); err != nil {
		return err
	}
	if u.Samples, err = calibration.ReadSamples(u.file); err != nil {
		return err
	}
	u.Heads, err = calibration.ReadHeads(u.file)
	u.Calibration = u.chosen()
	if err == nil && u.Calibration == nil && !opt.Uncalibrated {
		err = fmt.Errorf("%s: have no calibration, want one: mvag-torch calibrate -m %s PATH… with good images", u.Path, u.Path)
	}
	return err
}

// chosen is the calibration that most objects are judged by.
func (u *Setup) chosen() *calibration.Calibration {
	if c := u.Heads.Of(u.Config.Inspect.Head); c != nil {
		return c
	}
	return u.Heads.Headline()
}

// Judges returns why none of objects can be judged, nil where one can: what all of them are to be compared with is
// missing.
func (u *Setup) Judges(objects []dataset.Object) error {
	var first error
	for _, o := range objects {
		_, err := u.Heads.Head(u.Config.Inspect.Head, o.Class, u.Memory)
		if err == nil {
			return nil
		}
		first = cmp.Or(first, err)
	}
	return first
}

// Classes are those that the model was trained on, has thresholds for or remembers, in order; nil where an old checkpoint
// does not tell.
func (u *Setup) Classes() []string {
	known := slices.Collect(maps.Keys(u.Trained.TrainLists))
	if known == nil {
		known = slices.Clone(u.Trained.Config.Data.Classes)
	}
	if len(known) > 0 && u.Calibration != nil {
		known = append(known, u.Calibration.ClassNames()...)
	}
	known = append(known, u.Memory.Names()...)
	for i, class := range known {
		known[i] = dataset.Canonical(class)
	}
	slices.Sort(known)
	return slices.Compact(known)
}

// Close closes the file of the checkpoint. Inspectors stay as they are.
func (u *Setup) Close() error { return u.file.Close() }

// Inspector judges objects. It is safe for concurrent use.
type Inspector struct {
	engine *engine
	judge  *judge

	queue   chan *item
	coming  atomic.Int64 // objects that are on their way to queue
	wait    time.Duration
	batch   func(objects int)
	close   sync.Once
	closing chan struct{} // no further object is taken
	stopped chan struct{} // those taken are answered
}

// Open reads a calibrated checkpoint and loads its model. The caller closes the Inspector.
func Open(path string, opt Options) (*Inspector, error) {
	u, err := Read(path, opt)
	if err != nil {
		return nil, err
	}
	defer u.Close()
	return u.Start()
}

// Start loads the model of a calibrated checkpoint. The caller closes the Inspector, and may close u before.
func (u *Setup) Start() (*Inspector, error) {
	source := dataset.NewSource(u.Config.Data)
	source.Fit.Pixels = u.pixels
	e, err := newEngine(u, source)
	if err != nil {
		return nil, err
	}
	i := &Inspector{
		engine: e, queue: make(chan *item), closing: make(chan struct{}), stopped: make(chan struct{}), wait: u.wait, batch: u.batch,
		judge: newJudge(u),
	}
	go i.serve()
	return i, nil
}

// errClosed is what an object gets after Close.
var errClosed = errors.New("inspect: the inspector is closed")

// Object judges one object. It has a view for each camera of the model, some of which may be absent, or one view in
// all. An image that cannot be read counts as absent and is an error in its [Image] alone. Objects that wait at the
// same time go through the model together, up to eval.objects of them, or on a CPU as many as have five images. None
// waits for others to come, except for those that are being decoded, and for them no longer than Options.Wait. When ctx
// ends, Object returns its cause at once.
func (i *Inspector) Object(ctx context.Context, object dataset.Object) (*Result, error) {
	i.coming.Add(1)
	it, err := i.engine.decode(ctx, 0, &object)
	i.coming.Add(-1)
	if err != nil {
		return nil, err
	}
	it.queued = time.Now()
	select {
	case i.queue <- it:
	case <-i.closing:
		return nil, errClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	select {
	case <-it.done:
	case <-ctx.Done():
	}
	if ctx.Err() != nil { // it may have been left out of its batch
		return nil, context.Cause(ctx)
	}
	if it.err != nil {
		return nil, it.err
	}
	return i.judge.result(it), nil
}

// Objects judges objects in batches of eval.objects as evaluation does, so that scores are equal bit for bit: a batch
// ends where the number of views changes. Calls of draw, which may be nil, run concurrently, one for each result; then
// use gets the results one after the other, in the order of objects. The first error ends all.
func (i *Inspector) Objects(ctx context.Context, objects []dataset.Object, draw, use func(*Result) error) error {
	return stream(ctx, i.engine, objects, func(it *item) (*Result, error) {
		r := i.judge.result(it)
		if draw == nil {
			return r, nil
		}
		return r, draw(r)
	}, use)
}

// Close answers the objects that were taken, then frees the model. Later objects get an error.
func (i *Inspector) Close() error {
	i.close.Do(func() { close(i.closing) })
	<-i.stopped
	return i.engine.close()
}

// serve runs the objects of Object in batches until Close.
func (i *Inspector) serve() {
	defer close(i.stopped)
	var next *item
	for {
		first := next
		if first == nil {
			select {
			case first = <-i.queue:
			case <-i.closing:
				return
			}
		}
		var batch []*item
		batch, next = i.gather(first, i.most(len(first.views)))
		if i.batch != nil {
			i.batch(len(batch))
		}
		err := i.engine.run(batch)
		for _, it := range batch {
			it.err = err
			close(it.done)
		}
	}
}

// cpuImages is the number of images from which on a CPU takes as long for each, however many go through the model
// together (docs/performance.md).
const cpuImages = 5

// most is the number of objects of a batch. On a CPU more images than cpuImages would only make the first ones wait for
// the last.
func (i *Inspector) most(views int) int {
	full := i.engine.batch(views)
	if i.engine.model.Device == tensor.CPU {
		return min(full, (cpuImages+views-1)/max(1, views))
	}
	return full
}

// gather returns first and what waits behind it, at most n items of the same number of views, and the item that did not
// fit, if there is one.
func (i *Inspector) gather(first *item, n int) (batch []*item, next *item) {
	batch = append(batch, first)
	var late <-chan time.Time
	for len(batch) < n {
		if late == nil && i.wait > 0 && i.coming.Load() > 0 {
			late = time.After(i.wait)
		}
		var it *item
		select {
		case it = <-i.queue:
		default:
			if late == nil || i.coming.Load() == 0 {
				return batch, nil
			}
			select {
			case it = <-i.queue:
			case <-late:
				return batch, nil
			}
		}
		if len(it.views) != len(first.views) {
			return batch, it
		}
		batch = append(batch, it)
	}
	return batch, nil
}
