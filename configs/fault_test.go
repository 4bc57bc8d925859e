package configs

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// Every testdata/*.bad.yaml begins with "# want: phrase"; the phrase is in the first line of its error. The files are
// one a rule.
func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/*.bad.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata", err)
	}
	seen := map[string]bool{}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			head, _, _ := strings.Cut(string(text), "\n")
			want, ok := strings.CutPrefix(head, "# want: ")
			if !ok || want == "" {
				t.Fatalf("%s: have %q, want the phrase", file, head)
			}
			_, err = Load(file)
			if err == nil {
				t.Fatal("accepted")
			}
			first, _, _ := strings.Cut(err.Error(), "\n")
			if !strings.HasPrefix(first, file) || !strings.Contains(first, want) {
				t.Errorf("have %s\nwant %s…%s", first, file, want)
			}
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("have %T, want *Error", err)
			}
			for _, f := range e.Faults {
				path, _, _ := strings.Cut(f.Path, "[")
				seen[path] = true
			}
		})
	}
	for _, s := range settings(Default(), nil) {
		if !seen[s.path] {
			t.Errorf("%s: no file of testdata has a bad one", s.path)
		}
	}
}

func TestAllFaultsAtOnce(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"decoding", "seed: x\ntrain:\n  lr: y\n  foo: 1\neval: 3\n", `
x.yaml:1: seed: have "x", want a whole number in decimal digits
x.yaml:3: train.lr: have "y", want a number
x.yaml:4: train.foo: have an unknown key, want one of iterations, warmup, objects, lr, lr_final, weight_decay, clip, hard_fraction, hard_warmup, easy_scale, holdout, cache_features, all_reduce, on_nan, log_every, checkpoint_every
x.yaml:5: eval: have 3, want a mapping
--set: train.clip: have "z", want a number`},
		{"values", "seed: -1\noutput: $MVAG_TEST_UNSET\ntrain:\n  iterations: 50\n", `
x.yaml:2: output: have "$MVAG_TEST_UNSET", want the variable MVAG_TEST_UNSET in the environment
x.yaml:1: seed: have -1, want at least 0
x.yaml: train.warmup: have 100, want less than train.iterations (50)
--set: train.clip: have -2, want a finite number more than 0`},
		{"both", "seed: -1\ntrain:\n  iterations: x\n  warmup: 200000\n  lr: -1\n  objects: 0\n  foo: 1\n", `
x.yaml:3: train.iterations: have "x", want a whole number in decimal digits
x.yaml:7: train.foo: have an unknown key, want one of iterations, warmup, objects, lr, lr_final, weight_decay, clip, hard_fraction, hard_warmup, easy_scale, holdout, cache_features, all_reduce, on_nan, log_every, checkpoint_every
--set: train.clip: have "z", want a number
x.yaml:1: seed: have -1, want at least 0
x.yaml:6: train.objects: have 0, want at least 1
x.yaml:5: train.lr: have -1, want a finite number more than 0`},
	} {
		t.Run(c.name, func(t *testing.T) {
			set := map[string]string{"decoding": "train.clip=z", "values": "train.clip=-2", "both": "train.clip=z"}[c.name]
			_, err := Parse("x.yaml", []byte(c.text), set)
			if err == nil || "\n"+err.Error() != c.want {
				t.Errorf("have\n%v\nwant%s", err, c.want)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	cfg := Default()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	cfg.Train.Iterations, cfg.Train.Warmup = 400, 500
	cfg.Model.Keep = math.NaN()
	err := cfg.Validate()
	want := "model.keep: have NaN, want 0 to 1\ntrain.warmup: have 500, want less than train.iterations (400)"
	if err == nil || err.Error() != want {
		t.Fatalf("have %v\nwant %s", err, want)
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("have %T, want *Error", err)
	}
	if have := e.Faults[1]; have != (Fault{"", "train.warmup", "have 500, want less than train.iterations (400)"}) {
		t.Errorf("have %+v", have)
	}
}

// No float of the schema may be NaN or infinite.
func TestValidateNotFinite(t *testing.T) {
	cfg := Default()
	refused := func(path string, v reflect.Value) {
		old := v.Float()
		for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			v.SetFloat(bad)
			if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("%s: have %v for %v, want it refused", path, err, bad)
			}
		}
		v.SetFloat(old)
	}
	visit(reflect.ValueOf(&cfg).Elem(), "", func(key string, _ reflect.StructField, v reflect.Value) {
		switch v.Kind() {
		case reflect.Array:
			if v.Type().Elem().Kind() != reflect.Float64 {
				return
			}
			for i := range v.Len() {
				refused(key, v.Index(i))
			}
		case reflect.Float64:
			refused(key, v)
		}
	})
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
}

// The limits themselves are accepted.
func TestValidateLimits(t *testing.T) {
	for _, sets := range [][]string{
		{"train.warmup=0"}, {"train.iterations=1", "train.warmup=0"}, {"train.warmup=49999"},
		{"model.dropout=0"}, {"model.dropout=1"}, {"model.keep=0"}, {"model.keep=1"}, {"model.select=all"}, {"model.neighbor_mask=7"},
		{"data.holdout=0"}, {"data.pattern='{object}/{camera}.jpg'"}, {"data.format=table", "data.table=a/b.csv"}, {"data.views=1"}, {"data.views=64"}, {"data.crop=448"}, {"data.crop=[392, 448]"}, {"data.fit=pad"}, {"data.fit=tiles", "data.resize=[1200, 1792]"}, {"data.overlap=0"}, {"data.overlap=0.75"}, {"data.bits=8"}, {"data.bits=16"}, {"data.bits=auto"}, {"data.classes=[gear, cap]"},
		{"train.lr_final=0"}, {"train.lr_final=0.002"}, {"train.hard_fraction=0"}, {"train.hard_fraction=1"}, {"train.weight_decay=0"},
		{"eval.aupro_limit=1"}, {"eval.top=1"}, {"eval.blur={size: 1, sigma: 0.1}"}, {"eval.mask_rule=gt0.5"},
		{"device=cpu"}, {"device=cuda"}, {"device=cuda:0"}, {"device=cuda:15"},
		{"backbone.layers=[4,6,8,10,12,14,16,18]"}, {"backbone.layers=[1, 2, 3, 4]", "model.decoder_depth=4"},
		{"backbone.fuse=[[0,1,2,3,4,5,6,7]]"}, {"backbone.fuse=[[7],[0,2,4],[1,3,5,6]]"},
		{"backbone.layers=[0]", "model.decoder_depth=1"},
	} {
		t.Run(strings.Join(sets, " "), func(t *testing.T) {
			cfg, err := Parse("x.yaml", nil, sets...)
			if err != nil {
				t.Fatal(err)
			}
			roundTrip(t, cfg)
		})
	}
}

func TestSet(t *testing.T) {
	text := []byte("train:\n  iterations: 300\n  lr: 0.1\n")
	cfg, err := Parse("x.yaml", text, "train.iterations=200", " seed = 9", "name=a=b", "data.classes=[x, 'y z']",
		"model.jitter={enabled: false, scale: [1, 2]}", "train.warmup=1", "train.warmup=2", "backbone.layers=[]")
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Train.Iterations, want.Train.LR, want.Train.Warmup = 200, 0.1, 2
	want.Seed, want.Name = 9, "a=b"
	want.Data.Classes = []string{"x", "y z"}
	want.Model.Jitter.Enabled, want.Model.Jitter.Scale = false, [2]float64{1, 2}
	if !reflect.DeepEqual(cfg, want) {
		t.Errorf("have %+v\nwant %+v", cfg, want)
	}
}

func TestSetErrors(t *testing.T) {
	for _, c := range []struct{ set, want string }{
		{"train.iteraions=200", `--set: train.iteraions: have an unknown key, did you mean "train.iterations"?`},
		{"iterations=200", `--set: iterations: have an unknown key, did you mean "train.iterations"?`},
		{"model.lr=1", `--set: model.lr: have an unknown key, did you mean "train.lr"?`},
		{"eval.blur.sigmas=1", `--set: eval.blur.sigmas: have an unknown key, did you mean "eval.blur.sigma"?`},
		{"eval.blur.qqq=1", `--set: eval.blur.qqq: have an unknown key, want one of size, sigma`},
		{"train.lr.x=1", `--set: train.lr.x: have an unknown key, want one of iterations, warmup`},
		{"zzz=1", `--set: zzz: have an unknown key, want one of name, output, seed, device, threads, precision, cuda_graph, deterministic, backbone, data, model, train, memory, eval, inspect`},
		{"a\nb=1", `--set: "a\nb": have an unknown key, want one of name`},
		{"train.iterations", `--set: have "train.iterations", want key=value such as train.iterations=200`},
		{"=3", `--set: have "=3", want key=value`},
		{"", `--set: have "", want key=value`},
		{"train.iterations=", `--set: train.iterations: have nothing, want a value, or '' for an empty text`},
		{"train=", `--set: train: have nothing, want a value, or '' for an empty text`},
		{"train.iterations=2.5", `--set: train.iterations: have 2.5, want a whole number in decimal digits`},
		{"train.iterations=[1", `--set: train.iterations: have invalid YAML: `},
		{"train.iterations=1\n---\n2", `--set: train.iterations: have a second document, want one`},
		{"train=5", `--set: train: have 5, want a mapping`},
		{"train={lr: 1, lr: 2}", `--set: train.lr: have a second value, want one`},
		{"train={lrr: 1}", `--set: train.lrr: have an unknown key, did you mean "train.lr"?`},
		{"train.warmup=50000", `--set: train.warmup: have 50000, want less than train.iterations (50000)`},
		{"data.root=$MVAG_TEST_UNSET/x", `--set: data.root: have "$MVAG_TEST_UNSET/x", want the variable MVAG_TEST_UNSET in the environment`},
	} {
		t.Run(c.set, func(t *testing.T) {
			_, err := Parse("x.yaml", nil, c.set)
			if err == nil || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("have %v\nwant one line that starts with %s", err, c.want)
			}
		})
	}
}
