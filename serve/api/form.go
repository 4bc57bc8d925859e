package api

import (
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strings"

	"mvag-torch/dataset"
	"mvag-torch/serve/line"
	"mvag-torch/serve/metrics"
)

// singlePart is the name of the part with the only image of an object.
const singlePart = "image"

// form is a multipart form of an object.
type form struct {
	object, class, model string
	images               []part
}

// part is an image of a form.
type part struct {
	name string // "camera=1", "C1" or the name of a camera, or singlePart
	file string // as the client calls it, for messages
	data []byte
}

// readForm reads the form of an object. It bounds parts and names, and opens nothing.
func (a *API) readForm(w http.ResponseWriter, r *http.Request) (*form, error) {
	kind, parameters := contentType(r)
	if kind != "multipart/form-data" {
		return nil, foreign(r.Header.Get("Content-Type"), "multipart/form-data")
	}
	boundary := parameters["boundary"]
	if boundary == "" || len(boundary) > 70 { // RFC 2046
		return nil, wrong("Content-Type: have the boundary %s, want one of 1 to 70 bytes", quote(boundary))
	}
	f, seen := &form{}, map[string]bool{}
	for parts := multipart.NewReader(r.Body, boundary); ; {
		p, err := parts.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, formError(err)
		}
		name, err := a.name("part", p.FormName())
		switch {
		case err != nil:
			return nil, err
		case name == "":
			return nil, wrong("part: have one without a name, want camera=1 and so on, image, object, class or model")
		case seen[name]:
			return nil, wrong("%s: have two parts of that name, want one", quote(name))
		case len(seen) == a.opt.Parts:
			return nil, &fault{status: http.StatusRequestEntityTooLarge, reason: metrics.Limit,
				message: fmt.Sprintf("parts: have more than %d, want fewer", a.opt.Parts)}
		}
		seen[name] = true
		if err := a.readPart(f, name, p); err != nil {
			return nil, err
		}
	}
	received(w)
	if len(f.images) == 0 {
		return nil, wrong("body: have no image, want a part for each camera, named camera=1 and so on or by its name, or image")
	}
	return f, nil
}

// formError is an error of reading a form: that of the body below it, or of what a client calls a form.
func formError(err error) error {
	var own *fault
	var size *http.MaxBytesError
	if errors.As(err, &own) || errors.As(err, &size) || isNetwork(err) {
		return err
	}
	return wrong("body: %s", strings.TrimPrefix(err.Error(), "multipart: "))
}

// readPart enters a part into the form.
func (a *API) readPart(f *form, name string, p *multipart.Part) error {
	field := map[string]*string{"object": &f.object, "class": &f.class, "model": &f.model}[name]
	if field == nil {
		data, err := io.ReadAll(p)
		if err != nil {
			return formError(err)
		}
		f.images = append(f.images, part{name, fileName(p.FileName()), data})
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(p, int64(a.opt.Name)+1))
	if err != nil {
		return formError(err)
	}
	*field, err = a.name(name, string(data))
	return err
}

// judgeable returns the object of a form, with the views as the model numbers its cameras.
func (f *form) judgeable(m line.Model) (dataset.Object, error) {
	o := dataset.Object{ID: f.object, Class: f.class}
	if len(f.images) == 1 && (f.images[0].name == singlePart || m.Views == 1) {
		p := f.images[0]
		if p.name != singlePart {
			if _, err := camera(m, p.name); err != nil {
				return o, err
			}
		}
		o.Views = []dataset.View{p.view(0, singlePart)}
		return o, nil
	}
	o.Views = make([]dataset.View, m.Views)
	for i := range o.Views {
		o.Views[i].Camera = i
	}
	for _, p := range f.images {
		if p.name == singlePart {
			return o, wrong("part %q: have %d more, want it alone", singlePart, len(f.images)-1)
		}
		i, err := camera(m, p.name)
		if err != nil {
			return o, err
		}
		if o.Views[i].Present() {
			return o, wrong("part %s: have a second image of camera %q, want one", quote(p.name), m.Cameras[i])
		}
		o.Views[i] = p.view(i, m.Cameras[i])
	}
	return o, nil
}

// view is a part as a view. Without a file name, messages name the camera. An empty part is an image that cannot be
// read, not one that is absent.
func (p part) view(camera int, called string) dataset.View {
	if p.file == "" {
		p.file = called
	}
	if p.data == nil {
		p.data = []byte{}
	}
	return dataset.View{Camera: camera, Path: p.file, Data: p.data}
}

// camera returns the index of a camera that a part names: camera=1, 1, C1, or as the model calls it.
func camera(m line.Model, part string) (int, error) {
	name := strings.TrimPrefix(part, "camera=")
	if name == "" {
		return 0, wrong("part %s: have no camera, want one of %q", quote(part), m.Cameras)
	}
	i, err := m.Naming.Index(name)
	if err != nil || i >= m.Views {
		return 0, wrong("part %s: have no such camera, want one of %q, image, object, class or model", quote(part), m.Cameras)
	}
	return i, nil
}

// pick returns the model that judges an object of a class: that of the name, the only one, or the one that knows the
// class.
func (a *API) pick(name, class string) (line.Model, error) {
	models := a.line.Models()
	var names []string
	var known []line.Model
	for _, m := range models {
		if names = append(names, m.Name); m.Name == name {
			return m, nil
		}
		for _, c := range m.ClassNames() {
			if class != "" && c == class {
				known = append(known, m)
			}
		}
	}
	switch {
	case name != "":
		return line.Model{}, missing("model: have %s, want one of %q", quote(name), names)
	case len(models) == 0:
		return line.Model{}, line.ErrClosed
	case len(models) == 1:
		return models[0], nil
	case len(known) != 1:
		return line.Model{}, missing("model: have none, want one of %q: %d of them know the class %s", names, len(known), quote(class))
	}
	return known[0], nil
}
