// Package eval runs a trained model over the test objects of a data set: one anomaly map and score per image, one score
// per object, and the metrics of every class (docs/protocol.md). Its parts: eval/metric computes the values, eval/score
// gathers a class, eval/report writes the results, eval/picture draws.
//
// A class goes object by object, those with defects first, so that afterwards the maps of good objects are counted and
// dropped. Goroutines decode images, score maps and draw while the device computes the next batch.
package eval

import (
	"context"
	"fmt"
	"sync"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/eval/picture"
	"mvag-torch/eval/report"
	"mvag-torch/eval/score"
	"mvag-torch/internal/team"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/calibration"
	"mvag-torch/model/memory"
)

// Outcome is an evaluation.
type Outcome struct {
	Results report.Results
	Images  []score.Image
	Objects []score.Object
	Curves  []score.Curve
	Noted   map[dataset.Finding]dataset.Noted // what was odd about the files
}

// Plan is what an evaluation is about to do.
type Plan struct {
	Classes, Images int
	// Restored lists the classes that an interrupted evaluation had finished.
	Restored []string
	// Ignored says why results of an interrupted evaluation are not used; nil if there are none or they are.
	Ignored error
	// Memory is what images and scores of the largest class take at most, in bytes, besides the model.
	Memory int64
	// Kernels says what computes.
	Kernels string
	// Disk is the size of the maps that will be saved, in bytes.
	Disk int64
}

// Sink follows an evaluation. Its methods are called one at a time, Wants and Draw from any goroutine, the others from
// the device's.
type Sink interface {
	Begin(Plan)
	// Uncaptured is called, at most once, where cuda_graph is on and a prediction cannot be captured; the run goes on
	// without.
	Uncaptured(why error)
	// Batch is called after each batch: done of total images.
	Batch(class string, done, total int)
	// Wants says whether Draw is to be called for an object with this score. It is asked about every object of a class,
	// in any order. Of a class that was restored, the objects that are wanted when it is asked about all of them a
	// second time are run once more.
	Wants(object *dataset.Object, score float64) bool
	// Draw hands over the views of an object, those without an image left out. They may be kept.
	Draw(object *dataset.Object, views []picture.Tile)
}

// Options of Run.
type Options struct {
	Sink Sink
	// Partial is the file where each finished class is left at once, to be found by the next Run after an interruption;
	// "" for none. When the results are safe elsewhere, Forget removes it.
	Partial string
	// Maps is the folder of the maps, a file a class; "" for none.
	Maps string
	// Team are the processes that the evaluation is spread over; nil is this one alone.
	Team *team.Team
	// Heads are the calibrations of the checkpoint. Their levels mix the maps of reconstruction and memory.
	Heads calibration.Heads
}

// Run evaluates m on the test objects of data, class after class. Errors name the class and the image.
func Run(ctx context.Context, cfg configs.Config, m *model.Trained, data *dataset.Set, opt Options) (Outcome, error) {
	protocol := newProtocol(cfg, m, data)
	r := &run{ctx: ctx, cfg: cfg, opt: opt, source: data.Source, memory: m.Memory, out: Outcome{Noted: map[dataset.Finding]dataset.Noted{}}}
	plan := r.plan(data, protocol)
	if plan.Images == 0 {
		return Outcome{}, fmt.Errorf("%s: no test images", cfg.Data.Root)
	}
	r.total, plan.Kernels = plan.Images, m.Kernels.String()
	opt.Sink.Begin(plan)
	err := tensor.Run(func(s *tensor.Scope) error {
		r.predictor = model.NewPredictor(s, m.Model, m.Memory, cfg, opt.Sink.Uncaptured)
		for _, c := range r.classes {
			if err := r.class(s, c); err != nil {
				return fmt.Errorf("class %q: %w", c.name, err)
			}
		}
		return nil
	})
	for _, c := range r.out.Results.Classes {
		protocol.EmptyMasks += c.Defective - c.Masks
	}
	protocol.Unreadable = plan.Images - len(r.out.Images)
	protocol.Noted, protocol.Levels = r.out.Noted, opt.Heads.Levels
	protocol.Excluded = r.out.Results.Excluded()
	r.out.Results.Protocol = protocol
	return r.out, err
}

