package page

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"fmt"
	"html/template"
	"image/jpeg"
	"math"
	"slices"

	"mvag-torch/eval/picture"
	"mvag-torch/eval/score"
)

// wall is one half of the gallery.
type wall struct {
	ID, Title, Lead string
	Cards           []card
}

// card is one object.
type card struct {
	ID, Class, Object string
	Defective         bool
	Verdict           string // what was decided
	Wrong             bool
	Line              string // score and threshold
	Views             []shot
	Width, Height     int     // of a view, in pixels
	Ratio             float64 // of these
	excess            float64 // of score to threshold
}

// shot is one view of an object; images that there are not are "".
type shot struct {
	Camera           int
	Label            string // good, or the kind of defect
	Defective        bool
	Score            string
	Image, Map, Mask template.URL
}

// mostCards is the largest number of cards of a wall.
const mostCards = 30

// walls sorts the exhibits, worst first.
func (r *run) walls() []wall {
	misses := wall{ID: "misses", Title: "Worst misses", Lead: "Defective objects with the lowest scores: what the model sees least of."}
	alarms := wall{ID: "alarms", Title: "Worst false alarms", Lead: "Good objects with the highest scores: what the model takes for a defect."}
	objects := map[string]score.Object{}
	for _, o := range r.objects {
		objects[o.ID] = o
	}
	type viewKey struct {
		object string
		camera int
	}
	views := map[viewKey]score.Image{}
	for _, p := range r.images {
		views[viewKey{p.Object, p.Camera}] = p
	}
	for _, e := range r.exhibits {
		o, ok := objects[e.Object]
		if !ok { // it is of another evaluation
			continue
		}
		c := r.card(e, o)
		for _, plate := range e.Views {
			p := views[viewKey{e.Object, plate.Camera}]
			s := shot{Camera: plate.Camera, Label: "good", Defective: p.Label == 1, Score: short(float64(p.Score)),
				Image: jpegURL(plate.Image), Map: jpegURL(plate.Map), Mask: jpegURL(plate.Mask)}
			if s.Defective {
				s.Label = p.Code
			}
			if size, err := jpeg.DecodeConfig(bytes.NewReader(plate.Map)); err == nil {
				c.Width, c.Height, c.Ratio = size.Width, size.Height, float64(size.Width)/float64(size.Height)
			}
			c.Views = append(c.Views, s)
		}
		if o.Defective() {
			misses.Cards = append(misses.Cards, c)
		} else {
			alarms.Cards = append(alarms.Cards, c)
		}
	}
	slices.SortStableFunc(misses.Cards, func(a, b card) int { return cmp.Compare(a.excess, b.excess) })
	slices.SortStableFunc(alarms.Cards, func(a, b card) int { return cmp.Compare(b.excess, a.excess) })
	var out []wall
	for _, w := range []wall{misses, alarms} {
		w.Cards = w.Cards[:min(len(w.Cards), mostCards)]
		for i := range w.Cards {
			w.Cards[i].ID = fmt.Sprintf("%s-%d", w.ID, i+1)
		}
		if len(w.Cards) > 0 {
			out = append(out, w)
		}
	}
	return out
}

func (r *run) card(e picture.Exhibit, o score.Object) card {
	limit, v := r.limit(ofObjects, e.Class), float64(o.Max)
	c := card{Class: e.Class, Object: e.Object, Defective: o.Defective(), Ratio: 1, excess: v / limit.value, Line: "score " + short(v)}
	if math.IsNaN(c.excess) {
		c.excess, c.Verdict = v, "not judged"
		return c
	}
	reported := limit.passed(v)
	c.Wrong = reported != o.Defective()
	switch {
	case o.Defective() && reported:
		c.Verdict = "found"
	case o.Defective():
		c.Verdict = "missed"
	case reported:
		c.Verdict = "false alarm"
	default:
		c.Verdict = "passed, rightly"
	}
	c.Line += fmt.Sprintf(", %.0f %% of the threshold %s", 100*c.excess, short(limit.value))
	return c
}

// jpegURL returns a file as a URL; "" if it is empty.
func jpegURL(file []byte) template.URL {
	if len(file) == 0 {
		return ""
	}
	return template.URL("data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(file))
}
