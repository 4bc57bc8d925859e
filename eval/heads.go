package eval

import (
	"mvag-torch/eval/score"
	"mvag-torch/model/calibration"
)

// heads are what a class is judged by: the headline, and the others beside it.
type heads struct {
	headline string
	others   []string
	levels   calibration.Levels
}

// headsOf returns the heads of a class. The headline is the published model. A class that was enrolled has only the
// memory.
func (r *run) headsOf(class string) heads {
	h := heads{headline: calibration.Reconstruction}
	switch {
	case r.memory.Of(class) == nil:
		return h
	case r.memory.Alone(class):
		return heads{headline: calibration.Memory}
	}
	h.others = []string{calibration.Memory}
	var ok bool
	if h.levels, ok = r.opt.Heads.LevelsOf(class); ok {
		h.others = append(h.others, calibration.Both)
	}
	return h
}

// gatherer scores a class by each of its heads.
type gatherer struct {
	heads
	headlined *score.Class
	beside    []*score.Class // one for each of others
}

func newGatherer(h heads, class string, opt score.Options) *gatherer {
	g := &gatherer{heads: h, headlined: score.NewClass(class, opt)}
	for range h.others {
		g.beside = append(g.beside, score.NewClass(class, opt))
	}
	return g
}

// add takes an object with its views of the headline, and returns its score by that.
func (g *gatherer) add(index int, p predicted, views []view) (float64, error) {
	object, err := g.headlined.Add(index, p.object.ID, scores(views))
	for i, head := range g.others {
		if err != nil {
			break
		}
		other := scores(views)
		for j, v := range views {
			other[j].Scores = p.memory[v.index]
			if head == calibration.Both {
				other[j].Scores = g.levels.Mix(v.Scores, p.memory[v.index])
			}
		}
		_, err = g.beside[i].Add(index, p.object.ID, other)
	}
	return object, err
}

func (g *gatherer) seal() {
	g.headlined.Seal()
	for _, c := range g.beside {
		c.Seal()
	}
}

// finish returns the result by the headline, with the values and scores by the other heads.
func (g *gatherer) finish() (score.Result, error) {
	result, err := g.headlined.Finish()
	if g.headline != calibration.Reconstruction {
		result.Class.Head = g.headline
	}
	for i, head := range g.others {
		if err != nil {
			break
		}
		var other score.Result
		if other, err = g.beside[i].Finish(); err == nil {
			set(&result.Class.Heads, head, other.Class.Values)
			for k, image := range other.Images { // in the order of the headline
				set(&result.Images[k].Heads, head, image.Score)
			}
			for k, object := range other.Objects {
				set(&result.Objects[k].Heads, head, object.Max)
			}
		}
	}
	return result, err
}

// set adds to a map, which it makes if there is none.
func set[T any](to *map[string]T, head string, value T) {
	if *to == nil {
		*to = map[string]T{}
	}
	(*to)[head] = value
}
