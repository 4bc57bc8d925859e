package demo

import (
	"image"
	"math"
	"math/rand/v2"
)

// body is the sound shape of a part and its material. Positions are in the coordinate system of the part: z upwards,
// the backdrop at z = 0, the outer radius about 1.
type body interface {
	// distance is a lower bound of the distance from p to the surface, negative inside, and its zero set is the
	// surface.
	distance(p vec) float64
	// surface is the material at a surface point p with unit normal n.
	surface(p, n vec) material
	// extent is the radius and the height of an enclosing cylinder.
	extent() (radius, height float64)
}

// material describes how a surface point reflects light.
type material struct {
	color vec     // diffuse albedo; for a metal the reflectance at normal incidence
	metal bool    // coloured reflections and almost no diffuse part
	rough float64 // blur of reflections: 0 is a mirror, 1 matt
	grain vec     // unit direction of brush marks; zero for none
	bump  vec     // added to the normal: marks too fine to be geometry
	fill  float64 // fraction of light that comes from inside: translucency
}

// class is one kind of part.
type class struct {
	name  string
	codes []string // Real-IAD codes of the defects it can have, in order
	make  func(rng *rand.Rand, serno int) body
	chip  func(rng *rand.Rand) chip // for codeMissing
	// flaw draws its defects in place of drawFlaw, to the same contract; nil for the usual ones.
	flaw func(rng *rand.Rand, code string, o *part, p, n vec) *flaw
	size image.Point // of its images; zero for squares of Options.Size
	tiny bool        // its defects cover a few ten-thousandths of an image, on upper faces
}

// chip is a position on the rim of a part where a piece may break off: everything beyond a plane through at, up to
// width to either side.
type chip struct {
	at, out vec
	width   float64
}

// chipAt returns the chip at an angle, radius and height, with a plane tilted from the vertical.
func chipAt(angle, radius, height, tilt, width float64) chip {
	sin, cos := math.Sincos(angle)
	return chip{
		at:    vec{X: radius * cos, Y: radius * sin, Z: height},
		out:   unit(vec{X: cos, Y: sin, Z: tilt}),
		width: width,
	}
}

// classes are all classes. The first usual of them are rendered unless others are asked for.
var classes = []class{
	{name: "bottle_cap", codes: []string{codeScratch, codeMissing, codeStain}, make: newBottleCap, chip: capChip},
	{name: "gear", codes: []string{codePit, codeScratch, codeMissing}, make: newGear, chip: gearChip},
	{name: "hex_nut", codes: []string{codePit, codeScratch, codeStain}, make: newHexNut},
	{name: "housing", codes: []string{codeForeign}, make: newHousing, flaw: wrongCover},
	{name: "perforated_plate", codes: []string{codePit, codeScratch}, make: newPlate, flaw: plateFlaw,
		size: image.Pt(2048, 1536), tiny: true},
}

const usual = 3

// Classes returns the names of all classes, and of those that are rendered by default.
func Classes() (all, byDefault []string) {
	for i := range classes {
		all = append(all, classes[i].name)
	}
	return all, all[:usual]
}

// around draws uniformly from mean ± spread.
func around(rng *rand.Rand, mean, spread float64) float64 {
	return mean + spread*(2*rng.Float64()-1)
}

// anywhere draws an offset that decorrelates the noise of two objects.
func anywhere(rng *rand.Rand) vec {
	return vec{X: 500 * rng.Float64(), Y: 500 * rng.Float64(), Z: 500 * rng.Float64()}
}

// tinted varies a colour in brightness (all channels) and tint (each channel).
func tinted(rng *rand.Rand, c vec, brightness, tint float64) vec {
	b := around(rng, 1, brightness)
	c.X *= b * around(rng, 1, tint)
	c.Y *= b * around(rng, 1, tint)
	c.Z *= b * around(rng, 1, tint)
	return c
}
