package team

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"mvag-torch/internal/printable"
	"mvag-torch/internal/tensor"
)

// Failure is why a team ends: what has happened to one of its ranks.
type Failure struct {
	Rank int    `json:"rank"` // -1 for all of them
	Host string `json:"host"`
	Text string `json:"text"`

	// Quiet says that another rank tells people.
	Quiet bool `json:"-"`
	// Err is the error of this rank that Text is of; nil where that is another rank's.
	Err error `json:"-"`
}

func (f *Failure) Unwrap() error { return f.Err }

func (f *Failure) Error() string {
	if f.Rank < 0 {
		return f.Text
	}
	return fmt.Sprintf("rank %d (%s): %s", f.Rank, f.Host, f.Text)
}

// gone is the failure of a rank that cannot speak for itself: rank 0 does, or rank 1 for that.
func (t *Team) gone(rank int, text string) *Failure {
	return &Failure{Rank: rank, Host: t.members[rank].Host, Text: text, Quiet: t.place.Rank != speaker(rank)}
}

func speaker(gone int) int {
	if gone == 0 {
		return 1
	}
	return 0
}

// post tells the others of a failure. Where one was told before, it says so.
func (t *Team) post(f Failure) (earlier bool) {
	text, err := json.Marshal(f)
	if err != nil {
		return false
	}
	n, err := t.store.Add("failures", 1)
	if err == nil && n == 1 {
		_ = t.store.Set("failure", text) // who does not learn of it finds a connection closed
	}
	return err == nil && n > 1
}

// posted returns the failure that a rank has posted; nil for none.
func (t *Team) posted(s *tensor.Store) *Failure {
	text, ok, err := s.Get("failure")
	if err != nil || !ok {
		return nil
	}
	f := t.readFailure(text)
	if f == nil {
		return nil
	}
	f.Quiet = f.Rank != t.place.Rank
	if f.Rank >= 0 && f.Gone() {
		f.Quiet = t.place.Rank != speaker(f.Rank)
	}
	return f
}

// readFailure reads what a rank has posted; nil for what none does.
func (t *Team) readFailure(text []byte) *Failure {
	f := &Failure{}
	if json.Unmarshal(text, f) != nil || f.Rank < -1 || f.Rank >= t.place.Size {
		return nil
	}
	f.Host = nameOf(f.Host)
	return f
}

// nameOf is a name that another rank gives, in a line.
func nameOf(name string) string {
	return printable.Line(fmt.Sprintf("%.300s", strings.ToValidUTF8(name, "?")))
}

// Gone says that the rank cannot speak for itself.
func (f *Failure) Gone() bool { return f.Text == silent || f.Text == closed }

// What is said of a rank that is gone.
const (
	silent = "gives no sign any more: it is stopped, or its host or network is down"
	closed = "is gone: it was killed, or its connection is closed"
)

// Refuse is the error of all ranks that one of them has something else than rank 0.
func (t *Team) refuse(rank int, what, have, want string) *Failure {
	return &Failure{Rank: rank, Host: t.members[rank].Host, Quiet: t.place.Rank != 0,
		Text: fmt.Sprintf("%s: have %s, want %s as rank 0 (%s)", what, have, want, t.members[0].Host)}
}

// Explain returns why this rank ends, given the error that ended it: where that is only that others are gone, which
// one. It tells the others of an error of this rank's own; of the same error of several ranks, one speaks.
func (t *Team) Explain(err error) error {
	if err != nil && t != nil && t.serves() {
		defer time.Sleep(2 * interval) // the store ends with this process; the others shall have read why
	}
	var met *Failure
	if t == nil || err == nil || errors.As(err, &met) || errors.As(err, &told{}) {
		return err
	}
	if !t.group.Failed() {
		f := Failure{Rank: t.place.Rank, Host: t.members[t.place.Rank].Host, Text: err.Error()}
		if t.post(f) {
			if same := t.earlier(f.Text); same != nil {
				return same
			}
		}
		return t.own(err)
	}
	for deadline := time.Now().Add(silence + 2*time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		t.mu.Lock()
		f := t.failure
		t.mu.Unlock()
		if f != nil {
			return f
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Errorf("rank %d (%s): lost the other ranks, of which all still give signs: %w",
		t.place.Rank, t.members[t.place.Rank].Host, cmp.Or(t.trouble, err))
}

// earlier returns the failure that another rank has posted if it has the same text, which need not be said twice.
func (t *Team) earlier(text string) *Failure {
	for range 20 { // it may be about to say
		if f := t.posted(t.store); f != nil {
			if f.Rank != t.place.Rank && f.Text == text {
				return f
			}
			return nil
		}
		time.Sleep(interval / 10)
	}
	return nil
}

// Common is an error that all ranks have found alike, without a word to each other. Rank 0 tells people.
func (t *Team) Common(err error) error {
	if t == nil || err == nil {
		return err
	}
	return &Failure{Rank: -1, Text: err.Error(), Quiet: t.place.Rank != 0, Err: err}
}

// Lost tells whether ranks can no longer meet, since one of them is gone or has failed.
func (t *Team) Lost() bool { return t != nil && t.group.Failed() }

// told is an error of this rank that the others know.
type told struct{ error }

func (t told) Unwrap() error { return t.error }

// own is an error of this rank.
func (t *Team) own(err error) error {
	return told{fmt.Errorf("rank %d (%s): %w", t.place.Rank, t.members[t.place.Rank].Host, err)}
}

// fail notes the first failure, and lets what waits for other ranks fail.
func (t *Team) fail(f *Failure) {
	t.mu.Lock()
	first := t.failure == nil
	if first {
		t.failure = f
	}
	t.mu.Unlock()
	if first {
		t.group.Abort()
	}
}

func beatOf(rank int) string { return "beat/" + strconv.Itoa(rank) }
