package page

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"gonum.org/v1/plot/vg"

	"mvag-torch/eval/metric"
	"mvag-torch/eval/report"
)

// group holds the figures of a class.
type group struct {
	Class   string
	Figures []figure
}

// level is what is ranked in a class: objects, images or pixels.
type level struct {
	name    string
	style   series
	curve   metric.Curve
	limit   limit
	good    []float64 // finite scores
	bad     []float64
	ranking [2]float64 // AUROC, AP
}

var dashed = []vg.Length{5, 3}

// groups draws the curves of every class.
func (r *run) groups() ([]group, error) {
	var out []group
	for _, c := range r.results.Classes {
		levels := r.levels(c)
		g := group{Class: c.Name}
		for _, draw := range []func([]level, report.Class) (figure, error){
			roc, pr, r.pro, histogram(0), histogram(1), above,
		} {
			f, err := draw(levels, c)
			if err != nil {
				return nil, fmt.Errorf("class %q: %w", c.Name, err)
			}
			if f.SVG != "" {
				g.Figures = append(g.Figures, f)
			}
		}
		if g.Figures != nil {
			out = append(out, g)
		}
	}
	return out, nil
}

// levels gathers the scores of a class: objects, images, pixels.
func (r *run) levels(c report.Class) []level {
	v := c.Values
	objects := level{name: "objects", style: series{colour: objectColour, width: 2.2}, limit: r.limit(ofObjects, c.Name),
		ranking: [2]float64{v[metric.ObjectAUROC], v[metric.ObjectAP]}}
	images := level{name: "images", style: series{colour: imageColour, dashes: dashed}, limit: r.limit(ofImages, c.Name),
		ranking: [2]float64{v[metric.ImageAUROC], v[metric.ImageAP]}}
	pixels := level{name: "pixels", style: series{colour: pixelColour, dashes: []vg.Length{1.5, 2}}, limit: r.limit(ofPixels, c.Name),
		ranking: [2]float64{v[metric.PixelAUROC], v[metric.PixelAP]}, curve: r.curves[c.Name].Curve}
	for _, o := range r.ofClass(c.Name) {
		objects.sample(float64(o.Max), o.Defective())
	}
	for _, p := range r.images {
		if p.Class == c.Name {
			images.sample(float64(p.Score), p.Label == 1)
		}
	}
	objects.rank()
	images.rank()
	return []level{objects, images, pixels}
}

// sample adds a score; infinite ones cannot be drawn.
func (l *level) sample(v float64, defective bool) {
	switch {
	case math.IsNaN(v) || math.Abs(v) > math.MaxFloat32:
	case defective:
		l.bad = append(l.bad, v)
	default:
		l.good = append(l.good, v)
	}
}

func (l *level) rank() {
	var scores []float64
	var labels []bool
	for i, list := range [][]float64{l.good, l.bad} {
		for _, v := range list {
			scores, labels = append(scores, v), append(labels, i == 1)
		}
	}
	l.curve, _ = metric.RankCurve(scores, labels) // the scores are finite
}

// line is a line in the style of the level.
func (l level) line(name string, x, y []float64) series {
	s := l.style
	s.name, s.x, s.y = name, x, y
	return s
}

// at marks the threshold on the curve; nothing without a curve or a threshold.
func (l level) at(x, y []float64) series {
	s := series{colour: l.style.colour, marks: true}
	if math.IsNaN(l.limit.value) {
		return s
	}
	for i := len(l.curve.Threshold) - 1; i >= 0; i-- { // the lowest point that is not below the limit
		if float64(l.curve.Threshold[i]) >= l.limit.value {
			s.x, s.y = x[i:i+1], y[i:i+1]
			break
		}
	}
	return s
}

const marked = " The circle is where the threshold lies."

