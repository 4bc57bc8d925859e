package serve

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"mvag-torch/inspect/inspecttest"
	"mvag-torch/internal/tensor"
	"mvag-torch/internal/testenv"
	"mvag-torch/serve/publish"
)

// TestNothingLeaksInService: handles, goroutines, threads, memory and tensors do not grow with the objects, which come by
// HTTP and a watched folder, with drawings, while a destination is down, models are loaded again, and pages and streams of
// events come and go. MVAG_TEST_FLAT is the number of objects.
func TestNothingLeaksInService(t *testing.T) {
	objects, between, settles := 150, 30, 60 // between two reloads; those after which all is made that is made once
	if n, err := strconv.Atoi(os.Getenv("MVAG_TEST_FLAT")); err == nil {
		objects, between, settles = n, 200, n/2
	}
	dir := t.TempDir()
	cfg := watching(dir, inspecttest.Checkpoint(t))
	cfg.Webhook = &publish.WebhookConfig{URL: "http://127.0.0.1:9"} // where nobody listens
	files := samples(t)
	good := inspecttest.Objects(t, inspecttest.Trained, 8)
	start, startLive := testenv.Measure(t), tensor.Live()
	s, err := Start(t.Context(), cfg, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()

	t.Logf("%7s %s tensors", "objects", testenv.UsageHead)
	t.Logf("%7s %s %6d", "start", start, startLive)
	var first testenv.Usage
	firstLive, url := int64(0), s.URL()
	for i := 0; i < objects; i += 2 {
		post(t, url, good[i/2%len(good)])
		for c := range inspecttest.Views {
			path := filepath.Join(cfg.Watch[0].Path, fmt.Sprintf("P%05d_C%d.png", i, c+1))
			if err := os.WriteFile(path, files[(i+c)%len(files)], 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if i%10 == 0 {
			visit(t, url)
		}
		done := i + 2
		if done%between != 0 {
			continue
		}
		waitJudged(t, cfg)
		s.Reload(ctx)
		u := settled(t, first)
		t.Logf("%7d %s %6d", done, u, tensor.Live())
		if done < settles {
			continue
		}
		if first == (testenv.Usage{}) {
			first, firstLive = u, tensor.Live()
		}
		// The journal's index, the test of drift and malloc take less than 4 KiB an object.
		testenv.CheckFlat(t, first, u, 8<<20+int64(done)<<12)
		if tensor.Live() != firstLive {
			t.Errorf("live tensors: have %d, want %d", tensor.Live(), firstLive)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	u := settled(t, start)
	t.Logf("%7s %s %6d", "end", u, tensor.Live())
	if u.Handles > start.Handles || u.Goroutines > start.Goroutines || tensor.Live() != startLive {
		t.Errorf("at the end have %d handles, %d goroutines, %d tensors, want %d, %d, %d", u.Handles, u.Goroutines, tensor.Live(),
			start.Handles, start.Goroutines, startLive)
	}
}

// visit opens a page and a stream of events, and drops the stream.
func visit(t *testing.T, url string) {
	t.Helper()
	for _, path := range []string{"/", "/v1/models", "/metrics", "/v1/events"} {
		ctx, drop := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if path == "/v1/events" {
			_, err = bufio.NewReader(answer.Body).ReadString('\n')
		} else {
			_, err = io.Copy(io.Discard, answer.Body)
		}
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("%s: have %s, %v", path, answer.Status, err)
		}
		drop()
		_ = answer.Body.Close()
	}
}

// waitJudged waits until the files of the watched folder are judged and moved.
func waitJudged(t *testing.T, cfg Config) {
	t.Helper()
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		left, err := filepath.Glob(filepath.Join(cfg.Watch[0].Path, "*.png"))
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d files are left", len(left))
		}
	}
}

// settled is the usage once handles and goroutines are no more than want, for the zero value the least of some time:
// connections that were dropped take a while to end.
func settled(t *testing.T, want testenv.Usage) testenv.Usage {
	t.Helper()
	http.DefaultClient.CloseIdleConnections()
	u, began := testenv.Measure(t), time.Now()
	for ; time.Since(began) < 30*time.Second; time.Sleep(50 * time.Millisecond) {
		if want == (testenv.Usage{}) && time.Since(began) > 3*time.Second || u.Handles <= want.Handles && u.Goroutines <= want.Goroutines {
			break
		}
		u = u.Least(testenv.Measure(t))
	}
	return u
}
