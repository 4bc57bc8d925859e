package score

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"

	"mvag-torch/eval/metric"
	"mvag-torch/eval/report"
)

// Result is a finished class.
type Result struct {
	Class   report.Class
	Images  []Image // in order of index and view
	Objects []Object
	Curve   Curve
}

// Curve is the curve of the pixels of a class; a line of curves.jsonl. It has no points where the numbers of pixels are
// not defined.
type Curve struct {
	Class string  `json:"class"`
	Limit float64 `json:"aupro_limit"`
	metric.Curve
}

// limits are those of AUPRO besides the headline.
var limits = []float64{0.05, 0.3, 1}

// Finish computes the results of all objects added.
func (c *Class) Finish() (Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.SortFunc(c.entries, func(a, b entry) int { return cmp.Compare(a.index, b.index) })
	pixels, err := c.pixels.Summarize(append([]float64{c.opt.AuproLimit}, limits...)...)
	if err != nil {
		return Result{}, err
	}
	if c.unmasked {
		pixels = undefinedPixels(pixels)
	}
	var r Result
	for _, e := range c.entries {
		o := e.object
		part, ok := pixels.Objects[o.ID]
		if !ok {
			part.AUROC, part.AUPRO = math.NaN(), math.NaN()
		}
		o.AUROC, o.AUPRO = metric.Number(part.AUROC), metric.Number(part.AUPRO)
		r.Objects = append(r.Objects, o)
		r.Images = append(r.Images, e.images...)
	}
	images, objects := r.images(), r.objects()
	image, object := images.rank(score), objects.rank(score)
	r.Class = report.Class{
		Name: c.name, Values: metric.NewValues(image, pixels.PixelRanking, object),
		Counts: report.Counts{Images: len(r.Images), Defective: images.defective(), Objects: len(r.Objects), Masks: pixels.Masks},
		Details: &report.Details{
			Counts: c.counts(pixels, images.defective()),
			Thresholds: map[string]metric.Number{
				"image": metric.Number(image.Threshold), "pixel": metric.Number(pixels.Threshold), "object": metric.Number(object.Threshold),
			},
			Compat:  c.compat(r, pixels, image),
			Views:   r.views(pixels.Views),
			Defects: r.defects(pixels.Codes),
		},
	}
	r.Curve = Curve{c.name, c.opt.AuproLimit, pixels.Curve}
	return r, nil
}

func (c *Class) counts(pixels metric.Summary, defective int) map[string]int64 {
	return map[string]int64{
		"regions": int64(pixels.Regions), "defective_pixels": pixels.Anomalous, "normal_pixels": pixels.Normal,
		"empty_masks":     int64(max(0, defective-pixels.Masks)),
		"infinite_images": c.infinite,
	}
}

// sample is a image or an object in a ranking.
type sample struct {
	label         bool
	code          string
	camera        int
	score, values metric.Number // values: by another rule
}

type samples []sample

func (r *Result) images() samples {
	var s samples
	for _, p := range r.Images {
		s = append(s, sample{p.Label == 1, p.Code, p.Camera, p.Score, p.Max})
	}
	return s
}

func (r *Result) objects() samples {
	var s samples
	for _, o := range r.Objects {
		s = append(s, sample{o.Defective(), o.Code, 0, o.Max, 0})
	}
	return s
}

// score is the headline rule.
func score(s sample) metric.Number { return s.score }

// rank evaluates the samples by a rule. Scores are numbers, since Add saw to it.
func (s samples) rank(rule func(sample) metric.Number) metric.Ranking {
	scores, labels := make([]float32, len(s)), make([]bool, len(s))
	for i, x := range s {
		scores[i], labels[i] = float32(rule(x)), x.label
	}
	r, err := metric.Rank(scores, labels)
	if err != nil { // an object whose scores are +Inf and -Inf has a mean of NaN
		nan := math.NaN()
		return metric.Ranking{AUROC: nan, AP: nan, F1max: nan, Threshold: nan, F1Eps: nan, AUPR: nan}
	}
	return r
}

func (s samples) defective() int {
	n := 0
	for _, x := range s {
		if x.label {
			n++
		}
	}
	return n
}

func (s samples) where(keep func(sample) bool) samples {
	return slices.DeleteFunc(slices.Clone(s), func(x sample) bool { return !keep(x) })
}

// undefined is the ranking of objects where there are none.
func undefined() metric.Ranking { return samples(nil).rank(score) }

