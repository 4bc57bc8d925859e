package train

import (
	"context"
	"errors"
	"io"
	"sync"

	"mvag-torch/dataset"
	"mvag-torch/train/feature"
)

// feed hands out the batches of a run in order.
type feed interface {
	Next() (*Batch, error)
	Recycle(*Batch) // the caller is done with it
	Close()
}

// Batch is what a step takes: whole objects, as decoded images or as what the encoder made of them.
type Batch struct {
	*dataset.Batch
	Everywhere []bool // Present of all ranks' parts of the batch, in order

	Features []byte // float16 [S·V, rows, C] (model.Pack); nil where there are images
}

// imageFeed decodes images.
type imageFeed struct{ *dataset.Loader }

func (f imageFeed) Next() (*Batch, error) {
	b, err := f.Loader.Next()
	return &Batch{Batch: b}, err
}

func (f imageFeed) Recycle(b *Batch) { f.Loader.Recycle(b.Batch) }

// featureFeed reads features some batches ahead of their use.
type featureFeed struct {
	mender

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	queue  chan readBatch
	free   chan []byte
}

type readBatch struct {
	*Batch
	errs []error // by object
}

// newFeatureFeed reads the batches start to end-1 of the given order and closes the store of m in the end.
func newFeatureFeed(ctx context.Context, m mender, order func(k int) []*dataset.Object,
	start, end, ahead int) *featureFeed {
	f := &featureFeed{mender: m, queue: make(chan readBatch, ahead), free: make(chan []byte, ahead+1)}
	f.ctx, f.cancel = context.WithCancel(ctx)
	f.wg.Go(func() {
		defer close(f.queue)
		for k := start; k < end; k++ {
			b, errs := f.read(k, order(k))
			select {
			case f.queue <- readBatch{b, errs}:
			case <-f.ctx.Done():
				return
			}
		}
	})
	return f
}

// read copies the features of a batch, its objects in parallel, each of which has an error or nil.
func (f *featureFeed) read(k int, objects []*dataset.Object) (*Batch, []error) {
	views := len(objects[0].Views)
	b := &Batch{Batch: &dataset.Batch{Index: k, Objects: objects, Views: views, Present: make([]bool, len(objects)*views)}}
	size := views * f.cache.viewBytes
	select {
	case b.Features = <-f.free:
	default:
		b.Features = make([]byte, len(objects)*size)
	}
	errs := make([]error, len(objects))
	var wg sync.WaitGroup
	for i, o := range objects {
		wg.Go(func() {
			errs[i] = f.cache.store.Read(f.cache.keys[o], b.Present[i*views:][:views], b.Features[i*size:][:size])
		})
	}
	wg.Wait()
	return b, errs
}

// mended computes anew what is damaged in a batch of read. Only the thread that trains may call it.
func (f *featureFeed) mended(b *Batch, errs []error) (*Batch, error) {
	for i, err := range errs {
		if errors.Is(err, feature.ErrDamaged) {
			size := b.Views * f.cache.viewBytes
			err = f.mend(err, b.Objects[i], b.Present[i*b.Views:][:b.Views], b.Features[i*size:][:size])
		}
		if err != nil {
			return b, err // a line of one is enough
		}
	}
	return b, nil
}

func (f *featureFeed) Next() (*Batch, error) {
	if f.ctx.Err() != nil { // select might prefer a batch that is ready
		return nil, f.ctx.Err()
	}
	r, ok := <-f.queue
	if !ok {
		return nil, io.EOF
	}
	return f.mended(r.Batch, r.errs)
}

func (f *featureFeed) Recycle(b *Batch) {
	select {
	case f.free <- b.Features:
	default:
	}
	b.Features = nil
}

func (f *featureFeed) Close() {
	f.cancel()
	f.wg.Wait()
	f.cache.store.Close() // only read: nothing can be lost
}
