package api

import (
	"context"
	"net/http"

	"mvag-torch/dataset"
	"mvag-torch/serve/line"
)

// Changes is what the handlers that teach, review and watch a model need of a [line.Line].
type Changes interface {
	Teach(model, class string, replace bool) (line.Session, error)
	Taught(id string) (line.Session, error)
	AllTaught() []line.Session
	TeachObject(id string, o dataset.Object) (line.TaughtPart, error)
	ForgetObject(id, object string) error
	Build(id string) error
	Try(ctx context.Context, id string, o dataset.Object) (*line.Judged, error)
	GoLive(ctx context.Context, id string) (line.Session, error)
	Discard(id string) error

	Candidates(model string) ([]line.Candidate, error)
	Review(ctx context.Context, id, verdict, note string) (*line.Reviewed, error)
	History(model string) ([]line.Addition, error)
	Undo(ctx context.Context, model string) (*line.Addition, error)

	DriftOf(model string, class *string) ([]line.DriftClass, error)
}

// changes are the routes of Changes.
func (a *API) changes() []route {
	return []route{
		{pattern: "GET /v1/teach", handle: a.sessions},
		{pattern: "POST /v1/teach", handle: a.teach},
		{pattern: "GET /v1/teach/{id}", handle: a.taught},
		{pattern: "DELETE /v1/teach/{id}", handle: a.discard},
		{pattern: "POST /v1/teach/{id}/objects", handle: a.teachObject},
		{pattern: "DELETE /v1/teach/{id}/objects/{object}", handle: a.forgetObject},
		{pattern: "POST /v1/teach/{id}/build", handle: a.build},
		{pattern: "POST /v1/teach/{id}/try", handle: a.try, long: true},
		{pattern: "POST /v1/teach/{id}/live", handle: a.goLive, long: true},
		{pattern: "GET /v1/review", handle: a.candidates},
		{pattern: "POST /v1/objects/{id}/review", handle: a.review, long: true},
		{pattern: "GET /v1/calibration", handle: a.history},
		{pattern: "POST /v1/calibration/undo", handle: a.undo, long: true},
		{pattern: "GET /v1/drift", handle: a.drift},
	}
}

// sessions answers GET /v1/teach.
func (a *API) sessions(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, map[string]any{"sessions": a.line.AllTaught()})
}

// teach answers POST /v1/teach: it begins a session.
func (a *API) teach(w http.ResponseWriter, r *http.Request) error {
	var asked struct {
		Model   string `json:"model"`
		Class   string `json:"class"`
		Replace bool   `json:"replace"`
	}
	if err := a.readJSON(r, &asked); err != nil {
		return err
	}
	class, err := a.name("class", asked.Class)
	if err != nil {
		return err
	}
	if class == "" {
		return wrong("class: have none, want a name")
	}
	s, err := a.line.Teach(asked.Model, class, asked.Replace)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, s)
}

// taught answers GET /v1/teach/{id}.
func (a *API) taught(w http.ResponseWriter, r *http.Request) error {
	s, err := a.line.Taught(r.PathValue("id"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s)
}

// discard answers DELETE /v1/teach/{id}.
func (a *API) discard(w http.ResponseWriter, r *http.Request) error {
	if err := a.line.Discard(r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// sessionObject reads the object of a form for a session.
func (a *API) sessionObject(w http.ResponseWriter, r *http.Request) (o dataset.Object, err error) {
	s, err := a.line.Taught(r.PathValue("id"))
	if err != nil {
		return o, err
	}
	f, err := a.readForm(w, r)
	if err != nil {
		return o, err
	}
	if f.model != "" && f.model != s.Model {
		return o, wrong("model: have %s, want none or that of the session, %q", quote(f.model), s.Model)
	}
	m, ok := a.line.Model(s.Model)
	if !ok {
		return o, line.ErrClosed
	}
	return f.judgeable(m)
}

// teachObject answers POST /v1/teach/{id}/objects: the object of a form is accepted or refused.
func (a *API) teachObject(w http.ResponseWriter, r *http.Request) error {
	o, err := a.sessionObject(w, r)
	if err != nil {
		return err
	}
	s, err := a.line.Taught(r.PathValue("id"))
	if err != nil {
		return err
	}
	if o.Class != "" && o.Class != s.Class {
		return wrong("class: have %s, want none or that of the session, %q", quote(o.Class), s.Class)
	}
	part, err := a.line.TeachObject(s.ID, o)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, part)
}

// forgetObject answers DELETE /v1/teach/{id}/objects/{object}.
func (a *API) forgetObject(w http.ResponseWriter, r *http.Request) error {
	if err := a.line.ForgetObject(r.PathValue("id"), r.PathValue("object")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// build answers POST /v1/teach/{id}/build, before anything is built.
func (a *API) build(w http.ResponseWriter, r *http.Request) error {
	if err := a.line.Build(r.PathValue("id")); err != nil {
		return err
	}
	s, err := a.line.Taught(r.PathValue("id"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusAccepted, s)
}

// try answers POST /v1/teach/{id}/try: the object of a form is judged by what was built, and nothing is stored.
func (a *API) try(w http.ResponseWriter, r *http.Request) error {
	o, err := a.sessionObject(w, r)
	if err != nil {
		return err
	}
	j, err := a.line.Try(r.Context(), r.PathValue("id"), o)
	if err != nil {
		return err
	}
	if j.Decision == line.Failed {
		return writeJSON(w, http.StatusUnprocessableEntity, j.Record)
	}
	return writeJSON(w, http.StatusOK, j.Record)
}

// goLive answers POST /v1/teach/{id}/live.
func (a *API) goLive(w http.ResponseWriter, r *http.Request) error {
	received(w)
	s, err := a.line.GoLive(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s)
}
