package dataset

import (
	"image"
	"math"
	"slices"
)

// Weights and sums are integers with precisionBits fractional bits, as in Pillow: 32 bits minus 8 for a pixel and 2
// spare.
const (
	precisionBits = 32 - 8 - 2
	roundHalf     = 1 << (precisionBits - 1)
)

// axis describes the resize of one dimension from in to out pixels, of which n pixels from off on are needed: the input
// pixels and weights of each output pixel.
type axis struct {
	in, out, off, n int

	taps    int     // maximum number of weights of a pixel
	first   []int   // [n] first input pixel
	count   []int   // [n] number of input pixels, at most taps
	weights []int32 // [n, taps]

	vector vectorWeights // the same for vector instructions, if available
}

// set computes the weights of Pillow's BILINEAR filter: a triangle as wide as an input pixel when enlarging and as an
// output pixel when reducing (antialiasing), clipped at the borders, normalised in float64, then rounded.
func (a *axis) set(in, out, off, n int) {
	if a.in == in && a.out == out && a.off == off && a.n == n {
		return
	}
	scale := float64(in) / float64(out)
	support := max(scale, 1)
	taps := 2*int(math.Ceil(support)) + 1
	*a = axis{in: in, out: out, off: off, n: n, taps: taps,
		first: slices.Grow(a.first[:0], n)[:n], count: slices.Grow(a.count[:0], n)[:n],
		weights: slices.Grow(a.weights[:0], n*taps)[:n*taps], vector: a.vector}
	w := make([]float64, taps)
	for i := range n {
		center := (float64(off+i) + 0.5) * scale
		first := max(int(center-support+0.5), 0)
		count := min(int(center+support+0.5), in) - first
		sum := 0.0
		for j := range count {
			w[j] = max(1-math.Abs((float64(first+j)-center+0.5)/support), 0)
			sum += w[j]
		}
		a.first[i], a.count[i] = first, count
		for j := range count {
			a.weights[i*taps+j] = int32(0.5 + w[j]/sum*(1<<precisionBits))
		}
	}
	a.vector.set(a)
}

// span returns the range [lo, hi) of input pixels that the output needs.
func (a *axis) span() (lo, hi int) {
	last := a.n - 1
	return a.first[0], a.first[last] + a.count[last]
}

// resizer contains the reusable buffers of a resize.
type resizer struct {
	across, down axis
	line         []uint8  // a row of the image
	rows         []uint8  // result of the first pass [y1-y0, channels, n]
	sums         []uint32 // sums of a row in the second pass
}

// canvas is pixels of one or more channels, [channels, height, width].
type canvas struct {
	pix  []uint8
	size image.Point
}

// row returns n pixels of row y of a channel, from x on.
func (c canvas) row(channel, x, y, n int) []uint8 {
	return c.pix[(channel*c.size.Y+y)*c.size.X+x:][:n]
}

// fill gives the pixels of a channel outside inner a value.
func (c canvas) fill(channel int, inner image.Rectangle, value uint8) {
	for y := range c.size.Y {
		before, after := inner.Min.X, inner.Max.X
		if y < inner.Min.Y || y >= inner.Max.Y {
			before, after = c.size.X, c.size.X
		}
		row := c.row(channel, 0, y, c.size.X)
		for i := range row[:before] {
			row[i] = value
		}
		for i := range row[after:] {
			row[after+i] = value
		}
	}
}

// resize scales r to out pixels and writes those in window to dst, from at on. As in Pillow, there are two passes:
// horizontal, rounded to 8 bits, then vertical. Only what the window needs is computed. Weights are not negative and sum
// to 1 up to rounding, so results fit 8 bits.
func (z *resizer) resize(r raster, out image.Point, window image.Rectangle, dst canvas, at image.Point) {
	if window.Empty() {
		return
	}
	n, rows := window.Dx(), window.Dy()
	z.across.set(r.w, out.X, window.Min.X, n)
	z.down.set(r.h, out.Y, window.Min.Y, rows)
	x0, x1 := z.across.span()
	y0, y1 := z.down.span()
	width, length := n*r.channels, (x1-x0)*r.channels
	z.line = slices.Grow(z.line[:0], length+vectorPad)[:length]
	z.rows = slices.Grow(z.rows[:0], (y1-y0)*width)[:(y1-y0)*width]
	z.sums = slices.Grow(z.sums[:0], n)[:n]
	for y := y0; y < y1; y++ {
		line := z.line
		if at := (y*r.w + x0) * r.channels; at+length+vectorPad <= cap(r.pix) {
			line = r.pix[at:][:length]
		} else {
			r.row(line, x0, x1, y)
		}
		row := z.rows[(y-y0)*width:][:width]
		if r.channels == 1 {
			z.across.gray(row, line)
		} else {
			z.across.rgb(row, line)
		}
	}
	for c := range r.channels {
		for y := range rows {
			z.column(dst.row(c, at.X, at.Y+y, n), y, z.rows[(z.down.first[y]-y0)*width+c*n:], width)
		}
	}
}

// gray computes a row of one channel; src begins at the first input pixel needed.
func (a *axis) gray(dst, src []uint8) {
	for i := range dst {
		at := a.first[i] - a.first[0]
		weights := a.weights[i*a.taps:][:a.count[i]]
		v := uint32(roundHalf)
		for j, s := range src[at:][:len(weights)] {
			v += uint32(weights[j]) * uint32(s)
		}
		dst[i] = uint8(v >> precisionBits)
	}
}

// rgb computes a row of interleaved pixels as three planar rows, red, green, blue.
func (a *axis) rgb(dst, src []uint8) {
	red, green, blue := dst[:a.n], dst[a.n:2*a.n], dst[2*a.n:3*a.n]
	for i := a.vector.rgb(dst, src, a.n); i < a.n; i++ {
		at := 3 * (a.first[i] - a.first[0])
		weights := a.weights[i*a.taps:][:a.count[i]]
		s := src[at:][:3*len(weights)]
		r, g, b := uint32(roundHalf), uint32(roundHalf), uint32(roundHalf)
		for j, w := range weights {
			w, p := uint32(w), s[3*j:3*j+3:3*j+3]
			r += w * uint32(p[0])
			g += w * uint32(p[1])
			b += w * uint32(p[2])
		}
		red[i], green[i], blue[i] = uint8(r>>precisionBits), uint8(g>>precisionBits), uint8(b>>precisionBits)
	}
}

// column computes row y of the window of a channel. rows begins at its first input row; rows are stride apart.
func (z *resizer) column(dst []uint8, y int, rows []uint8, stride int) {
	a := &z.down
	weights := a.weights[y*a.taps:][:a.count[y]]
	if vectorColumn(dst, rows, stride, weights) {
		return
	}
	for i := range z.sums {
		z.sums[i] = roundHalf
	}
	for j, w := range weights {
		for i, s := range rows[j*stride:][:len(z.sums)] {
			z.sums[i] += uint32(w) * uint32(s)
		}
	}
	for i, s := range z.sums {
		dst[i] = uint8(s >> precisionBits)
	}
}
