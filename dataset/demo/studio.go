package demo

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/spatial/r3"
)

// studio is the light tent around a part, in the coordinate system of the part: a bright dome, a large soft box (the
// key light, which casts shadows), two strip lights that cause highlights on metal, and the backdrop.
type studio struct {
	key      vec // unit direction to the key light
	keyLight vec // its irradiance at normal incidence
	boxes    [3]softbox
	dome     float64 // brightness of the dome
	backdrop vec     // albedo
	grain    vec     // offset of the backdrop's texture
	exposure float64
	noise    float64 // standard deviation of sensor noise in 8-bit levels
}

// softbox is a rectangular light at infinity.
type softbox struct {
	at, u, v vec     // directions of the centre and the sides
	w, h     float64 // half side lengths at unit distance
	power    vec
}

// newStudio draws the lighting of an object: the same tent for all cameras, with some variation in direction, strength
// and colour of the lamps.
func newStudio(rng *rand.Rand, o pose) *studio {
	warm := around(rng, 0, 0.025)
	white := vec{X: 1 + warm, Y: 1, Z: 1 - warm}
	lamp := func(azimuth, elevation, w, h, power float64) softbox {
		azimuth = around(rng, azimuth, 7) * math.Pi / 180
		elevation = around(rng, elevation, 3) * math.Pi / 180
		power *= around(rng, 1, 0.06)
		ce, se := math.Cos(elevation), math.Sin(elevation)
		at := o.toPartDir(vec{X: ce * math.Cos(azimuth), Y: ce * math.Sin(azimuth), Z: se})
		u := unit(r3.Cross(vec{Z: 1}, at))
		return softbox{at: at, u: u, v: r3.Cross(at, u), w: w, h: h, power: r3.Scale(power, white)}
	}
	s := &studio{
		boxes: [3]softbox{
			lamp(125, 58, 0.55, 0.42, 3.0),
			lamp(-35, 30, 0.22, 0.55, 1.5),
			lamp(-130, 25, 0.16, 0.40, 1.0),
		},
		dome:     around(rng, 0.50, 0.03),
		backdrop: tinted(rng, vec{X: 0.235, Y: 0.24, Z: 0.25}, 0.04, 0.01),
		grain:    anywhere(rng),
		exposure: around(rng, 1.0, 0.05),
		noise:    around(rng, 1.5, 0.5),
	}
	s.key = s.boxes[0].at
	s.keyLight = r3.Scale(0.62, s.boxes[0].power)
	return s
}

// sky returns the radiance of the dome from direction d: brighter overhead, darker towards the horizon for contrast on
// metal.
func (s *studio) sky(d vec) vec {
	if d.Z < 0 { // the lit backdrop
		lit := 1 + 0.9*(d.X*s.key.X+d.Y*s.key.Y)
		return r3.Scale(lit*(0.75*s.dome+0.9*smoothstep(0, -0.8, d.Z)), s.backdrop)
	}
	return gray(s.dome * (0.12 + 1.0*smoothstep(0.05, 0.95, d.Z)))
}

// reflected returns the radiance from direction d, blurred by the roughness of the mirror; key is the visible fraction
// of the key light.
func (s *studio) reflected(d vec, rough, key float64) vec {
	sum := s.sky(d)
	soft := 0.04 + 0.9*rough
	dim := 1 / (1 + 3*rough) // a blurred lamp is larger and dimmer
	for i := range s.boxes {
		b := &s.boxes[i]
		c := r3.Dot(d, b.at)
		if c < 0.15 {
			continue
		}
		x, y := math.Abs(r3.Dot(d, b.u))/c, math.Abs(r3.Dot(d, b.v))/c
		w := smoothstep(b.w+soft, b.w-soft, x) * smoothstep(b.h+soft, b.h-soft, y) * dim
		if i == 0 {
			w *= key
		}
		sum = along(sum, b.power, w)
	}
	return sum
}

// ambient returns diffuse light without the key light: the dome from above, light from the backdrop from below, the
// strips from their sides.
func (s *studio) ambient(n vec) vec {
	up := 0.5 + 0.5*n.Z
	light := blend(r3.Scale(0.75*s.dome, s.backdrop), gray(0.95*s.dome), up)
	for i := 1; i < len(s.boxes); i++ {
		b := &s.boxes[i]
		light = along(light, b.power, 0.16*max(0, r3.Dot(n, b.at)))
	}
	return light
}
