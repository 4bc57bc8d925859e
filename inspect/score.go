// Package inspect runs a trained model over pictures that no index names and
// whose labels nobody knows: scores, decisions, regions of defects and
// pictures of them; and over good pictures, to calibrate those decisions.
package inspect

import (
	"context"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/calibration"
	"mvag-torch/model/imagescore"
)

// Scored is one object with what the model says of it.
type Scored struct {
	Object *dataset.Object
	Maps   [][]float32 // [size, size] of each view; nil where it is absent or could not be read
	Scores []float64   // of each view that has a map
	Errs   []error     // of each view: why it could not be read
	Score  float64     // of the object, the highest of its views; NaN where none has a map
	Took   time.Duration
}

// Each scores objects in batches of cfg.Eval.Objects and hands them over:
// those with several views first, then single pictures, each kind in its
// order. A picture that cannot be read counts as absent. Pictures of the next
// batches are decoded meanwhile. Objects of several views have to have
// cfg.Data.Views of them.
func Each(ctx context.Context, cfg configs.Config, m *model.Model, source dataset.Source, objects []dataset.Object, each func(Scored) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	batches := decodeAll(ctx, cfg, source, objects)
	return tensor.Run(func(s *tensor.Scope) error {
		// A predictor remembers groupings by their number of objects.
		several, single := model.NewPredictor(s, m, cfg), model.NewPredictor(s, m, cfg)
		for d := range batches {
			if ctx.Err() != nil {
				break
			}
			predictor := several
			if d.Views == 1 {
				predictor = single
			}
			began := time.Now()
			var maps []float32
			if slices.Contains(d.Present, true) {
				s.Local(func(s *tensor.Scope) *tensor.Tensor { maps = predictor.Maps(s, d.Batch); return nil })
			}
			took := time.Since(began) / time.Duration(len(d.Objects))
			for i, object := range d.Objects {
				if err := each(d.scored(cfg, object, i, maps, took)); err != nil {
					return err
				}
			}
		}
		return context.Cause(ctx)
	})
}

// decoded is a batch and the errors of its pictures [S*V].
type decoded struct {
	*dataset.Batch
	errs []error
}

// scored cuts object i out of the results of its batch.
func (d decoded) scored(cfg configs.Config, object *dataset.Object, i int, maps []float32, took time.Duration) Scored {
	views, size := d.Views, cfg.Eval.MapSize*cfg.Eval.MapSize
	out := Scored{
		Object: object, Maps: make([][]float32, views), Scores: make([]float64, views),
		Errs: d.errs[i*views : (i+1)*views], Score: math.NaN(), Took: took,
	}
	for j := range views {
		row := i*views + j
		if !d.Present[row] {
			continue
		}
		out.Maps[j] = maps[row*size : (row+1)*size]
		out.Scores[j] = imagescore.TopMean(cfg.Eval.Top, out.Maps[j])
		if !(out.Score >= out.Scores[j]) {
			out.Score = out.Scores[j]
		}
	}
	return out
}

// decodeAll returns the batches of objects as their pictures are decoded.
func decodeAll(ctx context.Context, cfg configs.Config, source dataset.Source, objects []dataset.Object) <-chan decoded {
	var several, single []*dataset.Object
	for i := range objects {
		if len(objects[i].Views) == 1 {
			single = append(single, &objects[i])
		} else {
			several = append(several, &objects[i])
		}
	}
	workers := cfg.Data.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	out := make(chan decoded, cfg.Data.Prefetch)
	go func() {
		defer close(out)
		for _, list := range [][]*dataset.Object{several, single} {
			size := cfg.Eval.Objects
			if len(list) > 0 && len(list[0].Views) == 1 {
				size *= cfg.Data.Views // as many pictures
			}
			for len(list) > 0 {
				n := min(size, len(list))
				batch := decode(ctx, cfg, source, workers, list[:n])
				list = list[n:]
				select {
				case out <- batch:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return out
}

// decode reads the pictures of one batch.
func decode(ctx context.Context, cfg configs.Config, source dataset.Source, workers int, objects []*dataset.Object) decoded {
	views := len(objects[0].Views)
	n, size := len(objects)*views, 3*cfg.Data.Crop*cfg.Data.Crop
	d := decoded{&dataset.Batch{Objects: objects, Views: views, Pixels: make([]uint8, n*size), Present: make([]bool, n)}, make([]error, n)}
	var wg sync.WaitGroup
	for w := range min(workers, n) {
		wg.Go(func() {
			for i := w; i < n && ctx.Err() == nil; i += workers {
				view := objects[i/views].Views[i%views]
				if !view.Present() {
					continue
				}
				pixels := d.Pixels[i*size : (i+1)*size]
				if _, _, d.errs[i] = source.Image(view, pixels); d.errs[i] != nil {
					clear(pixels) // as an absent one
				}
				d.Present[i] = d.errs[i] == nil
			}
		})
	}
	wg.Wait()
	return d
}

// Calibrate scores good objects and derives thresholds at cfg.Eval.FalseAlarm.
// A picture that cannot be read is an error, or left out, as pictures has it.
// progress is told the number of pictures done.
func Calibrate(ctx context.Context, cfg configs.Config, m *model.Model, pictures dataset.Source, good []dataset.Object, source string, progress func(done int)) (*calibration.Calibration, error) {
	var samples []calibration.Sample
	done := 0
	err := Each(ctx, cfg, m, pictures, good, func(o Scored) error {
		sample := calibration.Sample{Class: o.Object.Class, Object: o.Score, Pixel: math.Inf(-1)}
		for j, scores := range o.Maps {
			if err := o.Errs[j]; err != nil && !pictures.Skip(o.Object.Views[j], err) {
				return err
			}
			if scores == nil {
				continue
			}
			sample.Pictures = append(sample.Pictures, o.Scores[j])
			for _, v := range scores {
				sample.Pixel = max(sample.Pixel, float64(v))
			}
			done++
		}
		if len(sample.Pictures) > 0 {
			samples = append(samples, sample)
		}
		progress(done)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return calibration.Fit(samples, cfg.Eval.FalseAlarm, source)
}
