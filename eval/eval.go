// Package eval runs a trained model over the test objects of a data set: one
// anomaly map and score a picture, one score an object, and the metrics of
// every class (model.md section 6). Its parts: eval/metric computes the
// numbers, eval/report writes them.
package eval

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/eval/metric"
	"mvag-torch/eval/report"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
)

// Score is the result of one picture; a line of scores.jsonl.
type Score struct {
	Class  string  `json:"class"`
	Object string  `json:"object"`
	Camera int     `json:"camera"` // from 1
	Path   string  `json:"path"`
	Code   string  `json:"defect"` // "" where the picture is good
	Score  float64 `json:"score"`
}

// ObjectScore is the result of one object by both rules.
type ObjectScore struct {
	ID        string
	Defective bool
	Max       float64 // the highest score of its pictures
	Pooled    float64 // mean of the highest pixels of all its maps together
}

// Outcome is an evaluation.
type Outcome struct {
	Results  report.Results
	Pictures []Score
	Objects  []ObjectScore
}

// Sink follows an evaluation; its methods are called from the evaluating
// thread.
type Sink interface {
	// Batch is called after each batch: done of total pictures.
	Batch(class string, done, total int)
	// Map hands over the map of a picture, [size, size], and its mask, nil
	// where it is good. Both may be kept.
	Map(v dataset.View, object *dataset.Object, scores []float32, mask []bool)
}

// Run evaluates m on the test objects of data, class after class. Errors name
// the class and the picture.
func Run(ctx context.Context, cfg configs.Config, m *model.Model, data *dataset.Set, protocol Protocol, sink Sink) (Outcome, error) {
	out := Outcome{Results: report.Results{Protocol: protocol}}
	total := 0
	for i := range data.Test {
		total += len(data.Test[i].Views)
	}
	if total == 0 {
		return out, errors.New("no test pictures")
	}
	err := tensor.Run(func(s *tensor.Scope) error {
		r := &run{ctx: ctx, cfg: cfg, sink: sink, predictor: NewPredictor(s, m, cfg), out: &out, total: total}
		for _, class := range data.Classes {
			objects := ofClass(data.Test, class)
			if len(objects) == 0 {
				continue
			}
			if err := r.class(s, class, objects); err != nil {
				return fmt.Errorf("class %q: %w", class, err)
			}
		}
		return nil
	})
	return out, err
}

func ofClass(all []dataset.Object, class string) []dataset.Object {
	var objects []dataset.Object
	for i := range all {
		if all[i].Class == class {
			objects = append(objects, all[i])
		}
	}
	return objects
}

type run struct {
	ctx         context.Context
	cfg         configs.Config
	sink        Sink
	predictor   *Predictor
	out         *Outcome
	done, total int // pictures
}

// tally gathers the scores of one class.
type tally struct {
	class           report.Class
	pixels          metric.Pixels
	pictures, parts []float32 // scores of pictures and of objects (max)
	bad, badParts   []bool
	maskless        bool // a defective picture has no mask: pixel metrics are undefined
}

func (r *run) class(s *tensor.Scope, name string, objects []dataset.Object) error {
	loader, err := dataset.NewEvalLoader(r.ctx, objects, dataset.LoaderOptions{
		Fit: r.fit(), Objects: r.cfg.Eval.Objects, Workers: r.cfg.Data.Workers, Prefetch: r.cfg.Data.Prefetch,
	})
	if err != nil {
		return err
	}
	defer loader.Close()
	t := &tally{class: report.Class{Name: name, Objects: len(objects)}}
	for {
		batch, err := loader.Next()
		if err == io.EOF {
			return r.finish(t)
		}
		if err != nil {
			return err
		}
		var maps []float32
		s.Local(func(s *tensor.Scope) *tensor.Tensor { maps = r.predictor.Maps(s, batch); return nil })
		for i, object := range batch.Objects {
			size := len(maps) / len(batch.Objects)
			if err := r.object(t, object, maps[i*size:(i+1)*size]); err != nil {
				return err
			}
		}
		r.done += len(batch.Present)
		loader.Recycle(batch)
		r.sink.Batch(name, r.done, r.total)
	}
}

func (r *run) fit() dataset.Fit {
	return dataset.Fit{Resize: r.cfg.Data.Resize, Crop: r.cfg.Data.Crop, Exif: r.cfg.Data.Exif}
}

// object enters the maps [V, size, size] of one object.
func (r *run) object(t *tally, object *dataset.Object, maps []float32) error {
	size := r.cfg.Eval.MapSize
	result := ObjectScore{ID: object.ID, Defective: object.Defective(), Max: math.Inf(-1)}
	var present [][]float32
	for j, view := range object.Views {
		if !view.Present() {
			continue
		}
		scores := maps[j*size*size : (j+1)*size*size]
		present = append(present, scores)
		var mask []bool
		if view.Defective() && view.Mask == "" {
			t.maskless = true
			t.class.Defective++
		} else if view.Defective() {
			var err error
			if mask, err = r.fit().Mask(view, r.cfg.Eval.MaskRule, size); err != nil {
				return err
			}
			t.class.Defective++
		}
		if err := t.pixels.Add(view.Path, scores, mask, size, size); err != nil {
			return err
		}
		score := metric.TopMean(r.cfg.Eval.Top, scores)
		result.Max = max(result.Max, score)
		t.pictures, t.bad = append(t.pictures, float32(score)), append(t.bad, view.Defective())
		t.class.Pictures++
		r.out.Pictures = append(r.out.Pictures, Score{t.class.Name, object.ID, view.Camera + 1, view.Path, view.Code, score})
		r.sink.Map(view, object, scores, mask)
	}
	result.Pooled = metric.TopMean(r.cfg.Eval.Top, present...)
	t.parts, t.badParts = append(t.parts, float32(result.Max)), append(t.badParts, result.Defective)
	r.out.Objects = append(r.out.Objects, result)
	return nil
}

// finish computes the metrics of a class.
func (r *run) finish(t *tally) error {
	pictures, err := metric.Rank(t.pictures, t.bad)
	if err != nil {
		return err
	}
	parts, err := metric.Rank(t.parts, t.badParts)
	if err != nil {
		return err
	}
	pixels, err := t.pixels.Rank(r.cfg.Eval.AuproLimit)
	if err != nil {
		return err
	}
	if t.maskless {
		nan := math.NaN()
		pixels.Ranking, pixels.AUPRO = metric.Ranking{AUROC: nan, AP: nan, F1max: nan}, nan
	}
	t.class.Masks = pixels.Masks
	t.class.Values = metric.NewValues(pictures, pixels, parts)
	r.out.Results.Classes = append(r.out.Results.Classes, t.class)
	return nil
}
