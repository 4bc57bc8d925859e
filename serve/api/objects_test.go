package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"mvag-torch/inspect"
	"mvag-torch/serve/line"
	"mvag-torch/serve/metrics"
)

// store writes a record to the journal of a fake line, as the line does, and returns its id.
func (f *fake) store(t *testing.T, model, class, decision string, when time.Time) string {
	t.Helper()
	e, _, err := f.journal.Append("", func(id string) ([]byte, error) {
		r := line.Record{ID: id, Time: when, Source: line.FromFolder, Class: class, Decision: decision, Images: []inspect.Line{},
			Model: line.Judge{Name: model}}
		return json.Marshal(line.Stored{Record: r, Samples: line.Samples{"memory": {}}})
	})
	if err != nil {
		t.Fatal(err)
	}
	return e.ID
}

type list struct {
	Objects []listed
	Next    string
}

// TestObjects pages through records, with and without filters.
func TestObjects(t *testing.T) {
	f := newFake(t)
	s := serve(t, f, metrics.New(), nil)
	if w := s.get("/v1/objects"); w.Body.String() != `{"objects":[]}`+"\n" {
		t.Errorf("have %s of an empty journal", w.Body)
	}
	var ids []string
	decisions := []string{inspect.Good, inspect.Defective, line.Failed}
	for i := range 10 {
		ids = append(ids, f.store(t, "parts", []string{"gear", ""}[i%2], decisions[i%3], time.Now()))
	}
	slices.Reverse(ids) // the newest first
	for _, tt := range []struct {
		query string
		want  []string // of all pages
		pages int
	}{
		{"", ids, 1},
		{"limit=4", ids, 3},
		{"limit=5", ids, 2},
		{"limit=10", ids, 1},
		{"before=" + ids[6], ids[7:], 1},
		{"before=" + ids[9], nil, 1},
		{"class=gear", []string{ids[1], ids[3], ids[5], ids[7], ids[9]}, 1},
		{"class=", []string{ids[0], ids[2], ids[4], ids[6], ids[8]}, 1},
		{"decision=failed", []string{ids[1], ids[4], ids[7]}, 1},
		{"decision=failed&limit=2", []string{ids[1], ids[4], ids[7]}, 2},
		{"class=gear&decision=good", []string{ids[3], ids[9]}, 1},
		{"model=parts&limit=500", ids, 1},
		{"model=other", nil, 1},
	} {
		t.Run(tt.query, func(t *testing.T) {
			var have []string
			pages := 0
			for next := ""; pages == 0 || next != ""; pages++ {
				address := "/v1/objects?" + tt.query
				if next != "" {
					address += "&before=" + next
				}
				l := read[list](t, s.get(address), http.StatusOK)
				for _, o := range l.Objects {
					have = append(have, o.ID)
				}
				next = l.Next
			}
			if !slices.Equal(have, tt.want) || pages != tt.pages {
				t.Errorf("have %v in %d pages, want %v in %d", have, pages, tt.want, tt.pages)
			}
		})
	}
	if err := f.journal.Put("review", ids[2], []byte(`{"verdict":"good"}`)); err != nil {
		t.Fatal(err)
	}
	if l := read[list](t, s.get("/v1/objects"), http.StatusOK); string(l.Objects[2].Review) != `{"verdict":"good"}` || l.Objects[1].Review != nil {
		t.Errorf("have %+v", l.Objects[:3])
	}
	if o := read[listed](t, s.get("/v1/objects/"+ids[2]), http.StatusOK); string(o.Review) != `{"verdict":"good"}` {
		t.Errorf("have %+v", o)
	}
}

// TestScanIsBounded: a filter that nothing fits gives an empty page and where to go on.
func TestScanIsBounded(t *testing.T) {
	f := newFake(t)
	s := serve(t, f, metrics.New(), nil)
	s.scan = 5
	var ids []string
	for range 12 {
		ids = append(ids, f.store(t, "parts", "gear", inspect.Good, time.Now()))
	}
	l := read[list](t, s.get("/v1/objects?class=none"), http.StatusOK)
	if len(l.Objects) != 0 || l.Next != ids[7] {
		t.Errorf("have %+v, want an empty page before %s", l, ids[7])
	}
}

// TestSummary counts what is in the journal, and what is added later.
func TestSummary(t *testing.T) {
	f := newFake(t)
	s := serve(t, f, metrics.New(), nil)
	type summary struct {
		Hours int
		Since time.Time
		Rows  []row
	}
	now := time.Now()
	for range 3 {
		f.store(t, "parts", "gear", inspect.Good, now.Add(-30*time.Hour))
		f.store(t, "parts", "gear", inspect.Good, now.Add(-time.Hour))
	}
	f.store(t, "parts", "gear", inspect.Defective, now)
	f.store(t, "parts", "", line.Failed, now)
	f.store(t, "other", "gear", inspect.Defective, now)
	text := func(rows []row) (out []string) {
		for _, r := range rows {
			yield := "none"
			if r.Yield != nil {
				yield = fmt.Sprint(*r.Yield)
			}
			out = append(out, fmt.Sprintf("%s/%s %d %d %d %s", r.Model, r.Class, r.Good, r.Defective, r.Failed, yield))
		}
		return out
	}
	day := read[summary](t, s.get("/v1/summary"), http.StatusOK)
	if want := []string{"other/gear 0 1 0 0", "parts/ 0 0 1 none", "parts/gear 3 1 0 0.75"}; !slices.Equal(text(day.Rows), want) || day.Hours != 24 {
		t.Errorf("have %q, want %q", text(day.Rows), want)
	}
	if d := day.Since.Sub(now.Add(-24 * time.Hour)).Abs(); d > 2*time.Minute {
		t.Errorf("have since %v", day.Since)
	}
	for i, r := range day.Rows { // only parts/gear is a class of a model that is loaded
		if (r.Rate != nil) != (i == 2) || (r.Alarms != nil) != (i == 2) {
			t.Errorf("have %+v", r)
		}
	}
	// 12 objects and a rate of 1/13: among 4 further good ones 0 to 2 alarms (docs/calibration.md: 0 to 16 of 56)
	if r := day.Rows[2]; *r.Rate != 1./13 || *r.Alarms != [2]int{0, 2} {
		t.Errorf("have rate %v and alarms %v", *r.Rate, *r.Alarms)
	}
	f.store(t, "parts", "gear", inspect.Good, time.Now())
	if week := read[summary](t, s.get("/v1/summary?hours=168"), http.StatusOK); !slices.Contains(text(week.Rows), "parts/gear 7 1 0 0.875") {
		t.Errorf("have %q of a week", text(week.Rows))
	}
}

// TestSummaryOfMany: where there are more objects than are counted at first, the answer says from when on.
func TestSummaryOfMany(t *testing.T) {
	f := newFake(t)
	now := time.Now()
	for i := range 10 {
		f.store(t, "parts", "gear", inspect.Good, now.Add(time.Duration(i-10)*time.Hour))
	}
	c := counts{most: 4}
	sums, since, err := c.within(f.journal, now, now.Add(-24*time.Hour))
	if err != nil || sums[kind{"parts", "gear"}].good != 4 || since.Sub(now.Add(-5*time.Hour)).Abs() > time.Second {
		t.Errorf("have %v since %v, %v, want 4 objects since five hours", sums, since, err)
	}
	f.store(t, "parts", "gear", inspect.Good, now)
	if sums, _, err = c.within(f.journal, now, now.Add(-24*time.Hour)); err != nil || sums[kind{"parts", "gear"}].good != 5 {
		t.Errorf("have %v, %v, want 5 objects", sums, err)
	}
}
