package demo

import (
	"math"

	"gonum.org/v1/gonum/spatial/r3"
)

// part is a body in its pose, with or without a defect.
type part struct {
	body
	flaw   *flaw // nil for a sound part
	radius float64
	height float64
}

func newPart(b body, f *flaw) *part {
	radius, height := b.extent()
	if f != nil && f.kind == added {
		radius, height = radius+maxRise, height+maxRise
	}
	return &part{body: b, flaw: f, radius: radius, height: height}
}

// distance is the distance to the body including its defect.
func (o *part) distance(p vec) float64 {
	d := o.body.distance(p)
	if o.flaw == nil {
		return d
	}
	return o.flaw.apply(p, d)
}

// hit is the end of a ray.
type hit struct {
	dist float64 // along the ray; +Inf if the ray leaves the scene
	p    vec
	kind surfaceKind
}

type surfaceKind uint8

const (
	onNothing surfaceKind = iota
	onBackdrop
	onPart
	onFlaw
)

const (
	reach    = 2e-4 // distance at which a ray has hit the surface
	maxSteps = 128
)

// cast follows a ray to its first hit by sphere tracing within the bounds of the part. The backdrop is the plane z = 0.
func (o *part) cast(origin, dir vec) hit {
	ground := hit{dist: math.Inf(1)}
	if dir.Z < 0 {
		t := -origin.Z / dir.Z
		ground = hit{dist: t, p: along(origin, dir, t), kind: onBackdrop}
	}
	near, far := o.span(origin, dir, 0.01)
	far = min(far, ground.dist)
	t := near
	for step := 0; step < maxSteps && t < far; step++ {
		p := along(origin, dir, t)
		d := o.distance(p)
		if d < reach {
			return hit{dist: t, p: p, kind: o.kindAt(p)}
		}
		t += d
	}
	return ground
}

func (o *part) kindAt(p vec) surfaceKind {
	if o.flaw != nil && o.flaw.marks(p, o.body) {
		return onFlaw
	}
	return onPart
}

// span returns the interval of a ray inside the bounding cylinder of the part, widened by margin; near > far if the ray
// misses it.
func (o *part) span(origin, dir vec, margin float64) (near, far float64) {
	near, far = 0, math.Inf(1)
	top := o.height + margin
	if dir.Z != 0 {
		a, b := -origin.Z/dir.Z, (top-origin.Z)/dir.Z
		near, far = max(near, min(a, b)), max(a, b)
	} else if origin.Z > top {
		return 1, 0
	}
	r := o.radius + margin
	a := dir.X*dir.X + dir.Y*dir.Y
	b := origin.X*dir.X + origin.Y*dir.Y
	c := origin.X*origin.X + origin.Y*origin.Y - r*r
	if a < 1e-12 { // straight up or down
		if c > 0 {
			return 1, 0
		}
		return near, far
	}
	disc := b*b - a*c
	if disc < 0 {
		return 1, 0
	}
	root := math.Sqrt(disc)
	return max(near, (-b-root)/a), min(far, (-b+root)/a)
}

// normal returns the unit gradient of the distance by differences at the corners of a tetrahedron: four evaluations
// instead of six.
func (o *part) normal(p vec) vec {
	const h = 8e-4
	a := o.distance(vec{X: p.X + h, Y: p.Y - h, Z: p.Z - h})
	b := o.distance(vec{X: p.X - h, Y: p.Y - h, Z: p.Z + h})
	c := o.distance(vec{X: p.X - h, Y: p.Y + h, Z: p.Z - h})
	d := o.distance(vec{X: p.X + h, Y: p.Y + h, Z: p.Z + h})
	n := vec{X: a - b - c + d, Y: c - a - b + d, Z: b - a - c + d}
	if l := length(n); l > 0 {
		return r3.Scale(1/l, n)
	}
	return vec{Z: 1}
}

// visible returns the fraction of a light of angular size 1/sharp that reaches p from direction dir. The smallest ratio
// of distance to travelled length along the ray gives the penumbra. Between two steps, the closest point is where their
// spheres of free space meet (S. Aaltonen, GDC 2018), which avoids banding.
func (o *part) visible(p, dir vec, sharp float64, steps int) float64 {
	near, far := o.span(p, dir, 0.3)
	if near >= far {
		return 1
	}
	light, t := 1.0, max(near, 0.012)
	stride, last, least := 0.0, 0.0, min(0.02, 0.1*o.height)
	for ; steps > 0 && t < far; steps-- {
		d := o.distance(along(p, dir, t))
		if d < 0.001 {
			return 0
		}
		light = min(light, sharp*d/t)
		if stride > 0 {
			back := (stride*stride + d*d - last*last) / (2 * stride)
			if back > 0 && back < min(d, stride) {
				light = min(light, sharp*math.Sqrt(d*d-back*back)/(t-back))
			}
		}
		stride, last = clamp(d, least, 0.2), d
		t += stride
	}
	return smoothstep(0, 1, light)
}

// openness returns the fraction of the hemisphere over p that is not blocked nearby (ambient occlusion): the distance
// field along the normal compared with the length travelled. The backdrop blocks too.
func (o *part) openness(p, n vec, span float64) float64 {
	if p.Z == 0 && o.distance(p) > span*1.4 {
		return 1
	}
	blocked, weight := 0.0, 0.5
	for _, f := range [...]float64{0.1, 0.28, 0.58, 1} {
		h := f * span
		q := along(p, n, h)
		d := o.distance(q)
		if p.Z > 0 {
			d = min(d, q.Z)
		}
		blocked += weight * max(0, h-d) / h
		weight *= 0.72
	}
	if p.Z == 0 { // a wall next to the backdrop blocks at most half of its sky
		return 1 - 0.5*blocked/1.3
	}
	return max(0, 1-blocked/1.3)
}
