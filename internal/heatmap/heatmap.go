// Package heatmap draws anomaly maps as colours: alone, over the image that the model saw, and with the outline of a
// region. The colours run from black over purple and orange to pale yellow.
package heatmap

import (
	"image"
	"image/color"

	"golang.org/x/image/draw"
	"golang.org/x/image/math/f64"
)

// Scale is the range of map values that the colours span. It is the same for every image of a run, so that good parts
// stay dark.
type Scale struct{ Low, High float32 }

// At maps a value to [0, 1].
func (s Scale) At(v float32) float32 {
	return min(1, max(0, (v-s.Low)/max(s.High-s.Low, 1e-12)))
}

// Image draws images from what the model took in of them: tiles [T, 3, h, w] of the given size, planes of red, green and
// blue, whose upper left corners in the viewport are at corners. The part of the viewport in content fills an image of
// size pixels (antialiased bilinear); no other image of the size of the viewport is made.
func Image(tiles []uint8, tile image.Point, corners []image.Point, content image.Rectangle, size image.Point) *image.RGBA {
	out := image.NewRGBA(image.Rectangle{Max: size})
	for i, at := range corners {
		n := len(tiles) / len(corners)
		img := planes(tiles[i*n:(i+1)*n], tile)
		part := content.Sub(at)
		switch {
		case part == img.Rect && size == tile:
			return img
		case len(corners) == 1:
			draw.BiLinear.Scale(out, out.Rect, img, part, draw.Src, nil)
		default:
			x, y := float64(size.X)/float64(part.Dx()), float64(size.Y)/float64(part.Dy())
			toOut := f64.Aff3{x, 0, -x * float64(part.Min.X), 0, y, -y * float64(part.Min.Y)}
			draw.BiLinear.Transform(out, toOut, img, part.Intersect(img.Rect), draw.Src, nil)
		}
	}
	return out
}

// planes joins planes of red, green and blue.
func planes(of []uint8, size image.Point) *image.RGBA {
	img := image.NewRGBA(image.Rectangle{Max: size})
	n := size.X * size.Y
	for i := range n {
		copy(img.Pix[4*i:], []uint8{of[i], of[n+i], of[2*n+i], 255})
	}
	return img
}

// Heat draws values in [0, 1], a map [h, width], without the image.
func Heat(values []float32, width int) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, width, len(values)/width))
	for i, v := range values {
		set(img, i, hue(v))
	}
	return img
}

// Overlay draws values in [0, 1], a map of img's size, over img in its own colours, the more opaque the higher, and the
// outline of mask, which may be nil. Where values are 0, img shows as it is.
func Overlay(img *image.RGBA, values []float32, mask []bool) *image.RGBA {
	return Draw(img, mask, func(i int, pixel color.RGBA) color.RGBA {
		over, alpha := hue(values[i]), 0.8*min(1, max(0, values[i]))
		mix := func(a, b uint8) uint8 { return uint8(float32(a)*(1-alpha) + float32(b)*alpha + 0.5) }
		return color.RGBA{mix(pixel.R, over.R), mix(pixel.G, over.G), mix(pixel.B, over.B), 255}
	})
}

// Blend is Overlay over img in gray, which is tinted everywhere: the colours stay comparable.
func Blend(img *image.RGBA, values []float32, mask []bool) *image.RGBA {
	return Draw(img, mask, func(i int, pixel color.RGBA) color.RGBA {
		gray, alpha, over := Gray(pixel), 0.45+0.45*values[i], colour(values[i])
		channel := func(c int) uint8 { return uint8(min(255, gray*(1-alpha)+over[c]*alpha+0.5)) }
		return color.RGBA{channel(0), channel(1), channel(2), 255}
	})
}

// Draw returns img with each pixel replaced by what paint makes of it, and with the outline of mask in white; mask may
// be nil. Pixels are numbered row by row.
func Draw(img *image.RGBA, mask []bool, paint func(i int, pixel color.RGBA) color.RGBA) *image.RGBA {
	out := image.NewRGBA(img.Rect)
	width := img.Rect.Dx()
	for i := range len(img.Pix) / 4 {
		if outline(mask, width, i) {
			set(out, i, color.RGBA{255, 255, 255, 255})
			continue
		}
		p := img.Pix[4*i:]
		set(out, i, paint(i, color.RGBA{p[0], p[1], p[2], 255}))
	}
	return out
}

// Gray is the brightness of a pixel, 0 to 255.
func Gray(p color.RGBA) float32 {
	return 0.299*float32(p.R) + 0.587*float32(p.G) + 0.114*float32(p.B)
}

func set(img *image.RGBA, i int, c color.RGBA) { copy(img.Pix[4*i:], []uint8{c.R, c.G, c.B, c.A}) }

// outline is true for pixels outside the mask that touch it.
func outline(mask []bool, width, i int) bool {
	if mask == nil || mask[i] {
		return false
	}
	x := i % width
	return x > 0 && mask[i-1] || x < width-1 && mask[i+1] || i >= width && mask[i-width] || i+width < len(mask) && mask[i+width]
}

// palette runs from black over purple and orange to pale yellow, in equal steps.
var palette = [...][3]float32{
	{0, 0, 4}, {27, 12, 65}, {74, 12, 107}, {120, 28, 109}, {165, 44, 96}, {207, 68, 70}, {237, 105, 37}, {251, 155, 6}, {247, 209, 61}, {252, 255, 164},
}

// colour interpolates the palette at t in [0, 1].
func colour(t float32) (c [3]float32) {
	at := min(1, max(0, t)) * float32(len(palette)-1)
	low := min(int(at), len(palette)-2)
	upper := at - float32(low)
	for i := range c {
		c[i] = palette[low][i]*(1-upper) + palette[low+1][i]*upper
	}
	return c
}

func hue(t float32) color.RGBA {
	c := colour(t)
	return color.RGBA{uint8(c[0] + 0.5), uint8(c[1] + 0.5), uint8(c[2] + 0.5), 255}
}
