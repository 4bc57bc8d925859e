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

// Curve is the curve of the pixels of a class; a line of curves.jsonl. It has no points where the metrics of pixels are
// undefined.
type Curve struct {
	Class string  `json:"class"`
	Limit float64 `json:"aupro_limit"`
	metric.Curve
}

// limits are further limits of AUPRO, besides Options.AuproLimit.
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
	image, object := images.rank(nil), objects.rank(nil)
	defective := 0
	for _, x := range images {
		if x.defective {
			defective++
		}
	}
	r.Class = report.Class{
		Name: c.name, Values: metric.NewValues(image, pixels.PixelRanking, object),
		Counts: report.Counts{Images: len(r.Images), Defective: defective, Objects: len(r.Objects), Masks: pixels.Masks},
		Details: &report.Details{
			Counts: c.counts(pixels, defective),
			Thresholds: map[string]metric.Number{
				"image": metric.Number(image.Threshold), "pixel": metric.Number(pixels.Threshold), "object": metric.Number(object.Threshold),
			},
			Compat:  c.compat(r, pixels, image),
			Views:   views(images, pixels.Views),
			Defects: defects(images, objects, pixels.Codes),
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

// sample is an image or an object in a ranking.
type sample struct {
	defective bool
	code      string
	camera    int
	score     metric.Number
}

type samples []sample

func (r *Result) images() samples {
	var s samples
	for _, p := range r.Images {
		s = append(s, sample{p.Label == 1, p.Code, p.Camera, p.Score})
	}
	return s
}

func (r *Result) objects() samples {
	var s samples
	for _, o := range r.Objects {
		s = append(s, sample{o.Defective(), o.Code, 0, o.Max})
	}
	return s
}

// scored returns a copy with other scores.
func (s samples) scored(score func(i int) metric.Number) samples {
	out := slices.Clone(s)
	for i := range out {
		out[i].score = score(i)
	}
	return out
}

// rank evaluates the samples for which keep is true, all of them if it is nil.
func (s samples) rank(keep func(sample) bool) metric.Ranking {
	var scores []float64
	var labels []bool
	for _, x := range s {
		if keep == nil || keep(x) {
			scores, labels = append(scores, float64(x.score)), append(labels, x.defective)
		}
	}
	r, err := metric.Rank(scores, labels)
	if err != nil { // an object whose scores are +Inf and -Inf has a mean of NaN
		return undefined()
	}
	return r
}

// undefined is the ranking of nothing.
func undefined() metric.Ranking { return samples(nil).rank(nil) }

// undefinedPixels returns s with NaN for every metric of pixels; the counts stay.
func undefinedPixels(s metric.Summary) metric.Summary {
	nan := math.NaN()
	unknown := func(p metric.PixelRanking) metric.PixelRanking {
		p.Ranking, p.AUPRO = undefined(), nan
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
	s.Compat = metric.Compat{AUPRO200: nan, ADEval: metric.BinnedRanking{AUROC: nan, AUPR: nan, AUPRO: nan}, Slack: nan}
	return s
}

// views evaluates each camera by itself.
func views(images samples, pixels map[int]metric.PixelRanking) map[string]metric.Values {
	out := map[string]metric.Values{}
	for camera, p := range pixels {
		own := images.rank(func(x sample) bool { return x.camera == camera })
		out[fmt.Sprintf("C%d", camera)] = metric.NewValues(own, p, undefined())
	}
	return out
}

// defects evaluates the images, pixels and objects of each defect code among all good ones.
func defects(images, objects samples, pixels map[string]metric.PixelRanking) map[string]metric.Values {
	out := map[string]metric.Values{}
	for _, x := range images {
		if _, done := out[x.code]; done || !x.defective {
			continue
		}
		p, ok := pixels[x.code]
		if !ok { // no mask with a pixel in it
			p = metric.PixelRanking{Ranking: undefined(), AUPRO: math.NaN()}
		}
		own := func(y sample) bool { return !y.defective || y.code == x.code }
		out[x.code] = metric.NewValues(images.rank(own), p, objects.rank(own))
	}
	return out
}

// compat returns the values by other rules, under names that tell the rule.
func (c *Class) compat(r Result, pixels metric.Summary, image metric.Ranking) map[string]metric.Number {
	n := map[string]metric.Number{}
	for name, v := range map[string]float64{
		"I-F1max (Dinomaly, eps 1e-7)":        image.F1Eps,
		"I-AUPR (trapezoid)":                  image.AUPR,
		"P-F1max (Dinomaly, eps 1e-7)":        pixels.F1Eps,
		"P-AUPR (trapezoid)":                  pixels.AUPR,
		"AUPRO (Dinomaly, 200 thresholds)":    pixels.Compat.AUPRO200,
		"P-AUROC (ADEval, 1000 bins)":         pixels.Compat.ADEval.AUROC,
		"P-AUPR (ADEval, 1000 bins)":          pixels.Compat.ADEval.AUPR,
		"AUPRO (ADEval, 1000 bins)":           pixels.Compat.ADEval.AUPRO,
		"FPR error of what is binned (bound)": pixels.Compat.Slack,
	} {
		n[name] = metric.Number(v)
	}
	for i, limit := range limits {
		n[fmt.Sprintf("AUPRO (limit %g)", limit)] = metric.Number(pixels.AUPROs[i+1])
	}
	rank := func(level, rule string, r metric.Ranking) {
		for name, v := range map[string]float64{"AUROC": r.AUROC, "AP": r.AP, "F1max": r.F1max} {
			n[fmt.Sprintf("%s-%s (%s)", level, name, rule)] = metric.Number(v)
		}
	}
	var tops []metric.Number
	for _, e := range c.entries {
		for _, t := range e.tops {
			tops = append(tops, metric.Number(t.Mean))
		}
	}
	top := "top " + strconv.FormatFloat(100*c.opt.Top, 'g', -1, 64) + " %"
	images, objects := r.images(), r.objects()
	rank("I", "max", images.scored(func(i int) metric.Number { return r.Images[i].Max }).rank(nil))
	rank("I", top, images.scored(func(i int) metric.Number { return tops[i] }).rank(nil))
	rank("S", "max", objects.rank(nil))
	rank("S", "mean", objects.scored(func(i int) metric.Number { return r.Objects[i].Mean }).rank(nil))
	rank("S", "pooled "+top, objects.scored(func(i int) metric.Number { return r.Objects[i].Pooled }).rank(nil))
	if c.opt.OtherRule != "" {
		other := pixels.Other
		if other == nil { // no mask with a pixel in it
			other = &pixels.PixelRanking
		}
		rank("P", "mask "+c.opt.OtherRule, other.Ranking)
		n["AUPRO (mask "+c.opt.OtherRule+")"] = metric.Number(other.AUPRO)
	}
	return n
}
