package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// Batch is S whole objects, decoded.
type Batch struct {
	Index   int       // number of the batch in the run, or in the pass over the list
	Objects []*Object // [S]
	Views   int       // V
	Pixels  []uint8   // [S*V, 3, Crop, Crop], object-major; absent views are zeros
	Present []bool    // [S*V]; false where there is no image or it was left out
}

// LoaderOptions are what a loader needs besides its objects.
type LoaderOptions struct {
	Source  Source
	Objects int   // S, objects in a batch
	Seed    int64 // order of training objects; unused in evaluation
	Start   int   // index of the first batch: a resumed run's iteration
	Count   int   // number of batches; 0 means without end in training, all in evaluation
	Workers int   // decoding goroutines; 0 means one a CPU
	// Prefetch is the number of batches decoded ahead, at least 1; memory is bounded by it and by the batches that the
	// caller holds.
	Prefetch int
}

// Memory is what a loader of objects with that many views takes once it runs, in bytes: the batches decoded ahead, one
// at work and one given back. What a worker needs to decode one image comes on top, and depends on its size.
func (opt LoaderOptions) Memory(views int) int64 {
	side := int64(opt.Source.Fit.Crop)
	return int64(opt.Prefetch+2) * int64(opt.Objects) * int64(views) * 3 * side * side
}

// errClosed is what Next returns after Close.
var errClosed = errors.New("dataset: the loader is closed")

// Loader decodes batches ahead of their use. Next, Recycle and Close belong to one goroutine; cancelling the context
// works from anywhere.
type Loader struct {
	opt    LoaderOptions
	views  int
	train  bool
	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup

	slots chan struct{} // one token a batch between its planning and Next
	queue chan *pending // in order; never fuller than slots
	tasks chan task
	free  chan []uint8 // recycled pixels
	err   error        // what ended the loader
}

// pending is a batch whose images are being decoded.
type pending struct {
	batch *Batch
	errs  []error // [S*V]
	lost  []error // [S*V], of images left out
	left  atomic.Int32
	done  chan struct{} // closed when left is 0
}

// task is one image of a batch.
type task struct {
	*pending
	i    int
	view View
	dst  []uint8 // [3, Crop, Crop]
}

// NewTrainLoader returns a loader of endless shuffled epochs. Batch k is a pure function of the objects, Seed and k,
// whatever Start, Workers and Prefetch. Objects that do not fill a batch sit out their epoch.
func NewTrainLoader(ctx context.Context, objects []Object, opt LoaderOptions) (*Loader, error) {
	order, err := TrainOrder(objects, opt.Objects, opt.Seed)
	if err != nil {
		return nil, err
	}
	return newLoader(ctx, len(objects[0].Views), opt, true, order), nil
}

// NewEvalLoader returns a loader of one pass over objects in their order; the last batch may be smaller.
func NewEvalLoader(ctx context.Context, objects []Object, opt LoaderOptions) (*Loader, error) {
	if len(objects) == 0 {
		return nil, errors.New("no images: have 0 objects, want at least one")
	}
	return newLoader(ctx, len(objects[0].Views), opt, false, evalOrder(objects, opt.Objects)), nil
}

func newLoader(ctx context.Context, views int, opt LoaderOptions, train bool, plan func(k int) []*Object) *Loader {
	if opt.Workers == 0 {
		opt.Workers = runtime.GOMAXPROCS(0)
	}
	l := &Loader{
		opt: opt, views: views, train: train,
		slots: make(chan struct{}, opt.Prefetch),
		queue: make(chan *pending, opt.Prefetch),
		tasks: make(chan task),
		free:  make(chan []uint8, opt.Prefetch+1),
	}
	l.ctx, l.cancel = context.WithCancelCause(ctx)
	l.wg.Go(func() { l.dispatch(plan) })
	for range opt.Workers {
		l.wg.Go(l.work)
	}
	return l
}

// Next returns the next batch. Batches come in order, however their images are decoded. It returns io.EOF after the
// last; the first error, which names the file at fault, ends the loader, and so does the end of the context.
func (l *Loader) Next() (*Batch, error) {
	if l.err != nil {
		return nil, l.err
	}
	b, err := l.next()
	if err != nil {
		l.err = err
		l.cancel(err)
		return nil, err
	}
	return b, nil
}

