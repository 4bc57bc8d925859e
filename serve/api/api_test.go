package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"io"
	"log/slog"
	"math/rand/v2"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"mvag-torch/inspect/inspecttest"
	"mvag-torch/internal/tensor"
	"mvag-torch/model/modeltest"
	"mvag-torch/serve/journal"
	"mvag-torch/serve/line"
	"mvag-torch/serve/metrics"
)

func TestMain(m *testing.M) {
	tensor.SetThreads(1) // small tensors
	for _, kind := range []string{"image/png", "text/event-stream"} {
		openapi3filter.RegisterBodyDecoder(kind, openapi3filter.FileBodyDecoder)
	}
	os.Exit(m.Run())
}

// rig is a service for tests.
type rig struct {
	*API
	t   testing.TB
	log *bytes.Buffer
	doc *openapi3.T
	at  routers.Router
}

// quietLog is a log for tests.
func quietLog(to io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(to, nil)) }

// serve makes the service of a line.
func serve(t testing.TB, l Line, m *metrics.Metrics, change func(*Options)) *rig {
	t.Helper()
	s := &rig{t: t, log: &bytes.Buffer{}}
	opt := Defaults()
	opt.Log = quietLog(s.log)
	if change != nil {
		change(&opt)
	}
	var err error
	if s.API, err = New(l, m, opt); err != nil {
		t.Fatal(err)
	}
	document, err := document()
	if err == nil {
		s.doc, err = openapi3.NewLoader().LoadFromData(document)
	}
	if err == nil {
		err = s.doc.Validate(t.Context())
	}
	if err == nil {
		s.doc.Servers = nil
		s.at, err = legacy.NewRouter(s.doc)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// realLine opens a line of the models that small checkpoints make.
func realLine(t testing.TB, m *metrics.Metrics, models ...line.ModelOptions) *line.Line {
	t.Helper()
	folder := t.TempDir()
	j, err := journal.Open(filepath.Join(folder, "journal.db"), journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	if models == nil {
		models = []line.ModelOptions{{Name: "parts", Path: inspecttest.Checkpoint(t)}}
	}
	l, err := line.Open(t.Context(), line.Options{Models: models, Folder: folder, Journal: j, Queue: 8, Wait: time.Millisecond, Pictures: true,
		Log: quietLog(io.Discard), Metrics: m})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// real is a service with a real line.
func real(t testing.TB, change func(*Options)) *rig {
	t.Helper()
	m := metrics.New()
	return serve(t, realLine(t, m), m, change)
}

// do sends a request and holds the answer to the document.
func (s *rig) do(r *http.Request) *httptest.ResponseRecorder {
	s.t.Helper()
	if r.Host == "example.com" { // of httptest
		r.Host = "localhost:8080"
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	s.check(r, w)
	return w
}

// check holds an answer to the document.
func (s *rig) check(r *http.Request, w *httptest.ResponseRecorder) {
	s.t.Helper()
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"} {
		if have := w.Header().Get(name); have != want {
			s.t.Errorf("%s %s: have %s %q, want %q", r.Method, r.URL, name, have, want)
		}
	}
	if w.Code == http.StatusInternalServerError {
		s.t.Errorf("%s %s: have status 500; the log says %s", r.Method, r.URL, s.log)
	}
	// the router of the document knows neither escaped slashes nor HEAD
	if _, pattern := s.mux.Handler(r); pattern == "" || undescribed[pattern] || clean(r.URL.EscapedPath()) != r.URL.EscapedPath() || r.URL.RawPath != "" || r.Method == http.MethodHead {
		return
	}
	route, parameters, err := s.at.FindRoute(r)
	if err == nil {
		asked := &openapi3filter.RequestValidationInput{Request: r, PathParams: parameters, Route: route}
		err = openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
			RequestValidationInput: asked, Status: w.Code, Header: w.Header(), Body: io.NopCloser(bytes.NewReader(w.Body.Bytes())),
			Options: &openapi3filter.Options{IncludeResponseStatus: true},
		})
	}
	if err != nil {
		s.t.Errorf("%s %s: status %d: the answer is not as the document says: %v", r.Method, r.URL, w.Code, err)
	}
}

// get asks for an address.
func (s *rig) get(path string) *httptest.ResponseRecorder {
	s.t.Helper()
	return s.do(httptest.NewRequest(http.MethodGet, path, nil))
}

// field is a part of a form; of a file if it has a name for it.
type field struct{ name, file, data string }

// formOf is the body of a form and its type.
func formOf(fields ...field) (body *bytes.Buffer, kind string) {
	body = &bytes.Buffer{}
	m := multipart.NewWriter(body)
	for _, f := range fields {
		var w io.Writer
		if f.file == "" {
			w, _ = m.CreateFormField(f.name)
		} else {
			w, _ = m.CreateFormFile(f.name, f.file)
		}
		_, _ = io.WriteString(w, f.data)
	}
	_ = m.Close()
	return body, m.FormDataContentType()
}

// posted asks POST /v1/inspect to judge.
func posted(fields ...field) *http.Request {
	body, kind := formOf(fields...)
	r := httptest.NewRequest(http.MethodPost, "/v1/inspect", body)
	r.Header.Set("Content-Type", kind)
	return r
}

// pngs are the images of an object.
func pngs(t testing.TB, seed uint64) (images [inspecttest.Views]string) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	for i := range images {
		images[i] = string(modeltest.Noise(t, rng))
	}
	return images
}

// threeViews is a form with all cameras, named in three ways.
func threeViews(t *testing.T, more ...field) []field {
	p := pngs(t, 7)
	return append([]field{{"camera=1", "a.png", p[0]}, {"2", "b.png", p[1]}, {"C3", "c.png", p[2]}}, more...)
}

// read decodes an answer of a status.
func read[T any](t *testing.T, w *httptest.ResponseRecorder, status int) (v T) {
	t.Helper()
	if w.Code != status {
		t.Fatalf("have status %d %s, want %d", w.Code, w.Body, status)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%s: %v", w.Body, err)
	}
	return v
}

// TestDocument compares the routes with the document, both ways. That the document is valid is checked by serve.
func TestDocument(t *testing.T) {
	s := serve(t, &fake{}, metrics.New(), nil)
	var described, served []string
	for path, item := range s.doc.Paths.Map() {
		for method := range item.Operations() {
			described = append(described, method+" "+path)
		}
	}
	for _, r := range s.routes {
		if !undescribed[r.pattern] {
			served = append(served, r.pattern)
		}
	}
	slices.Sort(described)
	slices.Sort(served)
	if !slices.Equal(described, served) {
		t.Errorf("the document has %q\nthe service has %q", described, served)
	}
	if w := s.get("/openapi.json"); w.Header().Get("Content-Type") != "application/json" || !json.Valid(w.Body.Bytes()) {
		t.Errorf("have %s %.100s", w.Header().Get("Content-Type"), w.Body)
	}
}

// TestInspect judges an object with a real model and finds it again.
func TestInspect(t *testing.T) {
	s := real(t, nil)
	r := posted(threeViews(t, field{name: "object", data: "S17"}, field{name: "class", data: inspecttest.Trained})...)
	w := s.do(r)
	record := read[line.Record](t, w, http.StatusOK)
	if record.Object != "S17" || record.Class != inspecttest.Trained || record.Source != line.FromHTTP || record.Verdict == nil ||
		len(record.Images) != 3 || record.Images[2].Camera != 3 || record.Images[2].Path != "c.png" || record.Images[2].Verdict == nil {
		t.Errorf("have %s", w.Body)
	}
	if id := w.Header().Get("X-Object-Id"); id != record.ID {
		t.Errorf("have id %q in the header, want %q", id, record.ID)
	}
	if again := read[line.Record](t, s.get("/v1/objects/"+record.ID), http.StatusOK); again.ID != record.ID || !again.Time.Equal(record.Time) {
		t.Errorf("have %+v, want %+v", again, record)
	}
	for _, layer := range []string{"seen", "heat", "overlay"} {
		w := s.get(fmt.Sprintf("/v1/objects/%s/images/2/%s.png", record.ID, layer))
		img, kind, err := image.Decode(w.Body)
		if err != nil || kind != "png" || img.Bounds().Dx() < 32 {
			t.Errorf("%s: have status %d, %v", layer, w.Code, err)
		}
	}
	for _, path := range []string{"9/seen.png", "x/seen.png", "1/nothing.png", "1/seen.jpg", "0/seen.png"} {
		if w := s.get("/v1/objects/" + record.ID + "/images/" + path); w.Code != http.StatusNotFound {
			t.Errorf("%s: have status %d, want 404", path, w.Code)
		}
	}
}

// TestAbsentCameras: cameras that are left out are said, and an image that cannot be read is an error of its own, which
// leaves no good object.
func TestAbsentCameras(t *testing.T) {
	s, p := real(t, nil), pngs(t, 3)
	record := read[line.Record](t, s.do(posted(field{"camera=2", "b.png", p[1]}, field{"camera=3", "c.png", "no image"})), http.StatusUnprocessableEntity)
	if record.Decision != line.Failed || record.Verdict == nil || record.Error != `camera "C3": `+record.Images[1].Error || !slices.Equal(record.Absent, []string{"C1"}) || len(record.Images) != 2 || record.Images[1].Verdict != nil ||
		!strings.HasPrefix(record.Images[1].Error, "c.png: ") {
		t.Errorf("have %+v", record)
	}
	record = read[line.Record](t, s.do(posted(field{"camera=2", "b.png", p[1]})), http.StatusOK)
	if record.Decision != "good" || !slices.Equal(record.Absent, []string{"C1", "C3"}) {
		t.Errorf("have %+v", record)
	}
	record = read[line.Record](t, s.do(posted(field{"image", "only.png", p[0]})), http.StatusOK)
	if len(record.Images) != 1 || record.Images[0].Camera != 0 || record.Absent != nil {
		t.Errorf("have %+v", record)
	}
	record = read[line.Record](t, s.do(posted(field{"C1", "x.png", p[0][:100]}, field{"C2", "", ""})), http.StatusUnprocessableEntity)
	if record.Decision != line.Failed || record.Verdict != nil || record.ID == "" {
		t.Errorf("have %+v", record)
	}
}

// TestSheet asks for the sheet of overlays, also of an object that was judged before.
func TestSheet(t *testing.T) {
	s := real(t, nil)
	for again := range 2 {
		r := posted(threeViews(t)...)
		r.Header.Set("Accept", "image/png, */*;q=0.5")
		r.Header.Set("Idempotency-Key", "one")
		w := s.do(r)
		img, _, err := image.Decode(w.Body)
		if err != nil || w.Header().Get("Content-Type") != "image/png" || img.Bounds().Dx() <= 2*img.Bounds().Dy() {
			t.Errorf("have status %d %s, %v, want three images side by side", w.Code, w.Header().Get("Content-Type"), err)
		}
		if have := w.Header().Get("Idempotency-Replayed"); (have == "true") != (again == 1) {
			t.Errorf("have Idempotency-Replayed %q in answer %d", have, again)
		}
	}
}

func TestPrefersPNG(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "*/*": false, "application/json": false, "image/png": true, "image/*": true, "image/png, application/json": false,
		"image/png, */*;q=0.1": true, "application/json;q=0.5, image/png;q=0.6": true, "image/png;q=0": false, "text/html, ;;; image/png": false,
		"image/avif,image/webp,image/png,*/*;q=0.8": true,
	} {
		if have := prefersPNG([]string{accept}); have != want {
			t.Errorf("%q: have %t, want %t", accept, have, want)
		}
	}
}

