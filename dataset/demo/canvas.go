package demo

import (
	"context"
	"image"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/spatial/r3"
)

// subsamples are the sampling positions inside a pixel, from its upper left corner, for edges and masks: a rotated
// grid, so that nearly horizontal and vertical edges get four levels too.
var subsamples = [4][2]float64{{0.375, 0.125}, {0.875, 0.375}, {0.125, 0.625}, {0.625, 0.875}}

// canvas contains the buffers for rendering an image. It can be reused.
type canvas struct {
	size  image.Point
	tones []vec // developed, 0..1
	kinds []surfaceKind
	edges []bool
}

func newCanvas(size image.Point) *canvas {
	v := &canvas{}
	v.resize(size)
	return v
}

// resize prepares the canvas for images of another size.
func (v *canvas) resize(size image.Point) {
	if v.size == size {
		return
	}
	n := size.X * size.Y
	v.size, v.tones, v.kinds, v.edges = size, make([]vec, n), make([]surfaceKind, n), make([]bool, n)
}

// aim returns the ray direction through (x, y) in pixels, y downwards.
func (c *camera) aim(x, y float64, size image.Point) vec {
	scale := 2 / float64(size.X)
	return c.ray(x*scale-1, aspect(size)-y*scale)
}

// aspect is the height of an image of width 1.
func aspect(size image.Point) float64 { return float64(size.Y) / float64(size.X) }

// render draws the scene: one sample per pixel, or four where it differs from a neighbour in what it hit or strongly in
// brightness.
func (v *canvas) render(ctx context.Context, s *scene, cam *camera) error {
	for y := range v.size.Y {
		if err := ctx.Err(); err != nil {
			return err
		}
		for x := range v.size.X {
			dir := cam.aim(float64(x)+0.5, float64(y)+0.5, v.size)
			h := s.cast(cam.at, dir)
			i := y*v.size.X + x
			v.tones[i] = s.develop(s.color(h, dir))
			if v.kinds[i] = h.kind; h.kind == onFlaw && s.flaw.kind == exchanged {
				v.kinds[i] = onPart // sampled like the sound piece that it is
			}
		}
	}
	v.findEdges()
	for i, edge := range v.edges {
		if edge {
			v.tones[i] = v.resolve(s, cam, i%v.size.X, i/v.size.X)
		}
	}
	return ctx.Err()
}

// resolve returns the mean of the four subsamples of a pixel.
func (v *canvas) resolve(s *scene, cam *camera, x, y int) vec {
	var sum vec
	for _, at := range subsamples {
		dir := cam.aim(float64(x)+at[0], float64(y)+at[1], v.size)
		sum = r3.Add(sum, s.develop(s.color(s.cast(cam.at, dir), dir)))
	}
	return r3.Scale(0.25, sum)
}

// findEdges marks the pixels that need more than one sample.
func (v *canvas) findEdges() {
	const contrast = 0.05
	clear(v.edges)
	mark := func(i, j int) {
		if v.kinds[i] != v.kinds[j] || math.Abs(luma(v.tones[i])-luma(v.tones[j])) > contrast {
			v.edges[i], v.edges[j] = true, true
		}
	}
	for y := range v.size.Y {
		for x := range v.size.X {
			i := y*v.size.X + x
			if x+1 < v.size.X {
				mark(i, i+1)
			}
			if y+1 < v.size.Y {
				mark(i, i+v.size.X)
			}
		}
	}
}

// expose simulates the sensor: vignetting, noise (mostly common to the three channels), 8 bits.
func (v *canvas) expose(rng *rand.Rand, sigma float64) *image.RGBA {
	im := image.NewRGBA(image.Rectangle{Max: v.size})
	halfX, halfY := float64(v.size.X)/2, float64(v.size.Y)/2
	for y := range v.size.Y {
		for x := range v.size.X {
			dx, dy := (float64(x)+0.5)/halfX-1, (float64(y)+0.5)/halfY-1
			gain := 255 * (1 - 0.07*(dx*dx+dy*dy))
			c := v.tones[y*v.size.X+x]
			shared := 0.8 * sigma * rng.NormFloat64()
			level := func(x float64) uint8 {
				return uint8(clamp(gain*x+shared+0.5*sigma*rng.NormFloat64(), 0, 255) + 0.5)
			}
			copy(im.Pix[im.PixOffset(x, y):], []uint8{level(c.X), level(c.Y), level(c.Z), 255})
		}
	}
	return im
}
