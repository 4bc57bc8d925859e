package publish

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mvag-torch/serve/journal"
)

// record is the entry that package line would store for an object.
func record(class, object string) func(id string) ([]byte, error) {
	return func(id string) ([]byte, error) {
		return json.Marshal(map[string]any{"record": map[string]any{"id": id, "object": object, "class": class, "decision": "good",
			"source": "http", "model": map[string]string{"name": "parts"}}, "samples": map[string]int{"head": 1}})
	}
}

func newJournal(t *testing.T, path string, to ...string) *journal.Journal {
	t.Helper()
	if path == "" {
		path = filepath.Join(t.TempDir(), "journal.db")
	}
	j, err := journal.Open(path, journal.Options{To: to})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func add(t *testing.T, j *journal.Journal, class, object string) string {
	t.Helper()
	e, _, err := j.Append("", record(class, object))
	if err != nil {
		t.Fatal(err)
	}
	return e.ID
}

// logs collects what is logged.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logs) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// start runs a runner with short waits until stop is called.
func start(t *testing.T, r *Runner) (stop func()) {
	t.Helper()
	if r.Log == nil {
		r.Log = (&logs{}).logger()
	}
	if r.First == 0 {
		r.First, r.Most = 5*time.Millisecond, 50*time.Millisecond
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return stop
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 60 s", what)
		}
	}
}

// fake is a destination that fails when told.
type fake struct {
	mu     sync.Mutex
	err    error
	refuse string // object
	got    []string
	calls  int
	closed bool
	lost   chan struct{}
}

func (f *fake) Send(_ context.Context, list []Message) (s Sent, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	for i, m := range list {
		if f.err != nil && i == 1 || f.err != nil && len(f.got) == 0 {
			return s, f.err
		}
		if m.Object == f.refuse {
			s.Refused = append(s.Refused, Refusal{m.Seq, m.ID, "no such part"})
			continue
		}
		f.got = append(f.got, m.Object)
		s.Done = append(s.Done, m.Seq)
	}
	return s, f.err
}

func (f *fake) Lost() <-chan struct{} { return f.lost }
func (f *fake) Close() error          { f.closed = true; return nil }

func (f *fake) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *fake) state() (got []string, calls int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.got), f.calls
}

func TestRunner(t *testing.T) {
	j := newJournal(t, "", "x")
	add(t, j, "gear", "S1")
	d := &fake{err: errors.New("away"), refuse: "S3", lost: make(chan struct{})}
	var l logs
	var failed, refused, sent int
	stop := start(t, &Runner{Journal: j, To: "x", Destination: d, Log: l.logger(), Window: 2, Counts: Counts{
		Sent: func(_ string, n int) { sent += n }, Failed: func(string) { failed++ }, Refused: func(string) { refused++ }}})
	eventually(t, "tries again", func() bool { _, n := d.state(); return n > 3 })
	for i := range 4 {
		add(t, j, "gear", fmt.Sprint("S", i+2))
	}
	if _, _, err := j.Append("", func(string) ([]byte, error) { return []byte("no JSON"), nil }); err != nil {
		t.Fatal(err)
	}
	if n := j.Spooled("x"); n != 6 {
		t.Errorf("have %d pending, want 6", n)
	}
	d.set(nil)
	eventually(t, "all sent", func() bool { return j.Spooled("x") == 0 })
	add(t, j, "gear", "S6") // wakes it
	eventually(t, "woken", func() bool { return j.Spooled("x") == 0 })
	_, before := d.state()
	d.lost <- struct{}{}
	eventually(t, "connects again", func() bool { _, n := d.state(); return n > before })
	stop()
	if got, _ := d.state(); !slices.Equal(got, []string{"S1", "S2", "S4", "S5", "S6"}) || !d.closed {
		t.Errorf("have %q, closed %v", got, d.closed)
	}
	if sent != 5 || refused != 2 || failed < 3 {
		t.Errorf("have %d sent, %d refused, %d failed", sent, refused, failed)
	}
	var notes []string
	if err := j.Values(Refusals, func(key string, value []byte) bool { notes = append(notes, key+" "+string(value)); return true }); err != nil {
		t.Fatal(err)
	}
	if len(notes) != 2 || !strings.HasPrefix(notes[0], "x/"+j.Name()+"-3 ") || !strings.Contains(notes[0], `"reason":"no such part"`) {
		t.Errorf("have %q", notes)
	}
	text := l.String()
	for what, n := range map[string]int{"error=away": 1, "publishing again": 1, "refused and set aside": 2} {
		if have := strings.Count(text, what); have != n {
			t.Errorf("%q: have it %d times, want %d: %s", what, have, n, text)
		}
	}
}

