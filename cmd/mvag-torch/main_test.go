package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/internal/tensor"
	"mvag-torch/model/modeltest"
	"mvag-torch/model/weights"
)

// commandVariable makes the test binary the program, with these arguments, so that it can be killed.
const commandVariable = "MVAG_TEST_COMMAND"

// mainVariable makes the test binary the program, with its own arguments, of the version that is its value.
const mainVariable = "MVAG_TEST_MAIN"

func TestMain(m *testing.M) {
	tensor.SetThreads(1) // small tensors
	if v := os.Getenv(mainVariable); v != "" {
		version = v
		main()
		os.Exit(0)
	}
	if args := os.Getenv(commandVariable); args != "" {
		if err := run(context.Background(), strings.Split(args, "\n")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if signal.Ignored(syscall.SIGHUP) { // under nohup; a caught signal has its default again in the programs that tests start
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	os.Exit(m.Run())
}

// command runs the program in this process and returns its stdout.
func command(t *testing.T, args ...string) (string, error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = w
	text := make(chan string)
	go func() {
		b, _ := io.ReadAll(r)
		text <- string(b)
	}()
	err = run(context.Background(), append([]string{"mvag-torch"}, args...))
	os.Stdout = stdout
	w.Close()
	return <-text, err
}

func TestUsageErrors(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"unknown command":            {[]string{"trian"}, `no command "trian"`},
		"unknown subcommand":         {[]string{"dataset", "dmeo"}, `no command "dmeo"`},
		"unknown flag":               {[]string{"train", "--confg", "x"}, "confg"},
		"stray argument":             {[]string{"train", "-c", "quickstart", "now"}, `have ["now"], want no arguments but flags`},
		"missing argument":           {[]string{"backbone", "convert", "in"}, "want 2 (IN OUT.safetensors)"},
		"no configuration":           {[]string{"train"}, "have no configuration"},
		"unknown configuration":      {[]string{"train", "-c", "realaid"}, "realaid"},
		"unknown setting":            {[]string{"config", "-c", "quickstart", "--set", "train.itertions=3"}, "train.iterations"},
		"invalid setting":            {[]string{"config", "-c", "quickstart", "--set", "train.warmup=500"}, "train.warmup: have 500"},
		"no model":                   {[]string{"eval"}, "model"},
		"no run":                     {[]string{"report"}, "want 1 (RUN)"},
		"demo without objects":       {[]string{"dataset", "demo", "--train", "0", "x"}, "--train: have 0, want 1 to 5000"},
		"demo of no class":           {[]string{"dataset", "demo", "--classes", "bolt", "x"}, "--classes: have \"bolt\", want any of bottle_cap, gear, "},
		"demo of one class, one not": {[]string{"dataset", "demo", "--classes", "gear,bolt", "x"}, "--classes: have \"bolt\", want any of bottle_cap, gear, "},
		"demo too small":             {[]string{"dataset", "demo", "--size", "10", "x"}, "--size: have 10, want 64 to 2048"},
		"processes and GPUs":         {[]string{"train", "-c", "quickstart", "--processes", "2", "--gpus", "2"}, "have --processes and --gpus, want one of them"},
		"no processes":               {[]string{"eval", "-m", "x", "--processes", "0"}, "--processes: have 0, want at least 1"},
		"GPUs on the CPU":            {[]string{"train", "-c", "quickstart", "--gpus", "2", "--set", "device=cpu"}, "have --gpus and --set device=cpu, want one of them"},
		"no wait":                    {[]string{"dataset", "prepare", "-c", "quickstart", "--wait", "0s"}, "--wait: have 0s, want more than 0"},
		"processes, no format":       {[]string{"eval", "-m", "x", "--processes", "2", "--format", "yaml"}, "markdown"},
		"processes, no such setting": {[]string{"train", "-c", "quickstart", "--processes", "2", "--set", "train.itertions=3"}, "train.iterations"},
		"unknown format":             {[]string{"eval", "-m", "x", "--format", "yaml"}, "markdown"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := command(t, test.args...)
			var usage usageError
			var invalid *configs.Error
			if err == nil || !errors.As(err, &usage) && !errors.As(err, &invalid) {
				t.Fatalf("have %v, want a usage error", err)
			}
			if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("have %q, want one line with %q", err, test.want)
			}
		})
	}
}

