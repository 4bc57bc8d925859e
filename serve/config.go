// Package serve is the running service: it judges objects that come by HTTP, through watched folders and by MQTT, and
// tells what it said by HTTP, in a file, by MQTT and to a webhook. It joins the packages below it, each of which does one
// of these things; package line is what they share. docs/serve.md describes it to those who run it.
package serve

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"mvag-torch/serve/api"
	"mvag-torch/serve/line"
	"mvag-torch/serve/publish"
	"mvag-torch/serve/watch"
)

// Config is what serve.yaml says (docs/serve.md).
type Config struct {
	Out      string        `yaml:"out"` // folder for the journal, results, pictures, and what is taught
	Models   []Model       `yaml:"models"`
	Set      []string      `yaml:"set"`      // settings for all models, as "device=cuda"
	Queue    int           `yaml:"queue"`    // most objects that are decoded, wait or are judged; further ones are refused
	Wait     time.Duration `yaml:"wait"`     // bound on waiting for a fuller batch
	Parallel int           `yaml:"parallel"` // objects of MQTT messages that are judged at a time
	Pixels   int           `yaml:"pixels"`   // most pixels of an image
	Pictures bool          `yaml:"pictures"` // keep drawings of the images, which the page shows
	// Incomplete is line.IncompleteJudge or line.IncompleteFail.
	Incomplete string                 `yaml:"incomplete"`
	Keep       line.Keep              `yaml:"keep"`  // how long records and pictures are kept
	Spool      int                    `yaml:"spool"` // most records that wait for a destination
	HTTP       HTTP                   `yaml:"http"`
	Watch      []watch.Folder         `yaml:"watch"`
	MQTT       *publish.MQTTConfig    `yaml:"mqtt"`
	Webhook    *publish.WebhookConfig `yaml:"webhook"`
}

// HTTP are the options of the API, with where its token is.
type HTTP struct {
	api.Options `yaml:",inline"`
	Token       publish.Secret `yaml:"token"`
}

// Model is a model by name; without one, it is called as its file (line.NameOf).
type Model struct {
	Name string   `yaml:"name"`
	Path string   `yaml:"path"`
	Set  []string `yaml:"set"`
}

// Defaults are those of a configuration without models.
func Defaults() Config {
	return Config{
		Out: "runs/serve", Queue: 64, Wait: 5 * time.Millisecond, Parallel: 4, Pixels: 100_000_000, Pictures: true, Incomplete: line.IncompleteJudge,
		Keep: line.Keep{Days: 30, Objects: 100_000}, Spool: 100_000, HTTP: HTTP{Options: api.Defaults()},
	}
}

// Load reads a file strictly over the defaults. Errors name it.
func Load(path string) (Config, error) {
	cfg := Defaults()
	f, err := os.Open(path) // perhaps a pipe of the shell
	if err != nil {
		return cfg, err
	}
	defer f.Close()
	const most = 1 << 20 // bytes
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return cfg, err
	}
	if len(text) > most {
		return cfg, fmt.Errorf("%s: have more than %d bytes, want a configuration", path, most)
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	var wrong *yaml.TypeError
	switch err := d.Decode(&cfg); {
	case errors.Is(err, io.EOF): // empty
		return cfg, nil
	case errors.As(err, &wrong):
		faults := make([]string, len(wrong.Errors))
		for i, fault := range wrong.Errors {
			faults[i] = plain(fault)
		}
		return cfg, fmt.Errorf("%s: %s", path, strings.Join(faults, "; "))
	case err != nil:
		return cfg, fmt.Errorf("%s: %w", path, err)
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return cfg, fmt.Errorf("%s: have more than one document, want one", path)
	}
	return cfg, nil
}

// Check returns all faults, joined, each on a line.
func (c *Config) Check() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if len(c.Models) == 0 {
		fault("models: have none, want at least one")
	}
	names := map[string]bool{}
	for i := range c.Models {
		m := &c.Models[i]
		if m.Path == "" {
			fault("models[%d].path: have none, want a checkpoint or bundle", i)
			continue
		}
		if m.Name == "" {
			m.Name = line.NameOf(m.Path)
		}
		if names[m.Name] {
			fault("models[%d].name: have %q twice, want names of their own", i, m.Name)
		}
		names[m.Name] = true
	}
	for _, v := range []struct {
		name              string
		have, least, most int
	}{
		{"queue", c.Queue, 1, 100_000}, {"parallel", c.Parallel, 1, 1000}, {"pixels", c.Pixels, 1, 1 << 28}, {"spool", c.Spool, 1, 100_000_000},
		{"keep.days", c.Keep.Days, 0, 36_500}, {"keep.objects", c.Keep.Objects, 0, 1 << 40},
	} {
		if v.have < v.least || v.have > v.most {
			fault("%s: have %d, want %d to %d", v.name, v.have, v.least, v.most)
		}
	}
	if c.Wait < 0 || c.Wait > time.Second {
		fault("wait: have %v, want 0s to 1s", c.Wait)
	}
	if c.Incomplete != line.IncompleteJudge && c.Incomplete != line.IncompleteFail {
		fault("incomplete: have %q, want %s or %s", c.Incomplete, line.IncompleteJudge, line.IncompleteFail)
	}
	if err := checkFolders(c.Watch, c.Out); err != nil {
		faults = append(faults, err)
	}
	if c.MQTT != nil {
		if err := c.MQTT.Check(); err != nil {
			fault("mqtt: %w", err)
		}
	}
	if c.Webhook != nil {
		if err := c.Webhook.Check(); err != nil {
			fault("webhook: %w", err)
		}
	}
	token, err := c.HTTP.Token.Value()
	if err != nil {
		fault("http.token: %w", err)
	}
	c.HTTP.Options.Token = token
	return errors.Join(append(faults, c.HTTP.Validate())...)
}
