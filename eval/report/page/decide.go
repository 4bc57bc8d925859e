package page

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"

	"mvag-torch/eval/score"
	"mvag-torch/model/calibration"
)

// decisions is the section on thresholds.
type decisions struct {
	By      string // what judges
	Rest    string // what the other parts are by, where it is something else
	Note    string // what predict judges by, where it is something else
	Outcome string // of the object threshold on the test set
	Meaning string // where the thresholds come from
	Table   *table
}

// limit is a threshold. A calibrated one reports scores above it, one of F1max also scores equal to it.
type limit struct {
	value      float64
	calibrated bool
	rate       float64 // stated rate of false alarms
	basis      string
}

func (l limit) passed(v float64) bool { return v > l.value || v == l.value && !l.calibrated }

// The levels of decisions, as in the thresholds of results.json.
const (
	ofObjects = "object"
	ofImages  = "image"
	ofPixels  = "pixel"
)

// limit returns the threshold of a class: the calibrated one, else that of F1max, else NaN. Of results by other settings
// than the thresholds it is NaN. It is that of the headline, as the curves are.
func (r *run) limit(level, class string) limit { return r.limitOf(r.head(class), level, class) }

// decisive returns the threshold of the decisions on a class.
func (r *run) decisive(level, class string) limit { return r.limitOf(r.decider(class), level, class) }

