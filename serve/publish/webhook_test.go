package publish

import (
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// receiver answers with the status that answer gives, and keeps what it confirmed.
type receiver struct {
	mu     sync.Mutex
	answer func(n int, object string) int
	n      int
	bodies []string
	keys   []string
	auth   string
}

func (x *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x.mu.Lock()
	defer x.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	x.n++
	object := ""
	for _, o := range []string{"S1", "S2", "S3"} {
		if strings.Contains(string(body), `"object":"`+o+`"`) {
			object = o
		}
	}
	code := x.answer(x.n, object)
	if code/100 == 2 && r.Method == http.MethodPost && r.Header.Get("Content-Type") == "application/json" {
		x.bodies = append(x.bodies, string(body))
		x.keys = append(x.keys, r.Header.Get("Idempotency-Key"))
	}
	x.auth = r.Header.Get("Authorization")
	if code == http.StatusFound {
		w.Header().Set("Location", "/elsewhere")
	}
	if code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(code)
	fmt.Fprint(w, "said\nthe receiver")
}

func TestWebhook(t *testing.T) {
	for name, test := range map[string]struct {
		answer  func(n int, object string) int
		refused int
		slow    bool
		said    string
	}{
		"works":            {func(int, string) int { return 204 }, 0, false, ""},
		"away for a while": {func(n int, _ string) int { return map[bool]int{true: 502, false: 200}[n < 4] }, 0, false, "502 Bad Gateway"},
		"no permission":    {func(n int, _ string) int { return map[bool]int{true: 401, false: 200}[n < 9] }, 0, false, "401 Unauthorized"},
		"not found":        {func(n int, _ string) int { return map[bool]int{true: 404, false: 200}[n < 9] }, 0, false, "404 Not Found"},
		"redirects":        {func(n int, _ string) int { return map[bool]int{true: 302, false: 200}[n < 4] }, 0, false, "302 Found"},
		"too many":         {func(n int, _ string) int { return map[bool]int{true: 429, false: 200}[n < 6] }, 0, false, "429"},
		"asks to wait":     {func(n int, _ string) int { return map[bool]int{true: 503, false: 200}[n == 1] }, 0, true, "503"},
		"refuses one":      {func(_ int, o string) int { return map[bool]int{true: 422, false: 200}[o == "S2"] }, 1, false, `422 Unprocessable Entity, want 2xx: \"said the receiver\"`},
	} {
		t.Run(name, func(t *testing.T) {
			x := &receiver{answer: test.answer}
			server := httptest.NewServer(x)
			defer server.Close()
			token := filepath.Join(t.TempDir(), "token")
			if err := os.WriteFile(token, []byte("secret\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			d, err := NewWebhook(WebhookConfig{URL: server.URL + "/results", Token: Secret{File: token}})
			if err != nil {
				t.Fatal(err)
			}
			j := newJournal(t, "", "webhook")
			var want []string
			for _, object := range []string{"S1", "S2", "S3"} {
				if id := add(t, j, "gear", object); test.refused == 0 || object != "S2" {
					want = append(want, id)
				}
			}
			var l logs
			begun := time.Now()
			most := 10 * time.Millisecond
			if test.slow {
				most = 2 * time.Second
			}
			stop := start(t, &Runner{Journal: j, To: "webhook", Destination: d, Log: l.logger(), First: time.Millisecond, Most: most})
			drained(t, j, "webhook")
			stop()
			if !slices.Equal(x.keys, want) || !strings.Contains(x.bodies[0], `{"class":"gear","decision":"good","id":"`+want[0]) || x.auth != "Bearer secret" {
				t.Errorf("have %q, %q, %q, want %q", x.keys, x.bodies, x.auth, want)
			}
			refused := 0
			if err := j.Values(Refusals, func(string, []byte) bool { refused++; return true }); err != nil || refused != test.refused {
				t.Errorf("have %d refused, %v, want %d", refused, err, test.refused)
			}
			if !strings.Contains(l.String(), test.said) {
				t.Errorf("%q was not said: %s", test.said, l.String())
			}
			if test.slow && time.Since(begun) < 900*time.Millisecond {
				t.Errorf("asked again after %v, want 1 s", time.Since(begun))
			}
			if test.refused > 0 && x.n != 5 {
				t.Errorf("asked %d times, want 5: one refused three times", x.n)
			}
		})
	}
}

// TestWebhookHangs: a receiver that does not answer is left after the timeout.
func TestWebhookHangs(t *testing.T) {
	hang := make(chan struct{})
	var once sync.Once
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first := false
		once.Do(func() { first = true })
		if first {
			<-hang
		}
	}))
	defer server.Close()
	defer close(hang)
	d, err := NewWebhook(WebhookConfig{URL: server.URL, Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	j := newJournal(t, "", "webhook")
	add(t, j, "gear", "S1")
	start(t, &Runner{Journal: j, To: "webhook", Destination: d})
	drained(t, j, "webhook")
}

func TestWebhookTLS(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		tls  TLS
		want bool
	}{"trusted": {TLS{CA: ca}, true}, "unknown": {TLS{}, false}} {
		d, err := NewWebhook(WebhookConfig{URL: server.URL, TLS: test.tls})
		if err != nil {
			t.Fatal(err)
		}
		s, err := d.Send(t.Context(), []Message{{Seq: 1, Body: []byte("{}")}})
		if (err == nil) != test.want || (len(s.Done) == 1) != test.want {
			t.Errorf("%s: have %v, %v", name, s, err)
		}
	}
	for _, url := range []string{"", "host", "ftp://host", "http://", "http://a b"} {
		if _, err := NewWebhook(WebhookConfig{URL: url}); err == nil || !strings.HasPrefix(err.Error(), "url: have ") {
			t.Errorf("%q: have %v", url, err)
		}
	}
}
