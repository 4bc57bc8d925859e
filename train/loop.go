package train

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mvag-torch/dataset"
	"mvag-torch/internal/interrupt"
	"mvag-torch/internal/team"
	"mvag-torch/internal/tensor"
)

// loop takes the remaining steps.
func (r *run) loop(s *tensor.Scope) error {
	cfg := r.cfg
	if r.every == 0 {
		r.every = cfg.Train.LogEvery
		if r.device == tensor.CPU {
			r.every = 1 // reading back costs nothing there
		}
	}
	r.ring = tensor.Zeros(s, r.device, tensor.Float, int64(r.every), 2)
	r.sink.Begin(r.begin())
	if r.alone && r.saved == 0 { // enrolled before, without what follows
		r.sink.Remembered(r.memory)
		return nil
	}
	if r.alone {
		if err := r.encodeToRemember(s); err != nil {
			return r.stop(err)
		}
		return r.save()
	}
	if r.done >= cfg.Train.Iterations {
		return nil
	}
	batches, err := r.feed(s)
	if err != nil {
		return r.stop(err)
	}
	defer batches.Close()
	clock := newClock(r.done, cfg.Train.Iterations, cfg.Train.Objects*cfg.Data.Views)
	for r.done < cfg.Train.Iterations {
		wait := time.Now()
		batch, err := batches.Next()
		if err := r.call(batch, err); err != nil {
			return r.stop(err)
		}
		clock.waited += time.Since(wait)
		lr := r.stepper.LR(r.done)
		s.Local(func(s *tensor.Scope) *tensor.Tensor { r.step(s, batch, lr); return nil })
		batches.Recycle(batch)
		if len(r.pending) == r.every {
			if err := r.flush(); err != nil {
				return err
			}
		}
		if r.done%cfg.Train.CheckpointEvery == 0 || r.done == cfg.Train.Iterations {
			if err := r.save(); err != nil {
				return err
			}
		}
		r.sink.Step(clock.step(r.done, r.loss, lr))
	}
	return nil
}

// feed prepares the batches of the remaining steps.
func (r *run) feed(s *tensor.Scope) (feed, error) {
	if r.cfg.Train.CachesFeatures() {
		return r.cachedFeed(s)
	}
	if err := r.encodeToRemember(s); err != nil {
		return nil, err
	}
	loader, err := dataset.NewTrainLoader(r.ctx, r.tiles, r.batches())
	r.again = r.decodeAgain
	return imageFeed{loader}, err
}

// decodeAgain reads the images of an earlier batch.
func (r *run) decodeAgain(it int) (*Batch, error) {
	opt := r.batches()
	opt.Start, opt.Count, opt.Prefetch = it, 1, 1
	loader, err := dataset.NewTrainLoader(r.ctx, r.tiles, opt)
	if err != nil {
		return nil, err
	}
	defer loader.Close()
	return imageFeed{loader}.Next()
}

// loading is how images are read.
func (r *run) loading() dataset.LoaderOptions {
	return dataset.LoaderOptions{
		Source: r.data.Source, Objects: r.cfg.Train.Objects, Seed: r.cfg.Seed,
		Start: r.done, Count: r.cfg.Train.Iterations - r.done,
		Workers: r.cfg.Data.Workers, Prefetch: r.cfg.Data.Prefetch,
	}
}

// batches is how this rank's part of the batches is read.
func (r *run) batches() dataset.LoaderOptions {
	opt := r.loading()
	opt.Part = r.part()
	return opt
}

