package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"mime/multipart"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"mvag-torch/dataset"
	"mvag-torch/inspect/inspecttest"
	"mvag-torch/internal/tensor"
	"mvag-torch/serve/line"
	"mvag-torch/serve/publish"
	"mvag-torch/serve/watch"

	"gopkg.in/yaml.v3"
)

func TestMain(m *testing.M) {
	tensor.SetThreads(1) // small tensors
	os.Exit(m.Run())
}

func TestLoad(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"unknown key":   {"modles: x", `line 1: modles: have an unknown key, did you mean "models"?`},
		"a key below":   {"mqtt:\n  brokr: x", `line 2: brokr: have an unknown key, did you mean "broker"?`},
		"an inline key": {"http: {adress: x}", `line 1: adress: have an unknown key, did you mean "address"?`},
		"of a model":    {"name: x", "line 1: name: have an unknown key"},
		"like no other": {"something: x", "line 1: something: have an unknown key"},
		"wrong type":    {"queue: many", "line 1: have a text, want a whole number"},
		"duration":      {"wait: 5", "line 1: have a number, want a time, as 500ms, 5s or 2m"},
		"list":          {"watch: inbox", "line 1: have a text, want a list"},
		"secret":        {"mqtt: {broker: b, password: hunter2}", "line 1: have a text, want {file: PATH} or {env: NAME}: a secret does not stand in the file"},
		"secret of two": {"http:\n  token: |\n    `a` into\n    b", "line 2: have a text, want {file: PATH} or {env: NAME}: a secret does not stand in the file"},
		"twice":         {"queue: 1\nqueue: 2", `line 2: mapping key "queue" already defined at line 1`},
		"two documents": {"queue: 1\n---\nqueue: 2", "have more than one document, want one"},
		"no YAML":       {"queue: [", "yaml: line 1: did not find expected node content"},
		"empty":         {"", ""},
		"all of a kind": {"queue: 3\nwait: 2ms\nhttp: {address: '127.0.0.1:1', token: {env: X}}\nmodels: [{path: a}]", ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "serve.yaml")
			if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Load(path)
			if (err == nil) != (test.want == "") || err != nil && err.Error() != path+": "+test.want {
				t.Errorf("have %v, want %s", err, test.want)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"nothing":       {func(c *Config) { c.Models = nil }, "models: have none, want at least one"},
		"no path":       {func(c *Config) { c.Models[0].Path = "" }, "models[0].path: have none, want a checkpoint or bundle"},
		"same names":    {func(c *Config) { c.Models = append(c.Models, c.Models[0]) }, `models[1].name: have "a" twice, want names of their own`},
		"queue":         {func(c *Config) { c.Queue = 0 }, "queue: have 0, want 1 to 100000"},
		"wait":          {func(c *Config) { c.Wait = -1 }, "wait: have -1ns, want 0s to 1s"},
		"open to all":   {func(c *Config) { c.HTTP.Address = ":80" }, `http.address: have ":80" and no token, want a loopback address, http.token or http.open`},
		"token missing": {func(c *Config) { c.HTTP.Token.File = "/nowhere" }, "http.token: /nowhere: no such file or directory"},
		"watch nothing": {func(c *Config) { c.Watch = []watch.Folder{{}} }, "watch[0]: path: have none, want a folder"},
		"watch twice": {func(c *Config) { c.Watch = []watch.Folder{{Path: "/a/b"}, {Path: "/a/b/../b/c"}} },
			"watch[1]: /a/b/../b/c: is watched as watch[0] too, or lies in that, want folders apart"},
		"watch results": {func(c *Config) { c.Out, c.Watch = "/a/out", []watch.Folder{{Path: "/a"}} },
			"watch[0]: /a: has the folder of results /a/out in it, want it elsewhere"},
		"watch a file": {func(c *Config) { c.Watch = []watch.Folder{{Path: "serve_test.go"}} }, "watch[0]: serve_test.go: is a file, want a folder"},
		"watch two":    {func(c *Config) { c.Watch = []watch.Folder{{Path: "/a/b"}, {Path: "/a/bc"}} }, ""},
		"as it is":     {func(*Config) {}, ""},
	} {
		cfg := Defaults()
		cfg.Models = []Model{{Path: "a.mvag"}}
		test.change(&cfg)
		err := cfg.Check()
		if (err == nil) != (test.want == "") || err != nil && err.Error() != test.want {
			t.Errorf("%s: have %v, want %s", name, err, test.want)
		}
	}
}

