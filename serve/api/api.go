// Package api answers HTTP: objects to be judged, what the service said of them, the Open Inference Protocol, metrics
// and the page. openapi.yaml describes every answer.
//
// Nothing of a request is opened as a path. Bodies, names, times and connections are bounded by [Options]. The answer
// to a request that fails is {"error": "one line"}.
package api

import (
	"context"
	"fmt"
	"net/http"
	"path"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"mvag-torch/serve/journal"
	"mvag-torch/serve/line"
	"mvag-torch/serve/metrics"
	"mvag-torch/serve/page"
)

// Line is what the handlers need of a [line.Line].
type Line interface {
	Judge(ctx context.Context, r line.Request) (*line.Judged, error)
	Models() []line.Model
	Model(name string) (line.Model, bool)
	Pick(name, class string) (line.Model, error)
	Ready() error
	Reload(ctx context.Context, name string) error
	Watch(ctx context.Context) <-chan line.Event
	Journal() *journal.Journal
	Kept(r line.Record) ([]line.Picture, error)
	Changes
}

// API is the handler of all requests. It is safe for concurrent use.
type API struct {
	line    Line
	metrics *metrics.Metrics
	opt     Options
	mux     *http.ServeMux
	routes  []route
	cross   *http.CrossOriginProtection
	counts  counts
	scan    int // entries of the journal that a filter may pass over in one request

	held     atomic.Int64    // bytes of bodies that are in memory
	streams  chan struct{}   // one token for each stream of events
	draining context.Context // ends when the server stops
	drain    context.CancelFunc
}

// route is an address of the service.
type route struct {
	pattern string // method and path, as http.ServeMux has it
	handle  func(w http.ResponseWriter, r *http.Request) error
	// free of the token
	free bool
	// long answers may take longer than Options.Timeout
	long bool
}

// New returns the handler. The line stays that of the caller.
func New(l Line, m *metrics.Metrics, opt Options) (*API, error) {
	if err := opt.Validate(); err != nil {
		return nil, err
	}
	a := &API{line: l, metrics: m, opt: opt, mux: http.NewServeMux(), cross: http.NewCrossOriginProtection(),
		streams: make(chan struct{}, opt.Streams), counts: counts{most: mostCounted}, scan: mostScanned}
	a.draining, a.drain = context.WithCancel(context.Background())
	document, err := document()
	if err != nil {
		return nil, err
	}
	a.routes = []route{
		{pattern: "POST /v1/inspect", handle: a.inspect},
		{pattern: "GET /v1/models", handle: a.models},
		{pattern: "POST /v1/models/{model}/reload", handle: a.reload, long: true},
		{pattern: "GET /v1/objects", handle: a.objects},
		{pattern: "GET /v1/objects/{id}", handle: a.object},
		{pattern: "GET /v1/objects/{id}/images/{camera}/{layer}", handle: a.picture},
		{pattern: "GET /v1/summary", handle: a.summary},
		{pattern: "GET /v1/events", handle: a.events, long: true},
		{pattern: "POST /v1/session", handle: a.session, free: true},
		{pattern: "GET /v2", handle: a.serverMetadata},
		{pattern: "GET /v2/health/live", handle: a.alive, free: true},
		{pattern: "GET /v2/health/ready", handle: a.ready, free: true},
		{pattern: "GET /v2/models/{model}", handle: a.modelMetadata},
		{pattern: "GET /v2/models/{model}/ready", handle: a.modelReady},
		{pattern: "POST /v2/models/{model}/infer", handle: a.infer},
		{pattern: "GET /openapi.json", handle: a.static("application/json", document)},
		{pattern: "GET /metrics", handle: served(m.Handler()), free: opt.MetricsOpen},
		{pattern: "GET /{$}", handle: served(page.Handler()), free: true}, // the page asks for the token
		{pattern: "GET /static/", handle: served(page.Handler()), free: true},
	}
	a.routes = append(a.routes, a.changes()...)
	for _, r := range a.routes {
		a.mux.HandleFunc(r.pattern, a.answer(r))
	}
	return a, nil
}

// served is the handler of a route whose answers are all from h.
func served(h http.Handler) func(w http.ResponseWriter, r *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		h.ServeHTTP(w, r)
		return nil
	}
}

// static answers with the same bytes each time.
func (a *API) static(kind string, data []byte) func(w http.ResponseWriter, r *http.Request) error {
	return func(w http.ResponseWriter, _ *http.Request) error {
		return write(w, http.StatusOK, kind, data)
	}
}

// ServeHTTP answers a request. Every request is in the metrics, by its route.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began, out := time.Now(), &writer{ResponseWriter: w}
	route := ""
	defer func() {
		if cause := recover(); cause != nil {
			err := fmt.Errorf("panic: %v\n%s", cause, debug.Stack())
			if out.status == 0 {
				a.fail(out, r, err)
			} else {
				a.opt.Log.Error("an answer broke off", "route", route, "error", err)
			}
		}
		a.metrics.Request(route, max(out.status, http.StatusOK), time.Since(began))
	}()
	setHeaders(out.Header())
	handler, pattern := a.mux.Handler(r)
	switch route = pattern; {
	case clean(r.URL.EscapedPath()) != r.URL.EscapedPath(), pattern == "":
		route = ""
		a.fail(out, r, a.unrouted(handler, r))
	default:
		a.mux.ServeHTTP(out, r)
	}
}

// clean is a path as routes have it, without empty segments and dots.
func clean(p string) string {
	if p == "/" || !strings.HasPrefix(p, "/") {
		return "/"
	}
	return path.Clean(p)
}

// unrouted says why no route takes a request. The mux knows the methods of the others of the same path.
func (a *API) unrouted(refusal http.Handler, r *http.Request) error {
	var asked refused
	if clean(r.URL.EscapedPath()) == r.URL.EscapedPath() {
		refusal.ServeHTTP(&asked, r)
	}
	if asked.status == http.StatusMethodNotAllowed {
		return &fault{status: asked.status, reason: metrics.Form, allow: asked.header.Get("Allow"),
			message: "method: have " + quote(r.Method) + ", want " + asked.header.Get("Allow")}
	}
	return &fault{status: http.StatusNotFound, reason: metrics.Form, message: "path: have " + quote(r.URL.Path) + ", want one of /openapi.json"}
}

// refused notes what the mux would answer.
type refused struct {
	header http.Header
	status int
}

func (n *refused) Header() http.Header {
	if n.header == nil {
		n.header = http.Header{}
	}
	return n.header
}
func (n *refused) Write(b []byte) (int, error) { return len(b), nil }
func (n *refused) WriteHeader(status int)      { n.status = status }

// answer is the handler of a route: it lets in who may, bounds body and time, and says what failed.
func (a *API) answer(to route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := a.admit(r, to.free); err != nil {
			a.fail(w, r, err)
			return
		}
		if r.ContentLength > a.opt.Body {
			a.fail(w, r, tooLarge(a.opt.Body))
			return
		}
		body := &body{from: http.MaxBytesReader(w, r.Body, a.opt.Body), held: &a.held, most: a.opt.Bodies}
		defer body.release()
		r.Body = body
		if to.long {
			_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // not of a connection, in tests
		} else {
			ctx, cancel := context.WithTimeoutCause(r.Context(), a.opt.Timeout, errTime)
			defer cancel()
			r = r.WithContext(ctx)
		}
		if err := to.handle(w, r); err != nil {
			a.fail(w, r, err)
		}
	}
}

// writer notes the status of an answer.
type writer struct {
	http.ResponseWriter
	status int
}

// WriteHeader sends the header.
func (w *writer) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write sends a part of the body.
func (w *writer) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
