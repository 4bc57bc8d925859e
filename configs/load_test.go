package configs

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	names := Names()
	for _, want := range []string{"mvtec", "quickstart", "realiad", "visa"} {
		if !slices.Contains(names, want) {
			t.Errorf("have %q, want %q among them", names, want)
		}
	}
	if !slices.IsSorted(names) {
		t.Errorf("have %q, want them sorted", names)
	}
}

// Every embedded configuration is valid on any machine, is named after its file, and survives Marshal.
func TestEmbedded(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			cfg, err := Load(name)
			if err != nil {
				t.Fatal(err)
			}
			if cfg.Name != name {
				t.Errorf("name: have %q, want %q", cfg.Name, name)
			}
			roundTrip(t, cfg)
			same, err := Load(name + ".yaml")
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(same, cfg) {
				t.Errorf("have %+v by the file's name, want %+v", same, cfg)
			}
		})
	}
}

// roundTrip fails unless reading what Marshal writes gives cfg back.
func roundTrip(t *testing.T, cfg Config) {
	t.Helper()
	text, err := Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse("marshalled", text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if !reflect.DeepEqual(again, cfg) {
		t.Fatalf("have %+v\nwant %+v\n%s", again, cfg, text)
	}
}

func TestRealIADIsDefault(t *testing.T) {
	cfg, err := Load("realiad")
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(cfg, Default()) {
		t.Errorf("have %+v\nwant %+v", cfg, Default())
	}
}

func TestQuickstart(t *testing.T) {
	have, err := Load("quickstart")
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Name = "quickstart"
	want.Backbone.Name = "vit_small_patch14_dinov2"
	want.Backbone.Weights = "backbones/quickstart_vits14.safetensors"
	want.Data.Root, want.Data.Images = "data/demo", "realiad_demo"
	want.Data.Resize, want.Data.Crop = Square(256), Square(224)
	want.Precision = Auto
	want.Train.Iterations, want.Train.Warmup, want.Train.Holdout = 150, 30, 0.2
	want.Train.LogEvery, want.Train.CheckpointEvery = 10, 50
	want.Eval.FalseAlarm = 0.1
	if !reflect.DeepEqual(have, want) {
		t.Errorf("have %+v\nwant %+v", have, want)
	}
}

// The sets of one view differ from the default in the data, and as Dinomaly trains on them: 10,000 iterations of 16
// images.
func TestOneView(t *testing.T) {
	for name, data := range map[string]func(*Data){
		"mvtec": func(d *Data) { d.Format, d.Root = "mvtec", "data/mvtec" },
		"visa":  func(d *Data) { d.Format, d.Root, d.Table = "visa", "data/VisA", "split_csv/1cls.csv" },
	} {
		have, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		want := Default()
		want.Name, want.Data.Views = name, 1
		data(&want.Data)
		want.Train.Iterations, want.Train.Objects, want.Eval.Objects = 10000, 16, 16
		if !reflect.DeepEqual(have, want) {
			t.Errorf("%s: have %+v\nwant %+v", name, have, want)
		}
	}
}

func TestEmptyDocuments(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":       "",
		"comment":       "# all defaults\n",
		"marker":        "---\n",
		"null":          "~\n",
		"mapping":       "{}\n",
		"byte order":    "\ufeff# only\n",
		"empty section": "train:\n  # lr: 1e-3\nmodel:\n  jitter:\n",
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := Parse("x.yaml", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(cfg, Default()) {
				t.Errorf("have %+v, want the defaults", cfg)
			}
		})
	}
}

