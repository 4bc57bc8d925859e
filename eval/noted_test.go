package eval

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"mvag-torch/dataset"
)

// TestOddMasksAreCounted: a lossy mask, a mask that marks everything and one of a good image are counted, also of a class
// that an interrupted evaluation had finished; the mask of the good image moves no value.
func TestOddMasksAreCounted(t *testing.T) {
	cfg := smallConfig()
	set := smallSet(t, cfg, "gear", "nut")
	folder := t.TempDir()
	path := func(name string) string { return filepath.Join(folder, name) }
	f, err := os.Create(path("lossy.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img := image.NewGray(image.Rect(0, 0, 40, 40))
	for i := range 8 {
		for j := range 8 {
			img.Pix[(12+i)*40+12+j] = 255
		}
	}
	if err := jpeg.Encode(f, img, nil); err != nil {
		t.Fatal(err)
	}
	_, want, err := evaluate(t, cfg, set, "a", "", "")
	if err != nil || len(want.Noted) > 0 {
		t.Fatalf("have noted %v, error %v", want.Noted, err)
	}
	drawImage(t, path("full.png"), 255-54, -1) // 201 to 255
	set.Test[0].Views[0].Mask = path("full.png")
	set.Test[1].Views[0].Mask = path("lossy.jpg") // as the exact one
	partial := path("partial.jsonl")
	if _, _, err := evaluate(t, cfg, set, "a", partial, "nut"); !errors.Is(err, context.Canceled) {
		t.Fatalf("have %v, want an interrupted evaluation", err)
	}
	plan, have, err := evaluate(t, cfg, set, "a", partial, "")
	if err != nil || len(plan.Restored) != 1 {
		t.Fatalf("have restored %q, error %v", plan.Restored, err)
	}
	noted := map[dataset.Finding]dataset.Noted{
		dataset.LossyMask: {Files: 1, First: path("lossy.jpg")}, dataset.FullMask: {Files: 1, First: path("full.png")},
		dataset.MaskOnGood: {Files: 1, First: path("full.png")},
	}
	if !maps.Equal(have.Noted, noted) || !maps.Equal(have.Results.Protocol.(Protocol).Noted, noted) {
		t.Errorf("have %v, want %v", have.Noted, noted)
	}
	for i, c := range have.Results.Classes {
		if fmt.Sprint(c.Values) != fmt.Sprint(want.Results.Classes[i].Values) {
			t.Errorf("%s: have %v, want %v", c.Name, c.Values, want.Results.Classes[i].Values)
		}
	}
}