// TestRunnerMarksWhatWasTaken: a destination that fails midway does not get twice what it confirmed.
func TestRunnerMarksWhatWasTaken(t *testing.T) {
	j := newJournal(t, "", "x")
	for i := range 5 {
		add(t, j, "gear", fmt.Sprint("S", i))
	}
	d := &fake{got: []string{"-"}, err: errors.New("breaks after one")}
	start(t, &Runner{Journal: j, To: "x", Destination: d})
	eventually(t, "all sent", func() bool { return j.Spooled("x") == 0 })
	if got, _ := d.state(); !slices.Equal(got, []string{"-", "S0", "S1", "S2", "S3", "S4"}) {
		t.Errorf("have %q", got)
	}
}

func TestBackoff(t *testing.T) {
	for failures, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 7: time.Minute, 99: time.Minute} {
		different := map[time.Duration]bool{}
		for range 50 {
			d := backoff(time.Second, time.Minute, failures)
			different[d] = true
			if d < want/2 || d > want {
				t.Errorf("%d failures: have %v, want %v to %v", failures, d, want/2, want)
			}
		}
		if len(different) < 2 {
			t.Errorf("%d failures: no jitter", failures)
		}
	}
	r := &Runner{failures: 1}
	if d := r.pause(waitError{errors.New("busy"), 30 * time.Second}); d != 30*time.Second {
		t.Errorf("asked to wait 30 s: have %v", d)
	}
	if d := r.pause(waitError{errors.New("busy"), time.Hour}); d != time.Minute {
		t.Errorf("asked to wait an hour: have %v", d)
	}
}

func TestTopic(t *testing.T) {
	for name, test := range map[string]struct {
		template string
		m        Message
		want     string
	}{
		"plain":       {DefaultTopic, Message{Model: "parts", Class: "gear"}, "mvag-torch/parts/gear/result"},
		"no class":    {DefaultTopic, Message{Model: "parts"}, "mvag-torch/parts/_/result"},
		"wild":        {DefaultTopic, Message{Model: "a/b", Class: "+#"}, "mvag-torch/a_b/__/result"},
		"system":      {"{model}/x", Message{Model: "$SYS"}, "_SYS/x"},
		"control":     {"{object}", Message{Object: "a\x00b\nc\xff"}, "a_b_c_"},
		"letters":     {"{object}/{decision}/{source}", Message{Object: "Zahnrad ä", Decision: "good", Source: "mqtt"}, "Zahnrad ä/good/mqtt"},
		"too long":    {"{object}", Message{Object: strings.Repeat("ä", 300)}, strings.Repeat("ä", 200)},
		"no variable": {"results", Message{}, "results"},
		"unknown":     {"x/{line}", Message{}, ""},
		"open":        {"x/{model", Message{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			have, err := topicOf(test.template, test.m)
			if have != test.want || (err != nil) != (test.want == "") {
				t.Errorf("have %q, %v, want %q", have, err, test.want)
			}
		})
	}
}

