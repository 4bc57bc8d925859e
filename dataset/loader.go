package dataset

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// Batch is S decoded objects, all of them whole or one tile each ([Tiled]).
type Batch struct {
	Index   int               // index of the batch in the run, or in the pass over the list
	Objects []*Object         // [S]
	Views   int               // V
	Tiles   int               // T, tiles of a view
	Pixels  []uint8           // [S*V, T, 3, crop height, crop width], object-major; absent views are zero
	Present []bool            // [S*V]; false if there is no image or it was left out
	Content []image.Rectangle // [S*V], where the image lies in the viewport, in pixels; empty where it is absent
	LeftOut map[int]error     // why images could not be read and were left out, by index among the S*V
}

// LoaderOptions configure a loader.
type LoaderOptions struct {
	Source  Source
	Objects int   // S, objects per batch
	Part    Part  // of each training batch
	Seed    int64 // seed of the order in training; unused in evaluation
	Start   int   // index of the first batch: a resumed run's iteration
	Count   int   // number of batches; 0 means endless in training, all in evaluation
	Workers int   // decoding goroutines; 0 means one per CPU
	// Prefetch is the number of batches decoded ahead, at least 1. It bounds memory, together with the batches that the
	// caller keeps.
	Prefetch int
}

// Memory returns the memory of a running loader in bytes, for objects like o: the batches decoded ahead, one in progress
// and one recycled, with all their tiles. Each worker also needs memory for one decoded image, which depends on its size.
func (opt LoaderOptions) Memory(o *Object) int64 {
	return int64(opt.Prefetch+2) * int64(opt.Part.Objects(opt.Objects)) * int64(len(o.Views)) * int64(opt.Source.Fit.imageBytes(o.Tile))
}

// TilePixels returns the pixels of one tile of all views of a batch, [S*V, 3, crop height, crop width], in dst if there
// are more tiles than that.
func (b *Batch) TilePixels(tile int, dst []uint8) []uint8 {
	if b.Tiles == 1 {
		return b.Pixels
	}
	views := len(b.Present)
	size := len(b.Pixels) / (views * b.Tiles)
	dst = slices.Grow(dst[:0], views*size)
	for i := range views {
		dst = append(dst, b.Pixels[(i*b.Tiles+tile)*size:][:size]...)
	}
	return dst
}

// errClosed is returned by Next after Close.
var errClosed = errors.New("dataset: the loader is closed")

// Loader decodes batches ahead. Next and Close must be called by one goroutine; Recycle may be called and the context
// cancelled from anywhere.
type Loader struct {
	opt    LoaderOptions
	views  int
	train  bool
	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup

	slots chan struct{} // one token per batch from its planning until Next returns it
	queue chan *pending // in order; never fuller than slots
	tasks chan task
	free  chan []uint8 // recycled Pixels
	err   error        // why the loader ended
}

// pending is a batch whose images are being decoded.
type pending struct {
	batch *Batch
	errs  []error // [S*V]
	left  atomic.Int32
	done  chan struct{} // closed when left reaches 0
}

// task is one image of a batch.
type task struct {
	*pending
	i    int
	view View
	dst  []uint8 // [T, 3, crop height, crop width]
}

// NewTrainLoader returns a loader of endless shuffled epochs. Batch k depends only on the objects, Seed and k, not on
// Start, Workers and Prefetch. Objects that do not fill a batch are left out of their epoch.
func NewTrainLoader(ctx context.Context, objects []Object, opt LoaderOptions) (*Loader, error) {
	order, err := TrainOrder(objects, opt.Objects, opt.Seed)
	if err != nil {
		return nil, err
	}
	return newLoader(ctx, len(objects[0].Views), opt, true, opt.Part.Of(order)), nil
}

// NewEvalLoader returns a loader that passes once over objects in order. The last batch may be smaller.
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

// Next returns the next batch, in order. It returns io.EOF after the last. The first error, which names the file, ends
// the loader; so does the end of the context.
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
	if l.ctx.Err() != nil { // otherwise a batch that is ready might be chosen
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
	return p.batch, p.leaveOut(l.opt.Source, l.train && !l.opt.Part.partial())
}

// leaveOut replaces objects with images that could not be read by copies without those images, as if the index did not
// contain them, or returns the first error that stops the run. Which images are absent depends only on the files and
// moves no other object, so a resumed run sees the same batches. A training batch needs at least one image, which a part
// of it need not have.
func (p *pending) leaveOut(source Source, needsOne bool) error {
	b := p.batch
	var lost error
	for i, err := range p.errs {
		if err == nil {
			continue
		}
		view := b.Objects[i/b.Views].Views[i%b.Views]
		if err := source.Skip(view, err); err != nil {
			return err
		}
		if lost == nil {
			lost, b.LeftOut = err, map[int]error{}
		}
		b.LeftOut[i] = err
		size := len(b.Pixels) / len(p.errs)
		clear(b.Pixels[i*size:][:size])
		b.Present[i], b.Content[i] = false, image.Rectangle{}
		b.Objects[i/b.Views] = b.Objects[i/b.Views].Without(i % b.Views)
	}
	if needsOne && lost != nil && !slices.Contains(b.Present, true) {
		return fmt.Errorf("%w; no other image of this batch can be read either, and data.on_error: skip needs one", lost)
	}
	return nil
}

// Without returns a copy of o that has no image of the i-th view.
func (o *Object) Without(i int) *Object {
	without := *o
	without.Views = slices.Clone(o.Views)
	without.Views[i] = View{Camera: o.Views[i].Camera, Tile: o.Views[i].Tile}
	return &without
}

// Recycle returns the pixels of a batch to the loader for reuse; the caller must not use them afterwards. It is
// optional.
func (l *Loader) Recycle(b *Batch) {
	pixels := b.Pixels
	b.Pixels = nil
	select {
	case l.free <- pixels:
	default: // the caller kept more batches than the loader needs
	}
}

// Close stops the goroutines and waits for them, at most for the time of one image. After an error of Next it is
// optional.
func (l *Loader) Close() {
	l.cancel(errClosed)
	l.wg.Wait()
	if l.err == nil {
		l.err = context.Cause(l.ctx)
	}
}

// dispatch plans batches and distributes their images, in order.
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

// prepare allocates a batch and lists the images to decode.
func (l *Loader) prepare(k int, objects []*Object) (*pending, []task) {
	n, tile := len(objects)*l.views, objects[0].Tile
	size := l.opt.Source.Fit.imageBytes(tile)
	p := &pending{
		batch: &Batch{Index: k, Objects: objects, Views: l.views, Tiles: len(l.opt.Source.Fit.windows(tile)),
			Pixels: l.pixels(n * size), Present: make([]bool, n), Content: make([]image.Rectangle, n)},
		errs: make([]error, n),
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

// pixels returns memory for n values, recycled if large enough.
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
		w, h, err := l.opt.Source.Image(t.view, t.dst)
		if t.errs[t.i] = err; err == nil {
			t.batch.Content[t.i] = l.opt.Source.Fit.Content(w, h)
		}
		if t.left.Add(-1) == 0 {
			close(t.done)
		}
	}
}
