package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"mvag-torch/internal/lock"
	"mvag-torch/serve/api"
	"mvag-torch/serve/journal"
	"mvag-torch/serve/line"
	"mvag-torch/serve/metrics"
	"mvag-torch/serve/publish"
	"mvag-torch/serve/watch"
)

// The destinations of records, as the journal calls them.
const (
	toLines   = "lines"
	toMQTT    = "mqtt"
	toWebhook = "webhook"
)

// Service is a service that is about to run. Make it with Start.
type Service struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics.Metrics
	own     *lock.Lock // keeps other services out of the folder
	journal *journal.Journal
	line    *line.Line
	server  *api.Server
	api     *api.API
	runners []*publish.Runner

	watchers []*watch.Watcher
	requests *publish.Requests // nil where the broker is not asked for objects
}

// Start checks cfg, takes the address, opens the journal and loads the models. The caller calls Run, which frees all.
func Start(ctx context.Context, cfg Config, log *slog.Logger) (*Service, error) {
	cfg.HTTP.Log = log
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	s := &Service{cfg: cfg, log: log, metrics: metrics.New()}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *Service) start(ctx context.Context) error {
	cfg := s.cfg
	if err := os.MkdirAll(cfg.Out, 0o755); err != nil {
		return fmt.Errorf("out: %w", err)
	}
	var err error
	if s.own, err = lock.Take(filepath.Join(cfg.Out, "lock"), cfg.Out); err != nil {
		return fmt.Errorf("out: %w", err)
	}
	if s.own.Unsupported != nil {
		s.log.Warn("nothing keeps other services out of the folder: it cannot be locked", "error", s.own.Unsupported)
	}
	if s.server, err = api.NewServer(cfg.HTTP.Options); err != nil {
		return err
	}
	if s.journal, err = journal.Open(filepath.Join(cfg.Out, "journal.db"), journal.Options{To: cfg.to(), Spool: cfg.Spool}); err != nil {
		return err
	}
	for to, n := range s.journal.Retired() {
		s.log.Warn("records wait for a destination that is not configured", "to", to, "records", n)
	}
	if err := s.publishers(); err != nil {
		return err
	}
	if s.requests, err = s.newRequests(); err != nil {
		return err
	}
	opt := line.Options{Folder: cfg.Out, Journal: s.journal, Queue: cfg.Queue, Wait: cfg.Wait, Pictures: cfg.Pictures,
		Pixels: cfg.Pixels, Incomplete: cfg.Incomplete, Log: s.log, Metrics: s.metrics}
	for _, m := range cfg.Models {
		opt.Models = append(opt.Models, line.ModelOptions{Name: m.Name, Path: m.Path, Set: append(cfg.Set[:len(cfg.Set):len(cfg.Set)], m.Set...)})
	}
	if s.line, err = line.Open(ctx, opt); err != nil {
		return err
	}
	if err := s.newWatchers(); err != nil {
		return err
	}
	s.api, err = api.New(s.line, s.metrics, cfg.HTTP.Options)
	return err
}

// to names the destinations.
func (c Config) to() []string {
	to := []string{toLines}
	if c.MQTT != nil {
		to = append(to, toMQTT)
	}
	if c.Webhook != nil {
		to = append(to, toWebhook)
	}
	return to
}

// publishers makes what brings records to their destinations.
func (s *Service) publishers() error {
	add := func(to string, d publish.Destination) {
		s.runners = append(s.runners, &publish.Runner{Journal: s.journal, To: to, Destination: d, Log: s.log,
			Counts: publish.Counts{
				Sent:    func(to string, n int) { s.metrics.Published(to, n, false) },
				Refused: func(to string) { s.metrics.Published(to, 1, true) },
				Failed:  func(string) { s.metrics.Error(metrics.Publish) },
			}})
		s.metrics.Spool(to, func() int { return s.journal.Spooled(to) })
	}
	add(toLines, publish.NewLines(filepath.Join(s.cfg.Out, "results.jsonl"), s.journal.Name(), s.log))
	if s.cfg.MQTT != nil {
		d, err := publish.NewMQTT(*s.cfg.MQTT, s.journal.Name())
		if err != nil {
			return fmt.Errorf("mqtt: %w", err)
		}
		add(toMQTT, d)
	}
	if s.cfg.Webhook != nil {
		d, err := publish.NewWebhook(*s.cfg.Webhook)
		if err != nil {
			return fmt.Errorf("webhook: %w", err)
		}
		add(toWebhook, d)
	}
	return nil
}

// URL is where the page is.
func (s *Service) URL() string {
	scheme := "http"
	if s.cfg.HTTP.Certificate != "" {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(s.server.Addr().String())
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// Reload loads all models and the certificate again and logs what came of it. What cannot be loaded stays as it is.
func (s *Service) Reload(ctx context.Context) {
	if err := s.line.Reload(ctx, ""); err == nil { // the line has said what failed
		s.log.Info("models are loaded again")
	}
	if err := s.server.ReloadCertificate(); err != nil {
		s.log.Error("the certificate could not be loaded again; the present one stays", "error", err)
	}
}

// Run works until ctx ends. Then no object is taken any more, those taken are answered, what they gave is published as far
// as it can be at once, and all is freed.
func (s *Service) Run(ctx context.Context) error {
	publishing, stop := context.WithCancel(context.WithoutCancel(ctx))
	var publishers errgroup.Group
	for _, r := range s.runners {
		publishers.Go(func() error { r.Run(publishing); return nil })
	}
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error { return s.server.Serve(ctx, s.api) })
	work.Go(func() error { return s.prune(ctx) })
	s.watch(ctx, work.Go)
	if s.requests != nil {
		work.Go(func() error { s.requests.Run(ctx, s.cfg.Parallel); return nil })
	}
	err := work.Wait()
	err = errors.Join(err, s.line.Close())
	s.flush()
	stop()
	_ = publishers.Wait() // they return no errors
	err = errors.Join(err, s.journal.Close())
	s.own.Release()
	return err
}

// flush waits a moment for what is pending. What then is still there waits for the next start, which is said.
func (s *Service) flush() {
	const patience = 5 * time.Second
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		pending := 0
		for _, r := range s.runners {
			pending += s.journal.Spooled(r.To)
		}
		if pending == 0 {
			return
		}
		if time.Now().After(end) {
			s.log.Warn("records wait for the next start to be published", "records", pending)
			return
		}
	}
}

// prune removes what is older than may be kept, now and every hour.
func (s *Service) prune(ctx context.Context) error {
	for {
		n, err := s.line.Prune(s.cfg.Keep)
		if err != nil {
			s.log.Error("old records could not be removed", "error", err)
		} else if n > 0 {
			s.log.Info("old records are removed", "records", n)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Hour):
		}
	}
}

// close frees what start has made.
func (s *Service) close() error {
	var all []error
	if s.server != nil {
		all = append(all, s.server.Close())
	}
	if s.line != nil {
		all = append(all, s.line.Close())
	}
	if s.journal != nil {
		all = append(all, s.journal.Close())
	}
	for _, w := range s.watchers {
		w.Close()
	}
	s.own.Release()
	return errors.Join(all...)
}
