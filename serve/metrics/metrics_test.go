package metrics

import (
	"bytes"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// used returns metrics with a value of each kind.
func used() *Metrics {
	m := New()
	m.Models([]Model{{"parts", "c0ffee", "beef", []string{"gear", "nut"}, []string{"top", "C2"}}})
	m.Queue(func() (int, int) { return 3, 64 })
	m.Spool("mqtt", func() int { return 7 })
	m.Object(Object{"gear", "defective", "http", 0.8, []Image{{"top", "good"}, {"C2", "defective"}}})
	m.Object(Object{"", "failed", "folder", math.NaN(), []Image{{"image", "failed"}}})
	m.Waited(3 * time.Millisecond)
	m.Batch(4)
	m.Error(Busy)
	m.Request("POST /v1/inspect", 200, 20*time.Millisecond)
	m.Request("", 404, time.Millisecond)
	return m
}

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("have status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestValues(t *testing.T) {
	text := scrape(t, used())
	for _, want := range []string{
		`mvag_objects_total{class="gear",decision="defective",source="http"} 1`,
		`mvag_objects_total{class="",decision="failed",source="folder"} 1`,
		`mvag_images_total{camera="C2",class="gear",decision="defective"} 1`,
		`mvag_images_total{camera="image",class="",decision="failed"} 1`,
		`mvag_errors_total{reason="busy"} 1`,
		`mvag_errors_total{reason="store"} 0`,
		`mvag_model_info{calibration="beef",checkpoint="c0ffee",model="parts"} 1`,
		`mvag_queue_objects 3`,
		`mvag_queue_capacity_objects 64`,
		`mvag_spool_entries{destination="mqtt"} 7`,
		`mvag_batch_objects_bucket{le="4"} 1`,
		`mvag_batch_objects_bucket{le="3"} 0`,
		`mvag_queue_duration_seconds_bucket{le="0.005"} 1`,
		`mvag_score_bucket{class="gear",le="0.8"} 1`,
		`mvag_score_bucket{class="gear",le="0.7"} 0`,
		`mvag_request_duration_seconds_count{code="200",route="POST /v1/inspect"} 1`,
		`mvag_request_duration_seconds_count{code="404",route="other"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("have no line %s in\n%s", want, text)
		}
	}
	for _, family := range []string{"go_goroutines ", "process_open_fds ", "process_resident_memory_bytes "} {
		if !strings.Contains(text, "\n"+family) {
			t.Errorf("have no %s", family)
		}
	}
	if strings.Contains(text, `mvag_score_count{class=""}`) {
		t.Error("a score that is not a number was counted")
	}
}

// TestLinters holds the names to the conventions of Prometheus, as its own tools see them.
func TestLinters(t *testing.T) {
	m := used()
	problems, err := testutil.GatherAndLint(m.registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	text := scrape(t, m)
	if problems, err = promlint.New(strings.NewReader(text)).Lint(); err != nil || len(problems) > 0 {
		t.Errorf("have %v, %v", problems, err)
	}
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Log("promtool is not installed: its check is left out")
		return
	}
	check := exec.Command(tool, "check", "metrics")
	check.Stdin = strings.NewReader(text)
	if out, err := check.CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

// TestLabelsAreBounded sends what clients may invent: it must not become time series.
func TestLabelsAreBounded(t *testing.T) {
	m := used()
	before := testutil.CollectAndCount(m.objects) + testutil.CollectAndCount(m.images) + testutil.CollectAndCount(m.scores)
	for i := range 1000 {
		m.Object(Object{fmt.Sprint("class", i), "good", "http", 0.1, []Image{{fmt.Sprint("C", i), "good"}}})
	}
	after := testutil.CollectAndCount(m.objects) + testutil.CollectAndCount(m.images) + testutil.CollectAndCount(m.scores)
	if after > before+5 { // an object, a score, and images of camera C2 and of others
		t.Errorf("1000 invented classes and cameras make %d time series", after-before)
	}
	if have := testutil.ToFloat64(m.objects.WithLabelValues(Other, "good", "http")); have != 1000 {
		t.Errorf("have %v objects of other classes, want 1000", have)
	}
}

// TestModelsReplaced checks that a reloaded model leaves one line, and that its new classes count.
func TestModelsReplaced(t *testing.T) {
	m := used()
	m.Models([]Model{{"parts", "c0ffee", "new", []string{"bolt"}, []string{"top"}}})
	m.Object(Object{Class: "bolt", Decision: "good", Source: "mqtt", Score: 0.1})
	text := scrape(t, m)
	if strings.Count(text, "mvag_model_info{") != 1 || !strings.Contains(text, `calibration="new"`) {
		t.Errorf("have\n%s", text)
	}
	if !strings.Contains(text, `mvag_objects_total{class="bolt",decision="good",source="mqtt"} 1`) {
		t.Errorf("have\n%s", text)
	}
}

func TestConcurrentUse(t *testing.T) {
	m := used()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				m.Object(Object{"gear", "good", "http", 0.2, []Image{{"top", "good"}}})
				m.Models([]Model{{Name: "parts"}})
				m.Spool("mqtt", func() int { return 1 })
				if err := testutil.CollectAndCompare(m.live, strings.NewReader(""), "none"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if have := testutil.ToFloat64(m.objects.WithLabelValues("gear", "good", "http")); have != 400 {
		t.Errorf("have %v objects, want 400", have)
	}
}
