package api

import (
	"net/http"

	"mvag-torch/serve/line"
)

// models answers GET /v1/models.
func (a *API) models(w http.ResponseWriter, _ *http.Request) error {
	out := struct {
		Models []line.Model `json:"models"`
	}{[]line.Model{}}
	for _, m := range a.line.Models() {
		if m.Classes == nil {
			m.Classes = []line.Class{}
		}
		out.Models = append(out.Models, m)
	}
	return writeJSON(w, http.StatusOK, out)
}

// model returns the model that the path of a request names.
func (a *API) model(r *http.Request) (line.Model, error) {
	name := r.PathValue("model")
	if m, ok := a.line.Model(name); ok {
		return m, nil
	}
	return line.Model{}, missing("model: have %s, want one of /v1/models", quote(name))
}

// reload answers POST /v1/models/{model}/reload: the file of the model is read again. Requests go on meanwhile, and the
// running model stays where that fails.
func (a *API) reload(w http.ResponseWriter, r *http.Request) error {
	m, err := a.model(r)
	if err != nil {
		return err
	}
	received(w)
	if err := a.line.Reload(r.Context(), m.Name); err != nil {
		if f := a.faultOf(err); f != internal {
			return f
		}
		return &fault{status: http.StatusConflict, message: err.Error()} // the line has counted it
	}
	if m, err = a.model(r); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, m)
}

// alive answers GET /v2/health/live.
func (a *API) alive(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, map[string]bool{"live": true})
}

// ready answers GET /v2/health/ready. A line has models once each has judged a first object, and none when it closes. While
// results cannot be stored, each request finds out anew: whoever sends objects only to what is ready sends none meanwhile.
func (a *API) ready(w http.ResponseWriter, _ *http.Request) error {
	if len(a.line.Models()) == 0 || a.draining.Err() != nil {
		return writeJSON(w, http.StatusServiceUnavailable, map[string]any{"ready": false, "error": "the service stops or has no model"})
	}
	if err := a.line.Ready(); err != nil {
		return writeJSON(w, http.StatusServiceUnavailable, map[string]any{"ready": false, "error": oneLine(err.Error())})
	}
	return writeJSON(w, http.StatusOK, map[string]bool{"ready": true})
}
