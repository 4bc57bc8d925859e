// Package metrics holds the Prometheus metrics of the service. Every label has a bounded number of values: routes,
// decisions, sources and reasons are constants, and classes and cameras are those of the models that are loaded.
package metrics

import (
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Other is the value of a label for a class, camera or route that is not known. Requests can name any; each would
// otherwise become a time series that stays.
const Other = "other"

// Reason says why something failed, in mvag_errors_total.
type Reason string

// The reasons.
const (
	Form     Reason = "form"     // a request that cannot be read
	Limit    Reason = "limit"    // a request or image above a limit
	Denied   Reason = "denied"   // no token, a wrong one, or a foreign host or origin
	Unknown  Reason = "unknown"  // a model or class that is not known
	Unread   Reason = "image"    // an image that cannot be read
	Busy     Reason = "busy"     // the queue was full
	Canceled Reason = "canceled" // the client went away, or its time was over
	Judging  Reason = "model"    // the model failed
	Store    Reason = "store"    // the journal or a picture could not be written
	Publish  Reason = "publish"  // a message could not be delivered; it is tried again
	Reload   Reason = "reload"   // a checkpoint could not be loaded again
	Closing  Reason = "closing"  // the service stops
	Internal Reason = "internal"
)

var reasons = []Reason{Form, Limit, Denied, Unknown, Unread, Busy, Canceled, Judging, Store, Publish, Reload, Closing, Internal}

// Metrics are the metrics of one service. It is safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	images   *prometheus.CounterVec   // class, camera, decision
	objects  *prometheus.CounterVec   // class, decision, source
	requests *prometheus.HistogramVec // route, code
	queued   prometheus.Histogram
	batches  prometheus.Histogram
	scores   *prometheus.HistogramVec // class
	errors   *prometheus.CounterVec   // reason
	sent     *prometheus.CounterVec   // destination, outcome
	watched  *prometheus.CounterVec   // what
	live     *live
}

// New returns metrics that are all zero.
func New() *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64) prometheus.HistogramOpts {
		return prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}
	}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		images:   counter("mvag_images_total", "Images judged.", "class", "camera", "decision"),
		objects:  counter("mvag_objects_total", "Objects judged.", "class", "decision", "source"),
		requests: prometheus.NewHistogramVec(histogram("mvag_request_duration_seconds",
			"Time from the header of an HTTP request to the end of its answer.",
			[]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}), []string{"route", "code"}),
		queued: prometheus.NewHistogram(histogram("mvag_queue_duration_seconds",
			"Time that an object waited for the model.",
			[]float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30})),
		batches: prometheus.NewHistogram(histogram("mvag_batch_objects",
			"Objects that went through the model together.", []float64{1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64})),
		scores: prometheus.NewHistogramVec(histogram("mvag_score",
			"Calibrated scores of objects, 0 to 1; above 0.5 is defective.",
			[]float64{.05, .1, .2, .3, .35, .4, .45, .5, .55, .6, .65, .7, .8, .9, .95}), []string{"class"}),
		errors: counter("mvag_errors_total", "What failed, by reason.", "reason"),
		sent: counter("mvag_published_total", "Records that a destination confirmed (sent) or will never take (refused).",
			"destination", "outcome"),
		watched: counter("mvag_watched_total", "What was odd in watched folders: objects judged incomplete or late, "+
			"files passed over, images unassigned to an object.", "what"),
		live: newLive(),
	}
	m.registry.MustRegister(m.images, m.objects, m.requests, m.queued, m.batches, m.scores, m.errors, m.sent, m.watched, m.live,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, r := range reasons { // so that the first one is an increase
		m.errors.WithLabelValues(string(r))
	}
	return m
}

// Handler answers GET /metrics, to a few clients at a time.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		Registry: m.registry, MaxRequestsInFlight: 4, Timeout: 10 * time.Second, EnableOpenMetrics: true,
	})
}

// Object is a judged object.
type Object struct {
	Class, Decision, Source string
	Score                   float64 // calibrated; NaN where it has none
	Images                  []Image
}

// Image is an image of an Object. The decision is "failed" where it could not be judged.
type Image struct{ Camera, Decision string }

