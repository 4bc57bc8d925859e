package line

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"mvag-torch/serve/journal"
	"mvag-torch/serve/metrics"
)

// take reserves a key until leave is called; if another request has it, first is closed when that is done.
func (l *Line) take(key string) (first chan struct{}, leave func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if first = l.keys[key]; first != nil {
		return first, nil
	}
	done := make(chan struct{})
	l.keys[key] = done
	return nil, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.keys, key)
		close(done)
	}
}

// again is the answer of an entry that the journal had under the key of a request.
func (l *Line) again(e journal.Entry, r Request) (*Judged, error) {
	var s Stored
	if err := json.Unmarshal(e.Data, &s); err != nil {
		return nil, &StoreError{fmt.Errorf("journal: entry %s: %w", e.ID, err)}
	}
	if have := askedFor(r); have != "" && s.Content != "" && have != s.Content {
		return nil, l.failed(metrics.Form, &ConflictError{Key: true, Message: fmt.Sprintf(
			"Idempotency-Key: have other images, object, class or model than object %s of the same key, want a key for each request", e.ID)})
	}
	return &Judged{Record: s.Record, Again: true}, nil
}

// askedFor identifies what a request with a key has judged: model, class, name and images. It is "" where a key says so
// itself: those of folders and messages are made of it.
func askedFor(r Request) string {
	if r.Key == "" || r.Source == FromFolder || r.Source == FromMQTT {
		return ""
	}
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q\n", r.Model, r.Object.Class, r.Object.ID)
	for _, v := range r.Object.Views {
		if v.Present() {
			fmt.Fprintf(h, "%d %x\n", v.Camera, sha256.Sum256(v.Data))
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}
