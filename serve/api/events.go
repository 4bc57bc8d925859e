package api

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"time"

	"mvag-torch/serve/line"
	"mvag-torch/serve/metrics"
)

const (
	pulse        = 15 * time.Second // from one sign of life to the next
	slowest      = 10 * time.Second // in which a client has to take an event
	retryStreams = 30 * time.Second
)

// events answers GET /v1/events with server-sent events until the client goes or the service stops. A client that does
// not take them is let go.
func (a *API) events(w http.ResponseWriter, r *http.Request) error {
	if _, err := a.query(r); err != nil {
		return err
	}
	select {
	case a.streams <- struct{}{}:
		defer func() { <-a.streams }()
	default:
		return &fault{status: http.StatusTooManyRequests, reason: metrics.Busy, retry: retryStreams,
			message: fmt.Sprintf("events: have %d clients, want no more", a.opt.Streams)}
	}
	received(w)
	ctx, stop := context.WithCancel(r.Context())
	defer stop()
	defer context.AfterFunc(a.draining, stop)()
	watched := a.line.Watch(ctx)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // of nginx
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	beat := time.NewTicker(pulse)
	defer beat.Stop()
	for text := []byte(": hello\n\n"); ; {
		if !send(w, text) {
			return nil
		}
		select {
		case e, ok := <-watched:
			if !ok {
				return nil
			}
			text = eventText(e)
		case <-beat.C:
			text = []byte(": still here\n\n")
		case <-ctx.Done():
			return nil
		}
	}
}

// eventText is an event as text/event-stream. The data is JSON on one line.
func eventText(e line.Event) []byte {
	data := bytes.ReplaceAll(e.Data, []byte("\n"), nil)
	return fmt.Appendf(nil, "event: %s\ndata: %s\n\n", e.Kind, data)
}

// send sends a part of a stream at once; false where the client does not take it.
func send(w http.ResponseWriter, text []byte) bool {
	c := http.NewResponseController(w)
	_ = c.SetWriteDeadline(time.Now().Add(slowest)) // not of a connection, in tests
	_, err := w.Write(text)
	return err == nil && c.Flush() == nil
}