func (r *run) limitOf(head, level, class string) limit {
	if r.changed != nil {
		return limit{value: math.NaN()}
	}
	if c := r.heads.Of(head); c != nil {
		l := map[string]calibration.Level{ofObjects: c.Object, ofImages: c.Image, ofPixels: c.Pixel}[level]
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

// tally counts the decisions of a threshold.
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

// fraction is "26 of 80 (32.5 %)".
func fraction(n, of int) string {
	if of == 0 {
		return "none of 0"
	}
	return fmt.Sprintf("%d of %d (%.1f %%)", n, of, 100*float64(n)/float64(of))
}

// rate is a cell with a fraction in percent and its counts.
func rate(n, of int) cell {
	if of == 0 {
		return cell{Text: "n/a"}
	}
	c := percent(float64(n) / float64(of))
	c.Text, c.Bar = fmt.Sprintf("%s (%d/%d)", c.Text, n, of), ""
	return c
}

func (t tally) hits() cell   { return rate(t.found, t.bad) }
func (t tally) misled() cell { return rate(t.alarms, t.good) }

func (t tally) plus(o tally) tally {
	return tally{t.found + o.found, t.bad + o.bad, t.alarms + o.alarms, t.good + o.good}
}

// decide returns the section on thresholds; nil without any.
func (r *run) decide() *decisions {
	var classes []string
	calibrated := r.heads.Headline() != nil
	switch {
	case r.results != nil:
		for _, c := range r.results.Classes {
			classes = append(classes, c.Name)
		}
	case calibrated:
		classes = r.heads.Headline().ClassNames()
	}
	counted := len(r.objects) > 0
	if len(classes) == 0 || !calibrated && !counted || r.changed != nil {
		return nil
	}
	d := &decisions{Table: &table{ID: "thresholds", Caption: "Scores have no unit."}, Meaning: r.meaning(classes[0])}
	d.By, d.Note = r.judges(classes)
	if counted && slices.ContainsFunc(classes, func(class string) bool { return r.decider(class) != r.head(class) }) {
		d.Rest = "Metrics, curves and gallery are by reconstruction, the published model; of a class that was not trained on, by memory."
	}
	objects, images := map[string]tally{}, map[string]tally{} // by class; "" holds the sum
	for _, class := range classes {
		objects[class], images[class] = r.tallies(class)
		objects[""], images[""] = objects[""].plus(objects[class]), images[""].plus(images[class])
	}
	if counted {
		all, by := objects[""], ""
		if d.By != "" {
			by = " by " + d.By
		}
		d.Table.Caption += " Found: fraction of the defective that is reported; false alarms: fraction of the good that is reported, both in percent of the test set, with counts."
		d.Outcome = fmt.Sprintf("Of the defective test objects %s are found%s; of the good ones %s raise a false alarm.",
			fraction(all.found, all.bad), by, fraction(all.alarms, all.good))
	}
	if calibrated {
		d.Table.Caption += " Stated is the bound on false alarms of objects, in percent. Its basis: class, good objects of the class alone; shift, those of all classes, moved to the level of the class; pooled, all as they are."
	}
	d.Table.Rows = make([][]cell, len(classes))
	column := func(shown bool, c column, of func(class string) cell, total cell) {
		if !shown {
			return
		}
		d.Table.Head, d.Table.Foot = append(d.Table.Head, c), append(d.Table.Foot, total)
		for i, class := range classes {
			d.Table.Rows[i] = append(d.Table.Rows[i], of(class))
		}
	}
	r.thresholdColumns(column, counted, objects, images)
	if !counted || len(classes) == 1 {
		d.Table.Foot = nil
	}
	return d
}

// thresholdColumns adds the columns of the table of thresholds.
func (r *run) thresholdColumns(add func(shown bool, c column, of func(class string) cell, total cell), counted bool, objects, images map[string]tally) {
	threshold := func(level string) {
		name := level + " threshold"
		add(true, column{Name: name}, func(class string) cell { return scored(r.decisive(level, class).value) }, cell{})
	}
	counts := func(what string, by map[string]tally) {
		add(counted, column{Name: what + " found"}, func(class string) cell { return by[class].hits() }, by[""].hits())
		add(counted, column{Name: "false alarms", Title: "good " + what + " reported"}, func(class string) cell { return by[class].misled() }, by[""].misled())
	}
	add(true, column{Name: "class", Text: true}, word, word("all"))
	threshold(ofObjects)
	counts("objects", objects)
	threshold(ofImages)
	counts("images", images)
	threshold(ofPixels)
	add(r.heads.Headline() != nil, column{Name: "stated", Title: "bound on false alarms of objects, %"}, func(class string) cell {
		stated := percent(r.decisive(ofObjects, class).rate)
		stated.Bar = ""
		return stated
	}, cell{})
	add(r.heads.Headline() != nil, column{Name: "basis", Text: true}, func(class string) cell { return word(r.decisive(ofObjects, class).basis) }, cell{})
}

// tallies count the objects and images of a class.
func (r *run) tallies(class string) (objects, images tally) {
	head, o, p := r.decider(class), r.decisive(ofObjects, class), r.decisive(ofImages, class)
	for _, x := range r.ofClass(class) {
		objects.add(x.Defective(), o.passed(scoreBy(head, x.Heads, x.Max)))
	}
	for _, x := range r.images {
		if x.Class == class {
			images.add(x.Label == 1, p.passed(scoreBy(head, x.Heads, x.Score)))
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

// meaning says where the thresholds come from, those of a class and of others that are judged alike.
func (r *run) meaning(class string) string {
	c := cmp.Or(r.heads.Of(r.decider(class)), r.heads.Headline())
	if c == nil {
		return "This model is not calibrated. The thresholds below are those at which F1 is largest on this very test set, chosen with its labels: " +
			"they show what would be possible, not what to expect. mvag-torch calibrate sets thresholds from good parts alone."
	}
	asked := strconv.FormatFloat(100*c.FalseAlarm, 'g', 3, 64)
	text := fmt.Sprintf("A threshold is the score above which something is reported as defective. These were calibrated with %s (%d images; %s) "+
		"so that at most %s %% of good objects raise a false alarm; no test image took part.", plural(c.Objects, "good object", "good objects"), c.Images, c.Source, asked)
	if pooled := c.Object.Pooled; pooled.Short(c.FalseAlarm) {
		text += fmt.Sprintf(" That few objects cannot promise %s %%: over all classes the rate that holds is %.1f %%, and it may be anything from %.1f to %.1f %% (95 %% interval).",
			asked, 100*pooled.Rate, 100*pooled.Interval[0], 100*pooled.Interval[1])
	}
	return text
}