// Object counts a judged object and its images.
func (m *Metrics) Object(o Object) {
	class := m.live.class(o.Class)
	m.objects.WithLabelValues(class, o.Decision, o.Source).Inc()
	for _, i := range o.Images {
		m.images.WithLabelValues(class, m.live.camera(i.Camera), i.Decision).Inc()
	}
	if !math.IsNaN(o.Score) {
		m.scores.WithLabelValues(class).Observe(o.Score)
	}
}

// Waited notes the time that an object waited for the model.
func (m *Metrics) Waited(d time.Duration) { m.queued.Observe(d.Seconds()) }

// Batch notes how many objects went through the model together.
func (m *Metrics) Batch(objects int) { m.batches.Observe(float64(objects)) }

// Error counts a failure.
func (m *Metrics) Error(r Reason) { m.errors.WithLabelValues(string(r)).Inc() }

// Published counts records that a destination confirmed, or refused for ever.
func (m *Metrics) Published(to string, n int, refused bool) {
	outcome := "sent"
	if refused {
		outcome = "refused"
	}
	m.sent.WithLabelValues(to, outcome).Add(float64(n))
}

// Watched counts what is odd in a watched folder.
func (m *Metrics) Watched(what string, n int) { m.watched.WithLabelValues(what).Add(float64(n)) }

// Request notes an answered HTTP request. The route is a pattern of the service, "POST /v1/inspect", or "" for none.
func (m *Metrics) Request(route string, code int, took time.Duration) {
	if route == "" {
		route = Other
	}
	m.requests.WithLabelValues(route, strconv.Itoa(code)).Observe(took.Seconds())
}

// Model is a model that is loaded.
type Model struct {
	Name, Checkpoint, Calibration string
	Classes, Cameras              []string
}

// Models says which models are loaded, all of them. Their classes and cameras are the values that labels may have,
// and so are those of earlier calls.
func (m *Metrics) Models(models []Model) { m.live.setModels(models) }

// Queue sets what says how many objects wait for the model and how many may.
func (m *Metrics) Queue(state func() (length, capacity int)) {
	m.live.mu.Lock()
	defer m.live.mu.Unlock()
	m.live.queue = state
}

// Spool sets what says how many entries wait for a destination.
func (m *Metrics) Spool(to string, length func() int) {
	m.live.mu.Lock()
	defer m.live.mu.Unlock()
	m.live.spools[to] = length
}

// live collects what is true at the moment it is asked, and knows the values of labels.
type live struct {
	info, length, capacity, spool *prometheus.Desc

	mu               sync.RWMutex
	models           []Model
	classes, cameras map[string]bool
	queue            func() (length, capacity int)
	spools           map[string]func() int
}

func newLive() *live {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &live{
		info: desc("mvag_model_info", "1 for each loaded model, with the SHA-256 of its tensors and of its calibrations.",
			"model", "checkpoint", "calibration"),
		length:   desc("mvag_queue_objects", "Objects that wait for the model."),
		capacity: desc("mvag_queue_capacity_objects", "Objects that may wait before others are refused."),
		spool:    desc("mvag_spool_entries", "Entries of the journal that wait for a destination.", "destination"),
		classes:  map[string]bool{"": true}, cameras: map[string]bool{}, spools: map[string]func() int{},
	}
}

// Describe sends what Collect may send.
func (l *live) Describe(to chan<- *prometheus.Desc) {
	to <- l.info
	to <- l.length
	to <- l.capacity
	to <- l.spool
}

// Collect sends the present values.
func (l *live) Collect(to chan<- prometheus.Metric) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	gauge := func(d *prometheus.Desc, value int, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value), labels...)
	}
	for _, m := range l.models {
		gauge(l.info, 1, m.Name, m.Checkpoint, m.Calibration)
	}
	if l.queue != nil {
		length, capacity := l.queue()
		gauge(l.length, length)
		gauge(l.capacity, capacity)
	}
	for name, spooled := range l.spools {
		gauge(l.spool, spooled(), name)
	}
}

func (l *live) setModels(models []Model) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.models = models
	for _, m := range models {
		for _, c := range m.Classes {
			l.classes[c] = true
		}
		for _, c := range m.Cameras {
			l.cameras[c] = true
		}
	}
}

func (l *live) class(name string) string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.classes[name] {
		return name
	}
	return Other
}

func (l *live) camera(name string) string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if name == "image" || l.cameras[name] {
		return name
	}
	return Other
}