// TestErrorsAreOneLine: two errors at once, as of a run that cannot be stopped in order, are one line.
func TestErrorsAreOneLine(t *testing.T) {
	code, text := explain(t.Context(), errors.Join(errors.New("a.png: cut"), fmt.Errorf("train: %w", errors.New("checkpoint: no space"))))
	if want := "a.png: cut; train: checkpoint: no space"; code != 1 || text != want {
		t.Errorf("have %d, %q, want 1, %q", code, text, want)
	}
}

func TestConfigPrintsAValidConfiguration(t *testing.T) {
	out, err := command(t, "config", "-c", "quickstart", "--set", "backbone.layers=[2, 3, 4]", "--set", "model.decoder_depth=3")
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := configs.Parse("printed", []byte(out))
	if err != nil || !slices.Equal(cfg.Backbone.Layers, []int{2, 3, 4}) {
		t.Errorf("have layers %v, error %v", cfg.Backbone.Layers, err)
	}
}

// TestFromNothingToATable goes the way of the quick start with a small random backbone: convert, render, train, resume,
// evaluate, in each format.
func TestFromNothingToATable(t *testing.T) {
	dir := t.TempDir()
	raw, backbone, demo := filepath.Join(dir, "raw.safetensors"), filepath.Join(dir, "b", "vits14.safetensors"), filepath.Join(dir, "demo")
	if err := weights.WriteSafetensors(raw, modeltest.RandomViT(3, 4), nil); err != nil {
		t.Fatal(err)
	}
	must := func(args ...string) string {
		t.Helper()
		out, err := command(t, args...)
		if err != nil {
			t.Fatalf("%q: %v", args, err)
		}
		return out
	}
	must("backbone", "convert", "-c", "quickstart", "--set", "backbone.layers=[1, 3]", "--set", "model.decoder_depth=2", raw, backbone)
	if out := must("dataset", "demo", demo, "--size", "64", "--train", "2", "--good", "1", "--bad", "2"); strings.Count(out, "\n") != 3 {
		t.Errorf("demo: have %q, want a line for each of 3 classes", out)
	}
	setting := []string{"-c", "quickstart", "--set", "output=" + dir, "--set", "data.root=" + demo, "--set", "backbone.weights=" + backbone,
		"--set", "backbone.layers=[1, 3]", "--set", "model.decoder_depth=2", "--set", "data.resize=64", "--set", "data.crop=56",
		"--set", "train.iterations=4", "--set", "train.warmup=1", "--set", "train.checkpoint_every=2", "--set", "eval.map_size=64", "--set", "device=cpu"}
	must(append([]string{"train"}, setting...)...)
	if _, err := command(t, append([]string{"train"}, setting...)...); err == nil || !strings.Contains(err.Error(), "--resume") {
		t.Errorf("training again: have %v, want a hint at --resume", err)
	}
	must(append([]string{"train", "--resume"}, setting...)...)

	model := filepath.Join(dir, "quickstart", "checkpoint.safetensors")
	page := filepath.Join(dir, "quickstart", "report.html")
	if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), "mvag-torch eval -m "+model) {
		t.Errorf("report after training: want the command that evaluates in it (error %v)", err)
	}
	table := must("eval", "-m", model)
	if !strings.HasSuffix(table, "\nreport   "+page+"\n") {
		t.Errorf("table does not end with the path of the report:\n%s", table)
	}
	if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), `id="gallery"`) {
		t.Errorf("report after eval: want a gallery in it (error %v)", err)
	}
	if out := must("report", filepath.Dir(model), "-o", filepath.Join(dir, "r.html")); out != filepath.Join(dir, "r.html")+"\n" {
		t.Errorf("report: have %q, want the path", out)
	}
	for _, want := range []string{"bottle_cap", "gear", "hex_nut", "mean", "mAD", "results.json", "hex_nut.png"} {
		if !strings.Contains(table, want) {
			t.Errorf("table lacks %q:\n%s", want, table)
		}
	}
	if out := must("eval", "-m", model, "--format", "csv", "--set", "data.classes=[gear]"); strings.Count(out, "\n") != 4 || !strings.Contains(out, "\n\"mean, memory\",") {
		t.Errorf("csv of one class: have %q, want a head, the class and the means of reconstruction and memory", out)
	}
	other := filepath.Join(dir, "elsewhere")
	var results struct {
		Protocol map[string]any            `json:"protocol"`
		Classes  map[string]map[string]any `json:"classes"`
	}
	if err := json.Unmarshal([]byte(must("eval", "-m", model, "--format", "json", "-o", other)), &results); err != nil {
		t.Fatal(err)
	}
	if results.Protocol["iteration"] != 4.0 || results.Classes["gear"]["images"] != 15.0 {
		t.Errorf("have %v", results)
	}
	scores, err := os.ReadFile(filepath.Join(other, "scores.jsonl"))
	if err != nil || strings.Count(string(scores), "\n") != 45 {
		t.Errorf("scores.jsonl: have %d lines, want 45 (error %v)", strings.Count(string(scores), "\n"), err)
	}

	t.Run("resume", func(t *testing.T) { evalResumes(t, model, other) })
	t.Run("maps", func(t *testing.T) { evalSavesMaps(t, dir, model, other) })
	t.Run("refusals", func(t *testing.T) { evalRefusals(t, dir, model, raw) })
}

