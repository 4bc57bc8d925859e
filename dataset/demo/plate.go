package demo

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/spatial/r3"
)

// plate is a perforated plate of brushed, dark anodised aluminium. It fills images of high resolution with fine
// texture; its defects, hairlines and pinholes, cover 0.01 to 0.03 percent of an image.
type plate struct {
	coat   vec
	rough  float64
	origin vec     // of the texture
	wear   float64 // strength of the brush marks
}

const (
	plateX, plateY = 0.96, 0.72 // half the sides
	plateHeight    = 0.05
	plateHole      = 0.022  // radius of the holes
	platePitch     = 0.12   // of the holes of a row
	plateRow       = 0.104  // between two rows, staggered
	plateRimX      = 0.8401 // half the sides of the perforated field
	plateRimY      = 0.6241
)

func newPlate(rng *rand.Rand, _ int) body {
	return &plate{
		coat:   tinted(rng, vec{X: 0.20, Y: 0.215, Z: 0.24}, 0.10, 0.03),
		rough:  around(rng, 0.34, 0.05),
		origin: anywhere(rng),
		wear:   around(rng, 1, 0.2),
	}
}

func (o *plate) extent() (radius, height float64) { return 1.17, plateHeight }

func (o *plate) distance(p vec) float64 {
	x, y := math.Abs(p.X), math.Abs(p.Y)
	d := max(smax(x-plateX, y-plateY, 0.1), math.Abs(p.Z-plateHeight/2)-plateHeight/2)
	if d >= plateHole { // a hole cannot make it larger
		return d
	}
	return max(d, plateHole-holeAt(p))
}

// holeAt is the distance of p from the axis of the nearest hole.
func holeAt(p vec) float64 {
	row := math.Floor(clamp(p.Y, -plateRimY, plateRimY)/plateRow + 0.5)
	shift := platePitch / 2 * float64(int(row)&1)
	column := math.Floor(clamp(p.X-shift, -plateRimX, plateRimX-2*shift)/platePitch+0.5)*platePitch + shift
	return hypot(p.X-column, p.Y-row*plateRow)
}

func (o *plate) surface(p, n vec) material {
	m := material{color: o.coat, metal: true, rough: o.rough, grain: vec{X: 1}}
	if n.Z < 0.6 { // cut edges and holes are bare
		m.color, m.grain = gray(0.5), vec{Z: 1}
		return m
	}
	// Brush marks run along x: long and about two pixels wide, in bundles.
	x, y := p.X+o.origin.X, p.Y+o.origin.Y
	fine := noise2(5*x, 420*y) + 0.6*noise2(11*x+37, 190*y) - 0.8
	cloud := noise2(3*x, 9*y) + noise2(1.3*y, 2.1*x) - 1
	m.color = r3.Scale(1+o.wear*(0.30*fine+0.12*cloud), m.color)
	m.bump.Y = 0.05 * o.wear * fine
	return m
}

// plateFlaw draws a pinhole or a hairline on the upper face, clear of the holes and the edge.
func plateFlaw(rng *rand.Rand, code string, o *part, p, n vec) *flaw {
	sound := func(q vec, margin float64) bool {
		q.Z = plateHeight
		return holeAt(q) > plateHole+margin && math.Abs(q.X) < plateX-0.05 && math.Abs(q.Y) < plateY-0.05
	}
	if n.Z < 0.9 || !sound(p, 0.03) {
		return nil
	}
	if code == codePit {
		return newPinhole(rng, p)
	}
	const width = 0.0022 // half the width in the middle
	dir, size := scatter(rng, n), around(rng, 0.20, 0.04)
	bend := around(rng, 0, 0.04)
	line := []vec{p}
	for range 6 {
		dir = unit(along(dir, r3.Cross(n, dir), bend))
		p = along(p, dir, size/6)
		if !sound(p, 0) {
			return nil
		}
		line = append(line, p)
	}
	f := scratchAlong(line, width)
	f.kind = soiled // too shallow to be geometry
	f.paint = func(m *material, _ vec, _ float64) {
		m.color, m.rough, m.grain, m.bump = gray(0.80), 0.5, vec{}, vec{} // bare metal
	}
	return f
}

// newPinhole returns a small pit of ragged outline in the coat.
func newPinhole(rng *rand.Rand, p vec) *flaw {
	size, origin := around(rng, 0.0155, 0.002), anywhere(rng)
	edge := func(q vec) float64 {
		return length(r3.Sub(q, p)) - size*(0.75+0.5*noise(r3.Add(r3.Scale(90, q), origin)))
	}
	return &flaw{
		kind: soiled, center: p, radius: 1.3 * size, field: edge,
		paint: func(m *material, q vec, _ float64) {
			deep := smoothstep(0, -0.5*size, edge(q))
			m.bump = r3.Scale(-0.8*(1-deep)/size, vec{X: q.X - p.X, Y: q.Y - p.Y}) // the rim slopes inwards
			m.color = r3.Scale(0.9-0.8*deep, m.color)
			m.rough, m.grain = 0.5, vec{}
		},
	}
}
