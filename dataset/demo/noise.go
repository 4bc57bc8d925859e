package demo

import "math"

// mix32 hashes x so that neighbouring integers give unrelated values (multiply-xorshift).
func mix32(x uint32) uint32 {
	x ^= x >> 16
	x *= 0x7feb352d
	x ^= x >> 15
	x *= 0x846ca68b
	return x ^ x>>16
}

// lattice returns a fixed pseudo-random value in [0, 1) for an integer point.
func lattice(x, y, z int32) float64 {
	h := mix32(uint32(x)*0x9e3779b1 ^ uint32(y)*0x85ebca77 ^ uint32(z)*0xc2b2ae3d)
	return float64(h>>8) * (1.0 / (1 << 24))
}

// noise is smooth value noise in [0, 1) with features about one unit wide.
func noise(p vec) float64 {
	fx, fy, fz := math.Floor(p.X), math.Floor(p.Y), math.Floor(p.Z)
	x, y, z := int32(fx), int32(fy), int32(fz)
	u, v, w := ease(p.X-fx), ease(p.Y-fy), ease(p.Z-fz)
	lo := lerp(
		lerp(lattice(x, y, z), lattice(x+1, y, z), u),
		lerp(lattice(x, y+1, z), lattice(x+1, y+1, z), u), v)
	hi := lerp(
		lerp(lattice(x, y, z+1), lattice(x+1, y, z+1), u),
		lerp(lattice(x, y+1, z+1), lattice(x+1, y+1, z+1), u), v)
	return lerp(lo, hi, w)
}

// noise2 is noise on the plane, at half the cost.
func noise2(x, y float64) float64 {
	fx, fy := math.Floor(x), math.Floor(y)
	i, j := int32(fx), int32(fy)
	u, v := ease(x-fx), ease(y-fy)
	return lerp(
		lerp(lattice(i, j, 0), lattice(i+1, j, 0), u),
		lerp(lattice(i, j+1, 0), lattice(i+1, j+1, 0), u), v)
}

// fractal sums three octaves of noise; the result is in [0, 1) around 0.5.
func fractal(p vec) float64 {
	sum, amp := 0.0, 4.0/7
	for range 3 {
		sum += amp * noise(p)
		amp /= 2
		p = vec{X: 2.03*p.X + 17.1, Y: 2.03*p.Y + 3.7, Z: 2.03*p.Z + 9.2}
	}
	return sum
}

func ease(t float64) float64 { return t * t * (3 - 2*t) }