func evalRefusals(t *testing.T, dir, model, otherBackbone string) {
	bare := filepath.Join(dir, "bare.safetensors")
	if err := weights.WriteSafetensors(bare, weights.Map{"x": {Shape: []int64{1}, Data: []float32{1}}}, nil); err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(dir, "cut.safetensors")
	text, err := os.ReadFile(model)
	if err == nil {
		err = os.WriteFile(cut, text[:len(text)/2], 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args []string
		want []string
	}{
		"bare weights without configuration": {[]string{"-m", bare}, []string{bare, "-c"}},
		"bare weights of another model":      {[]string{"-m", bare, "-c", filepath.Join(dir, "quickstart", "config.yaml")}, []string{bare, "missing: bottleneck.fc1.weight", "unused: x"}},
		"cut checkpoint":                     {[]string{"-m", cut}, []string{cut}},
		"no checkpoint":                      {[]string{"-m", cut + "x"}, []string{cut + "x: have no such file, want a checkpoint"}},
		"a folder":                           {[]string{"-m", filepath.Dir(model)}, []string{"have a folder, want a file such as " + model}},
		"another kind of file":               {[]string{"-m", filepath.Join(dir, "quickstart", "config.yaml")}, []string{"have another kind of file, want a checkpoint or bundle"}},
		"results in a file":                  {[]string{"-m", model, "-o", cut}, []string{cut + ": have a file, want a folder"}},
		"maps in a file":                     {[]string{"-m", model, "-o", filepath.Join(dir, "m"), "--save-maps", cut}, []string{cut + ": have a file, want a folder"}},
		"unknown backbone":                   {[]string{"-m", model, "--set", "backbone.name=foo"}, []string{`backbone.name: have "foo"`}},
		"another backbone":                   {[]string{"-m", model, "--set", "backbone.weights=" + otherBackbone}, []string{model, otherBackbone}},
		"class that is not there":            {[]string{"-m", model, "--set", "data.classes=[toaster]"}, []string{"toaster"}},
		"another depth":                      {[]string{"-m", model, "--set", "model.decoder_depth=1", "--set", "backbone.layers=[3]"}, []string{model, "unused: decoder.1."}},
		"data moved":                         {[]string{"-m", model, "--set", "data.root=" + dir + "/gone"}, []string{"gone"}},
		"CUDA asked for and absent":          {[]string{"-m", model, "--set", "device=cuda:9"}, []string{"cuda:9", "device: auto takes the CPU where there is no GPU, and mvag-torch doctor says what is missing"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := command(t, append([]string{"eval"}, test.args...)...)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("have %q, want %q in it", err, want)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("have several lines: %q", err)
			}
		})
	}
}
