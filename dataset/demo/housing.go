package demo

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/spatial/r3"
)

// housing is a square housing of light plastic with a cable gland and four screws on top. A coloured cover lies in each
// of its four walls. It is made in three variants, and the covers of a good housing are all of its variant.
//
// A wrong cover is a defect that no image shows: each wall is seen by one of the cameras C2 to C5 only, since the others
// are behind its plane, and that camera sees nothing of the other covers. Its image is that of a good housing of the
// other variant. C1 sees no cover.
type housing struct {
	plastic vec
	tint    vec // of the covers
	rough   float64
	origin  vec // of the texture
	variant int
}

// covers are the variants: the colour, that of its mark, and the number of bars of the mark.
var covers = []struct {
	color, ink vec
	bars       int
}{
	{vec{X: 0.40, Y: 0.022, Z: 0.018}, gray(0.70), 1},
	{vec{X: 0.62, Y: 0.37, Z: 0.016}, gray(0.02), 2},
	{vec{X: 0.010, Y: 0.085, Z: 0.34}, gray(0.70), 3},
}

const (
	housingHalf   = 0.74 // half the width across the walls
	housingHeight = 0.86
	housingGland  = 1.00 // height of the gland
	coverDepth    = 0.03 // below the wall
	coverHalf     = 0.52 // half the width of a cover
	coverLow      = 0.08
	coverHigh     = 0.69
)

// newHousing makes the variants in turn, so that they are equally frequent.
func newHousing(rng *rand.Rand, serno int) body {
	return &housing{
		plastic: tinted(rng, vec{X: 0.30, Y: 0.31, Z: 0.295}, 0.08, 0.02),
		tint:    tinted(rng, gray(1), 0.08, 0.03),
		rough:   around(rng, 0.30, 0.06),
		origin:  anywhere(rng),
		variant: serno % len(covers),
	}
}

func (h *housing) extent() (radius, height float64) { return 1.02, housingGland }

func (h *housing) distance(p vec) float64 {
	x, y := math.Abs(p.X), math.Abs(p.Y)
	out, across := max(x, y), min(x, y)
	d := smax(smax(x, y, 0.14)-housingHalf, p.Z-housingHeight, 0.05)
	d = smax(d, -p.Z, 0.02)
	if out > 0.6 && p.Z < 1 {
		const mid, half = (coverHigh + coverLow) / 2, (coverHigh - coverLow) / 2
		recess := max(housingHalf-coverDepth-out, across-coverHalf, math.Abs(p.Z-mid)-half)
		d = smax(d, -recess, 0.012)
		seam := hypot(out-housingHalf, p.Z-0.775) - 0.018 // below the lid
		d = smax(d, -seam, 0.008)
	}
	r := hypot(p.X, p.Y)
	if r > 0.5 && p.Z > 0.5 { // screws
		well := max(hypot(x-0.55, y-0.55)-0.085, housingHeight-0.05-p.Z)
		slot := max(min(max(math.Abs(x-0.55)-0.045, math.Abs(y-0.55)-0.011),
			max(math.Abs(x-0.55)-0.011, math.Abs(y-0.55)-0.045)), housingHeight-0.075-p.Z)
		return smax(smax(d, -well, 0.012), -slot, 0.006)
	}
	nut := r - 0.34
	if r < 0.6 { // hexagonal
		nut = smax(x, smax(math.Abs(p.X*0.5+p.Y*0.8660254037844386), math.Abs(p.X*0.5-p.Y*0.8660254037844386), 0.02), 0.02) - 0.33
	}
	nut = smax(nut, p.Z-housingGland+0.05, 0.03)
	d = smin(d, smin(nut, smax(r-0.24, p.Z-housingGland, 0.03), 0.01), 0.012)
	return smax(d, -max(r-0.155, 0.82-p.Z), 0.03)
}

func (h *housing) surface(p, n vec) material {
	m := material{color: h.plastic, rough: h.rough, fill: 0.10}
	cloud := fractal(r3.Add(r3.Scale(2.2, p), h.origin)) - 0.5
	m.color = r3.Scale(1+0.12*cloud, m.color)
	grit := r3.Add(r3.Scale(55, p), h.origin) // an eroded mould
	m.bump = vec{X: 0.07 * (noise(grit) - 0.5), Y: 0.07 * (noise(r3.Add(grit, gray(50))) - 0.5)}
	r := hypot(p.X, p.Y)
	switch {
	case onCover(p):
		h.cover(&m, p)
	case r > 0.5 && n.Z > 0.5 && p.Z < housingHeight-0.03: // screw heads
		m = material{color: gray(0.55), metal: true, rough: 0.3}
	case r < 0.45 && p.Z > housingHeight+0.02: // the gland is black
		m.color = vec{X: 0.022, Y: 0.023, Z: 0.025}
	case r < 0.2:
		m.color = gray(0.012)
	}
	return m
}

// onCover reports whether surface point p is on a cover, rather than on the rim around it.
func onCover(p vec) bool {
	x, y := math.Abs(p.X), math.Abs(p.Y)
	out, across := max(x, y), min(x, y)
	return out < housingHalf-coverDepth+0.008 && out > housingHalf-coverDepth-0.02 &&
		across < coverHalf && p.Z > coverLow && p.Z < coverHigh
}

// cover changes the material at point p into that of a cover.
func (h *housing) cover(m *material, p vec) {
	c := &covers[h.variant]
	m.color = mul(h.tint, c.color)
	m.rough, m.fill = 0.22, 0.05
	m.bump = r3.Scale(0.4, m.bump)
	const (
		pitch, width = 0.17, 0.052
		soft         = 0.006
		mid          = (coverHigh + coverLow) / 2
	)
	// The bars lie symmetrically to the middle: count from the outermost.
	across := min(math.Abs(p.X), math.Abs(p.Y)) - pitch*float64(c.bars-1)/2
	across -= pitch * min(0, math.Round(across/pitch))
	d := max(math.Abs(across)-width, math.Abs(p.Z-mid)-0.19)
	m.color = blend(m.color, mul(h.tint, c.ink), smoothstep(soft, -soft, d))
}

// wrongCover exchanges one cover for that of another variant.
func wrongCover(rng *rand.Rand, _ string, o *part, _, _ vec) *flaw {
	other := *o.body.(*housing)
	other.variant = (other.variant + 1 + rng.IntN(len(covers)-1)) % len(covers)
	sin, cos := math.Sincos(float64(rng.IntN(4)) * math.Pi / 2)
	out := vec{X: math.Round(cos), Y: math.Round(sin)}
	return &flaw{
		kind:   exchanged,
		center: along(vec{Z: (coverLow + coverHigh) / 2}, out, housingHalf-coverDepth),
		radius: hypot(coverHalf, (coverHigh-coverLow)/2) + 0.01,
		field: func(q vec) float64 {
			if onCover(q) && r3.Dot(q, out) > 0.6 {
				return -1
			}
			return 1
		},
		paint: func(m *material, q vec, _ float64) { *m = other.surface(q, out) },
	}
}
