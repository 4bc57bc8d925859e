package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"mvag-torch/inspect/inspecttest"
	"mvag-torch/serve/line"
	"mvag-torch/serve/metrics"
)

// post sends JSON.
func (s *rig) post(path string, value any) *httptest.ResponseRecorder {
	s.t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		s.t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(text))
	r.Header.Set("Content-Type", "application/json")
	return s.do(r)
}

// form sends a form.
func (s *rig) form(path string, fields ...field) *httptest.ResponseRecorder {
	s.t.Helper()
	body, kind := formOf(fields...)
	r := httptest.NewRequest(http.MethodPost, path, body)
	r.Header.Set("Content-Type", kind)
	return s.do(r)
}

// formOfPart is the form of part i of a class.
func formOfPart(t *testing.T, i int, more ...field) []field {
	p := pngs(t, uint64(1000+i))
	return append([]field{{"camera=1", "a.png", p[0]}, {"camera=2", "b.png", p[1]}, {"C3", "c.png", p[2]}, {name: "object", data: fmt.Sprint("B", i)}}, more...)
}

// TestTeach teaches a class over HTTP until it is live, and judges with it. Every answer is held to the document.
func TestTeach(t *testing.T) {
	m := metrics.New()
	l := realLine(t, m, line.ModelOptions{Name: "parts", Path: inspecttest.Checkpoint(t), Set: []string{"memory.codes=20", "memory.dims=4"}})
	s := serve(t, l, m, nil)
	session := read[line.Session](t, s.post("/v1/teach", map[string]any{"model": "parts", "class": "bolt"}), http.StatusCreated)
	at := "/v1/teach/" + session.ID
	for i := range 10 {
		if p := read[line.TaughtPart](t, s.form(at+"/objects", formOfPart(t, i)...), http.StatusOK); !p.Accepted || p.Object != fmt.Sprint("B", i) {
			t.Fatalf("have %+v", p)
		}
	}
	if p := read[line.TaughtPart](t, s.form(at+"/objects", field{"camera=1", "x.png", "no image"}), http.StatusOK); p.Accepted || !strings.Contains(p.Reason, "x.png") {
		t.Errorf("have %+v", p)
	}
	for path, want := range map[string]int{"/objects": http.StatusBadRequest, "/try": http.StatusConflict} {
		if w := s.form(at+path, formOfPart(t, 3, field{name: "class", data: "gear"})...); w.Code != want {
			t.Errorf("%s: have status %d %s, want %d", path, w.Code, w.Body, want)
		}
	}
	for range 2 { // the second time it is gone
		r := httptest.NewRequest(http.MethodDelete, at+"/objects/part%2011", nil)
		if w := s.do(r); w.Code != http.StatusNoContent && w.Code != http.StatusNotFound {
			t.Errorf("have status %d", w.Code)
		}
	}
	if now := read[line.Session](t, s.get(at), http.StatusOK); len(now.Objects) != 10 {
		t.Errorf("have %d objects", len(now.Objects))
	}
	if w := s.post(at+"/live", nil); w.Code != http.StatusConflict {
		t.Errorf("live too early: have status %d", w.Code)
	}
	read[line.Session](t, s.post(at+"/build", nil), http.StatusAccepted)
	for deadline := time.Now().Add(time.Minute); read[line.Session](t, s.get(at), http.StatusOK).State == line.Building; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it is not built within a minute")
		}
	}
	tried := read[line.Record](t, s.form(at+"/try", formOfPart(t, 2)...), http.StatusOK)
	if tried.Class != "bolt" || tried.ID != "" || tried.Verdict == nil {
		t.Errorf("have %+v", tried)
	}
	if w := s.form(at+"/try", field{"camera=1", "x.png", "no image"}); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("have status %d", w.Code)
	}
	if now := read[line.Session](t, s.post(at+"/live", nil), http.StatusOK); now.State != line.Live {
		t.Errorf("have %+v", now)
	}
	r := posted(formOfPart(t, 2, field{name: "class", data: "bolt"})...)
	if live := read[line.Record](t, s.do(r), http.StatusOK); live.Verdict.Score != tried.Verdict.Score {
		t.Errorf("have %v, want as tried %v", live.Verdict, tried.Verdict)
	}
	if w := s.do(httptest.NewRequest(http.MethodDelete, at, nil)); w.Code != http.StatusNoContent {
		t.Errorf("have status %d", w.Code)
	}
	all := read[struct{ Sessions []line.Session }](t, s.get("/v1/teach"), http.StatusOK)
	if len(all.Sessions) != 0 {
		t.Errorf("have %+v", all)
	}
	if w := s.post("/v1/teach", map[string]any{"class": "bolt"}); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), `,"code":"class_known"}`) {
		t.Errorf("a class that is there: have status %d", w.Code)
	}
}

