package api

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"
)

// Options are of New. Those that are zero in what a caller makes are not replaced: begin with [Defaults].
type Options struct {
	// Address is where the service listens, "127.0.0.1:8080". Any but a loopback address needs a token, or Open.
	Address string `yaml:"address"`
	// Token is what clients have to know; "" asks for none.
	Token string `yaml:"-"`
	// Open accepts requests from anywhere without a token.
	Open bool `yaml:"open"`
	// MetricsOpen answers GET /metrics without the token.
	MetricsOpen bool `yaml:"metrics_open"`
	// Hosts are names of the service besides localhost, as a proxy before it may send. They are compared with the header
	// Host where there is no token.
	Hosts []string `yaml:"hosts"`
	// Certificate and Key are PEM files for TLS; without, HTTP is spoken.
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
	Version     string `yaml:"-"` // of the program

	Body    int64 `yaml:"body"`    // most bytes of the body of a request
	Bodies  int64 `yaml:"bodies"`  // most bytes of all bodies that are in memory at a time
	Parts   int   `yaml:"parts"`   // most parts of a form
	Name    int   `yaml:"name"`    // most bytes of a name: object, class, model, key
	Objects int   `yaml:"objects"` // most objects of an inference request
	Streams int   `yaml:"streams"` // most streams of events at a time

	Connections int           `yaml:"connections"` // most connections at a time; others wait
	Header      time.Duration `yaml:"header"`      // in which the header of a request has to come
	Read        time.Duration `yaml:"read"`        // in which all of a request has to come
	Timeout     time.Duration `yaml:"timeout"`     // in which a request has to be answered, from its header
	Idle        time.Duration `yaml:"idle"`        // after which a connection without a request is closed
	Grace       time.Duration `yaml:"grace"`       // in which requests on their way may end when the service stops

	Log *slog.Logger `yaml:"-"` // gets what the answer to a client does not say
}

// Defaults are options that suit a line with a few clients.
func Defaults() Options {
	return Options{
		Address: "127.0.0.1:8080", Version: "development",
		Body: 64 << 20, Bodies: 1 << 30, Parts: 64, Name: 200, Objects: 64, Streams: 64,
		Connections: 4096, Header: 5 * time.Second, Read: time.Minute, Timeout: 2 * time.Minute, Idle: 2 * time.Minute,
		Grace: 30 * time.Second, Log: slog.Default(),
	}
}

// shortestToken is the fewest bytes of a token: one that is guessed opens the service.
const shortestToken = 16

// Validate returns all faults of the options.
func (o Options) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	host, _, err := net.SplitHostPort(o.Address)
	switch {
	case err != nil:
		fault("http.address: have %q, want as 127.0.0.1:8080: %w", o.Address, err)
	case !loopback(host) && o.Token == "" && !o.Open:
		fault("http.address: have %q and no token, want a loopback address, http.token or http.open", o.Address)
	}
	if o.Token != "" && len(o.Token) < shortestToken {
		fault("http.token: have %d bytes, want at least %d", len(o.Token), shortestToken)
	}
	if strings.ContainsFunc(o.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		fault("http.token: want letters, digits and signs of ASCII without spaces")
	}
	if (o.Certificate == "") != (o.Key == "") {
		fault("http.tls: have certificate %q and key %q, want both or none", o.Certificate, o.Key)
	}
	for _, v := range []struct {
		name               string
		have, least, limit int64
	}{
		{"body", o.Body, 1 << 10, 1 << 30}, {"bodies", o.Bodies, o.Body, 1 << 40}, {"parts", int64(o.Parts), 1, 10_000},
		{"name", int64(o.Name), 8, 4096}, {"objects", int64(o.Objects), 1, 4096}, {"streams", int64(o.Streams), 0, 10_000},
		{"connections", int64(o.Connections), 1, 1_000_000},
	} {
		if v.have < v.least || v.have > v.limit {
			fault("http.%s: have %d, want %d to %d", v.name, v.have, v.least, v.limit)
		}
	}
	for _, v := range []struct {
		name string
		have time.Duration
	}{{"header", o.Header}, {"read", o.Read}, {"timeout", o.Timeout}, {"idle", o.Idle}, {"grace", o.Grace}} {
		if v.have <= 0 || v.have > 24*time.Hour {
			fault("http.%s: have %v, want more than 0s and at most 24h", v.name, v.have)
		}
	}
	if o.Log == nil {
		fault("http: have no log, want one")
	}
	return errors.Join(faults...)
}

// loopback says whether a host, a name or an address without its port, is this machine as it sees itself.
func loopback(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
