package export

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"mvag-torch/model/calibration"
)

// fault keeps the first difference that is too large.
func (r *Report) fault(format string, args ...any) {
	if r.First == "" {
		r.First = fmt.Sprintf(format, args...)
	}
}

// compare enters the differences between a case and what the graph says of it.
func (v *verification) compare(c Case, a *answer) {
	v.Objects++
	for j, want := range c.Images {
		what := fmt.Sprintf("object %q, C%d", c.Name, j+1)
		if !c.Present[j] {
			want = Judged{Map: make([]float32, a.area), Score: math.NaN(), Value: math.NaN(), Scale: want.Scale}
		} else {
			v.Images++
		}
		if want.Map != nil {
			v.compareMaps(what, want.Map, a.maps[j*a.area:][:a.area])
		}
		v.compareVerdict(what, want, a.images.slice(j, 1))
	}
	v.compareVerdict(fmt.Sprintf("object %q", c.Name), c.Object, a.objects)
}

func (v *verification) compareMaps(what string, want, have []float32) {
	if len(want) != len(have) {
		v.fault("%s: have a map of %d pixels, want %d", what, len(have), len(want))
		return
	}
	for i := range want {
		d := math.Abs(float64(have[i]) - float64(want[i]))
		if !(d <= v.Map) {
			v.Map = d
		}
		if !(d <= v.limits.Map) {
			v.fault("%s: map at (%d, %d): have %v, want %v", what, i%v.columns, i/v.columns, have[i], want[i])
		}
	}
}

// compareVerdict compares score, value and decision, of which there is one.
func (v *verification) compareVerdict(what string, want Judged, have verdicts) {
	score := difference(float64(have.scores[0]), want.Score)
	if !math.IsNaN(want.Score) {
		score /= max(scoreFloor, math.Abs(want.Score))
	}
	if !(score <= v.Score) {
		v.Score = score
	}
	if !(score <= v.limits.Score) {
		v.fault("%s: score: have %v, want %v", what, have.scores[0], want.Score)
	}
	if !v.judges {
		return
	}
	value := difference(float64(have.values[0]), want.Value)
	if !(value <= v.Value) {
		v.Value = value
	}
	if !(value <= v.limits.Value) {
		v.fault("%s: value: have %v, want %v", what, have.values[0], want.Value)
	}
	v.Decisions++
	if have.defective[0] != truth(want.Defective) {
		v.Different++
		if math.Abs(want.Score-want.threshold()) <= v.limits.Score*want.threshold() {
			v.Near++
			return
		}
		v.fault("%s: defective: have %v, want %v: score %v (here %v), threshold %v",
			what, have.defective[0] != 0, want.Defective, have.scores[0], want.Score, want.threshold())
	}
}

// difference is the distance of two numbers, 0 where neither is a number and infinite where one is not.
func difference(have, want float64) float64 {
	switch {
	case math.IsNaN(have) && math.IsNaN(want):
		return 0
	case math.IsNaN(have) || math.IsNaN(want):
		return math.Inf(1)
	}
	return math.Abs(have - want)
}

func (j Judged) threshold() float64 {
	if j.Scale == nil {
		return math.NaN()
	}
	return j.Scale.Threshold
}

// settings are other thresholds and scales than those of the file.
type settings struct{ image, object levels }

// scoreFloor is what lower scores count as in relative differences.
const scoreFloor = 1e-3

// levels are the settings of one kind of score: a threshold, center and spread of each class.
type levels struct{ thresholds, scales []float32 }

// change judges the objects that are kept with other thresholds, which lie between their scores, and other scales.
func (v *verification) change() error {
	if !v.judges {
		return nil
	}
	s := &settings{newLevels(v.classes), newLevels(v.classes)}
	for row, kept := range v.kept {
		var images, objects []Judged
		for _, c := range kept {
			objects = append(objects, c.Object)
			for j, m := range c.Images {
				if c.Present[j] {
					images = append(images, m)
				}
			}
		}
		s.image.set(row, images, v.limits.Score)
		s.object.set(row, objects, v.limits.Score)
	}
	for row := range v.classes {
		kept := v.kept[row]
		if len(kept) == 0 {
			continue
		}
		a, err := v.answer(kept, s)
		if err != nil {
			return err
		}
		for i, c := range kept {
			v.compareChanged(c, a.object(i), row, s)
		}
	}
	return nil
}

func newLevels(n int) levels {
	l := levels{make([]float32, n), make([]float32, 2*n)}
	for i := range n {
		l.thresholds[i], l.scales[2*i+1] = 1, 1
	}
	return l
}

// set chooses the settings of a row for images or objects of its class: a threshold in a gap between two scores, or
// beyond all, that flips about half of the decisions. limit is that of scores.
func (l levels) set(row int, judged []Judged, limit float64) {
	judged = slices.DeleteFunc(slices.Clone(judged), func(j Judged) bool { return math.IsNaN(j.Score) || j.Scale == nil })
	if len(judged) == 0 {
		return
	}
	slices.SortFunc(judged, func(a, b Judged) int { return cmp.Compare(a.Score, b.Score) })
	lowest, highest := judged[0].Score, judged[len(judged)-1].Score
	at, most := 1., -1
	for i := range len(judged) + 1 {
		below, above := lowest/4, 4*highest
		if i > 0 {
			below = judged[i-1].Score
		}
		if i < len(judged) {
			above = judged[i].Score
		}
		if above-below < 4*limit*below+1e-5 { // too near for other rounding
			continue
		}
		middle, flips := math.Sqrt(below*above), 0
		for _, j := range judged {
			if j.Defective != (j.Score > middle) {
				flips++
			}
		}
		if some := 2*min(flips, len(judged)-flips)*len(judged) + flips; some > most {
			at, most = middle, some
		}
	}
	scale := judged[0].Scale
	l.thresholds[row] = float32(at)
	l.scales[2*row], l.scales[2*row+1] = float32(scale.Center)+0.1, float32(scale.Spread)*1.25
}

// of is a scale with the settings of a row.
func (l levels) of(row int, scale calibration.Scale) calibration.Scale {
	scale.Threshold = float64(l.thresholds[row])
	scale.Center, scale.Spread = float64(l.scales[2*row]), float64(l.scales[2*row+1])
	return scale
}

// compareChanged compares values and decisions at other settings.
func (v *verification) compareChanged(c Case, a *answer, row int, s *settings) {
	for j, want := range c.Images {
		if c.Present[j] {
			v.compareFlip(fmt.Sprintf("object %q, C%d", c.Name, j+1), want, a.images.slice(j, 1), row, s.image)
		}
	}
	v.compareFlip(fmt.Sprintf("object %q", c.Name), c.Object, a.objects, row, s.object)
}

func (v *verification) compareFlip(what string, before Judged, have verdicts, row int, l levels) {
	if math.IsNaN(before.Score) || before.Scale == nil {
		return
	}
	scale := l.of(row, *before.Scale)
	want := scale.Defective(before.Score)
	if want != before.Defective {
		v.Changed++
	}
	if have.defective[0] != truth(want) {
		v.Unmoved++
		v.fault("%s: defective at threshold %v: have %v, want %v: score %v (here %v)",
			what, scale.Threshold, have.defective[0] != 0, want, have.scores[0], before.Score)
	}
	value := difference(float64(have.values[0]), scale.Value(before.Score))
	if !(value <= v.Value) {
		v.Value = value
	}
	if !(value <= v.limits.Value) {
		v.fault("%s: value at threshold %v, center %v, spread %v: have %v, want %v",
			what, scale.Threshold, scale.Center, scale.Spread, have.values[0], scale.Value(before.Score))
	}
}