func (r *run) begin() Begin {
	m := r.stepper.Model
	b := Begin{
		Folder: Folder(r.cfg), Device: r.device.String(), Kernels: m.Kernels.String(),
		Start: r.done, Iterations: r.cfg.Train.Iterations, Repaired: r.repaired, Lost: r.lost,
		Objects: len(r.data.Train), Classes: len(r.data.Classes), Missing: len(r.data.Missing), Params: m.Params.Count(),
		Batches: r.batches().Memory(&r.tiles[0]), Tiles: r.data.Source.TilesLine(r.data.Train), Auto: r.auto,
		Differs: r.differs,
	}
	if r.cfg.Train.CachesFeatures() { // those queued, the one being read and the one in use
		b.Batches = int64(r.cfg.Data.Prefetch+2) * int64(r.part().Objects(r.cfg.Train.Objects)*r.cfg.Data.Views*m.PackedBytes())
	}
	if len(r.tiles) > len(r.data.Train) {
		passes := r.encoding()
		b.Batches = max(b.Batches, passes.Memory(&r.data.Train[0]))
		if r.cfg.Data.Cache == "" && r.cfg.Train.CacheFeatures == "off" && !r.alone {
			b.Tiles += "; each image is decoded again for each of its tiles, which mvag-torch dataset prepare or train.cache_features avoids"
		}
	}
	if b.Missing > 0 {
		b.FirstMissing = r.data.Missing[0].String()
	}
	for i := range r.data.Train {
		for _, v := range r.data.Train[i].Views {
			if v.Present() {
				b.Images++
			}
		}
	}
	return b
}

// stop ends the run early: it saves first, then explains. Where a rank is gone nobody saves: the others may have taken
// another number of steps, and the last checkpoint is good.
func (r *run) stop(cause error) error {
	said := interrupt.Error(fmt.Sprintf("interrupted after %d of %d iterations; go on with --resume", r.done, r.cfg.Train.Iterations))
	if r.alone {
		said = "interrupted; nothing is written, and the same command starts again"
	}
	var met *team.Failure
	asked := r.stopping || errors.Is(cause, context.Canceled) && !errors.As(cause, &met)
	if r.done > max(r.saved, 0) && !r.team.Lost() {
		if err := r.save(); err != nil && asked {
			return fmt.Errorf("interrupted after %d of %d iterations, without a checkpoint of them: %w", r.done, r.cfg.Train.Iterations, err)
		} else if err != nil {
			return errors.Join(cause, err)
		}
	}
	switch {
	case r.stopping:
		return r.team.Common(said)
	case asked:
		return said
	}
	return cause
}

// step takes the next step and keeps its loss and gradient norm on the device.
func (r *run) step(s *tensor.Scope, batch *Batch, lr float64) {
	lossAndNorm := r.stepper.Step(s, batch, r.done)
	tensor.NoGrad(func() { r.ring.Select(s, 0, int64(len(r.pending))).CopyFrom(lossAndNorm) })
	r.pending = append(r.pending, record{Iteration: r.done, LR: lr})
	r.done++
}

// flush reads back the pending losses and writes them to the journal. All ranks read the same.
func (r *run) flush() error {
	if len(r.pending) == 0 {
		return nil
	}
	values := r.ring.Floats()
	for i := range r.pending {
		p := &r.pending[i]
		p.Loss, p.GradNorm = value(values[2*i]), value(values[2*i+1])
		if p.Loss.finite() && p.GradNorm.finite() {
			r.loss = float64(p.Loss)
		} else if err := r.unsound(p); err != nil {
			return r.team.Common(errors.Join(r.journal.write(r.pending[:i]), err))
		}
	}
	err := r.journal.write(r.pending)
	r.pending = r.pending[:0]
	return r.agree(err)
}

// clock measures the run.
type clock struct {
	began         time.Time
	waited        time.Duration // for images
	start, total  int           // steps
	imagesPerStep int
}

func newClock(start, total, imagesPerStep int) *clock {
	return &clock{began: time.Now(), start: start, total: total, imagesPerStep: imagesPerStep}
}

func (c *clock) step(done int, loss, lr float64) Step {
	elapsed, steps := time.Since(c.began), done-c.start
	return Step{
		Done: done, Loss: loss, LR: lr,
		Rate:     float64(steps*c.imagesPerStep) / elapsed.Seconds(),
		DataWait: c.waited.Seconds() / elapsed.Seconds(),
		Left:     elapsed / time.Duration(steps) * time.Duration(c.total-done),
	}
}
