package demo

import (
	"fmt"
	"testing"
)

// TestPlateDefects: on images that are large and not square, each defect covers 0.01 to 0.03 percent of the view that
// shows it best, and no view shows more. It is on the upper face, which all cameras see.
func TestPlateDefects(t *testing.T) {
	c := classNamed(t, "perforated_plate")
	area := float64(c.size.X * c.size.Y)
	if c.size.X < 2000 || c.size.X == c.size.Y {
		t.Errorf("have images of %v", c.size)
	}
	for _, code := range c.codes {
		for seed := range 12 {
			o, err := drawObject(source(int64(seed), code), c, code, seed, c.size)
			if err != nil {
				t.Fatal(err)
			}
			name, best := fmt.Sprintf("%s %d", code, seed), 0.0
			for view, mask := range o.masks {
				if mask == nil {
					t.Errorf("%s: C%d does not see it", name, view+1)
					continue
				}
				best = max(best, float64(dropSpecks(mask, 1))/area)
			}
			if best < 0.0001 || best > 0.0003 {
				t.Errorf("%s: the best view has %.5f %% of defective pixels, want 0.01 to 0.03 %%", name, 100*best)
			}
			if seed < 2 {
				checkDistance(t, o)
			}
		}
	}
}
