package api

import (
	"net/http"

	"mvag-torch/inspect"
	"mvag-torch/serve/line"
)

// candidates answers GET /v1/review: the objects that a person should look at.
func (a *API) candidates(w http.ResponseWriter, r *http.Request) error {
	q, err := a.query(r, "model")
	if err != nil {
		return err
	}
	list, err := a.line.Candidates(q.Get("model"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{"objects": list})
}

// review answers POST /v1/objects/{id}/review: what a person says of an object.
func (a *API) review(w http.ResponseWriter, r *http.Request) error {
	var asked struct {
		Verdict string `json:"verdict"`
		Note    string `json:"note"`
	}
	if err := a.readJSON(r, &asked); err != nil {
		return err
	}
	if asked.Verdict != inspect.Good && asked.Verdict != inspect.Defective {
		return wrong("verdict: have %s, want good or defective", quote(asked.Verdict))
	}
	if len(asked.Note) > line.NoteBytes {
		return wrong("note: have %d bytes, want at most %d", len(asked.Note), line.NoteBytes)
	}
	received(w)
	done, err := a.line.Review(r.Context(), r.PathValue("id"), asked.Verdict, asked.Note)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, done)
}

// history answers GET /v1/calibration: what was added to the calibration of a model.
func (a *API) history(w http.ResponseWriter, r *http.Request) error {
	q, err := a.query(r, "model")
	if err != nil {
		return err
	}
	list, err := a.line.History(q.Get("model"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{"history": list})
}

// undo answers POST /v1/calibration/undo: the last addition is taken back.
func (a *API) undo(w http.ResponseWriter, r *http.Request) error {
	var asked struct {
		Model string `json:"model"`
	}
	if err := a.readJSON(r, &asked); err != nil {
		return err
	}
	received(w)
	undone, err := a.line.Undo(r.Context(), asked.Model)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, undone)
}
