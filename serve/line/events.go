package line

import (
	"context"
	"encoding/json"
	"sync"
)

// Event is something that those who watch the line should know.
type Event struct {
	Kind string // object, models, teach, review, drift; lost where the watcher was too slow for some
	Data json.RawMessage
}

// waiting is the number of events that a watcher may be behind.
const waiting = 256

// events tells watchers. None of them makes the line wait.
type events struct {
	mu       sync.Mutex
	closed   bool
	watchers map[*watcher]bool
}

type watcher struct {
	to   chan Event
	lost int
}

// Watch returns the events from now on. The channel is closed when ctx ends or the line closes. A watcher that is too slow
// loses events, and then gets one of kind lost with their number.
func (l *Line) Watch(ctx context.Context) <-chan Event {
	w := &watcher{to: make(chan Event, waiting)}
	e := &l.events
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		close(w.to)
		return w.to
	}
	if e.watchers == nil {
		e.watchers = map[*watcher]bool{}
	}
	e.watchers[w] = true
	context.AfterFunc(ctx, func() { e.forget(w) })
	return w.to
}

func (e *events) forget(w *watcher) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.watchers[w] {
		delete(e.watchers, w)
		close(w.to)
	}
}

func (e *events) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	for w := range e.watchers {
		delete(e.watchers, w)
		close(w.to)
	}
}

// send tells all watchers.
func (e *events) send(kind string, value any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.watchers) == 0 {
		return
	}
	data, err := json.Marshal(value)
	if err != nil { // a NaN, say; the journal would have refused it
		return
	}
	for w := range e.watchers {
		w.send(Event{kind, data})
	}
}

// send drops the event where the watcher is too far behind.
func (w *watcher) send(event Event) {
	if w.lost > 0 && len(w.to) < cap(w.to)-1 {
		count, _ := json.Marshal(w.lost) // a number
		w.to <- Event{"lost", count}
		w.lost = 0
	}
	if w.lost > 0 || len(w.to) == cap(w.to) {
		w.lost++
		return
	}
	w.to <- event
}
