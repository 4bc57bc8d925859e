// Package publish brings what the journal holds to those who want it: a file of JSON Lines, an MQTT broker, a webhook.
// Each destination has a Runner, which sends the oldest entries first and marks them in the journal once the destination
// has confirmed them. What cannot be sent stays pending in the journal, over restarts too.
//
// It also takes requests from an MQTT broker (Requests), because they share the connection and need nothing of package
// line but a function.
package publish

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"mvag-torch/serve/journal"
)

// Message is an entry of the journal as it is sent.
type Message struct {
	ID       string
	Seq      uint64
	Model    string
	Class    string
	Object   string
	Decision string
	Source   string
	Body     []byte // the record in one line of JSON, without the line feed
}

// newMessage reads what package line stored: {"record":{…},"samples":…}.
func newMessage(e journal.Entry) (Message, error) {
	var stored struct {
		Record json.RawMessage `json:"record"`
	}
	var record struct {
		Object   string `json:"object"`
		Class    string `json:"class"`
		Decision string `json:"decision"`
		Source   string `json:"source"`
		Model    struct {
			Name string `json:"name"`
		} `json:"model"`
	}
	var body bytes.Buffer
	err := json.Unmarshal(e.Data, &stored)
	if err == nil {
		err = json.Unmarshal(stored.Record, &record)
	}
	if err == nil {
		err = json.Compact(&body, stored.Record)
	}
	if err != nil {
		return Message{}, fmt.Errorf("entry %s: %w", e.ID, err)
	}
	return Message{e.ID, e.Seq, record.Model.Name, record.Class, record.Object, record.Decision, record.Source, body.Bytes()}, nil
}

// Sent says what became of messages. Those that are in neither list are sent again.
type Sent struct {
	Done    []uint64 // confirmed by the destination
	Refused []Refusal
}

// Refusal is a message that a destination will never take.
type Refusal struct {
	Seq    uint64
	ID     string
	Reason string
}

// Destination takes messages. Its methods are called by one goroutine.
type Destination interface {
	// Send sends messages in their order. Without messages it makes sure that the destination can be reached. With an
	// error, which says why it stopped, some may be done too.
	Send(ctx context.Context, list []Message) (Sent, error)
	// Lost tells of a connection that should be made again although nothing may be pending. It may return nil.
	Lost() <-chan struct{}
	// Close says goodbye.
	Close() error
}

// waitError is an error with the time that the destination asks to be left alone for.
type waitError struct {
	error
	wait time.Duration
}

func (e waitError) Unwrap() error { return e.error }

// Refusals is the kind of the notes in the journal about messages that a destination refused: key "TO/ID".
const Refusals = "refused"

// Refused is such a note. The entry itself stays as long as the journal keeps it.
type Refused struct {
	To     string `json:"to"`
	ID     string `json:"id"`
	Reason string `json:"reason"`
}

// Counts are told what happens, for metrics. Each may be nil.
type Counts struct {
	Sent    func(to string, n int)
	Failed  func(to string) // an attempt failed; what it should have sent is still pending
	Refused func(to string)
}

// Runner publishes to one destination.
type Runner struct {
	Journal     *journal.Journal
	To          string // name in the journal
	Destination Destination
	Log         *slog.Logger
	Counts      Counts
	Window      int           // messages sent at once; 0 is 64
	First, Most time.Duration // waits after failures: the first and the longest; 0 are 1 s and 1 min

	failures int
	said     string // the last failure
}

// Run publishes until ctx ends, then closes the destination. What is pending then is sent after the next start.
func (r *Runner) Run(ctx context.Context) {
	r.Log = r.Log.With("to", r.To)
	for ctx.Err() == nil {
		more, err := r.round(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			r.failed(err)
			sleep(ctx, r.pause(err))
		default:
			r.worked()
			if more {
				continue
			}
			select {
			case <-ctx.Done():
			case <-r.Journal.Changed(r.To):
			case <-r.Destination.Lost():
			}
		}
	}
	if err := r.Destination.Close(); err != nil {
		r.Log.Warn("destination not closed", "error", err)
	}
	if n := r.Journal.Spooled(r.To); n > 0 {
		r.Log.Info("results are pending until the next start", "count", n)
	}
}

// round sends the oldest messages and marks what became of them. more says that there may be others.
func (r *Runner) round(ctx context.Context) (more bool, err error) {
	window := r.Window
	if window == 0 {
		window = 64
	}
	entries, err := r.Journal.Pending(r.To, window)
	if err != nil {
		return false, err
	}
	var list []Message
	var sent Sent
	for _, e := range entries {
		m, err := newMessage(e)
		if err != nil {
			sent.Refused = append(sent.Refused, Refusal{e.Seq, e.ID, err.Error()})
			continue
		}
		list = append(list, m)
	}
	now, failed := r.Destination.Send(ctx, list)
	now.Refused = append(sent.Refused, now.Refused...)
	if err := r.mark(now); err != nil {
		return false, errors.Join(err, failed)
	}
	if len(now.Done) > 0 {
		r.failures = 0 // it takes some
	}
	return len(entries) == window, failed
}

// mark says in the journal what became of messages.
func (r *Runner) mark(s Sent) error {
	seqs := s.Done
	for _, x := range s.Refused {
		note, err := json.Marshal(Refused{r.To, x.ID, x.Reason})
		if err != nil {
			return err
		}
		if err := r.Journal.Put(Refusals, r.To+"/"+x.ID, note); err != nil {
			return err
		}
		seqs = append(seqs, x.Seq)
		r.Log.Error("result refused and set aside", "id", x.ID, "reason", x.Reason)
		if r.Counts.Refused != nil {
			r.Counts.Refused(r.To)
		}
	}
	if len(seqs) == 0 {
		return nil
	}
	if err := r.Journal.Published(r.To, seqs...); err != nil {
		return err
	}
	if r.Counts.Sent != nil && len(s.Done) > 0 {
		r.Counts.Sent(r.To, len(s.Done))
	}
	return nil
}

// failed says a failure once, until it changes.
func (r *Runner) failed(err error) {
	r.failures++
	if r.Counts.Failed != nil {
		r.Counts.Failed(r.To)
	}
	if text := err.Error(); text != r.said {
		r.said = text
		r.Log.Warn("cannot publish, will try again", "error", err, "pending", r.Journal.Spooled(r.To))
	}
}

func (r *Runner) worked() {
	if r.said != "" {
		r.Log.Info("publishing again", "pending", r.Journal.Spooled(r.To))
	}
	r.failures, r.said = 0, ""
}

// pause is the wait after a failure: doubled each time, and with jitter, so that many services do not return together.
func (r *Runner) pause(err error) time.Duration {
	first, most := r.First, r.Most
	if first == 0 {
		first = time.Second
	}
	if most == 0 {
		most = time.Minute
	}
	d := backoff(first, most, r.failures)
	var asked waitError
	if errors.As(err, &asked) {
		d = max(d, min(asked.wait, most))
	}
	return d
}

// backoff is between half of and all of first·2^(failures-1), or of most if that is less.
func backoff(first, most time.Duration, failures int) time.Duration {
	d := most
	if shift := max(failures-1, 0); shift < 30 {
		d = min(first<<shift, most)
	}
	return d/2 + rand.N(d/2+1)
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
