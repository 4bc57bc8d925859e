package inspect

import (
	"math"
	"slices"

	"mvag-torch/dataset"
	"mvag-torch/model/calibration"
)

// Region is a part of a picture above the pixel threshold, in pixels of the
// whole picture, turned by its EXIF orientation where data.exif is set.
type Region struct {
	Box  [4]int  `json:"box"`  // left, top, right, bottom; right and bottom are outside
	Area float64 `json:"area"` // not of the box but of the region
	Peak float64 `json:"peak"` // highest calibrated value in it
}

// regions returns the 8-connected components of mask, a map of size x size
// pixels, in the order of their first pixel, in a picture of w x h pixels that
// fit brought to the model.
func regions(scores []float32, mask []bool, size int, scale calibration.Scale, fit dataset.Fit, w, h int) []Region {
	left, top, width, height := fit.Seen(w, h)
	dx, dy := width/float64(size), height/float64(size)
	found := []Region{}
	for _, c := range components(mask, size) {
		peak := scores[c.pixels[0]]
		for _, i := range c.pixels {
			peak = max(peak, scores[i])
		}
		// A box that ends between pixels takes them in; the guard keeps
		// rounding errors from taking in a further one.
		const guard = 1e-6
		found = append(found, Region{
			Box: [4]int{
				max(0, int(math.Floor(left+float64(c.x0)*dx+guard))), max(0, int(math.Floor(top+float64(c.y0)*dy+guard))),
				min(w, int(math.Ceil(left+float64(c.x1)*dx-guard))), min(h, int(math.Ceil(top+float64(c.y1)*dy-guard))),
			},
			Area: math.Round(100*float64(len(c.pixels))*dx*dy) / 100,
			Peak: scale.Value(float64(peak)),
		})
	}
	return found
}

// component is a connected set of pixels and the box around it, x1 and y1
// outside.
type component struct {
	pixels         []int
	x0, y0, x1, y1 int
}

// components finds the 8-connected sets of true pixels.
func components(mask []bool, size int) []component {
	var found []component
	rest := slices.Clone(mask)
	for start, set := range rest {
		if !set {
			continue
		}
		rest[start] = false
		c := component{pixels: []int{start}, x0: size, y0: size}
		for next := 0; next < len(c.pixels); next++ {
			x, y := c.pixels[next]%size, c.pixels[next]/size
			c.x0, c.y0, c.x1, c.y1 = min(c.x0, x), min(c.y0, y), max(c.x1, x+1), max(c.y1, y+1)
			for v := max(0, y-1); v <= min(size-1, y+1); v++ {
				for u := max(0, x-1); u <= min(size-1, x+1); u++ {
					if i := v*size + u; rest[i] {
						rest[i] = false
						c.pixels = append(c.pixels, i)
					}
				}
			}
		}
		found = append(found, c)
	}
	return found
}