// Values that look like another type stay as they are written.
func TestParseValues(t *testing.T) {
	text := `
name: 2026-01-31
seed: +7
data:
  classes: [007, true, 1.50, "null"]
train: {lr: 1, lr_final: .5e-3}
backbone: {layers: [], fuse: [[0, 2, 4, 6], [1, 3, 5, 7]]}
model: {jitter: {enabled: False}}
`
	cfg, err := Parse("x.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Name, want.Seed = "2026-01-31", 7
	want.Data.Classes = []string{"007", "true", "1.50", "null"}
	want.Train.LR, want.Train.LRFinal = 1, 0.0005
	want.Backbone.Fuse = [][]int{{0, 2, 4, 6}, {1, 3, 5, 7}}
	want.Model.Jitter.Enabled = false
	if !reflect.DeepEqual(cfg, want) {
		t.Errorf("have %+v\nwant %+v", cfg, want)
	}
	roundTrip(t, cfg)
}

func TestLoadPaths(t *testing.T) {
	t.Chdir(t.TempDir())
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("mine.yaml", "seed: 3\n")
	write("quickstart", "seed: 4\n") // a file wins over the embedded one
	if err := os.Mkdir("realiad", 0o700); err != nil {
		t.Fatal(err) // a folder does not
	}
	for name, seed := range map[string]int64{
		"mine.yaml": 3, filepath.Join(".", "mine.yaml"): 3, "quickstart": 4, "quickstart.yaml": 1, "realiad": 1,
	} {
		cfg, err := Load(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if cfg.Seed != seed {
			t.Errorf("%s: have seed %d, want %d", name, cfg.Seed, seed)
		}
	}
}

func TestLoadErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("folder", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("large.yaml", []byte(strings.Repeat("#", maxBytes+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, file, want string
		missing          bool
	}{
		{"unknown name", "realiat", `config: have "realiat", want a YAML file or an embedded configuration (mvtec, quickstart, realiad, visa)`, true},
		{"no such file", "a/realiad.yaml", `config: have "a/realiad.yaml", want a YAML file or an embedded`, true},
		{"empty", "", `config: have "", want a YAML file or an embedded`, true},
		{"folder", "folder", "folder: have a folder, want a YAML file or an embedded", false},
		{"large", "large.yaml", "large.yaml: have more than 65536 bytes, want a configuration", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(c.file)
			if err == nil || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("have %v, want one line that starts with %s", err, c.want)
			}
			if errors.Is(err, fs.ErrNotExist) != c.missing {
				t.Errorf("%v: is fs.ErrNotExist: have %t, want %t", err, !c.missing, c.missing)
			}
		})
	}
}

func TestExpand(t *testing.T) {
	t.Setenv("HOME", "/home/me")
	t.Setenv("MVAG_TEST_DATA", "/data")
	t.Setenv("MVAG_TEST_TILDE", "~/x")
	t.Setenv("MVAG_TEST_DOLLAR", "/$HOME")
	for in, want := range map[string]string{
		"data/x":                     "data/x",
		"~/x":                        "/home/me/x",
		"~":                          "/home/me",
		"~other/x":                   "~other/x",
		"a/~/x":                      "a/~/x",
		"$MVAG_TEST_DATA/x":          "/data/x",
		"${MVAG_TEST_DATA}x":         "/datax",
		"$MVAG_TEST_DATA$HOME/x":     "/data/home/me/x",
		"$MVAG_TEST_TILDE":           "/home/me/x",
		"$MVAG_TEST_DOLLAR/x":        "/$HOME/x", // replaced once
		"a$$HOME$$":                  "a$HOME$",
		"$${MVAG_TEST_DATA} $$$HOME": "${MVAG_TEST_DATA} $/home/me",
	} {
		t.Run(in, func(t *testing.T) {
			cfg, err := Parse("x.yaml", nil, "data.root='"+in+"'", "backbone.weights='"+in+"'", "output='"+in+"'", "data.cache='"+in+"'")
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range cfg.paths() {
				if *p.value != want {
					t.Errorf("%s: have %q, want %q", p.path, *p.value, want)
				}
			}
			roundTrip(t, cfg)
		})
	}
	t.Run("other fields are left alone", func(t *testing.T) {
		cfg, err := Parse("x.yaml", nil, "name=$HOME", "data.index=~/x")
		if err != nil {
			t.Fatal(err)
		}
		if cfg.Name != "$HOME" || cfg.Data.Index != "~/x" {
			t.Errorf("have %q and %q, want them as written", cfg.Name, cfg.Data.Index)
		}
		roundTrip(t, cfg)
	})
	t.Run("no home", func(t *testing.T) {
		t.Setenv("HOME", "")
		_, err := Parse("x.yaml", nil, "output=~/x")
		if want := `--set: output: have "~/x", want the home folder in the variable HOME`; err == nil || err.Error() != want {
			t.Errorf("have %v, want %s", err, want)
		}
	})
}

// Marshal writes lists in one line and floats in their shortest form.
func TestMarshalText(t *testing.T) {
	cfg := Default()
	cfg.Backbone.Layers = []int{2, 3, 4, 5, 6, 7, 8, 9}
	cfg.Data.Root = strings.Repeat("a long folder ", 20) + "$1"
	text, err := Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"name: realiad\n", "  layers: [2, 3, 4, 5, 6, 7, 8, 9]\n", "  fuse: []\n", "  lr: 0.002\n", "  eps: 1e-06\n",
		"    scale: [2, 5]\n", "    prob: [0.2, 0.8]\n", "  root: " + strings.Repeat("a long folder ", 20) + "$$1\n",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("have\n%s, want a line %q", text, want)
		}
	}
	roundTrip(t, cfg)
}

