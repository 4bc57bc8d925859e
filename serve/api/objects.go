package api

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"image/png"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"mvag-torch/inspect"
	"mvag-torch/serve/journal"
	"mvag-torch/serve/line"
)

const (
	fewObjects  = 50  // of a list, where the client does not say
	mostObjects = 500 // of a list
	mostScanned = 20_000
)

// listed is a record in a list, with what a person said of it.
type listed struct {
	line.Record
	Review json.RawMessage `json:"review,omitempty"`
}

// recordOf reads the record of an entry, without what a person said of it.
func recordOf(e journal.Entry) (listed, error) {
	var s line.Stored
	if err := json.Unmarshal(e.Data, &s); err != nil {
		return listed{}, fmt.Errorf("journal: entry %s: %w", e.ID, err)
	}
	return listed{Record: s.Record}, nil
}

// reviewed adds what a person said of a record.
func (a *API) reviewed(o listed) (listed, error) {
	review, ok, err := a.line.Journal().GetValue(line.ReviewNote, o.ID)
	if err == nil && ok {
		o.Review = review
	}
	return o, err
}

// query reads the parameters of an address: only those named, each at most once.
func (a *API) query(r *http.Request, names ...string) (url.Values, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, wrong("query: %s", err)
	}
	for name, given := range values {
		if !slices.Contains(names, name) {
			return nil, wrong("query: have %s, want %s", quote(name), strings.Join(names, ", "))
		}
		if len(given) > 1 {
			return nil, wrong("query: have %s %d times, want it once", name, len(given))
		}
		if values[name][0], err = a.name(name, given[0]); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// integer is a whole number of a query, or what it is where the query has none.
func integer(values url.Values, name string, otherwise, least, most int) (int, error) {
	if !values.Has(name) {
		return otherwise, nil
	}
	n, err := strconv.Atoi(values.Get(name))
	if err != nil || n < least || n > most {
		return 0, wrong("%s: have %s, want %d to %d", name, quote(values.Get(name)), least, most)
	}
	return n, nil
}

// objects answers GET /v1/objects: the records of the journal, the newest first.
func (a *API) objects(w http.ResponseWriter, r *http.Request) error {
	q, err := a.query(r, "before", "limit", "class", "decision", "model")
	if err != nil {
		return err
	}
	limit, err := integer(q, "limit", fewObjects, 1, mostObjects)
	if err != nil {
		return err
	}
	if d := q.Get("decision"); q.Has("decision") && d != inspect.Good && d != inspect.Defective && d != line.Failed {
		return wrong("decision: have %s, want good, defective or failed", quote(d))
	}
	var before uint64
	if id := q.Get("before"); q.Has("before") {
		e, err := a.entry(id)
		if err != nil {
			return err
		}
		before = e.Seq
	}
	fits := func(o listed) bool {
		return (!q.Has("class") || o.Class == q.Get("class")) && (!q.Has("decision") || o.Decision == q.Get("decision")) &&
			(!q.Has("model") || o.Model.Name == q.Get("model"))
	}
	out := struct {
		Objects []listed `json:"objects"`
		Next    string   `json:"next,omitempty"`
	}{Objects: []listed{}}
	scanned, last, more := 0, "", false
	var failed error
	err = a.line.Journal().Newest(before, func(e journal.Entry) bool {
		if more = len(out.Objects) == limit || scanned == a.scan; more || r.Context().Err() != nil {
			return false
		}
		o, err := recordOf(e)
		if scanned, last = scanned+1, e.ID; err == nil && fits(o) {
			if o, err = a.reviewed(o); err == nil {
				out.Objects = append(out.Objects, o)
			}
		}
		failed = err
		return err == nil
	})
	if err != nil || failed != nil {
		return &line.StoreError{Err: cmp.Or(err, failed)}
	}
	if more {
		out.Next = last
	}
	return writeJSON(w, http.StatusOK, out)
}

// entry finds an entry of the journal by an id that a client gives.
func (a *API) entry(id string) (journal.Entry, error) {
	e, ok, err := a.line.Journal().Get(id)
	if err != nil {
		return e, &line.StoreError{Err: err}
	}
	if !ok {
		return e, missing("object: have %s, want the id of one that is kept", quote(id))
	}
	return e, nil
}

// asked reads the object that the path of a request names.
func (a *API) asked(r *http.Request) (listed, error) {
	e, err := a.entry(r.PathValue("id"))
	if err != nil {
		return listed{}, err
	}
	o, err := recordOf(e)
	if err != nil {
		return o, err
	}
	return a.reviewed(o)
}

// object answers GET /v1/objects/{id}.
func (a *API) object(w http.ResponseWriter, r *http.Request) error {
	o, err := a.asked(r)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, o)
}

// picture answers GET /v1/objects/{id}/images/{camera}/{layer}: a layer of the drawing of an image, as PNG. The camera
// counts from 1; 0 is the image of an object that has only one.
func (a *API) picture(w http.ResponseWriter, r *http.Request) error {
	o, err := a.asked(r)
	if err != nil {
		return err
	}
	layer, isPNG := strings.CutSuffix(r.PathValue("layer"), ".png")
	if !isPNG || layer != line.Seen && layer != line.Heat && layer != line.Overlay {
		return missing("layer: have %s, want seen.png, heat.png or overlay.png", quote(r.PathValue("layer")))
	}
	number, err := strconv.Atoi(r.PathValue("camera"))
	if err != nil {
		return missing("camera: have %s, want a number", quote(r.PathValue("camera")))
	}
	pictures, err := a.line.Kept(o.Record)
	if err != nil {
		return keptError(err)
	}
	i := slices.IndexFunc(pictures, func(p line.Picture) bool { return p.Camera == number })
	if i < 0 {
		return missing("camera: have %d, of which this object has no image that was judged", number)
	}
	drawn, err := pictures[i].Draw(layer)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&b, drawn); err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "private, max-age=86400, immutable") // an id is never given twice
	return write(w, http.StatusOK, "image/png", b.Bytes())
}