// rates plots all levels over axes that are fractions. Of is the index of the metric in the legend.
func rates(g graph, levels []level, of int, line func(c metric.Curve) (x, y []float64)) (graph, []string) {
	g.xMax, g.yMax, g.xTicks, g.yTicks = 1, 1, fractions(1, 5), fractions(1, 5)
	var parts []string
	for _, l := range levels {
		if x, y := line(l.curve); len(x) > 0 {
			name := fmt.Sprintf("%s %s", l.name, percent(l.ranking[of]).Text)
			parts = append(parts, name)
			g.lines = append(g.lines, l.line(name, x, y), l.at(x, y))
		}
	}
	return g, parts
}

func roc(levels []level, c report.Class) (figure, error) {
	diagonal := series{colour: faintColour, width: 0.8, dashes: dashed, x: []float64{0, 1}, y: []float64{0, 1}}
	g, parts := rates(graph{x: "good ones reported, %", y: "defective ones found, %", lines: []series{diagonal}}, levels, 0,
		func(c metric.Curve) (x, y []float64) { return c.FPR, c.Recall })
	return g.figure(parts, "ROC", "How much is found for how many false alarms, over all thresholds; the area under a line is its AUROC, in percent in the legend. Guessing gives the diagonal."+marked,
		"ROC curves of class "+c.Name+"; AUROC in percent: ")
}

func pr(levels []level, c report.Class) (figure, error) {
	g, parts := rates(graph{x: "defective ones found, %", y: "of those reported, defective, %", left: true}, levels, 1,
		func(c metric.Curve) (x, y []float64) { return c.Recall, c.Precision })
	return g.figure(parts, "Precision and recall", "How far a report can be trusted, over how much is found; AP, in the legend in percent, is about the area under a line."+marked,
		"Precision-recall curves of class "+c.Name+"; average precision in percent: ")
}

func (r *run) pro(levels []level, c report.Class) (figure, error) {
	l, limit := levels[2], r.curves[c.Name].Limit
	if len(l.curve.Overlap) == 0 {
		return figure{}, nil
	}
	g := graph{x: "good pixels reported, %", y: "overlap with defect regions, %", xMax: limit, yMax: 1, xTicks: fractions(limit, 6), yTicks: fractions(1, 5)}
	n := 0
	for n < len(l.curve.FPR) && l.curve.FPR[n] <= limit {
		n++
	}
	x, y := l.curve.FPR[:n:n], l.curve.Overlap[:n:n]
	if n > 0 && n < len(l.curve.FPR) { // continue the line to the edge
		t := (limit - x[n-1]) / (l.curve.FPR[n] - x[n-1])
		x, y = append(x, limit), append(y, y[n-1]+t*(l.curve.Overlap[n]-y[n-1]))
	}
	name := "pixels " + percent(c.Values[metric.AUPRO]).Text
	line, at := l.line(name, x, y), l.at(l.curve.FPR, l.curve.Overlap)
	line.dashes, line.width, line.fill = nil, 2, true
	if len(at.x) > 0 && at.x[0] > limit {
		at.x = nil
	}
	g.lines = []series{line, at}
	return g.figure([]string{name}, "PRO", fmt.Sprintf("How much of a defect region the map covers on average, up to %s %% of all good pixels reported; the shaded fraction of the box is AUPRO.", strconv.FormatFloat(100*limit, 'g', 3, 64))+marked,
		"PRO curve of class "+c.Name+"; AUPRO in percent: ")
}

const bins = 24

