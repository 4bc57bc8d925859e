package demo

import (
	"math"

	"gonum.org/v1/gonum/spatial/r3"
)

// scene is a part in its studio.
type scene struct {
	*part
	*studio
}

// color returns the linear radiance along a ray.
func (s *scene) color(h hit, dir vec) vec {
	switch h.kind {
	case onNothing:
		return s.sky(dir)
	case onBackdrop:
		return s.shadeBackdrop(h.p)
	}
	n := s.normal(h.p)
	m := s.surface(h.p, n)
	if h.kind == onFlaw {
		s.flaw.paint(&m, h.p, -s.body.distance(h.p))
	}
	if r3.Dot(n, dir) > 0 { // grazing, by rounding
		n = r3.Scale(-1, n)
	}
	start := along(h.p, n, 0.004) // off the surface, to avoid self-shadowing
	if m.metal {
		return s.shadeMetal(start, dir, n, &m)
	}
	return s.shadePlastic(start, dir, n, &m)
}

// shadeBackdrop shades the matt cardboard under the part.
func (s *scene) shadeBackdrop(p vec) vec {
	albedo := s.backdrop
	g := s.grain
	fibre := noise2(60*p.X+g.X, 60*p.Y+g.Y) + noise2(28*p.X+g.Y, 28*p.Y+g.Z) - 1
	albedo = r3.Scale(1+0.045*fibre, albedo)
	light := r3.Scale(s.key.Z*s.visible(p, s.key, 5, 22), s.keyLight)
	open := s.openness(p, vec{Z: 1}, 0.42)
	light = r3.Add(light, r3.Scale(open, s.ambient(vec{Z: 1})))
	return mul(albedo, light)
}

// shadePlastic shades a diffuse body under a clear, slightly rough coat.
func (s *scene) shadePlastic(p, dir, flat vec, m *material) vec {
	n := unit(r3.Add(flat, m.bump))
	open := s.openness(p, flat, 0.22)
	key, facing := 0.0, (r3.Dot(n, s.key)+m.fill)/(1+m.fill)
	if facing > 0 {
		key = s.visible(p, s.key, 6, 18)
	}
	light := r3.Scale(key*max(0, facing), s.keyLight)
	light = r3.Add(light, r3.Scale(open, s.ambient(n)))
	c := mul(m.color, light)
	mirror := reflect(dir, n)
	gloss := fresnel(0.04, -r3.Dot(dir, n)) * (0.35 + 0.65*open) * (1 - 0.6*m.rough)
	return r3.Add(c, r3.Scale(gloss, s.reflected(mirror, m.rough, key)))
}

// shadeMetal shades with reflections only: of the studio where it is unobstructed, elsewhere of the part itself. Brush
// marks smear them across the marks.
func (s *scene) shadeMetal(p, dir, flat vec, m *material) vec {
	n := unit(r3.Add(flat, m.bump))
	mirror := reflect(dir, n)
	if r3.Dot(mirror, flat) < 0 { // the bump map sent it inside
		mirror = along(mirror, flat, -1.02*r3.Dot(mirror, flat))
	}
	open := s.openness(p, flat, 0.22)
	key := s.visible(p, s.key, 4, 14)
	free := s.visible(p, mirror, 3, 10)
	light := s.reflected(mirror, m.rough, key)
	if m.grain != (vec{}) {
		const smear = 0.16
		across := r3.Scale(smear, r3.Cross(m.grain, n))
		a := s.reflected(reflect(dir, unit(r3.Add(n, across))), m.rough, key)
		b := s.reflected(reflect(dir, unit(r3.Sub(n, across))), m.rough, key)
		light = r3.Scale(0.5, r3.Add(light, r3.Scale(0.5, r3.Add(a, b))))
	}
	// Reflections of the part itself show metal lit from above, seen twice.
	self := mul(m.color, r3.Scale(0.55*open, s.ambient(vec{Z: 0.3})))
	light = blend(self, light, free)
	// A little diffuse light, as on real metal.
	matt := r3.Add(r3.Scale(key*max(0, r3.Dot(n, s.key)), s.keyLight), s.ambient(n))
	light = r3.Add(r3.Scale(0.85, light), r3.Scale(0.12*open, matt))
	edge := math.Pow(1-clamp(-r3.Dot(dir, n), 0, 1), 5)
	tint := blend(m.color, gray(1), 0.7*edge)
	return r3.Scale(0.4+0.6*open, mul(tint, light))
}

// fresnel returns Schlick's approximation of the reflectance at the given cosine.
func fresnel(normal, cos float64) float64 {
	x := 1 - clamp(cos, 0, 1)
	x2 := x * x
	return normal + (1-normal)*x2*x2*x
}

// develop converts linear radiance to display values 0..1: exposure, a film curve that protects highlights from
// clipping, gamma.
func (s *studio) develop(c vec) vec {
	return vec{X: s.film(c.X), Y: s.film(c.Y), Z: s.film(c.Z)}
}

func (s *studio) film(x float64) float64 {
	x *= 0.70 * s.exposure
	// A common rational fit of the ACES film curve.
	x = x * (2.51*x + 0.03) / (x*(2.43*x+0.59) + 0.14)
	return math.Sqrt(min(x, 1)) // gamma 2, ten times faster than 2.2
}
