package inspect

import (
	"math"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/components"
	"mvag-torch/model/calibration"
)

// Region is a part of an image above the pixel threshold, in pixels of the whole image, turned by its EXIF orientation
// where data.exif is set.
type Region struct {
	Box  [4]int  `json:"box"`  // left, top, right, bottom; right and bottom are exclusive
	Area float64 `json:"area"` // of the region itself, not of the box
	Peak float64 `json:"peak"` // highest calibrated value in it
}

// regions returns the 8-connected components of mask, a map [h, w] of the given size, in the order of their first pixels, in an
// image of w x h pixels that fit brought to the model.
func regions(scores []float32, mask []bool, size configs.Size, scale calibration.Scale, fit dataset.Fit, w, h int) []Region {
	var runs components.Runs
	type part struct {
		x0, y0, x1, y1, pixels int
		peak                   float32
	}
	parts := make([]part, runs.Find(mask, size.Width()))
	for _, r := range runs {
		p, y, x0 := &parts[r.Component], r.From/size.Width(), r.From%size.Width()
		x1 := x0 + r.To - r.From
		if p.pixels == 0 {
			*p = part{x0: x0, y0: y, x1: x1, peak: scores[r.From]}
		}
		p.x0, p.x1, p.y1, p.pixels = min(p.x0, x0), max(p.x1, x1), y+1, r.Size
		for _, v := range scores[r.From:r.To] {
			p.peak = max(p.peak, v)
		}
	}
	left, top, width, height := fit.Seen(w, h)
	dx, dy := width/float64(size.Width()), height/float64(size.Height())
	// A box that ends between two pixels takes in both. The guard keeps rounding errors from taking in a further one.
	const guard = 1e-6
	low := func(at float64) int { return max(0, int(math.Floor(at+guard))) }
	high := func(at float64, end int) int { return min(end, int(math.Ceil(at-guard))) }
	found := make([]Region, len(parts))
	for i, p := range parts {
		found[i] = Region{
			Box: [4]int{
				low(left + float64(p.x0)*dx), low(top + float64(p.y0)*dy),
				high(left+float64(p.x1)*dx, w), high(top+float64(p.y1)*dy, h),
			},
			Area: math.Round(100*float64(p.pixels)*dx*dy) / 100,
			Peak: scale.Value(float64(p.peak)),
		}
	}
	return found
}
