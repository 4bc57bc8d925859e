package eval

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"mvag-torch/dataset"
	"mvag-torch/eval/score"
	"mvag-torch/internal/tensor"
)

// ingest scores the maps of one class beside the device.
type ingest struct {
	*run
	name    string
	class   *score.Class
	objects []dataset.Object // those with defects first
	place   []int            // of each in the results
	maps    *mapFile         // nil if maps are not saved

	marked atomic.Int64 // objects with defects that are still to be scored
	sink   sync.Mutex
}

// job is an object with its maps.
type job struct {
	place  int
	object *dataset.Object // without the images that were left out
	marked bool            // it is defective, with all its images
	maps   []float32
}

func newIngest(r *run, name string, objects []dataset.Object) (*ingest, error) {
	in := &ingest{run: r, name: name, place: make([]int, len(objects))}
	for i := range in.place {
		in.place[i] = i
	}
	slices.SortStableFunc(in.place, func(a, b int) int { return cmp.Compare(good(&objects[a]), good(&objects[b])) })
	for _, i := range in.place {
		in.objects = append(in.objects, objects[i])
		in.marked.Add(int64(1 - good(&objects[i])))
	}
	other := dataset.MaskGT05
	if r.cfg.Eval.MaskRule == other {
		other = dataset.MaskGT0
	}
	in.class = score.NewClass(name, score.Options{Top: r.cfg.Eval.Top, AuproLimit: r.cfg.Eval.AuproLimit, OtherRule: other})
	if in.marked.Load() == 0 {
		in.class.Seal()
	}
	if r.opt.Maps == "" {
		return in, nil
	}
	var err error
	in.maps, err = createMaps(r.opt.Maps, name, objects, r.cfg.Eval.MapSize)
	return in, err
}

// good is 0 for an object with a defect and 1 for others.
func good(o *dataset.Object) int {
	if o.Defective() {
		return 0
	}
	return 1
}

// workers is the number of goroutines that score.
func (r *run) workers() int {
	return cmp.Or(r.cfg.Data.Workers, runtime.GOMAXPROCS(0))
}

// evaluate runs and scores the class.
func (in *ingest) evaluate(s *tensor.Scope) (score.Result, error) {
	ctx, cancel := context.WithCancelCause(in.ctx)
	defer cancel(nil)
	jobs := make(chan job, in.workers())
	var wg sync.WaitGroup
	for range in.workers() {
		wg.Go(func() {
			for j := range jobs {
				if err := in.object(j); err != nil {
					cancel(err)
				}
			}
		})
	}
	err := in.predict(ctx, s, in.objects, func(i int, object *dataset.Object, maps []float32) error {
		select {
		case jobs <- job{in.place[i], object, in.objects[i].Defective(), maps}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		in.done += images(&in.objects[i])
		in.sink.Lock()
		in.opt.Sink.Batch(in.name, in.done, in.total)
		in.sink.Unlock()
		return nil
	})
	close(jobs)
	wg.Wait()
	if err == nil {
		err = context.Cause(ctx) // of a goroutine
	}
	var result score.Result
	if err == nil {
		result, err = in.class.Finish()
	}
	return result, in.maps.finish(result, err)
}

// object scores one object. After the last with a defect, the class needs no
// maps to be kept.
func (in *ingest) object(j job) error {
	views, err := in.views(j.object, j.maps)
	if err != nil {
		return err
	}
	if len(views) > 0 { // else all were left out
		score, err := in.class.Add(j.place, j.object.ID, views)
		if err != nil {
			return err
		}
		in.show(j.object, views, score)
	}
	if j.marked && in.marked.Add(-1) == 0 {
		in.class.Seal()
	}
	return in.maps.write(j.place, views)
}

// views lists the images of an object with their parts of the maps [V, size,
// size] and their masks.
func (in *ingest) views(object *dataset.Object, maps []float32) ([]score.View, error) {
	size := in.cfg.Eval.MapSize
	var views []score.View
	for i, v := range object.Views {
		if !v.Present() {
			continue
		}
		view := score.View{
			Camera: v.Camera + 1, Path: v.Path, Code: v.Code, Defective: v.Defective(),
			Height: size, Width: size, Scores: maps[i*size*size : (i+1)*size*size],
		}
		view.Unmasked = v.Defective() && v.Mask == ""
		if v.Defective() && !view.Unmasked {
			masks, err := in.source.Masks(v, size)
			if err != nil && in.source.Skip(v, err) {
				continue
			}
			if err != nil {
				return nil, err
			}
			view.Mask = masks[in.cfg.Eval.MaskRule]
			for rule, mask := range masks {
				if rule != in.cfg.Eval.MaskRule {
					view.Other = mask
				}
			}
		}
		views = append(views, view)
	}
	return views, nil
}

// show hands the maps of an object with a score to the sink, if it wants them.
func (in *ingest) show(object *dataset.Object, views []score.View, score float64) {
	in.sink.Lock()
	defer in.sink.Unlock()
	if !in.opt.Sink.Wants(object, score) {
		return
	}
	for _, view := range views {
		in.opt.Sink.Map(object.Views[view.Camera-1], object, view.Scores, view.Mask)
	}
}
