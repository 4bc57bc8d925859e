package line

import (
	"errors"
	"fmt"
	"testing"

	"mvag-torch/dataset"
)

// TestParts puts images together to objects.
func TestParts(t *testing.T) {
	numbered := Model{Views: 3, Cameras: []string{"C1", "C2", "C3"}}
	named := Model{Views: 2, Cameras: []string{"top", "left"}, Naming: dataset.Naming{Cameras: []string{"top", "left"}}}
	for name, test := range map[string]struct {
		model Model
		parts []string
		want  string // views that are present, or the error
	}{
		"numbers":        {numbered, []string{"3", "C1", "camera=2"}, "[0 1 2] of 3"},
		"some":           {numbered, []string{"2"}, "[1] of 3"},
		"names":          {named, []string{"left"}, "[1] of 2"},
		"single":         {numbered, []string{"image"}, "[0] of 1"},
		"number of name": {named, []string{"2", "top"}, "[0 1] of 2"},
		"none":           {numbered, nil, `have no image, want a part for each camera, of ["C1" "C2" "C3"], or "image"`},
		"twice":          {numbered, []string{"1", "C1"}, `part "C1": have a second image of camera "C1", want one`},
		"beyond":         {numbered, []string{"4"}, `part "4": have no such camera, want one of ["C1" "C2" "C3"], or "image" alone`},
		"zero":           {numbered, []string{"0"}, `part "0": have no such camera, want one of ["C1" "C2" "C3"], or "image" alone`},
		"empty":          {numbered, []string{""}, `part "": have no such camera, want one of ["C1" "C2" "C3"], or "image" alone`},
		"a path":         {numbered, []string{"../../1"}, `part "../../1": have no such camera, want one of ["C1" "C2" "C3"], or "image" alone`},
		"single of many": {numbered, []string{"image", "1"}, `part "image": have 1 more, want it alone`},
	} {
		var parts []Part
		for _, camera := range test.parts {
			parts = append(parts, Part{Camera: camera})
		}
		o, err := test.model.Object("id", "class", parts)
		var wrong *PartError
		if err != nil {
			if err.Error() != test.want || !errors.As(err, &wrong) {
				t.Errorf("%s: have %v, want %s", name, err, test.want)
			}
			continue
		}
		var present []int
		for i, v := range o.Views {
			if v.Present() {
				present = append(present, i)
			}
			if v.Camera != i {
				t.Errorf("%s: view %d has camera %d", name, i, v.Camera)
			}
		}
		if have := fmt.Sprintf("%v of %d", present, len(o.Views)); have != test.want {
			t.Errorf("%s: have %s, want %s", name, have, test.want)
		}
	}
}