// undefinedPixels has NaN for every number of pixels and keeps the counts.
func undefinedPixels(s metric.Summary) metric.Summary {
	nan := math.NaN()
	unknown := func(p metric.PixelRanking) metric.PixelRanking {
		p.Ranking, p.AUPRO = undefined(), nan
		p.AUROC, p.AP, p.F1max = nan, nan, nan
		return p
	}
	s.PixelRanking, s.Objects, s.Curve = unknown(s.PixelRanking), nil, metric.Curve{}
	for camera, p := range s.Views {
		s.Views[camera] = unknown(p)
	}
	for code, p := range s.Codes {
		s.Codes[code] = unknown(p)
	}
	if s.Other != nil {
		other := unknown(*s.Other)
		s.Other = &other
	}
	for i := range s.AUPROs {
		s.AUPROs[i] = nan
	}
	s.Compat.AUPRO200, s.Compat.Slack = nan, nan
	s.Compat.ADEval.AUROC, s.Compat.ADEval.AUPR, s.Compat.ADEval.AUPRO = nan, nan, nan
	return s
}

// views evaluates the images of each camera by themselves.
func (r *Result) views(pixels map[int]metric.PixelRanking) map[string]metric.Values {
	out := map[string]metric.Values{}
	images := r.images()
	for camera, p := range pixels {
		image := images.where(func(x sample) bool { return x.camera == camera }).rank(score)
		out[fmt.Sprintf("C%d", camera)] = metric.NewValues(image, p, undefined())
	}
	return out
}

// defects evaluates the images, pixels and objects of each defect code among all good ones.
func (r *Result) defects(pixels map[string]metric.PixelRanking) map[string]metric.Values {
	out := map[string]metric.Values{}
	images, objects := r.images(), r.objects()
	for _, x := range images {
		if _, done := out[x.code]; done || !x.label {
			continue
		}
		p, ok := pixels[x.code]
		if !ok { // no mask with a pixel in it
			nan := math.NaN()
			p = metric.PixelRanking{Ranking: undefined(), AUPRO: nan}
		}
		own := func(y sample) bool { return !y.label || y.code == x.code }
		out[x.code] = metric.NewValues(images.where(own).rank(score), p, objects.where(own).rank(score))
	}
	return out
}

// compat names the numbers by other rules.
func (c *Class) compat(r Result, pixels metric.Summary, image metric.Ranking) map[string]metric.Number {
	n := map[string]metric.Number{
		"I-F1max (Dinomaly, eps 1e-7)":        metric.Number(image.F1Eps),
		"I-AUPR (trapezoid)":                  metric.Number(image.AUPR),
		"P-F1max (Dinomaly, eps 1e-7)":        metric.Number(pixels.F1Eps),
		"P-AUPR (trapezoid)":                  metric.Number(pixels.AUPR),
		"AUPRO (Dinomaly, 200 thresholds)":    metric.Number(pixels.Compat.AUPRO200),
		"P-AUROC (ADEval, 1000 bins)":         metric.Number(pixels.Compat.ADEval.AUROC),
		"P-AUPR (ADEval, 1000 bins)":          metric.Number(pixels.Compat.ADEval.AUPR),
		"AUPRO (ADEval, 1000 bins)":           metric.Number(pixels.Compat.ADEval.AUPRO),
		"FPR error of what is binned (bound)": metric.Number(pixels.Compat.Slack),
	}
	rank := func(level, rule string, r metric.Ranking) {
		suffix := " (" + rule + ")"
		n[level+"-AUROC"+suffix], n[level+"-AP"+suffix], n[level+"-F1max"+suffix] =
			metric.Number(r.AUROC), metric.Number(r.AP), metric.Number(r.F1max)
	}
	top := "top " + strconv.FormatFloat(100*c.opt.Top, 'g', -1, 64) + " %"
	images := r.images()
	rank("I", "max", images.rank(func(x sample) metric.Number { return x.values }))
	i := 0
	for _, e := range c.entries {
		for _, v := range e.tops {
			images[i].values = metric.Number(v.Mean)
			i++
		}
	}
	rank("I", top, images.rank(func(x sample) metric.Number { return x.values }))
	objects := r.objects()
	rank("S", "max", objects.rank(score))
	for i, o := range r.Objects {
		objects[i].values = o.Mean
	}
	rank("S", "mean", objects.rank(func(x sample) metric.Number { return x.values }))
	for i, o := range r.Objects {
		objects[i].values = o.Pooled
	}
	rank("S", "pooled "+top, objects.rank(func(x sample) metric.Number { return x.values }))
	if c.opt.OtherRule != "" {
		other := pixels.Other
		if other == nil { // no mask with a pixel in it
			other = &pixels.PixelRanking
		}
		rank("P", "mask "+c.opt.OtherRule, other.Ranking)
		n["AUPRO (mask "+c.opt.OtherRule+")"] = metric.Number(other.AUPRO)
	}
	for i, limit := range limits {
		n[fmt.Sprintf("AUPRO (limit %g)", limit)] = metric.Number(pixels.AUPROs[i+1])
	}
	return n
}
