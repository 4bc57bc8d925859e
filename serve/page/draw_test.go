package page

import (
	"image"
	"image/color"
	"math"
)

// part draws a part as a camera sees it: a gear or a housing on a grey table. A bad one has a scratch, which overlay
// marks as the map would.
func part(class string, camera int, bad, overlay bool, light float64) *image.RGBA {
	const side = 224
	m := image.NewRGBA(image.Rect(0, 0, side, side))
	turn := float64(camera) * 0.37
	for y := range side {
		for x := range side {
			dx, dy := float64(x-side/2), float64(y-side/2)
			r, a := math.Hypot(dx, dy), math.Atan2(dy, dx)+turn
			inside := r > 26 && r < 78+9*math.Tanh(6*math.Sin(14*a))
			if class == "housing" {
				u, v := math.Abs(dx*math.Cos(turn)-dy*math.Sin(turn)), math.Abs(dx*math.Sin(turn)+dy*math.Cos(turn))
				inside = u < 82 && v < 56 && math.Hypot(u-60, v-36) > 11
			}
			level := 62 + 20*math.Cos(dx/90)
			if inside {
				level = 150 + 46*math.Cos(a-0.8) + 10*math.Sin(r/3)
			}
			from := math.Hypot(float64(x-144)-0.4*float64(82-y), float64(y-82))
			if bad && inside && from < 9 && x > 126 && x < 164 {
				level = 48
			}
			c := color.RGBA{uint8(light * level), uint8(light * level), uint8(light * min(255, level+9)), 255}
			if overlay {
				c = heated(c, math.Exp(-math.Pow(math.Hypot(float64(x-144), float64(y-82))/30, 2)), bad)
			}
			m.SetRGBA(x, y, c)
		}
	}
	return m
}

// heated lays a colour over a pixel: from violet to yellow where something is found, and its outline in white.
func heated(c color.RGBA, value float64, bad bool) color.RGBA {
	if !bad {
		value *= 0.25
	}
	if bad && math.Abs(value-0.5) < 0.05 {
		return color.RGBA{255, 255, 255, 255}
	}
	mix := func(a uint8, b float64) uint8 { return uint8(float64(a)*(1-0.55*value) + b*0.55*value) }
	return color.RGBA{mix(c.R, 255), mix(c.G, 40+160*value), mix(c.B, 90*(1-value)), 255}
}
