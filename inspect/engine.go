package inspect

import (
	"context"
	"fmt"
	"image"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/calibration"
	"mvag-torch/model/imagescore"
	"mvag-torch/model/memory"
)

// engine takes objects from their images to anomaly maps.
type engine struct {
	cfg    configs.Config
	source dataset.Source
	tiles  int           // of an image
	slots  chan struct{} // one token for each image that is being decoded
	log    func(line string)
	wanted string // the head to judge by
	heads  calibration.Heads
	memory *memory.Memory

	// Of the device thread; scope is nil once the engine is closed.
	scope     *tensor.Scope
	model     *model.Model
	predictor *model.Predictor
}

// newEngine loads the model of u for images from source.
func newEngine(u *Setup, source dataset.Source) (*engine, error) {
	workers := u.Config.Data.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	source.Depths, source.Notes = u.Trained.Depths, u.Notes
	e := &engine{cfg: u.Config, source: source, tiles: len(source.Fit.Tiles()), slots: make(chan struct{}, workers),
		wanted: u.Config.Inspect.Head, heads: u.Heads, log: u.log}
	err := tensor.Run(func(*tensor.Scope) error {
		e.scope = tensor.NewScope()
		m, err := model.Open(e.scope, e.cfg, u.file)
		if err != nil {
			return err
		}
		u.log("kernels: " + m.Kernels.String())
		e.model = m.Model
		e.remember(m.Memory)
		return nil
	})
	if err != nil {
		_ = e.close() // the first error tells more
		return nil, err
	}
	return e, nil
}

// remember predicts with this memory, which may be nil, from now on. It runs on the device thread.
func (e *engine) remember(m *memory.Memory) {
	e.memory = m
	e.predictor = model.NewPredictor(e.scope, e.model, m, e.cfg, func(why error) {
		e.log(fmt.Sprintf("cuda_graph: predictions cannot be captured (%v); going on without", why))
	})
}

// close frees the model.
func (e *engine) close() error {
	return tensor.Run(func(*tensor.Scope) error {
		if e.scope != nil {
			e.scope.Close()
			e.scope = nil
		}
		return nil
	})
}

// batch is the number of objects in a full batch: eval.objects, or as many single images as those have.
func (e *engine) batch(views int) int { return e.cfg.Eval.Objects * e.cfg.Data.Views / max(1, views) }

// item is an object on its way through the model.
type item struct {
	ctx    context.Context
	index  int // of the object in stream
	object *dataset.Object
	pixels []uint8 // [V, T, 3, h, w]; zeros where a view is absent or cannot be read
	views  []view  // [V]
	queued time.Time
	waited time.Duration // for the model, by Object
	took   time.Duration

	head     string // that judges it
	unjudged error  // why none can

	done chan struct{} // closed after the model, when err is set
	err  error
}

// view is one view of an item.
type view struct {
	present       bool
	width, height int             // of the image, in pixels
	content       image.Rectangle // where it lies in the viewport
	err           error           // why it cannot be read

	reconstruction, memory []float32 // anomaly maps [h, w]; nil where it is not present, memory also where there is none
	values                 []float32 // the map that judges
	score                  float64   // of that map
}

