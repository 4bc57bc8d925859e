package picture

import (
	"image"
	"image/color"

	"mvag-torch/dataset"
)

// Heat draws values in [0, 1], a map [size, size], on the same colours in every
// picture: black at 0 over purple and orange to pale yellow at 1.
func Heat(values []float32, size int) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, size, size))
	draw(img, 0, 0, size, func(i int) color.RGBA { return hue(values[i]) })
	return img
}

// Overlay draws the part of a picture that the model saw, at size x size
// pixels, with values in [0, 1] as colours the more opaque the higher, and the
// outline of mask; both are maps [size, size].
func Overlay(view dataset.View, fit dataset.Fit, size int, values []float32, mask []bool) (*image.RGBA, error) {
	pixels, err := shown(view, fit, size)
	if err != nil {
		return nil, err
	}
	img := image.NewRGBA(image.Rect(0, 0, size, size))
	draw(img, 0, 0, size, func(i int) color.RGBA {
		if outline(mask, size, i) {
			return color.RGBA{255, 255, 255, 255}
		}
		return cover(pixels[i], values[i])
	})
	return img, nil
}

// cover lays the colour of t over the picture in its own colours; at 0 the
// picture is as it was.
func cover(pixel color.RGBA, t float32) color.RGBA {
	over := hue(t)
	share := 0.8 * min(1, max(0, t))
	mix := func(a, b uint8) uint8 { return uint8(float32(a)*(1-share) + float32(b)*share + 0.5) }
	return color.RGBA{mix(pixel.R, over.R), mix(pixel.G, over.G), mix(pixel.B, over.B), 255}
}
