package demo

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/spatial/r3"
)

// gear is a spur gear of turned brass: twenty teeth, a recessed web with five holes, a raised hub, a bore with a
// keyway.
type gear struct {
	brass  vec
	rough  float64
	origin vec // of the texture
}

const (
	gearTeeth  = 20
	gearTip    = 0.98
	gearRoot   = 0.80
	gearHeight = 0.32 // of the rim
	gearHub    = 0.47 // height of the hub
	gearSector = 2 * math.Pi / gearTeeth
)

func newGear(rng *rand.Rand, _ int) body {
	return &gear{
		brass:  tinted(rng, vec{X: 0.83, Y: 0.58, Z: 0.24}, 0.06, 0.02),
		rough:  around(rng, 0.28, 0.05),
		origin: anywhere(rng),
	}
}

func (g *gear) extent() (radius, height float64) { return gearTip + 0.01, gearHub }

// gearChip breaks a tooth, or one end of it.
func gearChip(rng *rand.Rand) chip {
	angle := float64(rng.IntN(gearTeeth)) * gearSector
	return chipAt(angle, around(rng, 0.86, 0.02), gearHeight/2, around(rng, 0, 0.8), gearSector/2*0.9)
}

func (g *gear) distance(p vec) float64 {
	r := math.Sqrt(p.X*p.X + p.Y*p.Y)
	const mid = gearHeight / 2
	z := math.Abs(p.Z - mid)
	d := r - gearRoot
	if r > 0.70 {
		d = g.teeth(p, r)
	}
	d = smax(d, z-mid, 0.02)
	if r > 0.9 && p.Z < 0.5 {
		return d
	}
	// Web: a ring-shaped trough above and below, with walls sloped so that every camera sees them.
	trough := smax(0.64*(math.Abs(r-0.52)-0.185+1.2*(mid-z)), 0.085-z, 0.03)
	d = smax(d, -trough, 0.03)
	if r > 0.40 && r < 0.64 {
		d = smax(d, -g.holes(p, r), 0.015)
	}
	hub := smax(r-0.325, math.Abs(p.Z-gearHub/2)-gearHub/2, 0.03)
	d = smin(d, hub, 0.015)
	bore := r - 0.19
	key := max(math.Abs(p.X)-0.05, math.Abs(p.Y-0.14)-0.13)
	return smax(d, -min(bore, key), 0.025)
}

// teeth is the toothed disc without its faces: trapezoids with rounded tips, folded into one sector, filleted into the
// root circle.
func (g *gear) teeth(p vec, r float64) float64 {
	if r > gearTip+0.15 {
		return r - gearTip
	}
	angle := math.Atan2(p.Y, p.X)
	angle -= gearSector * math.Round(angle/gearSector)
	// The angle is at most 0.16: two terms of the series are exact enough.
	v := math.Abs(r * angle * (1 - angle*angle/6))
	u := r * (1 - angle*angle/2)
	flank := (v - 0.092 + (u-gearRoot)*0.26) * 0.968
	tooth := smax(flank, u-gearTip, 0.015)
	return smin(r-gearRoot, tooth, 0.03)
}

// holes are the five lightening holes of the web.
func (g *gear) holes(p vec, r float64) float64 {
	const sector = 2 * math.Pi / 5
	angle := math.Atan2(p.X, p.Y) - sector/2
	angle -= sector * math.Round(angle/sector)
	sin, cos := math.Sincos(angle)
	return hypot(r*cos-0.52, r*sin) - 0.085
}

func (g *gear) surface(p, n vec) material {
	m := material{color: g.brass, metal: true, rough: g.rough}
	cloud := fractal(r3.Add(r3.Scale(2.1, p), g.origin)) - 0.5
	m.color = r3.Scale(1+0.14*cloud, m.color)
	r := math.Sqrt(p.X*p.X + p.Y*p.Y)
	radial := vec{X: p.X / r, Y: p.Y / r}
	m.grain = vec{X: -radial.Y, Y: radial.X}
	switch {
	case n.Z > 0.6: // turned faces
		rings := noise2(66*r+g.origin.X, 1.2*p.X/r+g.origin.Y) - 0.5
		m.bump = r3.Scale(0.10*rings, radial)
	case r > 0.75: // hobbed flanks: marks along the tooth
		m.grain = vec{Z: 1}
		m.rough += 0.05
	}
	return m
}