func TestMQTTConfig(t *testing.T) {
	for name, test := range map[string]struct {
		cfg  MQTTConfig
		want string
	}{
		"good":          {MQTTConfig{Broker: "tcp://127.0.0.1:1883"}, ""},
		"no scheme":     {MQTTConfig{Broker: "127.0.0.1:1883"}, "broker: "},
		"password":      {MQTTConfig{Broker: "tcp://me:secret@host"}, "broker: "},
		"topic":         {MQTTConfig{Broker: "tcp://host", Topic: "a/#"}, "topic: "},
		"placeholder":   {MQTTConfig{Broker: "tcp://host", Topic: "a/{x}"}, "topic: "},
		"status":        {MQTTConfig{Broker: "tcp://host", Status: "+"}, "status: "},
		"password file": {MQTTConfig{Broker: "tcp://host", Password: Secret{File: "/no/such"}}, "password: /no/such: no such file"},
		"password env":  {MQTTConfig{Broker: "tcp://host", Password: Secret{Env: "MVAG_NO_SUCH"}}, `password: variable "MVAG_NO_SUCH": not set`},
		"two passwords": {MQTTConfig{Broker: "tcp://host", Password: Secret{File: "a", Env: "b"}}, "password: have file"},
		"ca":            {MQTTConfig{Broker: "ssl://host", TLS: TLS{CA: "publish_test.go"}}, "tls: publish_test.go: have no certificate"},
		"key alone":     {MQTTConfig{Broker: "ssl://host", TLS: TLS{Key: "k"}}, "tls: have cert"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewMQTT(test.cfg, "0a0b0c0d")
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.HasPrefix(err.Error(), test.want)) {
				t.Errorf("have %v, want %q", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("have %q, want one line", err)
			}
		})
	}
	for filter, good := range map[string]bool{"a": true, "a/+": true, "a/#": true, "+/b": true, "": false, "a/#/b": false, "a+": false, "a#": false} {
		if _, err := NewRequests(MQTTConfig{Broker: "tcp://host", Inspect: filter}, ""); (err == nil) != good {
			t.Errorf("filter %q: %v", filter, err)
		}
	}
}

func TestParse(t *testing.T) {
	const image = `"images":{"C1":"aGVsbG8="}`
	for name, test := range map[string]struct{ filter, topic, payload, class, err string }{
		"plain":          {"in/#", "in", `{"object":"S1",` + image + `}`, "", ""},
		"class inside":   {"in/+", "in/gear", `{"object":"S1","class":"nut",` + image + `}`, "nut", ""},
		"class in topic": {"in/+", "in/gear", `{"object":"S1",` + image + `}`, "gear", ""},
		"with a #":       {"in/#", "in/gear", `{"object":"S1",` + image + `}`, "gear", ""},
		"two levels":     {"in/#", "in/a/b", `{"object":"S1",` + image + `}`, "", ""},
		"no object":      {"in", "in", `{` + image + `}`, "", "have no object"},
		"no images":      {"in", "in", `{"object":"S1"}`, "", "have no images"},
		"empty image":    {"in", "in", `{"object":"S1","images":{"C2":""}}`, "", `image of camera "C2": empty`},
		"base64":         {"in", "in", `{"object":"S1","images":{"C2":"%%"}}`, "", "have no such request"},
		"no JSON":        {"in", "in", "\xff\xd8", "", "have no such request"},
		"unknown field":  {"in", "in", `{"object":"S1","klass":"x",` + image + `}`, "", "have no such request"},
		"two":            {"in", "in", `{"object":"S1",` + image + `}{}`, "", "have no such request"},
		"empty":          {"in", "in", "", "", "have no such request"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := parse(test.filter, test.topic, []byte(test.payload))
			if test.err != "" {
				if err == nil || !strings.HasPrefix(err.Error(), test.err) {
					t.Errorf("have %v, want %s", err, test.err)
				}
				return
			}
			if err != nil || r.Class != test.class || r.Object != "S1" || string(r.Images["C1"]) != "hello" || r.Key == "" {
				t.Errorf("have %+v, %v", r, err)
			}
		})
	}
	keys := map[string]bool{key("a", "", []byte("x")): true, key("a", "x", []byte("x")): true, key("a", "", []byte("y")): true, key("ax", "", nil): true, key("b", "", []byte("x")): true}
	if len(keys) != 5 {
		t.Errorf("have %d keys, want 5", len(keys))
	}
	if key("a", "1", []byte("x")) != key("a", "1", []byte("y")) {
		t.Error("an own key depends on the content")
	}
}