// TestTagsAndAliases holds that a tag makes nothing but text and numbers, and that aliases, which could multiply, are refused.
func TestTagsAndAliases(t *testing.T) {
	for text, want := range map[string]string{
		"name: !!python/object/apply:os.system [id]": "x.yaml:1: name: have a list, want text",
		"name: !x a":                    "x.yaml:1: name: have a, want text",
		"output: !!binary aGVsbG8=":     `x.yaml:1: output: have "aGVsbG8=", want text`,
		"name: &n x\noutput: *n":        "x.yaml:2: output: have an alias, want text",
		"data: {<<: {root: elsewhere}}": `x.yaml:1: data."<<": have an unknown key`,
	} {
		if _, err := Parse("x.yaml", []byte(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: have %v, want %q", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.bad.yaml")
	if err != nil || len(files) == 0 {
		f.Fatal("no testdata", err)
	}
	more, _ := filepath.Glob("*.yaml")
	for _, file := range append(files, more...) {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, "train.iterations=200")
	}
	f.Add([]byte("name: !!str 1\ndata: {classes: ['a ', \"\\u00e9\", ? ]}"), "data.root=$HOME/x")
	f.Setenv("HOME", "/home/me")
	f.Fuzz(func(t *testing.T, text []byte, set string) {
		cfg, err := Parse("x.yaml", text, set)
		if err == nil {
			roundTrip(t, cfg)
			return
		}
		var e *Error
		if errors.As(err, &e) && len(e.Faults) != 1+strings.Count(err.Error(), "\n") {
			t.Errorf("have %d faults in %q, want one a line", len(e.Faults), err)
		}
	})
}

// Any valid configuration survives Marshal, whatever its text looks like.
func FuzzMarshal(f *testing.F) {
	for _, s := range []string{"a", "null", "~", "1e3", "0x1f", "yes", "- a", "a: b", " a ", "#a", "'", `"`, "2026-01-31", "$x", "é", "\u200d", "<<", "!a", "&a", "*a", "?", "|", "%"} {
		f.Add(s, 0.1, int64(7))
	}
	f.Fuzz(func(t *testing.T, text string, number float64, seed int64) {
		cfg := Default()
		cfg.Name, cfg.Output, cfg.Seed = text, text, seed
		cfg.Backbone.Name, cfg.Backbone.Weights = text, text
		cfg.Data.Root, cfg.Data.Classes = text, []string{"a", text}
		cfg.Train.LR, cfg.Model.Jitter.Scale[0] = number, number
		if cfg.Validate() == nil && !strings.HasPrefix(text, "~") {
			roundTrip(t, cfg)
		}
	})
}

// TestSetPatternWithoutQuotes holds that text which YAML takes for a mapping or a list needs no quotes on the command
// line; with quotes it is the same, and lists stay lists.
func TestSetPatternWithoutQuotes(t *testing.T) {
	for value, want := range map[string]string{
		`{object}_{camera}.png`:   "{object}_{camera}.png",
		`"{object}_{camera}.png"`: "{object}_{camera}.png",
		`'{camera} of {object}'`:  "{camera} of {object}",
		`{camera} of {object}`:    "{camera} of {object}",
		`*_{object}`:              "*_{object}",
		`[{object}]`:              "[{object}]",
	} {
		cfg, err := Parse("x", nil, "data.pattern="+value, "data.classes=[nut, gear]")
		if err != nil || cfg.Data.Pattern != want || len(cfg.Data.Classes) != 2 {
			t.Errorf("%s: have %q, error %v, want %q", value, cfg.Data.Pattern, err, want)
		}
	}
	if _, err := Parse("x", nil, "data.pattern={object}\x00"); err == nil {
		t.Error("accepted a control character")
	}
}

// TestSizeJSON: in JSON as in YAML, a square is a number.
func TestSizeJSON(t *testing.T) {
	for size, want := range map[Size]string{Square(392): "392", {392, 784}: "[392,784]"} {
		text, err := json.Marshal(size)
		if err != nil || string(text) != want {
			t.Errorf("%v: have %s and error %v, want %s", size, text, err, want)
		}
		var back Size
		if err := json.Unmarshal(text, &back); err != nil || back != size {
			t.Errorf("%s: have %v and error %v", text, back, err)
		}
	}
	for _, text := range []string{`"392"`, `[392]`, `[1,2,3]`, `{}`} {
		if err := json.Unmarshal([]byte(text), new(Size)); err == nil || !strings.Contains(err.Error(), "want a number or [height, width]") {
			t.Errorf("%s: have error %v", text, err)
		}
	}
}
