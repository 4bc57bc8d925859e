package demo

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/spatial/r3"
)

// Real-IAD codes of the rendered defects.
const (
	codePit     = "AK" // pit or dent
	codeScratch = "HS"
	codeMissing = "QS" // broken-off chunk
	codeStain   = "ZW" // contamination: stain or stuck particles
	codeForeign = "YW" // foreign object: a piece that belongs to another part
)

// maxRise is the maximum height of added material.
const maxRise = 0.08

// change is how a defect changes the part.
type change uint8

const (
	carved    change = iota // removes material
	added                   // adds material
	soiled                  // changes the surface only
	exchanged               // likewise, for that of a sound piece
)

// flaw is one defect, in the coordinate system of the part.
type flaw struct {
	kind   change
	center vec
	radius float64 // of the bounding sphere
	// field is the signed distance (a lower bound) of the solid that is removed, added or soiled.
	field func(p vec) float64
	// paint changes the sound material at a point of the defect into that of the defect; depth is the depth of the
	// point below the sound surface.
	paint func(m *material, p vec, depth float64)
}

// apply returns the distance of the defective body at p, given that of the sound body. Outside the bounding sphere the
// field is not evaluated: a hole has no effect there, and added material is at least as far away as the sphere.
func (f *flaw) apply(p vec, sound float64) float64 {
	const (
		round = 0.008 // rounding of rims
		aura  = 0.45  // within it, shadows distinguish the solid from its sphere
	)
	gap := length(r3.Sub(p, f.center)) - f.radius
	switch f.kind {
	case carved:
		if gap > 0 {
			return sound
		}
		return smax(sound, -f.field(p), round)
	case added:
		if sound+2*round <= gap {
			return sound
		}
		if gap > aura {
			return min(sound, gap)
		}
		return smin(sound, f.field(p), round)
	}
	return sound
}

// marks reports whether surface point p of the defective body belongs to the defect.
func (f *flaw) marks(p vec, sound body) bool {
	const skin = 0.003
	if length(r3.Sub(p, f.center)) > f.radius+skin {
		return false
	}
	switch f.kind {
	case carved:
		return sound.distance(p) < -skin
	case added:
		return sound.distance(p) > skin
	}
	return f.field(p) < 0
}

// drawFlaw draws a defect of the given code at surface point p with normal n of part o of class c. It returns nil if
// there is no room for it.
func drawFlaw(rng *rand.Rand, code string, c *class, o *part, p, n vec) *flaw {
	if c.flaw != nil {
		return c.flaw(rng, code, o, p, n)
	}
	switch code {
	case codePit:
		return newPit(rng, p, n)
	case codeScratch:
		return newScratch(rng, o, p, n)
	case codeMissing:
		return newChunk(rng, c.chip(rng))
	}
	if rng.IntN(3) == 0 {
		return newParticles(rng, o, p, n)
	}
	return newStain(rng, p)
}

// newPit returns a dent of two or three overlapping hollows with a darker floor.
func newPit(rng *rand.Rand, p, n vec) *flaw {
	type hollow struct {
		at     vec
		radius float64
	}
	size := 0.062 + 0.068*rng.Float64()
	hollows := make([]hollow, 2+rng.IntN(2))
	for i := range hollows {
		r := size * around(rng, 0.8, 0.2)
		at := r3.Add(p, r3.Scale(0.7*size, scatter(rng, n)))
		hollows[i] = hollow{at: r3.Add(at, r3.Scale(r*around(rng, 0.35, 0.15), n)), radius: r}
	}
	origin := anywhere(rng)
	return &flaw{
		kind: carved, center: p, radius: 2.4 * size,
		field: func(q vec) float64 {
			d := math.Inf(1)
			for _, h := range hollows {
				d = min(d, length(r3.Sub(q, h.at))-h.radius)
			}
			rough := noise(r3.Add(r3.Scale(20, q), origin)) - 0.5
			return 0.75 * (d + 0.03*rough)
		},
		paint: func(m *material, _ vec, depth float64) {
			dark := 1 - 0.65*smoothstep(0, 0.5*size, depth)
			m.color = r3.Scale(dark, m.color)
			m.rough, m.grain, m.bump = 0.45, vec{}, vec{}
		},
	}
}

// newScratch returns a groove along the surface that starts at p in a random direction, bends slightly and ends at
// sharp edges. It returns nil if it would be too short.
func newScratch(rng *rand.Rand, o *part, p, n vec) *flaw {
	const pieces, lift = 8, 0.5 // height of its axis in widths
	width := 0.026 + 0.012*rng.Float64()
	step := (0.28 + 0.34*rng.Float64()) / pieces
	bend := around(rng, 0, 0.12)
	dir := scatter(rng, n)
	line := []vec{along(p, n, lift*width)}
	for at := p; len(line) <= pieces; {
		dir = unit(along(dir, r3.Cross(n, dir), bend))
		next := along(at, dir, step)
		for range 4 { // back onto the surface
			next = along(next, o.normal(next), -o.distance(next))
		}
		m := o.normal(next)
		if r3.Dot(m, n) < 0.6 || length(r3.Sub(next, at)) > 2*step {
			break
		}
		dir = r3.Sub(dir, r3.Scale(r3.Dot(dir, m), m))
		at, n = next, m
		line = append(line, along(at, n, lift*width))
	}
	if len(line) < 6 {
		return nil
	}
	return scratchAlong(line, width)
}

