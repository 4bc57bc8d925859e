package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"path"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"mvag-torch/dataset"
	"mvag-torch/serve/metrics"
)

// body is the body of a request. What is read of it counts until release, together with all others.
type body struct {
	from io.ReadCloser
	held *atomic.Int64
	own  int64
	most int64
}

// Read reads as the body does, or says that too much is in memory.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	b.own += int64(n)
	if b.held.Add(int64(n)) > b.most {
		return n, &fault{status: http.StatusTooManyRequests, reason: metrics.Busy, retry: time.Second,
			message: fmt.Sprintf("bodies: requests on their way have more than %d bytes together", b.most)}
	}
	return n, err
}

// Close closes the body.
func (b *body) Close() error { return b.from.Close() }

func (b *body) release() {
	b.held.Add(-b.own)
	b.own = 0
}

// received ends the time in which a request has to come, which would otherwise end its context while it is answered.
func received(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // not of a connection, in tests
}

// contentType is the media type of a request in lower case, and its parameters.
func contentType(r *http.Request) (string, map[string]string) {
	kind, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return "", nil
	}
	return kind, parameters
}

// name returns a name that a client gives, in composed form, or why it cannot be one.
func (a *API) name(field, text string) (string, error) {
	switch {
	case len(text) > a.opt.Name:
		return "", wrong("%s: have %d bytes, want at most %d", field, len(text), a.opt.Name)
	case !utf8.ValidString(text):
		return "", wrong("%s: have %s, want UTF-8", field, quote(text))
	case strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "", wrong("%s: have %s, want characters that can be printed", field, quote(text))
	}
	return dataset.Canonical(text), nil
}

// key returns the header Idempotency-Key as the journal has it.
func (a *API) key(r *http.Request) (string, error) {
	text := r.Header.Get("Idempotency-Key")
	if text == "" {
		return "", nil
	}
	text, err := a.name("Idempotency-Key", text)
	return "http:" + text, err
}

// fileName makes a name for messages of what a client calls a file. It is never opened.
func fileName(text string) string {
	text = path.Base(strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), `\`, "/"))
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
	const most = 100
	if len(text) > most {
		text = strings.ToValidUTF8(text[len(text)-most:], "")
	}
	if text == "." || text == "/" || text == ".." {
		return ""
	}
	return text
}

// jsonError is an error of package json without the names of Go.
func jsonError(err error) string {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return fmt.Sprintf("%s: have %s, want another type", kind.Field, kind.Value)
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

// isNetwork says whether a body ended because of its connection.
func isNetwork(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, http.ErrBodyReadAfterClose)
}
