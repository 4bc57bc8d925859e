package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"mvag-torch/serve/line"
	"mvag-torch/serve/metrics"
)

// running is a service that listens.
type running struct {
	*rig
	server  *Server
	address string // host and port
	stop    context.CancelFunc
	stopped chan error
}

// listen starts a service with a line. It ends with the test, without an error unless the test has taken that.
func listen(t *testing.T, l Line, change func(*Options)) *running {
	t.Helper()
	s := &running{stopped: make(chan error, 1)}
	s.rig = serve(t, l, metrics.New(), func(o *Options) {
		o.Address, o.Grace = "127.0.0.1:0", 5*time.Second
		if change != nil {
			change(o)
		}
	})
	var err error
	if s.server, err = NewServer(s.API.opt); err != nil {
		t.Fatal(err)
	}
	s.address = s.server.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	go func() {
		s.stopped <- s.server.Serve(ctx, s.API)
		close(s.stopped)
	}()
	t.Cleanup(func() {
		stop()
		if err := <-s.stopped; err != nil {
			t.Error(err)
		}
	})
	return s
}

// dial opens a connection and sends text.
func (s *running) dial(t *testing.T, text string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c
}

// slowly is a request whose body does not come.
const slowly = "POST /v1/inspect HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000\r\n\r\n--b\r\n"

// TestSlowClients: neither a header nor a body that does not come keeps a connection, and the bytes of a body that did
// are no longer held.
func TestSlowClients(t *testing.T) {
	s := listen(t, newFake(t), func(o *Options) {
		o.Header, o.Read, o.Idle = 100*time.Millisecond, 200*time.Millisecond, 150*time.Millisecond
	})
	for name, text := range map[string]string{"nothing": "", "half a header": "GET /v2 HTTP/1.1\r\nHost: loc", "half a body": slowly,
		"nothing after an answer": "GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			answer, err := io.ReadAll(s.dial(t, text))
			if took := time.Since(began); err != nil || took > 5*time.Second {
				t.Errorf("the connection was closed after %v, %v", took, err)
			}
			if have := strings.Contains(string(answer), "408 Request Timeout"); have != (text == slowly) {
				t.Errorf("have %q", answer)
			}
		})
	}
	if held := s.held.Load(); held != 0 {
		t.Errorf("%d bytes of bodies count as held", held)
	}
}

// TestLongAnswer: the time in which a request has to come does not end its judging.
func TestLongAnswer(t *testing.T) {
	f := newFake(t)
	f.judge = func(ctx context.Context, r line.Request) (*line.Judged, error) {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(400 * time.Millisecond):
			return judgedOf(r), nil
		}
	}
	s := listen(t, f, func(o *Options) { o.Header, o.Read = 100*time.Millisecond, 100*time.Millisecond })
	body, kind := formOf(field{"1", "a", "x"})
	answer, err := http.Post("http://"+s.address+"/v1/inspect", kind, body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("have %v, %v", answer, err)
	}
	answer.Body.Close()
}

// TestLongReload: a model may take longer to load than requests may take.
func TestLongReload(t *testing.T) {
	f := newFake(t)
	f.reload = func() error {
		time.Sleep(400 * time.Millisecond)
		return nil
	}
	s := listen(t, f, func(o *Options) {
		o.Header, o.Read, o.Timeout = 100*time.Millisecond, 100*time.Millisecond, 50*time.Millisecond
	})
	answer, err := http.Post("http://"+s.address+"/v1/models/parts/reload", "", nil)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("have %v, %v", answer, err)
	}
	answer.Body.Close()
}