func (l *Loader) next() (*Batch, error) {
	if l.ctx.Err() != nil { // else a batch that is ready might be preferred
		return nil, context.Cause(l.ctx)
	}
	var p *pending
	select {
	case p = <-l.queue:
	case <-l.ctx.Done():
		return nil, context.Cause(l.ctx)
	}
	if p == nil { // closed by dispatch
		if l.ctx.Err() != nil {
			return nil, context.Cause(l.ctx)
		}
		return nil, io.EOF
	}
	select {
	case <-p.done:
	case <-l.ctx.Done():
		return nil, context.Cause(l.ctx)
	}
	<-l.slots
	for _, err := range p.errs {
		if err != nil {
			return nil, err
		}
	}
	return p.batch, p.leaveOut(l.train)
}

// leaveOut puts objects without the images that could not be read into the batch, as if the index did not have them.
// Which ones are absent depends on the files alone and moves no other object, so a resumed run sees the same batches.
// Training needs an image a batch.
func (p *pending) leaveOut(train bool) error {
	b := p.batch
	for i, err := range p.lost {
		if err == nil {
			continue
		}
		if train && !slices.Contains(b.Present, true) {
			return fmt.Errorf("%w; nor can any other image of this batch, and data.on_error: skip needs one", err)
		}
		o := *b.Objects[i/b.Views]
		o.Views = slices.Clone(o.Views)
		o.Views[i%b.Views] = View{Camera: o.Views[i%b.Views].Camera}
		b.Objects[i/b.Views] = &o
	}
	return nil
}

// Recycle gives the pixels of a batch back for a later one; the caller must not use them any more. Without it every
// batch is allocated anew.
func (l *Loader) Recycle(b *Batch) {
	pixels := b.Pixels
	b.Pixels = nil
	select {
	case l.free <- pixels:
	default: // the caller held more than the loader needs
	}
}

// Close stops the goroutines and waits for them, for the time of one image at most. It need not be called after an
// error of Next, but may be.
func (l *Loader) Close() {
	l.cancel(errClosed)
	l.wg.Wait()
	if l.err == nil {
		l.err = context.Cause(l.ctx)
	}
}

// dispatch plans batches and hands out their images, in order.
func (l *Loader) dispatch(plan func(k int) []*Object) {
	defer close(l.queue)
	defer close(l.tasks)
	for k := l.opt.Start; l.opt.Count == 0 || k-l.opt.Start < l.opt.Count; k++ {
		objects := plan(k)
		if objects == nil {
			return
		}
		select {
		case l.slots <- struct{}{}:
		case <-l.ctx.Done():
			return
		}
		p, tasks := l.prepare(k, objects)
		l.queue <- p
		for _, t := range tasks {
			select {
			case l.tasks <- t:
			case <-l.ctx.Done():
				return
			}
		}
	}
}

// prepare allocates a batch and lists the images to decode into it.
func (l *Loader) prepare(k int, objects []*Object) (*pending, []task) {
	n := len(objects) * l.views
	size := 3 * l.opt.Source.Fit.Crop * l.opt.Source.Fit.Crop
	p := &pending{
		batch: &Batch{Index: k, Objects: objects, Views: l.views,
			Pixels: l.pixels(n * size), Present: make([]bool, n)},
		errs: make([]error, n),
		lost: make([]error, n),
		done: make(chan struct{}),
	}
	var tasks []task
	for i := range n {
		v := objects[i/l.views].Views[i%l.views]
		dst := p.batch.Pixels[i*size:][:size]
		if !v.Present() {
			clear(dst)
			continue
		}
		p.batch.Present[i] = true
		tasks = append(tasks, task{pending: p, i: i, view: v, dst: dst})
	}
	if len(tasks) == 0 {
		close(p.done)
	}
	p.left.Store(int32(len(tasks)))
	return p, tasks
}

// pixels returns recycled memory for n values where it is large enough.
func (l *Loader) pixels(n int) []uint8 {
	select {
	case buf := <-l.free:
		if cap(buf) >= n {
			return buf[:n]
		}
	default:
	}
	return make([]uint8, n)
}

func (l *Loader) work() {
	for t := range l.tasks {
		switch _, _, err := l.opt.Source.Image(t.view, t.dst); {
		case err != nil && l.opt.Source.Skip(t.view, err):
			clear(t.dst)
			t.lost[t.i], t.batch.Present[t.i] = err, false
		default:
			t.errs[t.i] = err
		}
		if t.left.Add(-1) == 0 {
			close(t.done)
		}
	}
}
