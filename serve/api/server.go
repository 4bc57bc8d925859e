package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"

	"golang.org/x/net/netutil"

	"mvag-torch/internal/atomicfile"
	"mvag-torch/internal/regularfile"
)

// Server listens and answers. Make it with [NewServer].
type Server struct {
	opt         Options
	server      *http.Server
	listener    net.Listener
	certificate atomic.Pointer[tls.Certificate]
}

// NewServer checks opt, reads the certificate and listens at Options.Address, so that what is wrong with them is known
// before models are loaded. Clients wait until Serve, or Close.
func NewServer(opt Options) (*Server, error) {
	if err := opt.Validate(); err != nil {
		return nil, err
	}
	s := &Server{opt: opt}
	if err := s.ReloadCertificate(); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", opt.Address)
	if err != nil {
		return nil, fmt.Errorf("http.address: %s: %w", opt.Address, cause(err))
	}
	s.listener = netutil.LimitListener(l, opt.Connections)
	s.server = &http.Server{
		ReadHeaderTimeout: opt.Header,
		ReadTimeout:       opt.Read,
		WriteTimeout:      opt.Read + opt.Timeout,
		IdleTimeout:       opt.Idle,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(opt.Log.Handler(), slog.LevelDebug), // of clients that break off
	}
	if opt.Certificate != "" {
		s.server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.certificate.Load(), nil }}
	}
	return s, nil
}

// cause strips an error of the network, or of a file, of what package net or os put around it.
func cause(err error) error {
	var onNet *net.OpError
	var onCall *os.SyscallError
	if errors.As(err, &onNet) {
		err = onNet.Err
	}
	if errors.As(err, &onCall) {
		return onCall.Err
	}
	return atomicfile.Cause(err)
}

// Close stops to listen, where Serve was not called.
func (s *Server) Close() error { return s.listener.Close() }

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// ReloadCertificate reads the files of the certificate again, for new connections. Where that fails, the present one
// stays. Without TLS it does nothing.
func (s *Server) ReloadCertificate() error {
	if s.opt.Certificate == "" {
		return nil
	}
	const most = 16 << 20 // bytes
	var texts [2][]byte
	for i, path := range []string{s.opt.Certificate, s.opt.Key} {
		text, err := regularfile.Read(path, most)
		if onPath := (*fs.PathError)(nil); errors.As(err, &onPath) {
			err = fmt.Errorf("%s: %w", path, onPath.Err)
		}
		if err != nil {
			return fmt.Errorf("http.%s: %w", []string{"certificate", "key"}[i], err)
		}
		texts[i] = text
	}
	c, err := tls.X509KeyPair(texts[0], texts[1])
	if err != nil {
		return fmt.Errorf("http.certificate, http.key: %s, %s: %w", s.opt.Certificate, s.opt.Key, err)
	}
	s.certificate.Store(&c)
	return nil
}

// Serve answers requests by a until ctx ends. Then no connection is taken, streams of events end, and requests on their way
// get Options.Grace to be answered. The error is nil where all were.
func (s *Server) Serve(ctx context.Context, a *API) error {
	s.server.Handler = a
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
	a.drain()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opt.Grace)
	defer cancel()
	err := s.server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		_ = s.server.Close()
		err = fmt.Errorf("http: requests were not answered within %v of stopping (http.grace)", s.opt.Grace)
	}
	<-done // http.ErrServerClosed
	return err
}
