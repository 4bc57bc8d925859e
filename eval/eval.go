// Package eval runs a trained model over the test objects of a data set: one
// anomaly map and score a image, one score an object, and the metrics of
// every class (model.md section 6). Its parts: eval/metric computes the
// numbers, eval/score gathers a class, eval/report writes the results.
//
// A class goes object by object, those with defects first, so that afterwards
// the maps of good objects are counted and dropped. Images are decoded and
// maps are scored by goroutines while the device computes the next batch.
package eval

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/eval/report"
	"mvag-torch/eval/score"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
)

// Outcome is an evaluation.
type Outcome struct {
	Results report.Results
	Images  []score.Image
	Objects []score.Object
	Curves  []score.Curve
}

// Plan is what an evaluation is about to do.
type Plan struct {
	Classes, Images int
	// Restored lists the classes that an interrupted evaluation had finished.
	Restored []string
	// Ignored says why results of an interrupted evaluation are not used; nil
	// if there are none or they are.
	Ignored error
	// Memory is what scores of the largest class take at most, in bytes,
	// besides the model; Largest is that class.
	Memory  int64
	Largest string
	// Disk is the size of the maps that will be saved.
	Disk int64
}

// Sink follows an evaluation. Its methods are called one at a time, Wants and
// Map from any goroutine, the others from the evaluating thread.
type Sink interface {
	Begin(Plan)
	// Batch is called after each batch: done of total images.
	Batch(class string, done, total int)
	// Wants says whether Map is to be called for the images of an object, which
	// has this score. It is asked about every object of a class, in any order. Of
	// a class that was restored, the objects that are wanted when it is asked
	// about all of them a second time are run once more.
	Wants(object *dataset.Object, score float64) bool
	// Map hands over the map of a image, [size, size], and its mask, nil
	// where it is good. Both may be kept.
	Map(v dataset.View, object *dataset.Object, scores []float32, mask []bool)
}

// Options of Run.
type Options struct {
	Sink Sink
	// Partial is the file where each finished class is left at once, to be found by the next Run after an interruption;
	// "" for none. When the results are safe elsewhere, Forget removes it.
	Partial string
	// Maps is the folder of the maps, a file a class; "" for none.
	Maps string
}

