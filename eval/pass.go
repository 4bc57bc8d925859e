package eval

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"mvag-torch/dataset"
	"mvag-torch/internal/tensor"
	"mvag-torch/model/calibration"
)

// pass runs objects of one class through the model in their order: rank r predicts the batches r, r+N, r+2N ... of N
// ranks, and rank 0 gathers a round of them. A batch has the objects that it has in one process, so that the device
// computes the same bits.
type pass struct {
	*run
	meeting
	objects []dataset.Object
	work    func(predicted) error // on rank 0, by goroutines, for each object while the device goes on
	done    func(n int)           // on rank 0, after each batch, with the number of objects so far

	flat []float32 // what this rank sends
}

// batch is a batch of a pass with its maps.
type batch struct {
	objects []*dataset.Object
	maps    [][]float32 // [S*V] maps [h, w], by the headline; nil where an image is absent
	memory  [][]float32 // the same by the memory; nil also where there is none

	pixels  []uint8 // as in dataset.Batch; nil where another rank has them
	content []image.Rectangle
	recycle func()
}

// over makes the pass. All ranks know of its error.
func (p *pass) over(s *tensor.Scope) error {
	group, ctx := errgroup.WithContext(p.ctx)
	group.SetLimit(p.workers())
	loader, err := p.load(ctx)
	if loader != nil {
		defer loader.Close()
	}
	defer func() { _ = group.Wait() }() // also after a panic of the device
	for first := 0; first < len(p.objects); first += p.team.Size() * p.cfg.Eval.Objects {
		var mine word
		var own *batch
		if err == nil && loader != nil {
			own, err = p.next(s, loader, &mine)
		}
		if err != nil {
			if failed := group.Wait(); failed != nil {
				err = failed // that is why the loader ended
			}
		}
		said, met := p.meet(mine, err)
		if met != nil {
			return met
		}
		var all []*batch
		all, err = p.gathered(first, own, said)
		n := first
		for _, b := range all {
			p.spread(group, n, b)
			n += len(b.objects)
			p.done(n)
		}
	}
	if failed := group.Wait(); failed != nil {
		err = failed
	}
	return p.end(err)
}

// end tells rank 0 what is odd about the files that other ranks have read.
func (p *pass) end(err error) error {
	if err == nil && p.ctx.Err() != nil {
		err = context.Cause(p.ctx)
	}
	var mine word
	if p.team.Rank() > 0 {
		mine.Noted = p.source.Notes.Files()
	}
	said, err := p.meet(mine, err)
	if err != nil || p.team.Rank() > 0 {
		return err
	}
	for _, other := range said {
		p.source.Notes.AddFiles(other.Noted)
	}
	return nil
}

// load returns the loader of this rank's batches; nil for none.
func (p *pass) load(ctx context.Context) (*dataset.Loader, error) {
	size, own := p.cfg.Eval.Objects, p.objects
	if n := p.team.Size(); n > 1 {
		own = nil
		for first := p.team.Rank() * size; first < len(p.objects); first += n * size {
			own = append(own, p.objects[first:min(first+size, len(p.objects))]...)
		}
		if own == nil {
			return nil, nil
		}
	}
	return dataset.NewEvalLoader(ctx, own, p.loading())
}

// next predicts the next batch of this rank, nil after the last, and says in mine what rank 0 has to know of it.
func (p *pass) next(s *tensor.Scope, loader *dataset.Loader, mine *word) (*batch, error) {
	b, err := loader.Next()
	switch {
	case err == io.EOF:
		return nil, nil
	case err != nil:
		return nil, err
	}
	prediction := p.predictor.Predict(s, b)
	if p.team.Rank() > 0 {
		mine.Uncaptured, p.untold = p.untold, ""
		for i, err := range b.LeftOut {
			if mine.LeftOut == nil {
				mine.LeftOut = map[int]string{}
			}
			mine.LeftOut[i] = err.Error()
		}
	}
	out := &batch{
		objects: b.Objects, maps: prediction.Maps, memory: prediction.Memory, pixels: b.Pixels, content: b.Content,
		recycle: func() { loader.Recycle(b) },
	}
	if p.headsOf(b.Objects[0].Class).headline == calibration.Memory {
		out.maps = out.memory
	}
	return out, nil
}

// gathered returns the batches of a round on rank 0, whose objects begin at first: own, which is this rank's, and those
// of others, of which ranks have said what they have left out. The error is of this rank alone.
func (p *pass) gathered(first int, own *batch, said []word) ([]*batch, error) {
	if p.team == nil {
		return []*batch{own}, nil
	}
	p.flat = p.flat[:0]
	if own != nil && p.team.Rank() > 0 {
		for _, maps := range p.sent(own) {
			for _, m := range maps {
				p.flat = append(p.flat, m...)
			}
		}
	}
	parts := p.team.Group().Gather(p.flat)
	if p.team.Rank() > 0 {
		return nil, nil
	}
	all := []*batch{own}
	for rank := 1; rank < len(said); rank++ {
		if p.uncapturedBy(rank, said[rank].Uncaptured); first+rank*p.cfg.Eval.Objects >= len(p.objects) {
			break
		}
		b, err := p.received(first+rank*p.cfg.Eval.Objects, said[rank].LeftOut, parts[rank])
		if err != nil {
			return all, err
		}
		all = append(all, b)
	}
	return all, nil
}

// sent lists the kinds of maps of a batch that rank 0 scores.
func (p *pass) sent(b *batch) [][][]float32 {
	if len(p.headsOf(p.objects[0].Class).others) == 0 {
		return [][][]float32{b.maps}
	}
	return [][][]float32{b.maps, b.memory}
}

// received is the batch of another rank whose objects begin at first, with maps as that rank has sent them. Images that
// it has left out are left out here, too.
func (p *pass) received(first int, leftOut map[int]string, values []float32) (*batch, error) {
	b := &batch{recycle: func() {}}
	for i := range p.objects[first:min(first+p.cfg.Eval.Objects, len(p.objects))] {
		b.objects = append(b.objects, &p.objects[first+i])
	}
	views, area := len(b.objects[0].Views), p.cfg.MapSize().Area()
	b.maps, b.memory = make([][]float32, len(b.objects)*views), make([][]float32, len(b.objects)*views)
	for i := range b.maps {
		if why, ok := leftOut[i]; ok {
			o := b.objects[i/views]
			if err := p.source.Skip(o.Views[i%views], errors.New(why)); err != nil {
				return nil, err
			}
			b.objects[i/views] = o.Without(i % views)
		}
	}
	sent, present := p.sent(b), 0
	for _, o := range b.objects {
		present += images(*o)
	}
	if want := len(sent) * area * present; len(values) != want {
		return nil, fmt.Errorf("have %d values of maps from another rank, want %d", len(values), want)
	}
	for _, maps := range sent {
		for i := range maps {
			if b.objects[i/views].Views[i%views].Present() {
				maps[i], values = values[:area:area], values[area:]
			}
		}
	}
	return b, nil
}

// spread lets goroutines work on a batch whose objects begin at first.
func (p *pass) spread(group *errgroup.Group, first int, b *batch) {
	n := len(b.objects)
	var left atomic.Int32
	left.Store(int32(n))
	for i, object := range b.objects {
		one := predicted{
			first + i, object, part(b.maps, i, n), part(b.memory, i, n), part(b.pixels, i, n), part(b.content, i, n),
		}
		group.Go(func() error {
			defer func() {
				if left.Add(-1) == 0 {
					b.recycle()
				}
			}()
			return p.work(one)
		})
	}
}
