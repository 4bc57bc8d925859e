package demo

import (
	"math"

	"gonum.org/v1/gonum/spatial/r3"
)

// vec is a point, a direction or a linear RGB colour. gonum's small functions inline well. Its Norm does not (it calls
// math.Hypot twice to avoid overflow), so lengths here are plain square roots.
type vec = r3.Vec

func length(p vec) float64 { return math.Sqrt(p.X*p.X + p.Y*p.Y + p.Z*p.Z) }

// hypot is math.Hypot without protection against overflow.
func hypot(x, y float64) float64 { return math.Sqrt(x*x + y*y) }

func unit(p vec) vec { return r3.Scale(1/length(p), p) }

// mul multiplies componentwise: one colour filters another.
func mul(a, b vec) vec { return vec{X: a.X * b.X, Y: a.Y * b.Y, Z: a.Z * b.Z} }

// along returns the point at parameter t of a ray.
func along(origin, dir vec, t float64) vec {
	return vec{X: origin.X + t*dir.X, Y: origin.Y + t*dir.Y, Z: origin.Z + t*dir.Z}
}

// reflect mirrors direction d at a surface with normal n.
func reflect(d, n vec) vec { return along(d, n, -2*r3.Dot(d, n)) }

// gray returns the colour with three equal components.
func gray(x float64) vec { return vec{X: x, Y: x, Z: x} }

func luma(c vec) float64 { return 0.2126*c.X + 0.7152*c.Y + 0.0722*c.Z }

// blend interpolates from a at t = 0 to b at t = 1.
func blend(a, b vec, t float64) vec {
	return vec{X: lerp(a.X, b.X, t), Y: lerp(a.Y, b.Y, t), Z: lerp(a.Z, b.Z, t)}
}

func lerp(a, b, t float64) float64 { return a + (b-a)*t }

func clamp(x, lo, hi float64) float64 {
	if x < lo {
		return lo
	}
	if x > hi {
		return hi
	}
	return x
}

// smoothstep rises from 0 at lo to 1 at hi with zero slope at both ends.
func smoothstep(lo, hi, x float64) float64 {
	t := clamp((x-lo)/(hi-lo), 0, 1)
	return t * t * (3 - 2*t)
}

// smax intersects two solids, rounding the edge over a width k.
func smax(a, b, k float64) float64 {
	hi, gap := a, a-b
	if gap < 0 {
		hi, gap = b, -gap
	}
	if gap >= k {
		return hi
	}
	h := k - gap
	return hi + h*h/(4*k)
}

// smin unites two solids with a fillet of width k.
func smin(a, b, k float64) float64 { return -smax(-a, -b, k) }

// segment returns the distance of p from segment a-b and the parameter (0..1) of the nearest point.
func segment(p, a, b vec) (dist, at float64) {
	pa, ba := r3.Sub(p, a), r3.Sub(b, a)
	at = clamp(r3.Dot(pa, ba)/r3.Dot(ba, ba), 0, 1)
	return length(along(pa, ba, -at)), at
}