// Run evaluates m on the test objects of data, class after class. Errors name
// the class and the image.
func Run(ctx context.Context, cfg configs.Config, m *model.Trained, data *dataset.Set, opt Options) (Outcome, error) {
	protocol := newProtocol(cfg, m, data.Test)
	r := &run{ctx: ctx, cfg: cfg, opt: opt, source: data.Source, fingerprints: map[string]string{}, out: &Outcome{}}
	plan := r.plan(data, protocol)
	if plan.Images == 0 {
		return Outcome{}, errors.New("no test images")
	}
	r.total = plan.Images
	opt.Sink.Begin(plan)
	err := tensor.Run(func(s *tensor.Scope) error {
		r.predictor = model.NewPredictor(s, m.Model, cfg)
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
	for _, c := range r.out.Results.Classes {
		protocol.EmptyMasks += c.Defective - c.Masks
	}
	protocol.Unreadable = plan.Images - len(r.out.Images)
	protocol.Excluded = r.out.Results.Excluded()
	r.out.Results.Protocol = protocol
	return *r.out, err
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
	ctx          context.Context
	cfg          configs.Config
	opt          Options
	source       dataset.Source
	fingerprints map[string]string // of what decides each class
	predictor    *model.Predictor
	restored     map[string]score.Result
	out          *Outcome
	done, total  int // images
}

// plan looks for what is left of an interrupted evaluation and adds up.
func (r *run) plan(data *dataset.Set, protocol Protocol) (plan Plan) {
	for _, class := range data.Classes {
		r.fingerprints[class] = fingerprint(protocol, ofClass(data.Test, class))
	}
	r.restored, plan.Ignored = restore(r.opt.Partial, r.fingerprints)
	size := r.cfg.Eval.MapSize * r.cfg.Eval.MapSize
	for _, class := range data.Classes {
		objects := ofClass(data.Test, class)
		if len(objects) == 0 {
			continue
		}
		plan.Classes++
		marked, all := 0, 0
		for i := range objects {
			n := images(&objects[i])
			all += n
			if objects[i].Defective() {
				marked += n
			}
		}
		plan.Images += all
		if _, ok := r.restored[class]; ok {
			plan.Restored = append(plan.Restored, class)
			continue
		}
		if r.opt.Maps != "" {
			plan.Disk += int64(all) * int64(size) * 3 // float16 and bool
		}
		inFlight := int64(2*r.workers()+r.cfg.Eval.Objects) * int64(r.cfg.Data.Views) * int64(size) * 4
		if need := score.Memory(marked, size, r.cfg.Data.Views) + inFlight; need > plan.Memory {
			plan.Memory, plan.Largest = need, class
		}
	}
	return plan
}

// images counts what is there of an object.
func images(o *dataset.Object) int {
	n := 0
	for _, v := range o.Views {
		if v.Present() {
			n++
		}
	}
	return n
}

// class evaluates one class, or takes what was left of it.
func (r *run) class(s *tensor.Scope, name string, objects []dataset.Object) error {
	result, ok := r.restored[name]
	if ok {
		for i := range objects {
			r.done += images(&objects[i])
		}
		if err := r.again(s, name, objects, result.Objects); err != nil {
			return err
		}
		r.opt.Sink.Batch(name, r.done, r.total)
	} else {
		in, err := newIngest(r, name, objects)
		if err != nil {
			return err
		}
		if result, err = in.evaluate(s); err != nil {
			return err
		}
		if err := save(r.opt.Partial, r.fingerprints[name], result); err != nil {
			return err
		}
	}
	r.out.Results.Classes = append(r.out.Results.Classes, result.Class)
	r.out.Images = append(r.out.Images, result.Images...)
	r.out.Objects = append(r.out.Objects, result.Objects...)
	r.out.Curves = append(r.out.Curves, result.Curve)
	return nil
}

// predict runs objects in their order; each gets the maps [V, size, size] of
// every object with its place in the list; it lacks the images that were left
// out.
func (r *run) predict(ctx context.Context, s *tensor.Scope, objects []dataset.Object, each func(i int, object *dataset.Object, maps []float32) error) error {
	loader, err := dataset.NewEvalLoader(ctx, objects, dataset.LoaderOptions{
		Source: r.source, Objects: r.cfg.Eval.Objects, Workers: r.cfg.Data.Workers, Prefetch: r.cfg.Data.Prefetch,
	})
	if err != nil {
		return err
	}
	defer loader.Close()
	for n := 0; ; {
		batch, err := loader.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		size := batch.Views * r.cfg.Eval.MapSize * r.cfg.Eval.MapSize
		var maps []float32
		if slices.Contains(batch.Present, true) {
			s.Local(func(s *tensor.Scope) *tensor.Tensor { maps = r.predictor.Maps(s, batch); return nil })
		} else { // all were left out
			maps = make([]float32, len(batch.Objects)*size)
		}
		for i, object := range batch.Objects {
			if err := each(n, object, maps[i*size:(i+1)*size]); err != nil {
				return err
			}
			n++
		}
		loader.Recycle(batch)
	}
}

// again hands the maps of wanted objects to the sink; scored has all of them.
func (r *run) again(s *tensor.Scope, name string, objects []dataset.Object, scored []score.Object) error {
	scores := map[string]float64{}
	for _, o := range scored {
		scores[o.ID] = float64(o.Max)
	}
	wants := func(o dataset.Object) bool { return r.opt.Sink.Wants(&o, scores[o.ID]) }
	for _, o := range objects {
		wants(o)
	}
	wanted := slices.DeleteFunc(slices.Clone(objects), func(o dataset.Object) bool { return !wants(o) })
	if len(wanted) == 0 {
		return nil
	}
	in := &ingest{run: r, name: name}
	return r.predict(r.ctx, s, wanted, func(_ int, object *dataset.Object, maps []float32) error {
		views, err := in.views(object, maps)
		if err == nil {
			in.show(object, views, scores[object.ID])
		}
		return err
	})
}
