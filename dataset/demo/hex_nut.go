package demo

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/spatial/r3"
)

// hexNut is a hexagonal nut of brushed steel: six flats, both faces turned and chamfered at 30 degrees, a threaded bore
// with countersinks, the grade "8" stamped on the upper face.
type hexNut struct {
	steel  vec
	rough  float64
	origin vec     // of the texture
	phase  float64 // of the thread, in turns
}

const (
	nutFlat   = 0.84 // half the width across flats
	nutHeight = 0.74
	nutBore   = 0.47 // pitch radius of the thread
	nutThread = 0.026
	nutPitch  = 0.098
	nutSink   = 0.56 // outer radius of the countersink
)

func newHexNut(rng *rand.Rand, _ int) body {
	return &hexNut{
		steel:  tinted(rng, vec{X: 0.66, Y: 0.65, Z: 0.63}, 0.06, 0.012),
		rough:  around(rng, 0.30, 0.05),
		origin: anywhere(rng),
		phase:  rng.Float64(),
	}
}

func (nut *hexNut) extent() (radius, height float64) { return 0.99, nutHeight }

func (nut *hexNut) distance(p vec) float64 {
	const half = nutHeight / 2
	z := math.Abs(p.Z - half)
	r := math.Sqrt(p.X*p.X + p.Y*p.Y)
	// Three pairs of flats, normals at 90, 30 and 150 degrees.
	a, b := p.X*0.8660254037844386, p.Y*0.5
	flats := smax(math.Abs(p.Y), smax(math.Abs(a+b), math.Abs(a-b), 0.03), 0.03) - nutFlat
	d := smax(flats, z-half, 0.02)
	d = smax(d, (r-0.83)*0.5+(z-half)*0.866, 0.012)
	// Bore: a helical groove, then the countersinks.
	bore := nutBore - nutThread - r
	if math.Abs(r-nutBore) < 0.07 && d < 0.1 {
		turn := math.Atan2(p.Y, p.X)/(2*math.Pi) + nut.phase
		tooth := math.Abs(frac(p.Z/nutPitch+turn)-0.5)*4 - 1 // -1..1
		tooth = lerp(-1, tooth, smoothstep(half-0.05, half-0.11, z))
		bore = 0.68 * (nutBore + nutThread*tooth - r)
	}
	sink := 0.7071 * (nutSink - r + z - half)
	return smax(d, max(bore, sink), 0.012)
}

func (nut *hexNut) surface(p, n vec) material {
	m := material{color: nut.steel, metal: true, rough: nut.rough}
	cloud := fractal(r3.Add(r3.Scale(2.3, p), nut.origin)) - 0.5
	m.color = r3.Scale(1+0.16*cloud, m.color)
	r := math.Sqrt(p.X*p.X + p.Y*p.Y)
	radial := vec{X: p.X / r, Y: p.Y / r}
	tangent := vec{X: -radial.Y, Y: radial.X}
	facing := r3.Dot(n, radial)
	switch {
	case r < nutSink && facing < 0.3: // thread and countersink: oiled, as cut
		m.color = r3.Scale(0.82, m.color)
		m.rough = 0.25
	case n.Z > 0.3: // turned face: rings around the axis
		rings := noise2(70*r+nut.origin.X, nut.origin.Y+1.5*tangent.X) - 0.5
		m.bump = r3.Scale(0.10*rings, radial)
		m.grain = tangent
		nut.stamp(&m, p)
	default: // flats: brushed along the bar
		side := vec{X: -n.Y, Y: n.X}
		lines := noise2(58*p.Z+nut.origin.Z, 3*r3.Dot(side, p)+nut.origin.X) - 0.5
		m.bump.Z = 0.15 * lines
		m.color = r3.Scale(1+0.14*lines, m.color)
		m.grain = side
	}
	return m
}

// stamp presses the grade into the upper face: too shallow to be geometry, it darkens the strokes and tilts the normal
// at their rims.
func (nut *hexNut) stamp(m *material, p vec) {
	const size = 0.055
	x, y := p.X/size, (p.Y+0.665)/size
	if math.Abs(x) > 2 || math.Abs(y) > 2 {
		return
	}
	d := size * inkGrade.distance(x, y)
	depth := smoothstep(0.022, 0.008, d)
	m.color = r3.Scale(1-0.45*depth, m.color)
}

// frac is x modulo 1, in [0, 1).
func frac(x float64) float64 { return x - math.Floor(x) }
