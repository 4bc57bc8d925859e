package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"mvag-torch/serve"
	"mvag-torch/serve/publish"
	"mvag-torch/serve/watch"
)

func serveCommand() *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "judge objects as a service: HTTP, watched folders, MQTT, and a page for those who look at the line",
		Description: "Models are checkpoints or bundles with thresholds. The page is at the address; docs/serve.md has the rest. SIGHUP loads\n" +
			"models and certificates again, SIGTERM and Ctrl-C answer what was taken and stop. Flags take the place of what -c says.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "config", Aliases: []string{"c"}, Usage: "what to serve (`FILE`, serve.yaml)"},
			&cli.StringSliceFlag{Name: "model", Aliases: []string{"m"}, Usage: "checkpoint or bundle (`FILE` or NAME=FILE); may be given several times"},
			&cli.StringFlag{Name: "addr", Usage: "`ADDRESS` to listen at", DefaultText: "127.0.0.1:8080"},
			&cli.StringFlag{Name: "out", Usage: "`FOLDER` for the journal, results and pictures", DefaultText: "runs/serve"},
			&cli.StringSliceFlag{Name: "watch", Aliases: []string{"w"}, Usage: "`FOLDER` whose images are judged; may be given several times"},
			&cli.StringFlag{Name: "mqtt", Usage: "broker to publish to (`URL`, tcp://HOST:1883)"},
			&cli.StringFlag{Name: "webhook", Usage: "`URL` to post results to"},
			&cli.StringFlag{Name: "log", Value: "text", Usage: "`FORMAT` of log lines on standard error: text or json"},
			setFlag,
		},
		Action: runServe,
	}
}

func runServe(c *cli.Context) error {
	cfg, err := serveConfig(c)
	if err != nil {
		return usageError{err}
	}
	log, err := serveLog(c.String("log"))
	if err != nil {
		return usageError{err}
	}
	if err := cfg.Check(); err != nil {
		return usageError{fmt.Errorf("%s", strings.ReplaceAll(err.Error(), "\n", "; "))}
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	service, err := serve.Start(c.Context, cfg, log)
	if c.Context.Err() != nil && (err == nil || errors.Is(err, context.Cause(c.Context))) {
		log.Info("stopped before it was ready")
		if err == nil {
			return service.Run(c.Context)
		}
		return nil
	}
	if err != nil {
		return err
	}
	log.Info("ready", "page", service.URL(), "out", cfg.Out)
	go reloads(c.Context, hangups, service)
	err = service.Run(c.Context)
	log.Info("stopped")
	return err
}

// reloads loads the models again for each SIGHUP.
func reloads(ctx context.Context, hangups <-chan os.Signal, service *serve.Service) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			service.Reload(ctx)
		}
	}
}

// serveConfig is the file of -c, or the defaults, with the flags over it.
func serveConfig(c *cli.Context) (serve.Config, error) {
	cfg := serve.Defaults()
	if path := c.String("config"); path != "" {
		err := waiting(c.Context, path, func() (err error) {
			cfg, err = serve.Load(path)
			return err
		})
		if err != nil {
			return serve.Config{}, err
		}
	}
	cfg.HTTP.Version = version
	for i, given := range c.StringSlice("model") {
		if i == 0 {
			cfg.Models = nil
		}
		name, path, named := strings.Cut(given, "=")
		if !named {
			name, path = "", given
		}
		cfg.Models = append(cfg.Models, serve.Model{Name: name, Path: path})
	}
	for i, path := range c.StringSlice("watch") {
		if i == 0 {
			cfg.Watch = nil
		}
		cfg.Watch = append(cfg.Watch, watch.Folder{Path: path})
	}
	cfg.Set = append(cfg.Set, c.StringSlice("set")...)
	for flag, to := range map[string]*string{"addr": &cfg.HTTP.Address, "out": &cfg.Out} {
		if c.IsSet(flag) {
			*to = c.String(flag)
		}
	}
	if c.IsSet("mqtt") {
		if cfg.MQTT == nil {
			cfg.MQTT = &publish.MQTTConfig{}
		}
		cfg.MQTT.Broker = c.String("mqtt")
	}
	if c.IsSet("webhook") {
		if cfg.Webhook == nil {
			cfg.Webhook = &publish.WebhookConfig{}
		}
		cfg.Webhook.URL = c.String("webhook")
	}
	return cfg, nil
}

// serveLog logs to standard error.
func serveLog(format string) (*slog.Logger, error) {
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, nil)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, nil)), nil
	}
	return nil, fmt.Errorf("--log: have %q, want text or json", format)
}
