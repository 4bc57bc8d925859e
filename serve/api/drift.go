package api

import (
	"net/http"

	"mvag-torch/serve/drift"
	"mvag-torch/serve/line"
)

// driftTest says what the windows of GET /v1/drift are.
type driftTest struct {
	Name       string  `json:"name"`
	Window     int     `json:"window"`
	FalseAlarm float64 `json:"false_alarm"`
	Statement  string  `json:"statement"`
}

// drift answers GET /v1/drift: how recent scores stand to those of the calibration.
func (a *API) drift(w http.ResponseWriter, r *http.Request) error {
	q, err := a.query(r, "model", "class")
	if err != nil {
		return err
	}
	var class *string
	if q.Has("class") {
		name := q.Get("class")
		class = &name
	}
	list, err := a.line.DriftOf(q.Get("model"), class)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, struct {
		Test    driftTest         `json:"test"`
		Classes []line.DriftClass `json:"classes"`
	}{driftTest{drift.Name, drift.Window, drift.FalseAlarm, drift.Statement}, list})
}