// TestReview reviews an object over HTTP and undoes that; drift has its point.
func TestReview(t *testing.T) {
	s := real(t, nil)
	record := read[line.Record](t, s.do(posted(threeViews(t, field{name: "object", data: "S17"}, field{name: "class", data: inspecttest.Trained})...)), http.StatusOK)
	read[struct{ Objects []line.Candidate }](t, s.get("/v1/review?model=parts"), http.StatusOK)
	at := "/v1/objects/" + record.ID + "/review"
	for _, bad := range []map[string]any{{"verdict": "fine"}, {"verdict": "good", "note": strings.Repeat("x", 1001)}, {"good": true}} {
		if w := s.post(at, bad); w.Code != http.StatusBadRequest {
			t.Errorf("%v: have status %d", bad, w.Code)
		}
	}
	done := read[line.Reviewed](t, s.post(at, map[string]any{"verdict": "good", "note": "Öl"}), http.StatusOK)
	if c := done.Calibration; c == nil || c.After.Objects != c.Before.Objects+1 || c.Class != inspecttest.Trained {
		t.Errorf("have %+v", done)
	}
	if w := s.post("/v1/objects/"+strings.Repeat("0", 8)+"-7/review", map[string]any{"verdict": "good"}); w.Code != http.StatusNotFound {
		t.Errorf("another object: have status %d", w.Code)
	}
	type history struct{ History []line.Addition }
	if h := read[history](t, s.get("/v1/calibration?model=parts"), http.StatusOK).History; len(h) != 1 || h[0].ID != record.ID || h[0].Note != "Öl" || h[0].Object != "S17" {
		t.Errorf("have %+v", h)
	}
	if w := s.get("/v1/objects/" + record.ID); !strings.Contains(w.Body.String(), `"review":{"verdict":"good","note":"Öl"`) {
		t.Errorf("have %s, want the review", w.Body)
	}
	d := read[struct {
		Test    driftTest
		Classes []line.DriftClass
	}](t, s.get("/v1/drift?model=parts&class="+inspecttest.Trained), http.StatusOK)
	if len(d.Classes) != 1 || len(d.Classes[0].Points) != 1 || d.Classes[0].Points[0].ID != record.ID || len(d.Classes[0].Calibration) != 12 || d.Test.Window != 50 {
		t.Errorf("have %+v", d)
	}
	if undone := read[line.Addition](t, s.post("/v1/calibration/undo", map[string]any{"model": "parts"}), http.StatusOK); !undone.Undone || undone.ID != record.ID {
		t.Errorf("have %+v", undone)
	}
	if h := read[history](t, s.get("/v1/calibration"), http.StatusOK).History; len(h) != 1 || !h[0].Undone {
		t.Errorf("have %+v", h)
	}
	if w := s.post("/v1/calibration/undo", map[string]any{}); w.Code != http.StatusConflict {
		t.Errorf("nothing to undo: have status %d", w.Code)
	}
	for _, path := range []string{"/v1/review?model=x", "/v1/calibration?model=x", "/v1/drift?model=x", "/v1/drift?class=x", "/v1/teach/x"} {
		if w := s.get(path); w.Code != http.StatusNotFound {
			t.Errorf("%s: have status %d", path, w.Code)
		}
	}
}
