package demo

import (
	"math"

	"gonum.org/v1/gonum/spatial/r3"
)

// views is the number of cameras: C1 looks straight down, C2 to C5 from four sides at 45 degrees of elevation.
const views = 5

// camera is a pinhole camera in the coordinate system of the part.
type camera struct {
	at                 vec
	right, up, forward vec
	zoom               float64 // half the side length of the image at unit distance
}

// pose is the position of a part under the fixed cameras.
type pose struct {
	turn  float64 // about the vertical, in radians
	scale float64
	x, y  float64 // shift on the backdrop
}

// toPart converts a position from world to part coordinates.
func (o pose) toPart(p vec) vec {
	p.X, p.Y = p.X-o.x, p.Y-o.y
	return r3.Scale(1/o.scale, o.toPartDir(p))
}

// toPartDir converts a direction from world to part coordinates.
func (o pose) toPartDir(d vec) vec {
	sin, cos := math.Sincos(o.turn)
	return vec{X: cos*d.X + sin*d.Y, Y: cos*d.Y - sin*d.X, Z: d.Z}
}

// newCamera returns camera C(view+1) in the coordinates of a part in pose o.
func newCamera(view int, o pose) camera {
	const distance = 5.6
	target, back, up := vec{Z: 0.24}, vec{Z: 1}, vec{Y: 1}
	if view > 0 {
		sin, cos := math.Sincos(float64(view-1) * math.Pi / 2)
		target.Z = 0.20
		back = r3.Scale(math.Sqrt2/2, vec{X: sin, Y: -cos, Z: 1})
		up = r3.Scale(math.Sqrt2/2, vec{X: -sin, Y: cos, Z: 1})
	}
	return camera{
		at:      o.toPart(r3.Add(target, r3.Scale(distance, back))),
		right:   o.toPartDir(r3.Cross(up, back)),
		up:      o.toPartDir(up),
		forward: o.toPartDir(r3.Scale(-1, back)),
		zoom:    0.245,
	}
}

// ray returns the unit direction through (x, y), both from -1 to 1, y upwards.
func (c *camera) ray(x, y float64) vec {
	d := along(c.forward, c.right, x*c.zoom)
	return unit(along(d, c.up, y*c.zoom))
}

// project is the inverse of ray for a point p; size is the projected size of one unit there.
func (c *camera) project(p vec) (x, y, size float64) {
	d := r3.Sub(p, c.at)
	depth := r3.Dot(d, c.forward) * c.zoom
	return r3.Dot(d, c.right) / depth, r3.Dot(d, c.up) / depth, 1 / depth
}
