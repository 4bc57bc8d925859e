package line

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"mvag-torch/dataset"
	"mvag-torch/inspect"
	"mvag-torch/inspect/inspecttest"
)

// TestDecisions: an image that cannot be read leaves no good object, an absent one only where that is asked for, and a defect
// counts in any case.
func TestDecisions(t *testing.T) {
	path := inspecttest.Checkpoint(t)
	good := inspecttest.Objects(t, inspecttest.Trained, 12)[0]
	for name, test := range map[string]struct {
		incomplete string
		change     func(o *dataset.Object)
		want       string
		says       []string // in the error
		warned     string
	}{
		"all there":         {"", func(*dataset.Object) {}, inspect.Good, nil, ""},
		"all there, strict": {IncompleteFail, func(*dataset.Object) {}, inspect.Good, nil, ""},
		"empty": {"", func(o *dataset.Object) { o.Views[1].Data = []byte{} }, Failed, []string{`camera "C2": `, "empty"},
			"images that cannot be judged"},
		"broken": {"", func(o *dataset.Object) { o.Views[1].Data, o.Views[2].Data = []byte("x"), []byte("\xff\xd8\xff") }, Failed,
			[]string{`camera "C2": `, `; camera "C3": `}, "images that cannot be judged"},
		"broken and defective": {"", func(o *dataset.Object) { o.Views[1].Data = []byte("x") }, inspect.Defective, nil,
			"images that cannot be judged"},
		"absent":              {"", func(o *dataset.Object) { o.Views[1] = dataset.View{Camera: 1} }, inspect.Good, nil, "without an image of every camera"},
		"absent, said":        {IncompleteJudge, func(o *dataset.Object) { o.Views[1] = dataset.View{Camera: 1} }, inspect.Good, nil, "absent=[C2]"},
		"absent, strict":      {IncompleteFail, func(o *dataset.Object) { o.Views[1] = dataset.View{Camera: 1} }, Failed, []string{`camera "C2"`}, "absent=[C2]"},
		"single, strict":      {IncompleteFail, func(o *dataset.Object) { o.Views = o.Views[:1] }, Failed, []string{`"C1", "C2", "C3"`}, ""},
		"absent and no image": {"", func(o *dataset.Object) { o.Views = []dataset.View{{}, {Camera: 1}, {Camera: 2}} }, Failed, []string{"have no image"}, ""},
		"absent and defective, strict": {IncompleteFail, func(o *dataset.Object) { o.Views[1] = dataset.View{Camera: 1} },
			inspect.Defective, nil, "absent=[C2]"},
	} {
		t.Run(name, func(t *testing.T) {
			var said bytes.Buffer
			l := open(t, func(o *Options) {
				o.Incomplete, o.Log = test.incomplete, slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelWarn}))
			}, ModelOptions{Name: "parts", Path: path})
			o := good
			o.Views = slices.Clone(good.Views)
			test.change(&o)
			live := l.slots[0].now()
			result, err := live.object(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if test.want == inspect.Defective { // no image of this model of random weights is
				result.Verdict.Decision = inspect.Defective
			}
			j, err := l.store(Request{Object: o}, live, result)
			if err != nil {
				t.Fatal(err)
			}
			if j.Decision != test.want || (j.Error == "") != (test.says == nil) {
				t.Errorf("have %s %q %+v, want %s", j.Decision, j.Error, j.Verdict, test.want)
			}
			for _, text := range test.says {
				if !strings.Contains(j.Error, text) {
					t.Errorf("have error %q, want %q in it", j.Error, text)
				}
			}
			if n := strings.Count(said.String(), "level=WARN"); test.warned != "" && n != 1 || !strings.Contains(said.String(), test.warned) {
				t.Errorf("have %d warnings %s, want one with %q", n, said.String(), test.warned)
			}
			faulty := 0
			for _, line := range j.Images {
				if line.Verdict == nil {
					faulty++
				}
			}
			w := httptest.NewRecorder()
			l.opt.Metrics.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
			if want := fmt.Sprintf("mvag_errors_total{reason=%q} %d\n", "image", faulty); !strings.Contains(w.Body.String(), want) {
				t.Errorf("have no %q in the metrics", want)
			}
			d, err := l.DriftOf("", nil)
			if err != nil {
				t.Fatal(err)
			}
			points := 0
			for _, c := range d {
				points += len(c.Points)
			}
			if want := map[bool]int{true: 0, false: 1}[j.Decision == Failed]; points != want {
				t.Errorf("have %d points of drift, want %d", points, want)
			}
			var no *ConflictError
			if _, err := l.Review(t.Context(), j.ID, inspect.Good, ""); errors.As(err, &no) != (j.Decision == Failed) {
				t.Errorf("review: have %v", err)
			}
		})
	}
}
