package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"mvag-torch/serve/metrics"
)

const (
	sessionCookie = "mvag_session"
	sessionTime   = 30 * 24 * time.Hour
)

// setHeaders sets what all answers have: no page may frame them, no type is guessed, no address is told to others.
func setHeaders(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
}

// admit returns why a request is refused: a page of another origin sent it, or the client does not know the token.
// Without a token, the header Host has to name this machine: else a page whose name was made to mean 127.0.0.1 (DNS
// rebinding) could ask.
func (a *API) admit(r *http.Request, free bool) error {
	if err := a.cross.Check(r); err != nil {
		return &fault{status: http.StatusForbidden, reason: metrics.Denied, message: "origin: the request comes from the page of another site"}
	}
	switch {
	case a.opt.Token == "" && !a.opt.Open && !a.known(r.Host):
		return &fault{status: http.StatusForbidden, reason: metrics.Denied,
			message: fmt.Sprintf("Host: have %s, want localhost, one of http.hosts, or a token", quote(r.Host))}
	case a.opt.Token == "" || free || a.bearer(r) || a.hasSession(r):
		return nil
	}
	return &fault{status: http.StatusUnauthorized, reason: metrics.Denied, message: "token: have none or a wrong one, want that of the service"}
}

// known says whether a header Host names the service.
func (a *API) known(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return loopback(host) || slices.ContainsFunc(a.opt.Hosts, func(h string) bool { return strings.EqualFold(h, host) })
}

// isToken compares in a time that says nothing of the token.
func (a *API) isToken(text string) bool {
	have, want := sha256.Sum256([]byte(text)), sha256.Sum256([]byte(a.opt.Token))
	return subtle.ConstantTimeCompare(have[:], want[:]) == 1
}

func (a *API) bearer(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.EqualFold(scheme, "Bearer") && a.isToken(strings.TrimSpace(token))
}

// sign is the cookie of a session that ends at a time. It does not tell the token, and a new token ends it.
func (a *API) sign(end int64) string {
	mac := hmac.New(sha256.New, []byte(a.opt.Token))
	fmt.Fprintf(mac, "session until %d", end)
	return strconv.FormatInt(end, 10) + "." + hex.EncodeToString(mac.Sum(nil))
}

func (a *API) hasSession(r *http.Request) bool {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return false
	}
	until, _, _ := strings.Cut(cookie.Value, ".")
	end, err := strconv.ParseInt(until, 10, 64)
	return err == nil && time.Now().Unix() < end && hmac.Equal([]byte(cookie.Value), []byte(a.sign(end)))
}

// session answers POST /v1/session: who knows the token gets a cookie, so that the page need not keep the token.
func (a *API) session(w http.ResponseWriter, r *http.Request) error {
	var asked struct {
		Token *string `json:"token"`
	}
	if err := a.readJSON(r, &asked); err != nil {
		return err
	}
	if asked.Token == nil {
		return wrong("token: have none, want a text")
	}
	if a.opt.Token == "" { // there is nothing to know
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if !a.isToken(*asked.Token) {
		return &fault{status: http.StatusUnauthorized, reason: metrics.Denied, message: "token: have a wrong one, want that of the service"}
	}
	end := time.Now().Add(sessionTime)
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Value: a.sign(end.Unix()), Path: "/", Expires: end, HttpOnly: true,
		Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode})
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// readJSON reads a small body of one JSON object. Unknown keys are refused.
func (a *API) readJSON(r *http.Request, to any) error {
	if kind, _ := contentType(r); kind != "application/json" {
		return foreign(r.Header.Get("Content-Type"), "application/json")
	}
	const most = 64 << 10
	data, err := io.ReadAll(io.LimitReader(r.Body, most+1))
	if err != nil {
		return err
	}
	if len(data) > most {
		return tooLarge(most)
	}
	return strict(data, to)
}

// strict decodes one JSON object, of known keys alone.
func strict(data []byte, to any) error {
	if !strings.HasPrefix(strings.TrimLeft(string(data[:min(len(data), 100)]), " \t\r\n"), "{") {
		return wrong("body: have no JSON object, want one")
	}
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return wrong("body: %s", jsonError(err))
	}
	if _, err := d.Token(); err != io.EOF {
		return wrong("body: have more than one JSON value, want one")
	}
	var values map[string]json.RawMessage // a null would have been passed over
	if err := json.Unmarshal(data, &values); err != nil {
		return wrong("body: %s", jsonError(err))
	}
	for key, value := range values {
		if string(value) == "null" {
			return wrong("%s: have null, want a value or nothing", quote(key))
		}
	}
	return nil
}
