package line

import (
	"fmt"
	"slices"
	"strings"

	"mvag-torch/dataset"
)

// SinglePart is the name of the part of an object that is one image of no camera.
const SinglePart = "image"

// Part is an encoded image of an object that a request brings.
type Part struct {
	Camera string // its name or number, also as camera=1 or C1; SinglePart for one of no camera
	File   string // what messages call it; never opened
	Data   []byte
}

// PartError says which part does not fit the model.
type PartError struct{ Message string }

func (e *PartError) Error() string { return e.Message }

// Object puts parts together to an object with a view for each camera of the model, or with a single view. An empty part
// is an image that cannot be read, not one that is absent. The error is a *PartError.
func (m Model) Object(id, class string, parts []Part) (dataset.Object, error) {
	o := dataset.Object{ID: id, Class: dataset.Canonical(class)}
	fail := func(format string, args ...any) (dataset.Object, error) {
		return dataset.Object{}, &PartError{fmt.Sprintf(format, args...)}
	}
	if len(parts) == 0 {
		return fail("have no image, want a part for each camera, of %q, or %q", m.Cameras, SinglePart)
	}
	single := slices.IndexFunc(parts, func(p Part) bool { return p.Camera == SinglePart })
	if single >= 0 && len(parts) > 1 {
		return fail("part %q: have %d more, want it alone", SinglePart, len(parts)-1)
	}
	if o.Views = make([]dataset.View, m.Views); single >= 0 {
		o.Views = o.Views[:1]
	}
	for i := range o.Views {
		o.Views[i].Camera = i
	}
	for _, p := range parts {
		i, name := 0, SinglePart
		if single < 0 {
			var err error
			if i, err = m.camera(p.Camera); err != nil {
				return dataset.Object{}, err
			}
			name = m.Cameras[i]
		}
		v := &o.Views[i]
		if v.Present() {
			return fail("part %.100q: have a second image of camera %q, want one", p.Camera, name)
		}
		v.Path, v.Data = p.File, p.Data
		if v.Path == "" {
			v.Path = name
		}
		if v.Data == nil {
			v.Data = []byte{}
		}
	}
	return o, nil
}

// camera returns the index of a camera by its name or number.
func (m Model) camera(part string) (int, error) {
	name := strings.TrimPrefix(part, "camera=")
	i, err := m.Naming.Index(name)
	if name == "" || err != nil || i < 0 || i >= m.Views {
		return 0, &PartError{fmt.Sprintf("part %.100q: have no such camera, want one of %q, or %q alone", part, m.Cameras, SinglePart)}
	}
	return i, nil
}