// histogram draws the scores of objects (0) or images (1).
func histogram(of int) func([]level, report.Class) (figure, error) {
	return func(levels []level, c report.Class) (figure, error) {
		l := levels[of]
		low, high := span(l.good, l.bad)
		if !(low <= high) {
			return figure{}, nil
		}
		if t := l.limit.value; math.Abs(t) <= math.MaxFloat32 {
			low, high = min(low, t), max(high, t)
		}
		if low == high {
			low, high = low-math.Abs(low)/2-1e-9, high+math.Abs(high)/2+1e-9
		}
		g := graph{x: "score", xLog: wide(low, high), y: l.name + ", %", top: true}
		var parts []string
		for _, part := range []struct {
			name   string
			values []float64
			style  series
		}{{"good", l.good, series{colour: goodColour}}, {"defective", l.bad, series{colour: badColour}}} {
			if len(part.values) == 0 {
				continue
			}
			s := part.style
			s.name, s.fill = fmt.Sprintf("%s (%d)", part.name, len(part.values)), true
			s.x, s.y = steps(part.values, low, high, g.xLog)
			parts = append(parts, s.name)
			g.lines = append(g.lines, s)
		}
		g.addLimit(l.limit, low, high)
		return g.figure(parts, "Scores of "+l.name, "Fraction of the good and of the defective "+l.name+" by score; what lies right of the threshold is reported. The less the two overlap, the better.",
			"Histogram of the scores of "+l.name+" of class "+c.Name+": ")
	}
}

// steps returns the outline of a histogram in percent, with bins of equal width on the axis.
func steps(values []float64, low, high float64, log bool) (x, y []float64) {
	var counts [bins]float64
	for _, v := range values {
		at := (v - low) / (high - low)
		if log {
			at = math.Log(v/low) / math.Log(high/low)
		}
		counts[max(0, min(bins-1, int(at*bins)))]++
	}
	for i, n := range counts {
		for _, edge := range []float64{float64(i) / bins, float64(i+1) / bins} {
			at := low + (high-low)*edge
			if log {
				at = low * math.Pow(high/low, edge)
			}
			x, y = append(x, at), append(y, 100*n/float64(len(values)))
		}
	}
	return x, y
}

// addLimit draws a threshold as a vertical line if it is in range.
func (g *graph) addLimit(l limit, low, high float64) {
	highest := 0.0
	for _, s := range g.lines {
		for _, y := range s.y {
			highest = max(highest, y)
		}
	}
	g.yMax = 1.3 * highest // room for the legend
	if l.value >= low && l.value <= high {
		g.lines = append(g.lines, series{name: "threshold " + short(l.value), colour: inkColour, width: 1.2, x: []float64{l.value, l.value}, y: []float64{0, highest}})
	}
}

// above plots the fraction of pixels above each threshold.
func above(levels []level, c report.Class) (figure, error) {
	l := levels[2]
	n := len(l.curve.Threshold)
	if n < 3 {
		return figure{}, nil
	}
	x := make([]float64, n-2) // the ends are not scores
	for i := range x {
		x[i] = float64(l.curve.Threshold[i+1])
	}
	low, high := span(x, nil)
	if !(high-low < math.MaxFloat32) || low == high {
		return figure{}, nil
	}
	g := graph{x: "threshold of pixels", xLog: wide(low, high), y: "pixels above, %", yTicks: fractions(1, 5), top: true}
	g.lines = []series{
		{name: "good", colour: goodColour, x: x, y: l.curve.FPR[1 : n-1]},
		{name: "defective", colour: badColour, x: x, y: l.curve.Recall[1 : n-1]},
	}
	g.addLimit(l.limit, low, high)
	return g.figure([]string{"good", "defective"}, "Pixels above a threshold", "Fraction of the good and of the defective pixels that a threshold reports. The regions of mvag-torch predict are the pixels above the pixel threshold.",
		"Fraction of pixels above a threshold of class "+c.Name+": ")
}

// figure renders g. Parts is the text of its legend; without parts there is nothing to draw.
func (g *graph) figure(parts []string, title, caption, alt string) (figure, error) {
	if len(parts) == 0 {
		return figure{}, nil
	}
	svg, err := g.render()
	return figure{title, caption, alt + strings.Join(parts, ", "), svg}, err
}

func span(lists ...[]float64) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, list := range lists {
		for _, v := range list {
			low, high = min(low, v), max(high, v)
		}
	}
	return low, high
}
