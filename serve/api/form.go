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

// form is a multipart form of an object.
type form struct {
	object, class, model string
	images               []line.Part
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
			return nil, wrong("part: have one without a name, want C1 and so on, image, object, class or model")
		case name == "camera": // curl -F camera=1=@FILE
			return nil, wrong("part \"camera\": have no camera in the name, want camera=1, 1 or C1; with curl -F C1=@FILE")
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
		return nil, wrong("body: have no image, want a part for each camera, named C1 and so on or by its name, or image")
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
		f.images = append(f.images, line.Part{Camera: name, File: fileName(p.FileName()), Data: data})
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
	return m.Object(f.object, f.class, f.images)
}