// TestExampleConfig reads the file that the documentation gives.
func TestExampleConfig(t *testing.T) {
	t.Setenv("MVAG_TOKEN", strings.Repeat("t", 16))
	cfg, err := Load("../docs/serve/serve.yaml")
	if err == nil {
		err = cfg.Check()
	}
	if err != nil || cfg.Models[0].Name != "parts" || cfg.HTTP.Options.Token == "" {
		t.Errorf("have %+v, %v", cfg, err)
	}
}

// run starts a service and returns its address and what stops it.
func run(t *testing.T, change func(*Config)) (url string, stop func()) {
	t.Helper()
	cfg := Defaults()
	cfg.HTTP.Address = "127.0.0.1:0"
	change(&cfg)
	s, err := Start(t.Context(), cfg, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(stop)
	return s.URL(), stop
}

// post sends an object and returns the record.
func post(t *testing.T, url string, o dataset.Object) line.Record {
	t.Helper()
	r, err := ask(url, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// ask is post without a test.
func ask(url string, o dataset.Object) (r line.Record, err error) {
	kind, body := form(o)
	return r, call(http.MethodPost, url+"/v1/inspect", kind, body, http.StatusOK, &r)
}

// form is an object as it is sent.
func form(o dataset.Object) (kind string, body *bytes.Buffer) {
	body = &bytes.Buffer{} // which takes all
	w := multipart.NewWriter(body)
	for _, v := range o.Views {
		p, _ := w.CreateFormFile(fmt.Sprint(v.Camera+1), "image.png")
		_, _ = p.Write(v.Data)
	}
	_ = w.WriteField("object", o.ID)
	_ = w.Close()
	return w.FormDataContentType(), body
}

// call sends a request and reads the answer, which is to have that status.
func call(method, url, kind string, body io.Reader, status int, into any) error {
	r, err := http.NewRequest(method, url, body)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", kind)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && len(text) > 0 {
		err = json.Unmarshal(text, into)
	}
	if err != nil || answer.StatusCode != status {
		return fmt.Errorf("%s %s: have %s: %s, %w", method, url, answer.Status, text, err)
	}
	return nil
}

// TestService judges objects, stops, and starts again: what was said is in the file of results once, and in the journal.
func TestService(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	configure := func(c *Config) { c.Out, c.Models = out, []Model{{Name: "parts", Path: inspecttest.Checkpoint(t)}} }
	url, stop := run(t, configure)
	var ids []string
	for _, o := range inspecttest.Objects(t, inspecttest.Trained, 3) {
		ids = append(ids, post(t, url, o).ID)
	}
	cfg := Defaults()
	configure(&cfg)
	cfg.HTTP.Address = "127.0.0.1:0"
	if _, err := Start(t.Context(), cfg, slog.Default()); err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("out: %s: used by process %d on ", out, os.Getpid())) {
		t.Errorf("a second service: have %v", err)
	}
	stop()
	url, stop = run(t, configure)
	ids = append(ids, post(t, url, inspecttest.Objects(t, inspecttest.Trained, 1)[0]).ID)
	stop()
	text, err := os.ReadFile(filepath.Join(out, "results.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, row := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		var r line.Record
		if err := json.Unmarshal([]byte(row), &r); err != nil {
			t.Fatal(err)
		}
		have = append(have, r.ID)
	}
	if !slices.Equal(have, ids) {
		t.Errorf("have results of %q, want %q", have, ids)
	}
}

// TestWatchedFolders: what no model can judge is refused at the start, and a folder that is not there is made.
func TestWatchedFolders(t *testing.T) {
	dir, path := t.TempDir(), inspecttest.Checkpoint(t, "bolt")
	for name, test := range map[string]struct {
		folder watch.Folder
		want   string
	}{
		"class":     {watch.Folder{Path: "in", Class: "gear"}, `class: have "gear", want one that model "parts" knows: ["`},
		"model":     {watch.Folder{Path: "in", Model: "caps"}, `model: have "caps", want one of ["parts"]`},
		"made":      {watch.Folder{Path: "in", Class: "bolt"}, ""},
		"there":     {watch.Folder{Path: "in"}, ""},
		"no parent": {watch.Folder{Path: "share/in"}, ""},
	} {
		cfg := Defaults()
		cfg.Out, cfg.Models, cfg.HTTP.Address = filepath.Join(dir, "out "+name), []Model{{Name: "parts", Path: path}}, "127.0.0.1:0"
		test.folder.Path = filepath.Join(dir, name, test.folder.Path)
		if name != "no parent" {
			if err := os.Mkdir(filepath.Dir(test.folder.Path), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if name == "there" {
			if err := os.Mkdir(test.folder.Path, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		cfg.Watch = []watch.Folder{test.folder}
		s, err := Start(t.Context(), cfg, slog.New(slog.NewTextHandler(io.Discard, nil)))
		if test.want != "" {
			if err == nil || !strings.HasPrefix(err.Error(), "watch[0]: "+test.folder.Path+": "+test.want) {
				t.Errorf("%s: have %v, want %s", name, err, test.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := os.Stat(test.folder.Path); (err == nil) != (name != "no parent") {
			t.Errorf("%s: have %v", name, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Run(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDocumentedKeys compares docs/serve.md with the configuration: each key has a row with its default, and no other does.
func TestDocumentedKeys(t *testing.T) {
	text, err := os.ReadFile("../docs/serve.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "\n## serve.yaml\n")
	if !ok {
		t.Fatal("docs/serve.md: have no section serve.yaml")
	}
	documented := map[string]string{}
	for _, row := range strings.Split(table, "\n") {
		if cells := strings.Split(row, "|"); len(cells) > 3 && strings.HasPrefix(cells[1], " `") {
			for _, key := range strings.Split(cells[1], ",") {
				documented[strings.Trim(key, " `")] = strings.TrimSpace(cells[2])
			}
		}
	}
	known := map[string]string{}
	keys(reflect.ValueOf(Defaults()), "", known)
	if !maps.Equal(documented, known) {
		for key := range known {
			if have, ok := documented[key]; !ok || have != known[key] {
				t.Errorf("%s: have the default %q (%v), want %q", key, have, ok, known[key])
			}
		}
		for key := range documented {
			if _, ok := known[key]; !ok {
				t.Errorf("%s: have a row, want none: there is no such key", key)
			}
		}
	}
}

// keys enters the YAML keys of a struct with their values.
func keys(v reflect.Value, prefix string, into map[string]string) {
	for i := range v.NumField() {
		tag, f := v.Type().Field(i).Tag.Get("yaml"), v.Field(i)
		_, secret := f.Interface().(publish.Secret)
		switch {
		case tag == ",inline":
			keys(f, prefix, into)
		case tag == "-":
		case f.Kind() == reflect.Struct && !secret:
			keys(f, prefix+tag+".", into)
		case secret || f.IsZero() && f.Kind() != reflect.Bool:
			into[prefix+tag] = ""
		default:
			into[prefix+tag] = fmt.Sprint(f.Interface())
		}
	}
}

// TestHealthCheck runs the health check of compose.yaml against a service, and where there is none.
func TestHealthCheck(t *testing.T) {
	text, err := os.ReadFile("../compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var compose struct {
		Services map[string]struct {
			Healthcheck struct {
				Test []string `yaml:"test"`
			} `yaml:"healthcheck"`
		} `yaml:"services"`
	}
	if err := yaml.Unmarshal(text, &compose); err != nil {
		t.Fatal(err)
	}
	test := compose.Services["serve"].Healthcheck.Test
	if len(test) != 4 || test[0] != "CMD" || test[1] != "bash" {
		t.Fatalf("have %q, want a command of bash", test)
	}
	url, stop := run(t, func(c *Config) {
		c.Out, c.Models = t.TempDir(), []Model{{Name: "parts", Path: inspecttest.Checkpoint(t)}}
	})
	_, port, _ := strings.Cut(strings.TrimPrefix(url, "http://"), ":")
	check := func() error {
		return exec.Command("bash", test[2], strings.ReplaceAll(test[3], "8080", port)).Run()
	}
	if err := check(); err != nil {
		t.Errorf("a service that is ready: have %v", err)
	}
	stop()
	if check() == nil {
		t.Error("no service: want an error")
	}
}

// TestKubernetesFile reads the manifest and looks for what it says of the service: its probes, and the metric of its queue.
func TestKubernetesFile(t *testing.T) {
	f, err := os.Open("../docs/serve/kubernetes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	kinds := map[string]bool{}
	for d := yaml.NewDecoder(f); ; {
		var object struct {
			Kind string `yaml:"kind"`
		}
		err := d.Decode(&object)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		kinds[object.Kind] = true
	}
	for _, kind := range []string{"StatefulSet", "Service", "HorizontalPodAutoscaler"} {
		if !kinds[kind] {
			t.Errorf("have no %s", kind)
		}
	}
	text, _ := os.ReadFile("../docs/serve/kubernetes.yaml")
	for _, used := range []string{"/v2/health/live", "/v2/health/ready", "mvag_queue_objects"} {
		if !bytes.Contains(text, []byte(used)) {
			t.Errorf("have no %s", used)
		}
	}
}