// TestKeys: the same key gives the same record, and none to other content.
func TestKeys(t *testing.T) {
	s := real(t, nil)
	var ids []string
	for _, key := range []string{"a", "a", "b", "folder:a"} {
		r := posted(threeViews(t)...)
		r.Header.Set("Idempotency-Key", key)
		ids = append(ids, read[line.Record](t, s.do(r), http.StatusOK).ID)
	}
	if ids[0] != ids[1] || ids[0] == ids[2] || ids[3] == ids[0] {
		t.Errorf("have ids %q", ids)
	}
	r := posted(threeViews(t, field{"object", "", "S18"})...)
	r.Header.Set("Idempotency-Key", "a")
	if w := s.do(r); w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), `{"error":"Idempotency-Key: have other images`) {
		t.Errorf("other content: have %d %s", w.Code, w.Body)
	}
}

// TestCandidateIsARecord holds the description of a candidate for review to that of a record, all of which it has.
func TestCandidateIsARecord(t *testing.T) {
	data, err := document()
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Components struct {
			Schemas map[string]struct{ Properties map[string]any }
		}
	}
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	record, candidate := d.Components.Schemas["Record"].Properties, d.Components.Schemas["Candidate"].Properties
	for name, want := range record {
		if !reflect.DeepEqual(candidate[name], want) {
			t.Errorf("%s: have %v, want %v", name, candidate[name], want)
		}
	}
	if len(record) < 10 {
		t.Errorf("have %d properties of a record", len(record))
	}
}
