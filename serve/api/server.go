package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"

	"golang.org/x/net/netutil"
)

// Server listens and answers. Make it with [NewServer].
type Server struct {
	api         *API
	server      *http.Server
	listener    net.Listener
	certificate atomic.Pointer[tls.Certificate]
}

// NewServer listens at Options.Address, so that a taken address is known before anything else is done.
func NewServer(a *API) (*Server, error) {
	s := &Server{api: a}
	if err := s.ReloadCertificate(); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", a.opt.Address)
	if err != nil {
		return nil, fmt.Errorf("http.address: %w", err)
	}
	s.listener = netutil.LimitListener(l, a.opt.Connections)
	s.server = &http.Server{
		Handler:           a,
		ReadHeaderTimeout: a.opt.Header,
		ReadTimeout:       a.opt.Read,
		WriteTimeout:      a.opt.Read + a.opt.Timeout,
		IdleTimeout:       a.opt.Idle,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(a.opt.Log.Handler(), slog.LevelDebug), // of clients that break off
	}
	if a.opt.Certificate != "" {
		s.server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.certificate.Load(), nil }}
	}
	return s, nil
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// ReloadCertificate reads the files of the certificate again, for new connections. Where that fails, the present one
// stays. Without TLS it does nothing.
func (s *Server) ReloadCertificate() error {
	if s.api.opt.Certificate == "" {
		return nil
	}
	c, err := tls.LoadX509KeyPair(s.api.opt.Certificate, s.api.opt.Key)
	if err != nil {
		return fmt.Errorf("http.tls: %s, %s: %w", s.api.opt.Certificate, s.api.opt.Key, err)
	}
	s.certificate.Store(&c)
	return nil
}

// Serve answers requests until ctx ends. Then no connection is taken, streams of events end, and requests on their way
// get Options.Grace to be answered. The error is nil where all were.
func (s *Server) Serve(ctx context.Context) error {
	done := make(chan error, 1)
	go func() {
		if s.server.TLSConfig != nil {
			done <- s.server.ServeTLS(s.listener, "", "")
		} else {
			done <- s.server.Serve(s.listener)
		}
	}()
	select {
	case err := <-done:
		return fmt.Errorf("http: %w", err)
	case <-ctx.Done():
	}
	s.api.drain()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.api.opt.Grace)
	defer cancel()
	err := s.server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		_ = s.server.Close()
		err = fmt.Errorf("http: requests were not answered within %v of stopping (http.grace)", s.api.opt.Grace)
	}
	<-done // http.ErrServerClosed
	return err
}
