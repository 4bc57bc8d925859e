package api

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"mvag-torch/serve/metrics"
)

const secret = "a-token-of-enough-bytes"

// TestToken asks with and without the token, on a route that needs it and on one that does not.
func TestToken(t *testing.T) {
	s := serve(t, newFake(t), metrics.New(), func(o *Options) { o.Token, o.Address = secret, "0.0.0.0:80" })
	for _, tt := range []struct {
		name   string
		path   string
		header map[string]string
		status int
	}{
		{"none", "/v1/models", nil, 401},
		{"right", "/v1/models", map[string]string{"Authorization": "Bearer " + secret}, 200},
		{"lower case", "/v1/models", map[string]string{"Authorization": "bearer " + secret}, 200},
		{"wrong", "/v1/models", map[string]string{"Authorization": "Bearer " + secret[1:]}, 401},
		{"empty", "/v1/models", map[string]string{"Authorization": "Bearer "}, 401},
		{"basic", "/v1/models", map[string]string{"Authorization": "Basic " + secret}, 401},
		{"in the address", "/v1/models?token=" + secret, nil, 401},
		{"cookie that is the token", "/v1/models", map[string]string{"Cookie": sessionCookie + "=" + secret}, 401},
		{"cookie without an end", "/v1/models", map[string]string{"Cookie": sessionCookie + "=."}, 401},
		{"cookie of another time", "/v1/models", map[string]string{"Cookie": sessionCookie + "=99999999999." + strings.Repeat("0", 64)}, 401},
		{"live", "/v2/health/live", nil, 200},
		{"ready", "/v2/health/ready", nil, 200},
		{"metrics", "/metrics", nil, 401},
		{"document", "/openapi.json", nil, 401},
		{"server", "/v2", nil, 401},
		{"no such path", "/v1/none", nil, 404},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, tt.path, nil)
			r.Host = "line7.example.org" // any, with a token
			for name, value := range tt.header {
				r.Header.Set(name, value)
			}
			w := s.do(r)
			if w.Code != tt.status || (w.Code == 401) != (w.Header().Get("WWW-Authenticate") != "") {
				t.Errorf("have status %d %s, want %d", w.Code, w.Body, tt.status)
			}
		})
	}
	open := serve(t, newFake(t), metrics.New(), func(o *Options) { o.Token, o.MetricsOpen = secret, true })
	if w := open.get("/metrics"); w.Code != 200 || !strings.Contains(w.Body.String(), "mvag_request_duration_seconds") && !strings.Contains(w.Body.String(), "mvag_errors_total") {
		t.Errorf("have status %d of open metrics", w.Code)
	}
}