func scratchAlong(line []vec, width float64) *flaw {
	center := line[len(line)/2]
	radius := 0.0
	for _, q := range line {
		radius = max(radius, length(r3.Sub(q, center))+width+0.01)
	}
	last := float64(len(line) - 1)
	return &flaw{
		kind: carved, center: center, radius: radius,
		field: func(q vec) float64 {
			best := math.Inf(1)
			for i := 1; i < len(line); i++ {
				d, at := segment(q, line[i-1], line[i])
				s := (float64(i-1) + at) / last
				taper := 0.55 + 1.8*s*(1-s) // thinner at both ends
				best = min(best, d-width*taper)
			}
			return best
		},
		paint: func(m *material, _ vec, _ float64) {
			m.grain, m.bump = vec{}, vec{}
			if m.metal {
				m.color = blend(m.color, gray(1), 0.6) // fresh metal
				m.rough = 0.5
				return
			}
			m.color = blend(m.color, gray(0.75), 0.55) // plastic turns white
			m.rough = 0.6
		},
	}
}

// newChunk returns a broken-off piece with a grainy fracture.
func newChunk(rng *rand.Rand, c chip) *flaw {
	origin := anywhere(rng)
	side := unit(vec{X: -c.at.Y, Y: c.at.X})
	return &flaw{
		kind: carved, center: c.at, radius: 0.36,
		field: func(q vec) float64 {
			d := r3.Sub(q, c.at)
			inside := max(-r3.Dot(d, c.out), math.Abs(r3.Dot(d, side))-c.width)
			if math.Abs(inside) > 0.06 {
				return 0.6 * inside
			}
			crack := fractal(r3.Add(r3.Scale(12, q), origin)) - 0.5
			return 0.6 * (inside + 0.06*crack)
		},
		paint: func(m *material, q vec, _ float64) {
			grit := r3.Add(r3.Scale(45, q), origin)
			m.bump = vec{X: noise(grit) - 0.5, Y: noise(r3.Add(grit, gray(31))) - 0.5, Z: noise(r3.Add(grit, gray(77))) - 0.5}
			m.bump = r3.Scale(0.6, m.bump)
			m.grain, m.rough = vec{}, 0.7
			if m.metal {
				m.color = blend(m.color, gray(0.75), 0.35)
			} else {
				m.color = blend(m.color, gray(0.45), 0.25)
			}
		},
	}
}

// newParticles returns a cluster of crumbs stuck to the surface.
func newParticles(rng *rand.Rand, o *part, p, n vec) *flaw {
	type crumb struct {
		at     vec
		radius float64
	}
	crumbs := make([]crumb, 3+rng.IntN(4))
	for i := range crumbs {
		r := 0.022 + 0.026*rng.Float64()
		at := r3.Add(p, r3.Scale(0.09*rng.Float64(), scatter(rng, n)))
		at = along(at, o.normal(at), 0.25*r-o.distance(at))
		crumbs[i] = crumb{at: at, radius: r}
	}
	origin := anywhere(rng)
	color := soils[rng.IntN(len(soils))]
	return &flaw{
		kind: added, center: p, radius: 0.2,
		field: func(q vec) float64 {
			d := math.Inf(1)
			for _, c := range crumbs {
				d = min(d, length(r3.Sub(q, c.at))-c.radius)
			}
			if d > 0.05 {
				return 0.8 * d
			}
			return 0.8 * (d + 0.016*(noise(r3.Add(r3.Scale(32, q), origin))-0.5))
		},
		paint: func(m *material, _ vec, _ float64) {
			*m = material{color: color, rough: 0.5}
		},
	}
}

// soils are the colours of contamination: oil, rust, chalk, glue.
var soils = []vec{
	{X: 0.020, Y: 0.017, Z: 0.014}, {X: 0.22, Y: 0.075, Z: 0.022},
	{X: 0.62, Y: 0.60, Z: 0.54}, {X: 0.52, Y: 0.36, Z: 0.10},
}

// newStain returns a dried splash: the surface inside a ball with a ragged outline.
func newStain(rng *rand.Rand, p vec) *flaw {
	const ragged = 0.22 // difference between the widest and the narrowest outline
	size := 0.10 + 0.08*rng.Float64()
	origin := anywhere(rng)
	color := soils[rng.IntN(len(soils))]
	edge := func(q vec) float64 {
		outline := fractal(r3.Add(r3.Scale(8, q), origin)) - 0.5
		return length(r3.Sub(q, p)) - size + ragged*outline
	}
	return &flaw{
		kind: soiled, center: p, radius: size + ragged/2, field: edge,
		paint: func(m *material, q vec, _ float64) {
			// Denser at its rim, as a drop dries.
			cover := 0.82 + 0.15*smoothstep(-0.05, 0, edge(q))
			m.color = blend(m.color, color, cover)
			m.bump = r3.Scale(0.5, m.bump)
			m.metal, m.rough, m.fill = false, 0.30, 0
		},
	}
}

// scatter draws a random unit vector orthogonal to n.
func scatter(rng *rand.Rand, n vec) vec {
	for {
		d := vec{X: rng.NormFloat64(), Y: rng.NormFloat64(), Z: rng.NormFloat64()}
		d = along(d, n, -r3.Dot(d, n))
		if l := length(d); l > 0.1 {
			return r3.Scale(1/l, d)
		}
	}
}
