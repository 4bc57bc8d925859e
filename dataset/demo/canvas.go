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
	size  int
	tones []vec // developed, 0..1
	kinds []surfaceKind
	edges []bool
}

func newCanvas(size int) *canvas {
	n := size * size
	return &canvas{size: size, tones: make([]vec, n), kinds: make([]surfaceKind, n), edges: make([]bool, n)}
}

// aim returns the ray direction through (x, y) in pixels, y downwards.
func (c *camera) aim(x, y float64, size int) vec {
	scale := 2 / float64(size)
	return c.ray(x*scale-1, 1-y*scale)
}

// render draws the scene: one sample per pixel, or four where it differs from a neighbour in what it hit or strongly in
// brightness.
func (v *canvas) render(ctx context.Context, s *scene, cam *camera) error {
	for y := range v.size {
		if err := ctx.Err(); err != nil {
			return err
		}
		for x := range v.size {
			dir := cam.aim(float64(x)+0.5, float64(y)+0.5, v.size)
			h := s.cast(cam.at, dir)
			i := y*v.size + x
			v.tones[i] = s.develop(s.color(h, dir))
			v.kinds[i] = h.kind
		}
	}
	v.findEdges()
	for i, edge := range v.edges {
		if edge {
			v.tones[i] = v.resolve(s, cam, i%v.size, i/v.size)
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
	for y := range v.size {
		for x := range v.size {
			i := y*v.size + x
			if x+1 < v.size {
				mark(i, i+1)
			}
			if y+1 < v.size {
				mark(i, i+v.size)
			}
		}
	}
}

// expose simulates the sensor: vignetting, noise (mostly common to the three channels), 8 bits.
func (v *canvas) expose(rng *rand.Rand, sigma float64) *image.RGBA {
	im := image.NewRGBA(image.Rect(0, 0, v.size, v.size))
	half := float64(v.size) / 2
	for y := range v.size {
		for x := range v.size {
			dx, dy := (float64(x)+0.5)/half-1, (float64(y)+0.5)/half-1
			gain := 255 * (1 - 0.07*(dx*dx+dy*dy))
			c := v.tones[y*v.size+x]
			shared := 0.8 * sigma * rng.NormFloat64()
			level := func(x float64) uint8 {
				return uint8(clamp(gain*x+shared+0.5*sigma*rng.NormFloat64(), 0, 255) + 0.5)
			}
			copy(im.Pix[im.PixOffset(x, y):], []uint8{level(c.X), level(c.Y), level(c.Z), 255})
		}
	}
	return im
}