// TestSession gets a cookie for the token, and uses it.
func TestSession(t *testing.T) {
	s := serve(t, newFake(t), metrics.New(), func(o *Options) { o.Token = secret })
	ask := func(kind, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "/v1/session", strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		return s.do(r)
	}
	for _, tt := range []struct {
		kind, body string
		status     int
	}{
		{"application/json", `{"token": "wrong"}`, 401},
		{"application/json", `{"token": ""}`, 401},
		{"application/json", `{}`, 400},
		{"application/json", `null`, 400},
		{"application/json", `{"token": null}`, 400},
		{"application/json", `[{"token": "a"}]`, 400},
		{"application/json", `{"token": 1}`, 400},
		{"application/json", `{"token": "a", "more": 1}`, 400},
		{"application/json", `{"token": "a"} {}`, 400},
		{"application/json", `{"token": "a"`, 400},
		{"application/json", `{"token": "` + strings.Repeat("a", 70_000) + `"}`, 413},
		{"text/plain", `{"token": "` + secret + `"}`, 415},
		{"", `{"token": "` + secret + `"}`, 415},
	} {
		if w := ask(tt.kind, tt.body); w.Code != tt.status || w.Header().Get("Set-Cookie") != "" {
			t.Errorf("%.60s: have status %d %s, want %d", tt.body, w.Code, w.Body, tt.status)
		}
	}
	w := ask("application/json; charset=utf-8", `{"token": "`+secret+`"}`)
	cookies := w.Result().Cookies()
	if w.Code != http.StatusNoContent || len(cookies) != 1 {
		t.Fatalf("have status %d and %v", w.Code, cookies)
	}
	c := cookies[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Secure || strings.Contains(c.Value, secret) {
		t.Errorf("have %+v", c)
	}
	with := func(value string) int {
		r := httptest.NewRequest(http.MethodGet, "/v1/models", nil)
		r.AddCookie(&http.Cookie{Name: sessionCookie, Value: value})
		return s.do(r).Code
	}
	if code := with(c.Value); code != http.StatusOK {
		t.Errorf("have status %d with the cookie", code)
	}
	if code := with(s.sign(time.Now().Add(-time.Second).Unix())); code != http.StatusUnauthorized {
		t.Errorf("have status %d with a cookie that has ended", code)
	}
	s.opt.Token = "another-token-of-bytes"
	if code := with(c.Value); code != http.StatusUnauthorized {
		t.Errorf("have status %d with the cookie of an earlier token", code)
	}
}

// TestOrigins: what changes something is refused from pages of other sites, and without a token any name but that of
// this machine is refused.
func TestOrigins(t *testing.T) {
	s := serve(t, newFake(t), metrics.New(), func(o *Options) { o.Hosts = []string{"inspector.factory"} })
	for _, tt := range []struct {
		name, method, host string
		header             map[string]string
		status             int
	}{
		{"curl", "POST", "127.0.0.1:8080", nil, 204},
		{"own page", "POST", "localhost:8080", map[string]string{"Sec-Fetch-Site": "same-origin"}, 204},
		{"own page of an old browser", "POST", "localhost:8080", map[string]string{"Origin": "http://localhost:8080"}, 204},
		{"other page", "POST", "localhost:8080", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{"page of the same site", "POST", "localhost:8080", map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		{"other page of an old browser", "POST", "localhost:8080", map[string]string{"Origin": "http://evil.example"}, 403},
		{"other port", "POST", "localhost:8080", map[string]string{"Origin": "http://localhost:9999"}, 403},
		{"link of another page", "GET", "localhost:8080", map[string]string{"Sec-Fetch-Site": "cross-site"}, 200},
		{"rebound name", "GET", "evil.example", nil, 403},
		{"rebound name with a port", "GET", "evil.example:8080", nil, 403},
		{"name that ends like this machine", "GET", "notlocalhost", nil, 403},
		{"name that begins like this machine", "GET", "127.0.0.1.evil.example", nil, 403},
		{"no name", "GET", "", nil, 403},
		{"IPv6", "GET", "[::1]:8080", nil, 200},
		{"IPv6 without a port", "GET", "[::1]", nil, 200},
		{"another loopback address", "GET", "127.1.2.3", nil, 200},
		{"name of a proxy", "GET", "Inspector.Factory", nil, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(tt.method, "/v2", nil)
			if tt.method == http.MethodPost {
				r = httptest.NewRequest(tt.method, "/v1/session", strings.NewReader(`{"token":"x"}`))
				r.Header.Set("Content-Type", "application/json")
			}
			r.Host = tt.host
			for name, value := range tt.header {
				r.Header.Set(name, value)
			}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if s.check(r, w); w.Code != tt.status {
				t.Errorf("have status %d %s, want %d", w.Code, w.Body, tt.status)
			}
		})
	}
}

// TestOptions names each fault.
func TestOptions(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Options)
		phrase string // "" for none
	}{
		{"defaults", func(*Options) {}, ""},
		{"anywhere", func(o *Options) { o.Address = "0.0.0.0:80" }, `have "0.0.0.0:80" and no token`},
		{"any name", func(o *Options) { o.Address = ":80" }, `have ":80" and no token`},
		{"anywhere with a token", func(o *Options) { o.Address, o.Token = ":80", secret }, ""},
		{"anywhere and open", func(o *Options) { o.Address, o.Open = ":80", true }, ""},
		{"loopback of IPv6", func(o *Options) { o.Address = "[::1]:80" }, ""},
		{"no port", func(o *Options) { o.Address = "localhost" }, "http.address"},
		{"short token", func(o *Options) { o.Token = "abc" }, "have 3 bytes, want at least 16"},
		{"token with a line", func(o *Options) { o.Token = secret + "\n" }, "http.token"},
		{"key alone", func(o *Options) { o.Key = "key.pem" }, "http.tls"},
		{"no body", func(o *Options) { o.Body = 0 }, "http.body: have 0"},
		{"bodies below body", func(o *Options) { o.Bodies = o.Body - 1 }, "http.bodies"},
		{"no parts", func(o *Options) { o.Parts = 0 }, "http.parts"},
		{"no time", func(o *Options) { o.Timeout = 0 }, "http.timeout"},
		{"no log", func(o *Options) { o.Log = nil }, "log"},
		{"two faults", func(o *Options) { o.Parts, o.Idle = 0, -1 }, "http.idle"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := Defaults()
			tt.change(&o)
			err := o.Validate()
			if (err == nil) != (tt.phrase == "") || err != nil && !strings.Contains(err.Error(), tt.phrase) {
				t.Errorf("have %v, want %q", err, tt.phrase)
			}
		})
	}
}
