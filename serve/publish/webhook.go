package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"mvag-torch/internal/printable"
)

// WebhookConfig is a receiver of results by HTTP.
type WebhookConfig struct {
	URL     string        `yaml:"url"`     // http or https
	Timeout time.Duration `yaml:"timeout"` // of one request; 0 is 10 s
	Tries   int           `yaml:"tries"`   // refusals of one message after which it is set aside; 0 is 3
	Token   Secret        `yaml:"token"`   // sent as "Authorization: Bearer TOKEN"
	TLS     TLS           `yaml:"tls"`
}

// Check returns an error for values that cannot be used.
func (c WebhookConfig) Check() error {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("url: have %q, want http://HOST… or https://HOST…", c.URL)
	}
	if c.Timeout < 0 || c.Tries < 0 {
		return fmt.Errorf("timeout, tries: have %v, %d, want no negative values", c.Timeout, c.Tries)
	}
	return nil
}

// Webhook posts each message, one after the other, with the header "Idempotency-Key: ID": a receiver that has an id
// already ignores the message, which is sent again where its answer was lost. 2xx confirms a message. A receiver that
// says of a message that it is wrong (400, 413, 415, 422 and others) gets it Tries times, then it is set aside. All
// other answers count as a receiver that is away: 401, 403, 404, 405 and 407 too, because no message is at fault there.
type Webhook struct {
	cfg     WebhookConfig
	token   string
	client  *http.Client
	head    uint64 // the message that was refused last, and how often
	refused int
}

// NewWebhook reads the token and the certificates that cfg names.
func NewWebhook(cfg WebhookConfig) (*Webhook, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	token, err := cfg.Token.Value()
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	security, err := cfg.TLS.config()
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.Tries == 0 {
		cfg.Tries = 3
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: security, ForceAttemptHTTP2: true,
		IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 1, MaxResponseHeaderBytes: 64 << 10}
	return &Webhook{cfg: cfg, token: token, client: &http.Client{Timeout: cfg.Timeout, Transport: transport,
		// A redirected POST would become a GET.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, nil
}

// Lost never tells of anything.
func (w *Webhook) Lost() <-chan struct{} { return nil }

// Close closes idle connections.
func (w *Webhook) Close() error {
	w.client.CloseIdleConnections()
	return nil
}

// Send posts messages until one fails.
func (w *Webhook) Send(ctx context.Context, list []Message) (s Sent, err error) {
	for _, m := range list {
		err := w.post(ctx, m)
		var refused refusedError
		switch {
		case err == nil:
			s.Done = append(s.Done, m.Seq)
		case errors.As(err, &refused):
			if w.head != m.Seq {
				w.head, w.refused = m.Seq, 0
			}
			if w.refused++; w.refused < w.cfg.Tries {
				return s, err
			}
			s.Refused = append(s.Refused, Refusal{m.Seq, m.ID, err.Error()})
		default:
			return s, err
		}
	}
	return s, nil
}

// refusedError says that the receiver finds fault with the message.
type refusedError struct{ error }

func (w *Webhook) post(ctx context.Context, m Message) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.cfg.URL, bytes.NewReader(m.Body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", m.ID)
	r.Header.Set("User-Agent", "mvag-torch")
	if w.token != "" {
		r.Header.Set("Authorization", "Bearer "+w.token)
	}
	answer, err := w.client.Do(r)
	if err != nil {
		return foreignError{err}
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 64<<10)) // all of a usual answer, so that the connection is kept
	if answer.StatusCode/100 == 2 {
		return nil
	}
	err = fmt.Errorf("%s: have %d %s, want 2xx%s", withoutPassword(w.cfg.URL), answer.StatusCode, http.StatusText(answer.StatusCode), excerpt(text))
	switch code := answer.StatusCode; {
	case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable:
		seconds, _ := strconv.Atoi(answer.Header.Get("Retry-After"))
		return waitError{err, time.Duration(min(max(seconds, 0), 3600)) * time.Second}
	case code/100 != 4, code == 401, code == 403, code == 404, code == 405, code == 407, code == 408, code == 425:
		return err
	}
	return refusedError{err}
}

func withoutPassword(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "webhook"
	}
	return u.Redacted()
}

// foreignError is an error that may repeat what the other side has said: a line of at most 500 characters.
type foreignError struct{ error }

func (e foreignError) Unwrap() error { return e.error }

func (e foreignError) Error() string {
	return fmt.Sprintf("%.500s", printable.Line(strings.ToValidUTF8(e.error.Error(), "?")))
}

// excerpt is the beginning of an answer in one line, after a colon.
func excerpt(text []byte) string {
	line := strings.Join(strings.Fields(string(text)), " ")
	if line == "" {
		return ""
	}
	return fmt.Sprintf(": %.200q", line)
}