// class is a class with test objects.
type class struct {
	name        string
	objects     []dataset.Object
	fingerprint string
	restored    *finished // by an interrupted evaluation; nil if it is still to be evaluated
}

type run struct {
	ctx         context.Context
	cfg         configs.Config
	opt         Options
	source      dataset.Source
	memory      *memory.Memory // of the model; nil without one
	classes     []class
	predictor   *model.Predictor
	sink        sync.Mutex // held while a method of the sink runs
	out         Outcome
	done, total int // images
}

// plan lists the classes, looks for what is left of an interrupted evaluation and adds up.
func (r *run) plan(data *dataset.Set, protocol Protocol) (plan Plan) {
	want := map[string]string{}
	for _, name := range data.Classes {
		c := class{name: name}
		for _, o := range data.Test {
			if o.Class == name {
				c.objects = append(c.objects, o)
			}
		}
		if len(c.objects) > 0 {
			c.fingerprint = fingerprint(protocol, data, c.objects)
			want[name] = c.fingerprint
			r.classes = append(r.classes, c)
		}
	}
	plan.Classes = len(r.classes)
	found, ignored := restore(r.opt.Partial, want)
	plan.Ignored = ignored
	for i := range r.classes {
		c := &r.classes[i]
		marked, all := 0, images(c.objects...)
		for _, o := range c.objects {
			if o.Defective() {
				marked += images(o)
			}
		}
		plan.Images += all
		if result, ok := found[c.name]; ok {
			c.restored = &result
			plan.Restored = append(plan.Restored, c.name)
			continue
		}
		pixels := r.cfg.MapSize().Area()
		if r.opt.Maps != "" {
			plan.Disk += int64(all) * int64(pixels) * 5 // float32 and bool
		}
		heads := int64(1 + len(r.headsOf(c.name).others))
		planes := 3 * r.cfg.Data.Crop.Area() * len(r.source.Fit.Tiles()) // bytes of an image in its tiles
		inFlight := int64(r.workers()+r.cfg.Eval.Objects) * int64(r.cfg.Data.Views) * (heads*int64(4*pixels) + int64(planes))
		inFlight += r.loading().Memory(&c.objects[0])
		plan.Memory = max(plan.Memory, heads*score.Memory(marked, pixels, r.cfg.Data.Views)+inFlight)
	}
	return plan
}

// images counts what is there of objects.
func images(objects ...dataset.Object) int {
	n := 0
	for _, o := range objects {
		for _, v := range o.Views {
			if v.Present() {
				n++
			}
		}
	}
	return n
}

// class evaluates one class, or takes what was left of it.
func (r *run) class(s *tensor.Scope, c class) error {
	if c.restored != nil {
		r.source.Notes = nil // they were restored, too
		r.done += images(c.objects...)
		if err := r.again(s, c); err != nil {
			return err
		}
		r.opt.Sink.Batch(c.name, r.done, r.total)
		r.add(*c.restored)
		return nil
	}
	r.source.Notes = &dataset.Notes{}
	scored, err := r.evaluate(s, c)
	if err != nil {
		return err
	}
	result := finished{scored, r.source.Notes.Summary()}
	r.add(result)
	return save(r.opt.Partial, c.fingerprint, result)
}

func (r *run) add(result finished) {
	dataset.AddNoted(r.out.Noted, result.noted)
	r.out.Results.Classes = append(r.out.Results.Classes, result.Class)
	r.out.Images = append(r.out.Images, result.Images...)
	r.out.Objects = append(r.out.Objects, result.Objects...)
	r.out.Curves = append(r.out.Curves, result.Curve)
}

// again draws the wanted objects of a class that was restored.
func (r *run) again(s *tensor.Scope, c class) error {
	scores := map[string]float64{}
	for _, o := range c.restored.Objects {
		scores[o.ID] = float64(o.Max)
	}
	var wanted []dataset.Object
	for _, second := range []bool{false, true} {
		for _, o := range c.objects {
			if r.opt.Sink.Wants(&o, scores[o.ID]) && second {
				wanted = append(wanted, o)
			}
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	return r.pass(s, wanted, func(p predicted) error {
		views, err := r.views(p)
		if err == nil {
			r.draw(p, views, scores[p.object.ID])
		}
		return err
	}, func(int) {})
}
