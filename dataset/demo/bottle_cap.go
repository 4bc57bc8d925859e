package demo

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/spatial/r3"
)

// bottleCap is a moulded screw cap of blue plastic: a ribbed skirt, a tamper-evident band below a groove, a shallow
// panel on top printed with a ring and a word.
type bottleCap struct {
	plastic vec
	print   vec
	rough   float64
	origin  vec     // of the texture
	dx, dy  float64 // misregister of the print
}

const (
	capHeight = 0.62
	capRadius = 0.90
	capRibs   = 54
	capPanel  = 0.74 // radius of the panel on top
)

func newBottleCap(rng *rand.Rand, _ int) body {
	return &bottleCap{
		plastic: tinted(rng, vec{X: 0.012, Y: 0.085, Z: 0.40}, 0.12, 0.05),
		print:   gray(around(rng, 0.80, 0.04)),
		rough:   around(rng, 0.16, 0.04),
		origin:  anywhere(rng),
		dx:      around(rng, 0, 0.012),
		dy:      around(rng, 0, 0.012),
	}
}

func (c *bottleCap) extent() (radius, height float64) { return capRadius + 0.03, capHeight }

// capChip breaks a piece out of the band and skirt, or out of the upper rim.
func capChip(rng *rand.Rand) chip {
	angle := 2 * math.Pi * rng.Float64()
	width := around(rng, 0.16, 0.04)
	if rng.IntN(3) == 0 {
		return chipAt(angle, 0.81, capHeight-0.10, 0.8, width)
	}
	return chipAt(angle, 0.80, 0.10, -0.7, width)
}

func (c *bottleCap) distance(p vec) float64 {
	r := math.Sqrt(p.X*p.X + p.Y*p.Y)
	side := r - capRadius + 0.03*p.Z
	const lo, hi = 0.165, 0.50
	if r > 0.66 && r < 1 && p.Z > lo-0.02 && p.Z < hi+0.04 {
		angle := math.Atan2(p.Y, p.X)
		fade := smoothstep(lo-0.02, lo+0.03, p.Z) * smoothstep(hi+0.04, hi-0.04, p.Z)
		side += fade * 0.017 * (1 + math.Cos(capRibs*angle))
		side *= 1 - 0.28*fade // the ribs are steeper than a true distance
	}
	d := smax(smax(side, p.Z-capHeight, 0.16), -p.Z, 0.02)
	// Groove that parts the band from the skirt.
	groove := hypot(r-capRadius-0.005, 1.2*(p.Z-0.13)) - 0.028
	d = smax(d, -groove*0.8, 0.012)
	// The panel lies a little deeper than the rim.
	panel := smax(r-capPanel, capHeight-0.022-p.Z, 0.02)
	return smax(d, -panel, 0.02)
}

func (c *bottleCap) surface(p, n vec) material {
	m := material{color: c.plastic, rough: c.rough, fill: 0.12}
	cloud := fractal(r3.Add(r3.Scale(2.5, p), c.origin)) - 0.5
	m.color = r3.Scale(1+0.20*cloud, m.color)
	// The moulded skin is not quite flat.
	pebble := r3.Add(r3.Scale(38, p), c.origin)
	m.bump = vec{X: 0.03 * (noise(pebble) - 0.5), Y: 0.03 * (noise(r3.Add(pebble, gray(50))) - 0.5)}
	if n.Z > 0.8 && p.Z > capHeight-0.05 {
		if cover := c.printed(p.X-c.dx, p.Y-c.dy); cover > 0 {
			m.color = blend(m.color, c.print, cover)
			m.rough = lerp(m.rough, 0.35, cover)
		}
	}
	return m
}

// printed is the coverage, 0 to 1, of the white print at (x, y): a ring, the word and a drop above it.
func (c *bottleCap) printed(x, y float64) float64 {
	const soft = 0.006 // half a pixel: the print antialiases itself
	r := hypot(x, y)
	d := math.Abs(r-0.64) - 0.018
	if math.Abs(y) < 0.25 && math.Abs(x) < 0.58 {
		const size = 0.105
		d = min(d, size*inkLogo.distance(x/size, (y+0.06)/size)-0.022)
	}
	// A drop: a disc, and a cone that ends in a tip above it.
	drop := min(hypot(x, y-0.26)-0.085, max(0.8*math.Abs(x)+0.6*(y-0.26)-0.085, 0.31-y))
	return smoothstep(soft, -soft, min(d, drop))
}
