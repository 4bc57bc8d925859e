package train

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"mvag-torch/dataset"
	"mvag-torch/train/feature"
)

// feed hands out the batches of a run in order.
type feed interface {
	Next() (*Batch, error)
	Recycle(*Batch) // the caller is through with it
	Close()
}

// Batch is what a step takes in: whole objects, as decoded pictures or as what
// the encoder gave for them.
type Batch struct {
	*dataset.Batch
	Features []byte // [S*V, rows, C] of float16 (model.Pack); nil where there are pictures
}

// pictureFeed decodes pictures.
type pictureFeed struct{ *dataset.Loader }

func (f pictureFeed) Next() (*Batch, error) {
	b, err := f.Loader.Next()
	return &Batch{Batch: b}, err
}

func (f pictureFeed) Recycle(b *Batch) { f.Loader.Recycle(b.Batch) }

// featureFeed reads a sealed store, some batches ahead of their use, and closes it.
type featureFeed struct {
	store     *feature.Store
	prints    map[*dataset.Object]feature.Print
	viewBytes int

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	queue  chan readBatch
	free   chan []byte
}

type readBatch struct {
	*Batch
	err error
}

// newFeatureFeed plans with order the batches from start to the one before end.
func newFeatureFeed(ctx context.Context, store *feature.Store, prints map[*dataset.Object]feature.Print, order func(k int) []*dataset.Object, viewBytes, start, end, ahead int) *featureFeed {
	f := &featureFeed{store: store, prints: prints, viewBytes: viewBytes,
		queue: make(chan readBatch, ahead), free: make(chan []byte, ahead+1)}
	f.ctx, f.cancel = context.WithCancel(ctx)
	f.wg.Go(func() {
		defer close(f.queue)
		for k := start; k < end; k++ {
			b, err := f.read(k, order(k))
			select {
			case f.queue <- readBatch{b, err}:
			case <-f.ctx.Done():
				return
			}
		}
	})
	return f
}

// read copies the features of a batch, its objects in parallel.
func (f *featureFeed) read(k int, objects []*dataset.Object) (*Batch, error) {
	views := len(objects[0].Views)
	b := &Batch{Batch: &dataset.Batch{Index: k, Objects: objects, Views: views, Present: make([]bool, len(objects)*views)}}
	size := views * f.viewBytes
	select {
	case b.Features = <-f.free:
	default:
		b.Features = make([]byte, len(objects)*size)
	}
	errs := make([]error, len(objects))
	var wg sync.WaitGroup
	for i, o := range objects {
		wg.Go(func() {
			errs[i] = f.store.Read(f.prints[o], b.Present[i*views:][:views], b.Features[i*size:][:size])
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return b, err
	}
	if !slices.Contains(b.Present, true) {
		return b, fmt.Errorf("%s: no picture of this object and of the others of its batch could be read", objects[0].ID)
	}
	return b, nil
}

func (f *featureFeed) Next() (*Batch, error) {
	if f.ctx.Err() != nil { // else a batch that is ready might be preferred
		return nil, f.ctx.Err()
	}
	r, ok := <-f.queue
	if !ok {
		return nil, io.EOF
	}
	return r.Batch, r.err
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
	f.store.Close() // it was read only: nothing can be lost
}
