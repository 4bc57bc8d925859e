package publish

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"mvag-torch/serve/journal"
)

// judge stands for package line: it stores each key once.
type judge struct {
	j      *journal.Journal
	mu     sync.Mutex
	calls  map[string]int // by object
	before func(r Request, call int) error
}

func (x *judge) Judge(ctx context.Context, r Request) error {
	x.mu.Lock()
	x.calls[r.Object]++
	call := x.calls[r.Object]
	x.mu.Unlock()
	if x.before != nil {
		if err := x.before(r, call); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	_, _, err := x.j.Append(r.Key, record(r.Class, r.Object))
	return err
}

func (x *judge) called(object string) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.calls[object]
}

// serveRequests runs Requests until stop is called.
func serveRequests(t *testing.T, address string, x *judge, l *logs) (stop func()) {
	t.Helper()
	r, err := NewRequests(MQTTConfig{Broker: "tcp://" + address, Inspect: DefaultInspect}, x.j.Name())
	if err != nil {
		t.Fatal(err)
	}
	r.Judge, r.Log = x.Judge, l.logger()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx, 4) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return stop
}

func TestRequests(t *testing.T) {
	b := newBroker(t, "")
	s := subscribe(t, b, DefaultErrors)
	send := func(topic, payload string) {
		t.Helper()
		if err := wait(t.Context(), s.client.Publish("mvag-torch/inspect/"+topic, 1, false, payload), nil); err != nil {
			t.Fatal(err)
		}
	}
	request := func(object, key string) string {
		return fmt.Sprintf(`{"object":%q,"key":%q,"images":{"C1":"aGVsbG8="}}`, object, key)
	}
	held := make(chan struct{})
	x := &judge{j: newJournal(t, ""), calls: map[string]int{}}
	x.before = func(r Request, call int) error {
		switch {
		case r.Object == "busy" && call < 3:
			return fmt.Errorf("%w: the line is busy", ErrAgain)
		case r.Object == "unknown":
			return errors.New("class \"nut\": not known")
		case r.Object == "held":
			<-held
		}
		return nil
	}
	stored := func(what string, n int) {
		t.Helper()
		eventually(t, what, func() bool { return x.j.Len() == n })
	}
	var l logs
	stop := serveRequests(t, b.address(), x, &l)
	eventually(t, "subscribed", func() bool { return strings.Contains(l.String(), "taking requests") })
	send("gear", request("S1", ""))
	stored("judged", 1)
	send("gear", request("S1", ""))
	send("gear", request("S1", "second"))
	stored("the same again only with a key", 2)
	send("gear", request("busy", ""))
	stored("the line was busy", 3)
	if n := x.called("busy"); n != 3 {
		t.Errorf("asked %d times, want 3", n)
	}
	send("nut", request("unknown", ""))
	send("gear", "no JSON")
	eventually(t, "two refusals", func() bool { return len(s.topic(DefaultErrors)) == 2 })
	if text := fmt.Sprint(s.topic(DefaultErrors)); !strings.Contains(text, `{"class":"nut","error":"class \"nut\": not known","object":"unknown","topic":"mvag-torch/inspect/nut"}`) {
		t.Errorf("have %s", text)
	}

	// Stopped while an object is on its way: the broker keeps it, as it keeps what comes while no one is there.
	send("gear", request("held", ""))
	eventually(t, "on its way", func() bool { return x.called("held") == 1 })
	ended := make(chan struct{})
	go func() { defer close(ended); stop() }()
	time.Sleep(50 * time.Millisecond)
	close(held)
	<-ended
	stored("not judged", 3)
	send("gear", request("away", ""))
	serveRequests(t, b.address(), x, &l)
	stored("both after the next start", 5)
	if n := x.called("unknown"); n != 1 {
		t.Errorf("a refused one was asked %d times", n)
	}
}

// TestRequestsCut cuts the connection again and again, so that acknowledgements are lost: each is judged once.
func TestRequestsCut(t *testing.T) {
	b := newBroker(t, "")
	s := subscribe(t, b, DefaultErrors)
	x := &judge{j: newJournal(t, ""), calls: map[string]int{}}
	var l logs
	serveRequests(t, proxy(t, b.address(), 60*time.Millisecond), x, &l)
	eventually(t, "subscribed", func() bool { return strings.Contains(l.String(), "taking requests") })
	x.before = func(Request, int) error { time.Sleep(3 * time.Millisecond); return nil }
	for i := range 60 {
		if err := wait(t.Context(), s.client.Publish("mvag-torch/inspect/gear", 1, false, fmt.Sprintf(`{"object":"S%d","images":{"C1":"aGVsbG8="}}`, i)), nil); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all judged", func() bool { return x.j.Len() == 60 })
	calls := 0
	for i := range 60 {
		calls += x.called(fmt.Sprint("S", i))
	}
	if x.j.Len() != 60 {
		t.Errorf("have %d", x.j.Len())
	}
	t.Logf("%d calls for 60 objects", calls)
}