// TestClientGone: a client that goes away ends the context of its object, which frees its place.
func TestClientGone(t *testing.T) {
	f := newFake(t)
	inside, left := make(chan struct{}), make(chan error)
	f.judge = func(ctx context.Context, _ line.Request) (*line.Judged, error) {
		close(inside)
		<-ctx.Done()
		left <- context.Cause(ctx)
		return nil, context.Cause(ctx)
	}
	s := listen(t, f, nil)
	body, kind := formOf(field{"1", "a", "x"})
	c := s.dial(t, fmt.Sprintf("POST /v1/inspect HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", kind, body.Len(), body))
	<-inside
	c.Close()
	select {
	case err := <-left:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("have %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("the object goes on without its client")
	}
}

// TestStop: requests on their way are answered, streams end, and no connection is taken any more.
func TestStop(t *testing.T) {
	f := newFake(t)
	inside, leave := make(chan struct{}), make(chan struct{})
	f.judge = func(_ context.Context, r line.Request) (*line.Judged, error) {
		close(inside)
		<-leave
		return judgedOf(r), nil
	}
	s := listen(t, f, nil)
	stream, err := http.Get("http://" + s.address + "/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	codes := make(chan int, 1)
	go func() {
		body, kind := formOf(field{"1", "a", "x"})
		answer, err := http.Post("http://"+s.address+"/v1/inspect", kind, body)
		if err != nil {
			t.Error(err)
			codes <- 0
			return
		}
		answer.Body.Close()
		codes <- answer.StatusCode
	}()
	<-inside
	s.stop()
	if _, err := io.ReadAll(stream.Body); err != nil {
		t.Errorf("the stream ended with %v", err)
	}
	for range 100 { // until the listener is closed
		c, err := net.Dial("tcp", s.address)
		if err != nil {
			break
		}
		c.Close()
		time.Sleep(10 * time.Millisecond)
	}
	if c, err := net.Dial("tcp", s.address); err == nil {
		c.Close()
		t.Error("a connection was taken while the service stops")
	}
	close(leave)
	if code := <-codes; code != http.StatusOK {
		t.Errorf("the request on its way has status %d", code)
	}
}

// TestStopIsBounded: a request that does not end is told of.
func TestStopIsBounded(t *testing.T) {
	f := newFake(t)
	inside := make(chan struct{})
	f.judge = func(ctx context.Context, _ line.Request) (*line.Judged, error) {
		close(inside)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	s := listen(t, f, func(o *Options) { o.Grace = 50 * time.Millisecond })
	body, kind := formOf(field{"1", "a", "x"})
	s.dial(t, fmt.Sprintf("POST /v1/inspect HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", kind, body.Len(), body))
	<-inside
	s.stop()
	if err := <-s.stopped; err == nil || !strings.Contains(err.Error(), "http.grace") {
		t.Errorf("have %v, want an error that says so", err)
	}
}

// TestIdleConnections opens a thousand connections that are kept without a request, and asks beside them.
func TestIdleConnections(t *testing.T) {
	s := listen(t, newFake(t), nil)
	memory := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	before := memory()
	for range 1000 {
		c := s.dial(t, "GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("have %v, %v", answer, err)
		}
	}
	grown := int64(memory()) - int64(before)
	t.Logf("1000 idle connections, both ends in this process: %d KiB each", grown/1000/1024)
	if grown > 64<<20 {
		t.Errorf("have %d MiB more with 1000 idle connections, want at most 64", grown>>20)
	}
	answer, err := http.Get("http://" + s.address + "/v1/models")
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("have %v, %v", answer, err)
	}
}

// TestConnections: one connection too many waits until another is closed.
func TestConnections(t *testing.T) {
	s := listen(t, newFake(t), func(o *Options) { o.Connections = 1 })
	const ask = "GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
	first := s.dial(t, ask)
	if _, err := http.ReadResponse(bufio.NewReader(first), nil); err != nil {
		t.Fatal(err)
	}
	second := s.dial(t, ask)
	_ = second.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := second.Read(make([]byte, 1)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("have %d bytes, %v, want the second to wait", n, err)
	}
	first.Close()
	_ = second.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := http.ReadResponse(bufio.NewReader(second), nil); err != nil {
		t.Error(err)
	}
}

// TestEvents reads a stream, and how many there may be.
func TestEvents(t *testing.T) {
	f := newFake(t)
	s := listen(t, f, func(o *Options) { o.Streams, o.Read, o.Timeout = 1, 100*time.Millisecond, 50*time.Millisecond })
	stream, err := http.Get("http://" + s.address + "/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	if kind := stream.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Errorf("have %q", kind)
	}
	if w := s.get("/v1/events"); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("have status %d for a second stream, want 429", w.Code)
	}
	time.Sleep(400 * time.Millisecond) // longer than requests may take
	f.events <- line.Event{Kind: "object", Data: []byte("{\"id\":\n1}")}
	f.events <- line.Event{Kind: "lost", Data: []byte("3")}
	close(f.events)
	text, err := io.ReadAll(stream.Body)
	if want := ": hello\n\nevent: object\ndata: {\"id\":1}\n\nevent: lost\ndata: 3\n\n"; err != nil || string(text) != want {
		t.Errorf("have %q, %v, want %q", text, err, want)
	}
}

// TestReloadUnderLoad reloads a real model while objects are judged: every request is answered.
func TestReloadUnderLoad(t *testing.T) {
	m := metrics.New()
	s := listen(t, realLine(t, m), nil)
	images := pngs(t, 4)
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for range 15 {
				body, kind := formOf(field{"1", "a", images[0]}, field{"2", "b", images[1]}, field{"3", "c", images[2]})
				answer, err := http.Post("http://"+s.address+"/v1/inspect", kind, body)
				if err != nil {
					t.Error(err)
					return
				}
				text, _ := io.ReadAll(answer.Body)
				answer.Body.Close()
				if answer.StatusCode != http.StatusOK {
					t.Errorf("have status %d %s", answer.StatusCode, text)
				}
			}
		})
	}
	for range 2 {
		answer, err := http.Post("http://"+s.address+"/v1/models/parts/reload", "", nil)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Errorf("have %v, %v", answer, err)
		}
		answer.Body.Close()
	}
	all.Wait()
}
