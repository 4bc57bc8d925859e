package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"mvag-torch/serve/line"
	"mvag-torch/serve/metrics"
)

// fault is what is answered to a request that fails.
type fault struct {
	status  int
	reason  metrics.Reason // "" where the line has counted it
	message string
	code    string        // of what the line refuses; "" for none
	retry   time.Duration // after which it may work; 0 says nothing
	allow   string        // methods, of 405
}

func (f *fault) Error() string { return f.message }

// errTime is the cause of a context whose time is over.
var errTime = errors.New("time: the request took longer than the service allows")

// gone is a client that went away, or closed its end of the connection, before the answer. The status is that of nginx.
var gone = &fault{status: 499, message: "the client closed the connection"}

var internal = &fault{status: http.StatusInternalServerError, reason: metrics.Internal,
	message: "the service failed; its log says more"}

// wrong is a request that cannot be understood.
func wrong(format string, args ...any) error {
	return &fault{status: http.StatusBadRequest, reason: metrics.Form, message: fmt.Sprintf(format, args...)}
}

// missing is something that the request names and the service does not have.
func missing(format string, args ...any) error {
	return &fault{status: http.StatusNotFound, reason: metrics.Unknown, message: fmt.Sprintf(format, args...)}
}

// foreign is a body in a format that is not read here.
func foreign(have, want string) error {
	return &fault{status: http.StatusUnsupportedMediaType, reason: metrics.Form,
		message: fmt.Sprintf("Content-Type: have %s, want %s", quote(have), want)}
}

func tooLarge(most int64) error {
	return &fault{status: http.StatusRequestEntityTooLarge, reason: metrics.Limit,
		message: fmt.Sprintf("body: have more than %d bytes, want fewer", most)}
}

// faultOf turns the error of a handler into what is answered. The line has counted its own.
func (a *API) faultOf(err error) *fault {
	var (
		known    *fault
		conflict *line.ConflictError
		busy     *line.BusyError
		unknown  *line.UnknownError
		store    *line.StoreError
		part     *line.PartError
		size     *http.MaxBytesError
	)
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &busy):
		return &fault{status: http.StatusTooManyRequests, message: err.Error(), retry: max(busy.RetryAfter, time.Second)}
	case errors.As(err, &unknown):
		return &fault{status: http.StatusNotFound, message: err.Error()}
	case errors.As(err, &conflict) && conflict.Key: // as draft-ietf-httpapi-idempotency-key-header has it
		return &fault{status: http.StatusUnprocessableEntity, message: err.Error()}
	case errors.As(err, &conflict):
		return &fault{status: http.StatusConflict, message: err.Error(), code: conflict.Code}
	case errors.As(err, &part):
		return wrong("%s", err).(*fault)
	case errors.As(err, &store):
		return &fault{status: http.StatusServiceUnavailable, message: err.Error(), retry: 5 * time.Second}
	case errors.Is(err, line.ErrClosed):
		return &fault{status: http.StatusServiceUnavailable, reason: metrics.Closing, message: err.Error(), retry: 5 * time.Second}
	case errors.As(err, &size):
		return tooLarge(size.Limit).(*fault)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &fault{status: http.StatusRequestTimeout, reason: metrics.Limit, message: "body: it came too slowly"}
	case errors.Is(err, errTime):
		return &fault{status: http.StatusServiceUnavailable, message: err.Error(), retry: 5 * time.Second}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return wrong("body: it ends too early").(*fault)
	case errors.Is(err, context.Canceled):
		return gone
	}
	return internal
}

// fail answers a request that failed.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	f := a.faultOf(err)
	if f == internal && context.Cause(r.Context()) == context.Canceled {
		f = gone
	}
	if f == internal {
		a.opt.Log.Error("a request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	if f.reason != "" {
		a.metrics.Error(f.reason)
	}
	h := w.Header()
	if f.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(f.retry.Seconds()))))
	}
	if f.allow != "" {
		h.Set("Allow", f.allow)
	}
	if f.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="mvag-torch"`)
	}
	if f.status == http.StatusRequestTimeout {
		h.Set("Connection", "close")
	}
	_ = writeJSON(w, f.status, struct {
		Error string `json:"error"`
		Code  string `json:"code,omitempty"`
	}{oneLine(f.message), f.code})
}

// writeJSON answers with a value. The error is one of the value; what the network does to an answer is known to nobody.
func writeJSON(w http.ResponseWriter, status int, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return write(w, status, "application/json", append(data, '\n'))
}

// write answers with bytes.
func write(w http.ResponseWriter, status int, kind string, data []byte) error {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	_, _ = w.Write(data) // the client may be gone
	return nil
}

// quote quotes a text of a request for a message, and shortens it.
func quote(text string) string {
	const most = 100
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return strconv.Quote(text)
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
