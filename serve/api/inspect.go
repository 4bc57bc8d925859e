package api

import (
	"bytes"
	"errors"
	"image/png"
	"io/fs"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"mvag-torch/serve/line"
	"mvag-torch/serve/metrics"
)

// inspect answers POST /v1/inspect: it judges the object of a form. The answer is its record, or the sheet of its
// overlays where the client prefers image/png.
func (a *API) inspect(w http.ResponseWriter, r *http.Request) error {
	key, err := a.key(r)
	if err != nil {
		return err
	}
	f, err := a.readForm(w, r)
	if err != nil {
		return err
	}
	model, err := a.line.Pick(f.model, f.class)
	if err != nil {
		return err
	}
	object, err := f.judgeable(model)
	if err != nil {
		return err
	}
	j, err := a.line.Judge(r.Context(), line.Request{Model: model.Name, Source: source(r), Key: key, Object: object})
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("X-Object-Id", j.ID)
	h.Set("Vary", "Accept")
	if j.Again {
		h.Set("Idempotency-Replayed", "true")
	}
	switch {
	case j.Decision == line.Failed:
		return writeJSON(w, http.StatusUnprocessableEntity, j.Record)
	case prefersPNG(r.Header.Values("Accept")):
		return a.sheet(w, j)
	}
	return writeJSON(w, http.StatusOK, j.Record)
}

// source says whether the page sent a request: browsers do not let a page of another site say "same-origin".
func source(r *http.Request) string {
	if r.Header.Get("Sec-Fetch-Site") == "same-origin" {
		return line.FromPage
	}
	return line.FromHTTP
}

// prefersPNG says whether image/png is wanted rather than JSON.
func prefersPNG(accept []string) bool {
	weights := map[string]float64{}
	for entry := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		kind, parameters, err := mime.ParseMediaType(entry)
		if err != nil {
			continue
		}
		weight := 1.0
		if q, err := strconv.ParseFloat(parameters["q"], 64); err == nil {
			weight = q
		}
		weights[kind] = max(weights[kind], weight)
	}
	of := func(kinds ...string) float64 {
		for _, k := range kinds {
			if weight, ok := weights[k]; ok {
				return weight
			}
		}
		return 0
	}
	return of("image/png", "image/*", "*/*") > of("application/json", "application/*", "*/*")
}

// sheet answers with the overlays of all views side by side.
func (a *API) sheet(w http.ResponseWriter, j *line.Judged) error {
	var pictures []line.Picture
	var err error
	if j.Result != nil {
		pictures = line.Pictures(j.Result)
	} else if pictures, err = a.line.Kept(j.Record); err != nil {
		return keptError(err)
	}
	drawn, err := line.Sheet(pictures)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := png.Encode(&b, drawn); err != nil {
		return err
	}
	return write(w, http.StatusOK, "image/png", b.Bytes())
}

// keptError says why pictures cannot be shown.
func keptError(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &fault{status: http.StatusNotFound, reason: metrics.Unknown, message: "images: those of this object are not kept"}
	}
	return err
}
