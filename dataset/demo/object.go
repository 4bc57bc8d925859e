package demo

import (
	"context"
	"fmt"
	"hash/fnv"
	"image"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/spatial/r3"
)

// object is one part with its variation, light and defect, in five views.
type object struct {
	class      *class
	sound, bad scene // equal for a sound object
	cameras    [views]camera
	masks      [views]*image.Gray // nil if the view shows no defect
	rng        *rand.Rand
}

// source returns the random source of an object. It depends only on the seed and the folder of the object, not on the
// order of rendering.
func source(seed int64, folder string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(folder))
	return rand.New(rand.NewPCG(uint64(seed), h.Sum64()))
}

// drawObject draws object number serno of class c, to be seen in images of the given size; code is "" for a sound one.
func drawObject(rng *rand.Rand, c *class, code string, serno int, size image.Point) (*object, error) {
	at := pose{
		turn:  around(rng, 0, 8*math.Pi/180),
		scale: around(rng, 1, 0.025),
		x:     around(rng, 0, 0.05),
		y:     around(rng, 0, 0.05),
	}
	b := c.make(rng, serno)
	o := &object{class: c, rng: rng}
	o.sound = scene{part: newPart(b, nil), studio: newStudio(rng, at)}
	o.bad = o.sound
	for view := range o.cameras {
		o.cameras[view] = newCamera(view, at)
	}
	if code == "" {
		return o, nil
	}
	return o, o.damage(code, size)
}

// damage draws defects until at least one camera sees one well: enough pixels and enough contrast to the sound part. A
// view with less than least pixels of it counts as good.
func (o *object) damage(code string, size image.Point) error {
	const (
		tries    = 200
		contrast = 0.11 // of the range of display values
	)
	area := size.X * size.Y
	least, enough := max(4, area/4096), max(4, area/1000)
	if o.class.tiny {
		least, enough = area/40000, area/10000
	}
	above := o.rng.Float64() < 0.3 || o.class.tiny
	for range tries {
		p, n, ok := o.pick(above)
		if !ok {
			continue
		}
		f := drawFlaw(o.rng, code, o.class, o.sound.part, p, n)
		if f == nil {
			continue
		}
		o.bad.part = newPart(o.sound.body, f)
		best := 0
		for view := range o.cameras {
			mask, pixels := newMask(o.sound.part, o.bad.part, &o.cameras[view], size)
			if o.masks[view] = mask; pixels < least {
				o.masks[view] = nil
			} else if o.contrast(view) >= contrast {
				best = max(best, pixels)
			}
		}
		if best >= enough {
			return nil
		}
	}
	return fmt.Errorf("defect %s: none of %d draws is seen by a camera", code, tries)
}

// pick draws a surface point that a camera sees well, and its normal: on upper faces, which all cameras see, or on
// others, which only some see.
func (o *object) pick(above bool) (p, n vec, ok bool) {
	for range 200 {
		cam := &o.cameras[o.rng.IntN(views)]
		dir := cam.ray(around(o.rng, 0, 0.75), around(o.rng, 0, 0.75))
		h := o.sound.cast(cam.at, dir)
		if h.kind != onPart {
			continue
		}
		n = o.sound.normal(h.p)
		if above == (n.Z > 0.5) && -r3.Dot(n, dir) > 0.45 {
			return h.p, n, true
		}
	}
	return p, n, false
}

// contrast returns the mean difference, 0 to 1, that the defect makes in the most affected channel inside the mask of a
// view.
func (o *object) contrast(view int) float64 {
	mask, cam := o.masks[view], &o.cameras[view]
	size := mask.Rect.Max
	box := footprint(o.bad.flaw, cam, size)
	sum, count := 0.0, 0.0
	for y := box.Min.Y; y < box.Max.Y; y++ {
		for x := box.Min.X; x < box.Max.X; x++ {
			if mask.GrayAt(x, y).Y == 0 {
				continue
			}
			dir := cam.aim(float64(x)+0.5, float64(y)+0.5, size)
			a := o.sound.develop(o.sound.color(o.sound.cast(cam.at, dir), dir))
			b := o.bad.develop(o.bad.color(o.bad.cast(cam.at, dir), dir))
			d := r3.Sub(a, b)
			sum += max(math.Abs(d.X), math.Abs(d.Y), math.Abs(d.Z))
			count++
		}
	}
	return sum / max(count, 1)
}

// image renders one view including sensor noise.
func (o *object) image(ctx context.Context, v *canvas, view int) (*image.RGBA, error) {
	if err := v.render(ctx, &o.bad, &o.cameras[view]); err != nil {
		return nil, err
	}
	return v.expose(o.rng, o.bad.noise), nil
}
