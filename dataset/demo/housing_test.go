package demo

import (
	"image"
	"slices"
	"testing"
)

// TestWrongCoverOnlyBetweenViews: each view of a housing with a wrong cover is, before sensor noise, pixel for pixel the
// view of a good housing. That of the odd view is of the other variant, that of all others of the same. So no image by
// itself shows the defect, whereas the object does.
func TestWrongCoverOnlyBetweenViews(t *testing.T) {
	size := image.Pt(64, 64)
	have, want := newCanvas(size), newCanvas(size)
	odd := map[int]int{}
	for serno := range 9 {
		o, err := drawObject(source(int64(30+serno), "housing"), classNamed(t, "housing"), codeForeign, serno, size)
		if err != nil {
			t.Fatal(err)
		}
		base, masked := o.sound.body.(*housing).variant, 0
		for view := range views {
			if err := have.render(t.Context(), &o.bad, &o.cameras[view]); err != nil {
				t.Fatal(err)
			}
			var same []int // variants whose good housings look like this
			for variant := range covers {
				good := *o.sound.body.(*housing)
				good.variant = variant
				scene := scene{part: newPart(&good, nil), studio: o.sound.studio}
				if err := want.render(t.Context(), &scene, &o.cameras[view]); err != nil {
					t.Fatal(err)
				}
				if slices.Equal(have.tones, want.tones) {
					same = append(same, variant)
				}
			}
			switch mask := o.masks[view]; {
			case view == 0 && (mask != nil || len(same) != len(covers)):
				t.Errorf("object %d: C1 sees a cover", serno)
			case view > 0 && (len(same) != 1 || (same[0] != base) != (mask != nil)):
				t.Errorf("object %d: C%d looks like good housings of variants %v of %d, mask %v", serno, view+1, same, base, mask != nil)
			case mask != nil:
				masked++
				odd[view]++
			}
		}
		if masked != 1 {
			t.Errorf("object %d: %d views have masks, want 1", serno, masked)
		}
	}
	if len(odd) < views-1 {
		t.Errorf("odd views: have %v, want each of C2 to C5", odd)
	}
}

// TestHousingVariantsAlternate: among the good housings, each variant is as frequent as the others.
func TestHousingVariantsAlternate(t *testing.T) {
	count := make([]int, len(covers))
	for _, j := range plan(Options{Classes: []string{"housing"}, Train: 12}) {
		count[j.class.make(source(1, j.folder()), j.serno).(*housing).variant]++
	}
	if !slices.Equal(count, []int{4, 4, 4}) {
		t.Errorf("have %v housings of the variants, want 4 of each", count)
	}
}

func classNamed(t *testing.T, name string) *class {
	t.Helper()
	for i := range classes {
		if classes[i].name == name {
			return &classes[i]
		}
	}
	t.Fatalf("no class %s", name)
	return nil
}
