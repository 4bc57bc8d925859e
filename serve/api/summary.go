package api

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"

	"mvag-torch/inspect"
	"mvag-torch/model/calibration"
	"mvag-torch/serve/journal"
	"mvag-torch/serve/line"
)

const (
	mostHours = 7 * 24
	// mostCounted is how many of the newest entries are counted at first.
	mostCounted = 200_000
)

// counts are numbers of objects by minute. They follow the journal: each request reads what is new since the last one.
type counts struct {
	most    int // entries that are counted at first
	mu      sync.Mutex
	last    uint64    // entry that has been counted
	since   time.Time // from when on all are counted; zero where all are
	minutes map[int64]map[kind]*tally
}

// kind is what objects are counted by.
type kind struct{ model, class string }

// tally are numbers of objects.
type tally struct{ good, defective, failed int }

// add counts an object.
func (t *tally) add(decision string) {
	switch decision {
	case inspect.Good:
		t.good++
	case inspect.Defective:
		t.defective++
	default:
		t.failed++
	}
}

// follow counts the entries that are new, and forgets minutes that no answer goes back to.
func (c *counts) follow(j *journal.Journal, now time.Time) error {
	if c.minutes == nil {
		c.minutes = map[int64]map[kind]*tally{}
	}
	oldest := now.Add(-mostHours * time.Hour)
	first, newest, seen := c.last == 0, c.last, 0
	var failed error
	err := j.Newest(0, func(e journal.Entry) bool {
		newest = max(newest, e.Seq)
		if e.Seq <= c.last {
			return false
		}
		var s struct {
			Record struct {
				Time            time.Time
				Class, Decision string
				Model           struct{ Name string }
			}
		}
		if failed = json.Unmarshal(e.Data, &s); failed != nil {
			return false
		}
		r := s.Record
		if first && r.Time.Before(oldest) {
			return false
		}
		if seen++; first && seen > c.most {
			c.since = r.Time
			return false
		}
		minute := r.Time.Unix() / 60
		if c.minutes[minute] == nil {
			c.minutes[minute] = map[kind]*tally{}
		}
		k := kind{r.Model.Name, r.Class}
		if c.minutes[minute][k] == nil {
			c.minutes[minute][k] = &tally{}
		}
		c.minutes[minute][k].add(r.Decision)
		return true
	})
	if err = cmp.Or(err, failed); err != nil {
		c.last, c.since, c.minutes = 0, time.Time{}, nil // part of it is counted
		return err
	}
	c.last = newest
	for minute := range c.minutes {
		if minute < oldest.Unix()/60 {
			delete(c.minutes, minute)
		}
	}
	return nil
}

// row are the counts of a class of a model, and what its calibration promises.
type row struct {
	Model     string   `json:"model"`
	Class     string   `json:"class"`
	Good      int      `json:"good"`
	Defective int      `json:"defective"`
	Failed    int      `json:"failed"`
	Yield     *float64 `json:"yield"`            // good of those judged; null where none is
	Rate      *float64 `json:"rate,omitempty"`   // of false alarms, at most; none where the model does not judge the class now
	Alarms    *[2]int  `json:"alarms,omitempty"` // 95 % interval of false alarms, were all judged objects good
}

// summary answers GET /v1/summary: how many objects of each model and class were good, defective or failed.
func (a *API) summary(w http.ResponseWriter, r *http.Request) error {
	q, err := a.query(r, "hours")
	if err != nil {
		return err
	}
	hours, err := integer(q, "hours", 24, 1, mostHours)
	if err != nil {
		return err
	}
	now := time.Now()
	out := struct {
		Hours int       `json:"hours"`
		Since time.Time `json:"since"` // from when on objects are counted: fewer hours where there are very many objects
		Rows  []row     `json:"rows"`
	}{Hours: hours, Since: now.Add(-time.Duration(hours) * time.Hour).UTC().Truncate(time.Minute), Rows: []row{}}
	sums, since, err := a.counts.within(a.line.Journal(), now, out.Since)
	if err != nil {
		return &line.StoreError{Err: err}
	}
	out.Since = since
	for k, t := range sums {
		out.Rows = append(out.Rows, a.row(k, t))
	}
	slices.SortFunc(out.Rows, func(x, y row) int { return cmp.Or(cmp.Compare(x.Model, y.Model), cmp.Compare(x.Class, y.Class)) })
	return writeJSON(w, http.StatusOK, out)
}

// within sums up all from a time on, or from when on the counts go.
func (c *counts) within(j *journal.Journal, now, since time.Time) (map[kind]tally, time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.follow(j, now); err != nil {
		return nil, since, err
	}
	if c.since.After(since) {
		since = c.since
	}
	sums := map[kind]tally{}
	for minute, byKind := range c.minutes {
		if minute < since.Unix()/60 {
			continue
		}
		for k, t := range byKind {
			s := sums[k]
			sums[k] = tally{s.good + t.good, s.defective + t.defective, s.failed + t.failed}
		}
	}
	return sums, since, nil
}

func (a *API) row(k kind, t tally) row {
	out := row{Model: k.model, Class: k.class, Good: t.good, Defective: t.defective, Failed: t.failed}
	judged := t.good + t.defective
	if judged > 0 {
		yield := float64(t.good) / float64(judged)
		out.Yield = &yield
	}
	m, _ := a.line.Model(k.model)
	i := slices.IndexFunc(m.Classes, func(c line.Class) bool { return c.Name == k.class })
	if i < 0 {
		return out
	}
	c := m.Classes[i]
	out.Rate = &c.Rate
	if judged > 0 {
		low, high := calibration.Scale{Objects: c.Objects, Rate: c.Rate}.Alarms(judged)
		out.Alarms = &[2]int{low, high}
	}
	return out
}
