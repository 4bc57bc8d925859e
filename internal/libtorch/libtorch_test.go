package libtorch

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// install makes an installation of a version, with the libraries named.
func install(t *testing.T, version string, libraries ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "lib"), 0o755); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"version.py": "debug = False\n__version__ = '" + version + "'\n"}
	for _, name := range libraries {
		files[filepath.Join("lib", name)] = ""
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestVersionIsTheScripts(t *testing.T) {
	text, err := os.ReadFile("../../third_party/libtorch.sh")
	if err != nil {
		t.Fatal(err)
	}
	if m := regexp.MustCompile(`(?m)^version=(.*)$`).FindSubmatch(text); m == nil || string(m[1]) != Version {
		t.Errorf("libtorch.sh: have %q, want %s", m, Version)
	}
}

func TestFind(t *testing.T) {
	good := install(t, Version+"+cu130", linked...)
	old := install(t, "2.6.0+cpu", linked...)
	halved := install(t, Version, "libc10.so")
	mute := install(t, Version, linked...)
	if err := os.WriteFile(filepath.Join(mute, "version.py"), []byte("cuda = None\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	bare := t.TempDir()
	none := filepath.Join(bare, "none")
	for name, test := range map[string]struct {
		folders []string
		want    string   // folder
		errs    []string // in the error
	}{
		"good":                  {[]string{good}, good, nil},
		"first that fits":       {[]string{none, old, good}, good, nil},
		"none":                  {[]string{none, none + "2"}, "", []string{none + ", " + none + "2", "have none", "want " + Version}},
		"another version":       {[]string{none, old}, "", []string{"have 2.6.0", old, "want " + Version}},
		"library removed":       {[]string{halved}, "", []string{halved, "libtorch_cpu.so"}},
		"version not told":      {[]string{mute}, "", []string{mute, "have no version", "want " + Version}},
		"folder of other files": {[]string{bare}, "", []string{bare, "version.py"}},
		"file":                  {[]string{filepath.Join(good, "version.py")}, "", []string{"version.py"}},
		"first fault counts":    {[]string{old, halved}, "", []string{"have 2.6.0"}},
	} {
		t.Run(name, func(t *testing.T) {
			have, err := Find(test.folders)
			if have != test.want || (err == nil) != (test.errs == nil) {
				t.Fatalf("have %q, error %v; want %q", have, err, test.want)
			}
			for _, want := range test.errs {
				if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("have %q, want one line with %q", err, want)
				}
			}
		})
	}
}

func TestFolders(t *testing.T) {
	const release, own = "/opt/m/libtorch/torch", "mvag-torch/libtorch-" + Version + "/torch"
	for name, test := range map[string]struct {
		env   map[string]string
		built string
		want  []string
	}{
		"set":            {map[string]string{"MVAG_LIBTORCH": "x", "HOME": "/h"}, "/b", []string{"x"}},
		"home":           {map[string]string{"HOME": "/h"}, "/b", []string{release, "/b", "/h/.cache/" + own}},
		"XDG":            {map[string]string{"HOME": "/h", "XDG_CACHE_HOME": "/x"}, "", []string{release, "/x/" + own}},
		"cache":          {map[string]string{"HOME": "/h", "MVAG_CACHE": "/c"}, "", []string{release, "/c/libtorch-" + Version + "/torch"}},
		"built in cache": {map[string]string{"HOME": "/h"}, "/h/.cache/" + own, []string{release, "/h/.cache/" + own}},
		"no home":        {nil, "", []string{release}},
	} {
		t.Run(name, func(t *testing.T) {
			have := Folders("/opt/m/bin/mvag-torch", test.built, func(key string) string { return test.env[key] })
			if !slices.Equal(have, test.want) {
				t.Errorf("have %q, want %q", have, test.want)
			}
		})
	}
}

func TestEnviron(t *testing.T) {
	for name, test := range map[string]struct{ have, want []string }{
		"unset":           {[]string{"A=1"}, []string{"A=1", spin, "LD_LIBRARY_PATH=/t/lib"}},
		"waiting as told": {[]string{"OMP_WAIT_POLICY=active"}, []string{"OMP_WAIT_POLICY=active", "LD_LIBRARY_PATH=/t/lib"}},
		"waiting so long": {[]string{"GOMP_SPINCOUNT=0"}, []string{"GOMP_SPINCOUNT=0", "LD_LIBRARY_PATH=/t/lib"}},
		"empty":           {[]string{"LD_LIBRARY_PATH=", "A=1"}, []string{"LD_LIBRARY_PATH=/t/lib", "A=1", spin}},
		"others":          {[]string{"LD_LIBRARY_PATH=/x:/y"}, []string{"LD_LIBRARY_PATH=/t/lib:/x:/y", spin}},
		"already first":   {[]string{"LD_LIBRARY_PATH=/t/lib:/x"}, []string{"LD_LIBRARY_PATH=/t/lib:/x", spin}},
	} {
		t.Run(name, func(t *testing.T) {
			before := slices.Clone(test.have)
			if have := Environ(test.have, "/t"); !slices.Equal(have, test.want) || !slices.Equal(test.have, before) {
				t.Errorf("have %q, want %q", have, test.want)
			}
		})
	}
}
