// Package eval runs a trained model over the test objects of a data set: one anomaly map and score per image, one score
// per object, and the metrics of every class (docs/protocol.md). Its parts: eval/metric computes the values, eval/score
// gathers a class, eval/report writes the results, eval/picture draws.
//
// A class goes object by object, those with defects first, so that afterwards the maps of good objects are counted and
// dropped. Goroutines decode images, score maps and draw while the device computes the next batch.
//
// Several processes (internal/team) predict a batch each in turn, of the same objects as one process would; rank 0
// gathers the maps, scores, draws and writes. Whatever may fail on a rank is told the others when all meet: for a class,
// before its first batch, with each batch, after the last, and when it is saved.
package eval

import (
	"context"
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
	// Team are the processes that the evaluation is spread over; nil is this one alone. Rank 0 alone uses the other
	// options; what Run returns on the others is empty. An error that has not been told the others is for
	// [team.Team.Explain].
	Team *team.Team
	// Heads are the calibrations of the checkpoint. Their levels mix the maps of reconstruction and memory.
	Heads calibration.Heads
}

// Run evaluates m on the test objects of data, class after class. Errors name the class and the image.
func Run(ctx context.Context, cfg configs.Config, m *model.Trained, data *dataset.Set, opt Options) (Outcome, error) {
	protocol := newProtocol(cfg, m, data)
	r := &run{ctx: ctx, cfg: cfg, opt: opt, source: data.Source, memory: m.Memory, out: Outcome{Noted: map[dataset.Finding]dataset.Noted{}}}
	if opt.Team.Rank() > 0 {
		r.opt.Partial, r.opt.Maps = "", ""
		if r.source.Skipped != nil {
			r.source.Skipped = &dataset.Skipped{} // rank 0 counts
		}
	}
	if err := opt.Team.Agree(facts(cfg, protocol, data)...); err != nil {
		return Outcome{}, err
	}
	plan := r.plan(data, protocol)
	if err := r.open(plan); err != nil {
		return Outcome{}, err
	}
	r.total, plan.Kernels = plan.Images, m.Kernels.String()
	if opt.Team.Rank() == 0 {
		opt.Sink.Begin(plan)
	}
	err := tensor.Run(func(s *tensor.Scope) error {
		r.predictor = model.NewPredictor(s, m.Model, m.Memory, cfg, r.uncaptured)
		for _, c := range r.classes {
			if err := r.class(s, c); err != nil {
				return err
			}
		}
		return nil
	})
	if opt.Team.Rank() > 0 {
		return Outcome{}, err
	}
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
	told        bool       // the sink was told that a prediction cannot be captured
	untold      string     // the same of this rank, until it is told rank 0
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
		if n := r.opt.Team.Size(); n > 1 { // what rank 0 gathers, with Gloo's copies
			inFlight += int64(3*n*r.cfg.Eval.Objects) * int64(r.cfg.Data.Views) * heads * int64(4*pixels)
		}
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

// class evaluates one class, or takes what was left of it. All ranks know of its error, which names the class.
func (r *run) class(s *tensor.Scope, c class) (err error) {
	first, m := r.opt.Team.Rank() == 0, r.meeting(c)
	switch {
	case c.restored == nil:
		r.source.Notes = &dataset.Notes{}
		scored, err := r.evaluate(s, c)
		if err != nil {
			return err
		}
		result := finished{scored, r.source.Notes.Summary()}
		if first {
			r.add(result)
			err = save(r.opt.Partial, c.fingerprint, result)
		}
		_, err = m.meet(word{}, err)
		return err
	case first:
		r.source.Notes = nil // they were restored, too
		r.done += images(c.objects...)
		err = r.again(s, c)
	}
	if _, err := m.meet(word{}, err); err != nil || !first {
		return err
	}
	r.opt.Sink.Batch(c.name, r.done, r.total)
	r.add(*c.restored)
	return nil
}

func (r *run) add(result finished) {
	dataset.AddNoted(r.out.Noted, result.noted)
	r.out.Results.Classes = append(r.out.Results.Classes, result.Class)
	r.out.Images = append(r.out.Images, result.Images...)
	r.out.Objects = append(r.out.Objects, result.Objects...)
	r.out.Curves = append(r.out.Curves, result.Curve)
}

// again draws the wanted objects of a class that was restored, on this rank alone.
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
	p := pass{run: r, meeting: meeting{interrupt: r.ctx}, objects: wanted, done: func(int) {}}
	p.work = func(p predicted) error {
		views, err := r.views(p)
		if err == nil {
			err = r.draw(p, views, scores[p.object.ID])
		}
		return err
	}
	return p.over(s)
}
