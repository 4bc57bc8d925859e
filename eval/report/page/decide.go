package page

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"mvag-torch/eval/score"
	"mvag-torch/model/calibration"
)

// decisions is the section about thresholds.
type decisions struct {
	Outcome string // what the threshold of objects does on the test set
	Meaning string // where thresholds come from
	Table   *table
}

// limit is a threshold. Calibrated ones are passed by scores above, those of
// F1max reached by scores equal to it, too.
type limit struct {
	value      float64
	calibrated bool
	rate       float64 // of false alarms that is stated
	basis      string
}

func (l limit) passed(v float64) bool { return v > l.value || v == l.value && !l.calibrated }

// The levels of decisions, as in the thresholds of results.json.
const (
	ofObjects = "object"
	ofImages  = "image"
	ofPixels  = "pixel"
)

// limit is the threshold of a class: the calibrated one, else that of F1max,
// else NaN.
func (r *run) limit(level, class string) limit {
	if r.calibration != nil {
		l := map[string]calibration.Level{ofObjects: r.calibration.Object, ofImages: r.calibration.Image, ofPixels: r.calibration.Pixel}[level]
		s := l.For(class)
		return limit{s.Threshold, true, s.Rate, s.Basis}
	}
	if r.results != nil {
		for _, c := range r.results.Classes {
			if c.Name != class || c.Details == nil {
				continue
			}
			if t, ok := c.Details.Thresholds[level]; ok {
				return limit{value: float64(t), basis: "F1max"}
			}
		}
	}
	return limit{value: math.NaN()}
}

// tally counts what a threshold does.
type tally struct{ found, bad, alarms, good int }

func (t *tally) add(defective, reported bool) {
	switch {
	case defective && reported:
		t.found++
		t.bad++
	case defective:
		t.bad++
	case reported:
		t.alarms++
		t.good++
	default:
		t.good++
	}
}

// share is "26 of 80 (32.5 %)".
func share(n, of int) string {
	if of == 0 {
		return "none of 0"
	}
	return fmt.Sprintf("%d of %d (%.1f %%)", n, of, 100*float64(n)/float64(of))
}

// cells are shares in percent, sorted by them.
func (t tally) cells() []cell {
	one := func(n, of int) cell {
		if of == 0 {
			return cell{Text: "n/a"}
		}
		c := percent(float64(n) / float64(of))
		c.Text, c.Bar = fmt.Sprintf("%s (%d/%d)", c.Text, n, of), ""
		return c
	}
	return []cell{one(t.found, t.bad), one(t.alarms, t.good)}
}

// decide tells what thresholds there are and what they do; nil without any.
func (r *run) decide() *decisions {
	d := &decisions{}
	var classes []string
	switch {
	case r.results != nil:
		for _, c := range r.results.Classes {
			classes = append(classes, c.Name)
		}
	case r.calibration != nil:
		classes = r.calibration.ClassNames()
	}
	if len(classes) == 0 || r.calibration == nil && len(r.objects) == 0 {
		return nil
	}
	counted := len(r.objects) > 0
	t := &table{ID: "thresholds", Caption: "Scores have no unit."}
	if counted {
		t.Caption += " Found: share of the defective that is reported; false alarms: share of the good that is reported, both in percent of the test set, with counts."
	}
	t.Head = []column{{Name: "class", Text: true}, {Name: "object threshold"}}
	if counted {
		t.Head = append(t.Head, column{Name: "objects found"}, column{Name: "false alarms", Title: "good objects reported"})
	}
	t.Head = append(t.Head, column{Name: "image threshold"})
	if counted {
		t.Head = append(t.Head, column{Name: "images found"}, column{Name: "false alarms", Title: "good images reported"})
	}
	t.Head = append(t.Head, column{Name: "pixel threshold"})
	if r.calibration != nil {
		t.Caption += " Stated is the bound on false alarms of objects, in percent. Its basis: class, good objects of the class alone; shift, those of all classes, moved to the level of the class; pooled, all as they are."
		t.Head = append(t.Head, column{Name: "stated", Title: "bound on false alarms of objects, %"}, column{Name: "basis", Text: true})
	}
	var objects, images tally
	for _, class := range classes {
		o, p := r.tallies(class)
		objects, images = objects.plus(o), images.plus(p)
		t.Rows = append(t.Rows, r.thresholdRow(class, counted, o, p))
	}
	if counted && len(classes) > 1 {
		t.Foot = slices.Concat([]cell{word("all"), {}}, objects.cells(), []cell{{}}, images.cells(), make([]cell, len(t.Head)-7))
	}
	d.Table, d.Meaning = t, r.meaning()
	if counted {
		d.Outcome = fmt.Sprintf("Of the defective test objects %s are found; of the good ones %s raise a false alarm.",
			share(objects.found, objects.bad), share(objects.alarms, objects.good))
	}
	return d
}

func (t tally) plus(o tally) tally {
	return tally{t.found + o.found, t.bad + o.bad, t.alarms + o.alarms, t.good + o.good}
}

func (r *run) thresholdRow(class string, counted bool, objects, images tally) []cell {
	object := r.limit(ofObjects, class)
	row := []cell{word(class), scored(object.value)}
	if counted {
		row = append(row, objects.cells()...)
	}
	row = append(row, scored(r.limit(ofImages, class).value))
	if counted {
		row = append(row, images.cells()...)
	}
	row = append(row, scored(r.limit(ofPixels, class).value))
	if r.calibration != nil {
		rate := percent(object.rate)
		rate.Bar = ""
		row = append(row, rate, word(object.basis))
	}
	return row
}

// tallies count the objects and images of a class.
func (r *run) tallies(class string) (objects, images tally) {
	o, p := r.limit(ofObjects, class), r.limit(ofImages, class)
	for _, x := range r.ofClass(class) {
		objects.add(x.Defective(), o.passed(float64(x.Max)))
	}
	for _, x := range r.images {
		if x.Class == class {
			images.add(x.Label == 1, p.passed(float64(x.Score)))
		}
	}
	return objects, images
}

func (r *run) ofClass(class string) []score.Object {
	var out []score.Object
	for _, o := range r.objects {
		if o.Class == class {
			out = append(out, o)
		}
	}
	return out
}

// meaning says where the thresholds come from.
func (r *run) meaning() string {
	if r.calibration == nil {
		return "This model is not calibrated. The thresholds below are those at which F1 is largest on this very test set, chosen with its labels: " +
			"they show what would be possible, not what to expect. mvag-torch calibrate sets thresholds from good parts alone."
	}
	c := r.calibration
	asked := strconv.FormatFloat(100*c.FalseAlarm, 'g', 3, 64)
	text := fmt.Sprintf("A threshold is the score above which something is reported as defective. These were calibrated with %s (%d images; %s) "+
		"so that at most %s %% of good objects raise a false alarm; no test image took part.", plural(c.Objects, "good object", "good objects"), c.Images, c.Source, asked)
	if pooled := c.Object.Pooled; pooled.Short(c.FalseAlarm) {
		text += fmt.Sprintf(" That few objects cannot promise %s %%: over all classes the rate that holds is %.1f %%, and it may be anything from %.1f to %.1f %% (95 %% interval).",
			asked, 100*pooled.Rate, 100*pooled.Interval[0], 100*pooled.Interval[1])
	}
	return text
}
