package demo

import (
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/spatial/r3"
)

// specimens draws one object of every class and code for each seed.
func specimens(t *testing.T, size, seeds int, check func(t *testing.T, o *object)) {
	for i := range classes {
		c := &classes[i]
		if c.tiny { // needs images of many more pixels
			continue
		}
		for _, code := range c.codes {
			t.Run(c.name+" "+code, func(t *testing.T) {
				for seed := range seeds {
					o, err := drawObject(source(int64(seed), c.name), c, code, seed, image.Pt(size, size))
					if err != nil {
						t.Fatal(err)
					}
					check(t, o)
				}
			})
		}
	}
}

// TestDefectViews: each defect is visible to a camera, and for each kind there are defects that some cameras do not
// see.
func TestDefectViews(t *testing.T) {
	hidden := map[string]int{}
	specimens(t, 64, 6, func(t *testing.T, o *object) {
		clean := 0
		for _, mask := range o.masks {
			if mask == nil {
				clean++
			}
		}
		if clean == views {
			t.Error("no camera sees the defect")
		}
		hidden[t.Name()] += clean
	})
	for name, n := range hidden {
		if n == 0 {
			t.Errorf("%s: every camera sees every defect", name)
		}
	}
}

// TestMaskMatchesImage compares renderings of the sound and the defective part: they differ inside the mask, and not
// far away from it. In between are shadow and reflections of the defect, which the mask does not cover.
func TestMaskMatchesImage(t *testing.T) {
	const size = 96
	sound, bad := newCanvas(image.Pt(size, size)), newCanvas(image.Pt(size, size))
	specimens(t, size, 1, func(t *testing.T, o *object) {
		best := 0.0
		for view, mask := range o.masks {
			cam := &o.cameras[view]
			if err := sound.render(t.Context(), &o.sound, cam); err != nil {
				t.Fatal(err)
			}
			if err := bad.render(t.Context(), &o.bad, cam); err != nil {
				t.Fatal(err)
			}
			near := footprint(o.bad.flaw, cam, image.Pt(size, size)).Inset(-size / 4)
			in, out, ins, outs := 0.0, 0.0, 0.0, 0.0
			for i := range sound.tones {
				d := length(r3.Sub(sound.tones[i], bad.tones[i]))
				p := image.Pt(i%size, i/size)
				switch {
				case mask != nil && mask.GrayAt(p.X, p.Y).Y > 0:
					in, ins = in+d, ins+1
				case !p.In(near):
					out, outs = out+d, outs+1
				}
			}
			best = max(best, in/max(ins, 1))
			if out/max(outs, 1) > 1e-3 {
				t.Errorf("view C%d: mean difference far from the mask: have %.5f, want at most 0.001", view+1, out/outs)
			}
		}
		if best < 0.1 {
			t.Errorf("mean difference inside the best mask: have %.3f, want at least 0.1", best)
		}
	})
}

// TestMaskIsComplete: nothing of the defect is outside the box that newMask examines.
func TestMaskIsComplete(t *testing.T) {
	const size = 64
	specimens(t, size, 2, func(t *testing.T, o *object) {
		for view := range views {
			cam := &o.cameras[view]
			box := footprint(o.bad.flaw, cam, image.Pt(size, size))
			for y := range size {
				for x := range size {
					dir := cam.aim(float64(x)+0.5, float64(y)+0.5, image.Pt(size, size))
					if differs(o.sound.cast(cam.at, dir), o.bad.cast(cam.at, dir)) && !image.Pt(x, y).In(box) {
						t.Fatalf("view C%d: pixel %d,%d differs outside %v", view+1, x, y, box)
					}
				}
			}
		}
	})
}

// TestDistanceIsLowerBound: sphere tracing steps by the distance, so a ball of that radius must not reach into the
// solid.
func TestDistanceIsLowerBound(t *testing.T) {
	specimens(t, 64, 2, checkDistance)
}

func checkDistance(t *testing.T, o *object) {
	rng := rand.New(rand.NewPCG(1, 2))
	worst := 0.0
	for range 3000 {
		p := vec{X: around(rng, 0, 1.2), Y: around(rng, 0, 1.2), Z: 0.9 * rng.Float64()}
		if o.bad.height < 0.1 {
			p.Z = 0.1 * rng.Float64()
		}
		d := o.bad.distance(p)
		if d <= 0 {
			continue
		}
		for range 10 {
			q := r3.Add(p, r3.Scale(d, unit(vec{X: rng.NormFloat64(), Y: rng.NormFloat64(), Z: rng.NormFloat64()})))
			worst = min(worst, o.bad.distance(q))
		}
	}
	if worst < -0.004 {
		t.Errorf("a step reaches %.4f into the solid", -worst)
	}
}

func TestCameraProjectInvertsRay(t *testing.T) {
	at := pose{turn: 0.1, scale: 1.02, x: 0.03, y: -0.04}
	for view := range views {
		cam := newCamera(view, at)
		for _, want := range [][2]float64{{0, 0}, {0.5, -0.25}, {-0.9, 0.8}} {
			x, y, _ := cam.project(along(cam.at, cam.ray(want[0], want[1]), 5))
			if math.Abs(x-want[0])+math.Abs(y-want[1]) > 1e-9 {
				t.Errorf("C%d: have %v, %v, want %v", view+1, x, y, want)
			}
		}
	}
}

// TestCamerasAgree: the side cameras are a quarter turn apart and look at the same point of the part.
func TestCamerasAgree(t *testing.T) {
	for view := 1; view < views; view++ {
		cam := newCamera(view, pose{scale: 1})
		angle := math.Atan2(cam.at.X, -cam.at.Y)
		if want := float64(view-1) * math.Pi / 2; math.Abs(math.Remainder(angle-want, 2*math.Pi)) > 1e-9 {
			t.Errorf("C%d: have azimuth %v, want %v", view+1, angle, want)
		}
		if x, y, _ := cam.project(vec{Z: 0.2}); math.Abs(x)+math.Abs(y) > 1e-9 {
			t.Errorf("C%d: the target is at %v, %v, want the centre", view+1, x, y)
		}
	}
}

func TestDropSpecks(t *testing.T) {
	tests := []struct {
		name       string
		have, want []string
		kept       int
	}{
		{"empty", []string{"....", "...."}, []string{"....", "...."}, 0},
		{"three pixels", []string{"##..", "#..."}, []string{"....", "...."}, 0},
		{"four pixels", []string{"##..", "##.."}, []string{"##..", "##.."}, 4},
		{"diagonal", []string{"#...", ".#..", "..#.", "...#"}, []string{"#...", ".#..", "..#.", "...#"}, 4},
		{"two", []string{"##.#", "##.#"}, []string{"##..", "##.."}, 4},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			mask := drawn(test.have)
			kept := dropSpecks(mask, 4)
			if want := drawn(test.want); kept != test.kept || fmt.Sprint(mask.Pix) != fmt.Sprint(want.Pix) {
				t.Errorf("have %d pixels %v, want %d %v", kept, mask.Pix, test.kept, want.Pix)
			}
		})
	}
}

// drawn is the mask drawn by rows of # and dots.
func drawn(rows []string) *image.Gray {
	mask := image.NewGray(image.Rect(0, 0, len(rows[0]), len(rows)))
	for y, row := range rows {
		for x := range row {
			if row[x] == '#' {
				mask.Pix[mask.PixOffset(x, y)] = 255
			}
		}
	}
	return mask
}
