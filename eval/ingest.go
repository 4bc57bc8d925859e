package eval

import (
	"cmp"
	"image"
	"runtime"
	"slices"
	"sync/atomic"

	"mvag-torch/dataset"
	"mvag-torch/eval/picture"
	"mvag-torch/eval/score"
	"mvag-torch/internal/heatmap"
	"mvag-torch/internal/tensor"
)

// predicted is one object with its maps.
type predicted struct {
	index  int             // in the list of objects
	object *dataset.Object // without the images that were left out
	maps   [][]float32     // [h, w] of each view, by the headline; nil where it is absent
	memory [][]float32     // the same by the memory; nil also where there is none
	pixels []uint8         // [V, T, 3, h, w], as the model saw them, until work returns; nil where another rank has them

	content []image.Rectangle // [V], where the images lie in the viewport; nil as pixels
}

// workers is the number of goroutines that score.
func (r *run) workers() int {
	return cmp.Or(r.cfg.Data.Workers, runtime.GOMAXPROCS(0))
}

func (r *run) loading() dataset.LoaderOptions {
	return dataset.LoaderOptions{
		Source: r.source, Objects: r.cfg.Eval.Objects, Workers: r.cfg.Data.Workers, Prefetch: r.cfg.Data.Prefetch,
	}
}

// part is the i-th of n equal parts of values.
func part[T any](values []T, i, n int) []T {
	size := len(values) / n
	return values[i*size : (i+1)*size : (i+1)*size]
}

// defectsFirst returns objects in the order of their evaluation: so many with defects, then the good ones. The order
// gives the index of each in the list.
func defectsFirst(all []dataset.Object) (order []int, objects []dataset.Object, defective int) {
	for _, want := range []bool{true, false} {
		for i, o := range all {
			if o.Defective() == want {
				order, objects = append(order, i), append(objects, o)
			}
		}
		if want {
			defective = len(objects)
		}
	}
	return order, objects, defective
}

// evaluate runs and scores a class: rank 0 does, and what it returns on others is empty. All know of its error.
func (r *run) evaluate(s *tensor.Scope, c class) (score.Result, error) {
	order, objects, defective := defectsFirst(c.objects)
	p := pass{run: r, meeting: r.meeting(c), objects: objects}
	if r.opt.Team.Rank() > 0 {
		if _, err := p.meet(word{}, nil); err != nil {
			return score.Result{}, err
		}
		return score.Result{}, p.over(s)
	}
	maps, err := createMaps(r.opt.Maps, c.name, c.objects, r.cfg.MapSize())
	if _, err := p.meet(word{}, err); err != nil {
		return score.Result{}, err
	}
	defer maps.close()
	gathered := r.gather(&p, order, defective, maps)
	before := r.done
	p.done = func(n int) {
		r.done = before + images(objects[:n]...)
		r.sink.Lock()
		defer r.sink.Unlock()
		r.opt.Sink.Batch(c.name, r.done, r.total)
	}
	if err := p.over(s); err != nil {
		return score.Result{}, err
	}
	result, err := gathered.finish()
	if err == nil {
		err = maps.commit(result)
	}
	return result, err
}

// gather lets p score its class, save the maps and draw. The objects of p, of which so many are defective, have their
// place in the list of the class by order.
func (r *run) gather(p *pass, order []int, defective int, maps *mapFile) *gatherer {
	other := dataset.MaskGT05
	if r.cfg.Eval.MaskRule == other {
		other = dataset.MaskGT0
	}
	rules := score.Options{Top: r.cfg.Top(), AuproLimit: r.cfg.Eval.AuproLimit, OtherRule: other}
	gathered := newGatherer(r.headsOf(p.name), p.name, rules)
	var marked atomic.Int64 // objects with defects that are still to be scored
	marked.Store(int64(defective))
	if defective == 0 {
		gathered.seal()
	}
	p.work = func(p predicted) error {
		index := order[p.index]
		views, err := r.views(p)
		if err == nil && len(views) > 0 { // else all were left out
			var object float64
			if object, err = gathered.add(index, p, views); err == nil {
				err = r.draw(p, views, object)
			}
		}
		if err != nil {
			return err
		}
		if p.index < defective && marked.Add(-1) == 0 {
			gathered.seal() // good objects follow, whose maps need not be kept
		}
		return maps.write(index, views)
	}
	return gathered
}

// view is an image of an object that was scored, with its index among the object's views.
type view struct {
	score.View
	index int
}

func scores(views []view) []score.View {
	out := make([]score.View, len(views))
	for i, v := range views {
		out[i] = v.View
	}
	return out
}

// views lists the images of an object with their maps and masks.
func (r *run) views(p predicted) ([]view, error) {
	size := r.cfg.MapSize()
	var views []view
	for i, v := range p.object.Views {
		if !v.Present() {
			continue
		}
		one := view{score.View{
			Camera: v.Camera + 1, Path: v.Path, Code: v.Code, Defective: v.Defective(), Unmasked: v.Defective() && v.Mask == "",
			Height: size.Height(), Width: size.Width(), Scores: p.maps[i],
		}, i}
		if v.Mask != "" { // that of a good image is only looked at
			masks, err := r.source.Masks(v, size)
			if err != nil {
				if err := r.source.Skip(v, err); err != nil {
					return nil, err
				}
				continue
			}
			for rule, mask := range masks {
				switch {
				case !one.Defective:
				case rule == r.cfg.Eval.MaskRule:
					one.Mask = mask
				default:
					one.Other = mask
				}
			}
		}
		views = append(views, one)
	}
	return views, nil
}

// draw hands an object with a score to the sink, if it wants it. Images of an object that another rank has decoded are
// decoded again.
func (r *run) draw(p predicted, views []view, score float64) error {
	r.sink.Lock()
	wanted := r.opt.Sink.Wants(p.object, score)
	r.sink.Unlock()
	if !wanted {
		return nil
	}
	var tiles []picture.Tile
	corners := r.source.Fit.Tiles()
	for _, v := range views {
		var pixels []uint8
		var content image.Rectangle
		if p.pixels != nil {
			pixels, content = part(p.pixels, v.index, len(p.object.Views)), p.content[v.index]
		} else {
			pixels = make([]uint8, 3*r.cfg.Data.Crop.Area()*len(corners))
			w, h, err := r.source.Image(p.object.Views[v.index], pixels)
			if err != nil {
				return err
			}
			content = r.source.Fit.Content(w, h)
		}
		tiles = append(tiles, picture.Tile{
			Camera: v.Camera, Scores: slices.Clone(v.Scores), Mask: v.Mask,
			Image: heatmap.Image(pixels, r.cfg.Data.Crop.Bounds().Max, corners, content, r.cfg.MapSize().Bounds().Max),
		})
	}
	r.sink.Lock()
	defer r.sink.Unlock()
	r.opt.Sink.Draw(p.object, tiles)
	return nil
}