// score is the score of the object, the highest of its images that have one; NaN where none has, and where one is not
// finite: what the other images show says nothing about the whole object then.
func (it *item) score() float64 {
	best := math.NaN()
	for _, v := range it.views {
		switch {
		case v.values == nil:
		case !finite(v.score):
			return math.NaN()
		case !(best >= v.score):
			best = v.score
		}
	}
	return best
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// present is the number of images that went through the model.
func (it *item) present() (n int) {
	for _, v := range it.views {
		if v.present {
			n++
		}
	}
	return n
}

// planes are the pixels of view j.
func (it *item) planes(j int) []uint8 {
	n := len(it.pixels) / len(it.views)
	return it.pixels[j*n : (j+1)*n]
}

// decode reads the images of an object, which has this index in stream. The error is that of ctx, or of an object that
// does not fit the model.
func (e *engine) decode(ctx context.Context, index int, object *dataset.Object) (*item, error) {
	n := len(object.Views)
	if n != 1 && n != e.cfg.Data.Views {
		return nil, fmt.Errorf("object %q: have %d views, want %d as the model, or 1", object.ID, n, e.cfg.Data.Views)
	}
	it := &item{ctx: ctx, index: index, object: object, pixels: make([]uint8, n*e.tiles*3*e.cfg.Data.Crop.Area()),
		views: make([]view, n), done: make(chan struct{})}
	var wg sync.WaitGroup
	for j, v := range object.Views {
		if !v.Present() {
			continue
		}
		select {
		case e.slots <- struct{}{}:
		case <-ctx.Done():
			wg.Wait()
			return nil, context.Cause(ctx)
		}
		wg.Go(func() {
			defer func() { <-e.slots }()
			if v.Path == "" {
				v.Path = fmt.Sprintf("image of camera C%d", v.Camera+1)
			}
			w, h, err := e.source.Image(e.source.At(v, object.Class), it.planes(j))
			if err != nil {
				clear(it.planes(j))
			}
			it.views[j] = view{present: err == nil, width: w, height: h, content: e.source.Fit.Content(w, h), err: err}
		})
	}
	wg.Wait()
	return it, nil
}

// run runs items of equal numbers of views through the model as one batch, without those whose context has ended.
func (e *engine) run(items []*item) error {
	items = slices.DeleteFunc(slices.Clone(items), func(it *item) bool { return it.ctx.Err() != nil })
	if len(items) == 0 {
		return nil
	}
	batch := &dataset.Batch{Views: len(items[0].views), Tiles: e.tiles}
	for _, it := range items {
		batch.Objects = append(batch.Objects, it.object)
		batch.Pixels = append(batch.Pixels, it.pixels...)
		for _, v := range it.views {
			batch.Present = append(batch.Present, v.present)
			batch.Content = append(batch.Content, v.content)
		}
	}
	began := time.Now()
	prediction, err := e.predict(batch)
	if err != nil {
		return err
	}
	took := time.Since(began) / time.Duration(len(items))
	var wg sync.WaitGroup
	for i, it := range items {
		it.took = took
		if !it.queued.IsZero() {
			it.waited = began.Sub(it.queued)
		}
		it.head, it.unjudged = e.heads.Head(e.wanted, it.object.Class, e.memory)
		levels, _ := e.heads.LevelsOf(it.object.Class) // Head knows that there are some
		for j := range it.views {
			v, row := &it.views[j], i*batch.Views+j
			if v.present {
				v.reconstruction, v.memory = prediction.Maps[row], prediction.Memory[row]
				if it.unjudged == nil {
					wg.Go(func() { v.judged(it.head, levels, e.cfg.Top()) })
				}
			}
		}
	}
	wg.Wait()
	return nil
}

// judged sets the map of the head that judges it and its score.
func (v *view) judged(head string, levels calibration.Levels, top float64) {
	switch head {
	case calibration.Reconstruction:
		v.values = v.reconstruction
	case calibration.Memory:
		v.values = v.memory
	case calibration.Both:
		v.values = levels.Mix(v.reconstruction, v.memory)
	}
	v.score = imagescore.TopMean(top, v.values)
}

// predict runs the model on a batch.
func (e *engine) predict(batch *dataset.Batch) (out model.Prediction, err error) {
	err = tensor.Run(func(s *tensor.Scope) error {
		if e.scope == nil {
			return errClosed
		}
		out = e.predictor.Predict(s, batch)
		return nil
	})
	return out, err
}

// stream runs objects through the model in batches of consecutive objects with the same number of views. work runs
// concurrently, once for each object; then use takes the outcomes one after the other, in the order of objects. The
// images of the next batches are decoded meanwhile. All calls have returned when stream returns.
func stream[T any](
	ctx context.Context, e *engine, objects []dataset.Object, work func(*item) (T, error), use func(T) error,
) error {
	g, ctx := errgroup.WithContext(ctx)
	batches := make(chan []*item, e.cfg.Data.Prefetch)
	g.Go(func() error {
		defer close(batches)
		return e.decodeAll(ctx, objects, batches)
	})
	outcomes := make(chan chan T, 2*cap(e.slots)) // in order; the capacity bounds the calls of work
	g.Go(func() error {
		defer close(outcomes)
		for batch := range batches {
			if err := e.run(batch); err != nil {
				return err
			}
			for _, it := range batch {
				outcome := make(chan T, 1)
				select {
				case outcomes <- outcome:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
				g.Go(func() error {
					value, err := work(it)
					if err == nil {
						outcome <- value
					}
					return err
				})
			}
		}
		return nil
	})
	g.Go(func() error {
		for outcome := range outcomes {
			select {
			case value := <-outcome:
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if err := use(value); err != nil {
					return err
				}
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	return g.Wait()
}

// decodeAll decodes objects and sends them batch by batch.
func (e *engine) decodeAll(ctx context.Context, objects []dataset.Object, out chan<- []*item) error {
	for start := 0; start < len(objects); {
		views, end := len(objects[start].Views), start+1
		for end < min(len(objects), start+e.batch(views)) && len(objects[end].Views) == views {
			end++
		}
		batch := make([]*item, end-start)
		var g errgroup.Group
		for i := range batch {
			g.Go(func() (err error) {
				batch[i], err = e.decode(ctx, start+i, &objects[start+i])
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		select {
		case out <- batch:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		start = end
	}
	return nil
}
