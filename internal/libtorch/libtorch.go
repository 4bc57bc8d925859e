// Package libtorch finds the LibTorch that the program runs with, without
// loading it.
//
// An installation is a folder laid out as the Python package torch: version.py
// and the shared libraries in lib.
package libtorch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Version is the LibTorch that the program is written for, the same as in
// third_party/libtorch.sh.
const Version = "2.11.0"

// linked are the libraries that the program is linked with.
var linked = []string{"libtorch_cpu.so", "libc10.so"}

// Places are where the environment and the layout of the program's files let
// LibTorch be, most wanted first: in $MVAG_LIBTORCH alone where that is set;
// else in libtorch/torch beside the folder bin of the program exe (a release),
// where it was when the program was built ("" if that is not known), in the
// user's cache.
func Places(exe, built string, getenv func(string) string) []string {
	if set := getenv("MVAG_LIBTORCH"); set != "" {
		return []string{set}
	}
	places := []string{filepath.Join(filepath.Dir(exe), "..", "libtorch", "torch")}
	if built != "" {
		places = append(places, built)
	}
	cache := getenv("MVAG_CACHE")
	if cache == "" {
		base := getenv("XDG_CACHE_HOME")
		if home := getenv("HOME"); base == "" && home != "" {
			base = filepath.Join(home, ".cache")
		}
		if base != "" {
			cache = filepath.Join(base, "mvag-torch")
		}
	}
	if cache != "" {
		if own := filepath.Join(cache, "libtorch-"+Version, "torch"); own != built {
			places = append(places, own)
		}
	}
	return places
}

// Find returns the first of places that holds LibTorch of the right Version.
// The error is one line: what is wrong with the first place that holds
// anything, or all places where there is none.
func Find(places []string) (dir string, err error) {
	for _, place := range places {
		place, absErr := filepath.Abs(place)
		if absErr != nil {
			return "", absErr
		}
		if _, absent := os.Stat(place); errors.Is(absent, fs.ErrNotExist) {
			continue
		}
		fault := check(place)
		if fault == nil {
			return place, nil
		}
		if err == nil {
			err = fault
		}
	}
	if err == nil {
		err = fmt.Errorf("libtorch: have none in %s, want %s", strings.Join(places, ", "), Version)
	}
	return "", err
}

// check returns what is wrong with the installation in dir.
func check(dir string) error {
	have, err := VersionIn(dir)
	if err != nil {
		return fmt.Errorf("libtorch: have no version in %s, want %s: %w", dir, Version, err)
	}
	if have != Version {
		return fmt.Errorf("libtorch: have %s in %s, want %s", have, dir, Version)
	}
	for _, name := range linked {
		if _, err := os.Stat(filepath.Join(dir, "lib", name)); err != nil {
			return fmt.Errorf("libtorch: have %s in %s without %s: %w", have, dir, name, err)
		}
	}
	return nil
}

var versionLine = regexp.MustCompile(`(?m)^__version__ = '([^'+]*)`)

// VersionIn reads the version of the installation in dir from version.py,
// without what follows a "+".
func VersionIn(dir string) (string, error) {
	name := filepath.Join(dir, "version.py")
	text, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	m := versionLine.FindSubmatch(text)
	if m == nil {
		return "", fmt.Errorf("%s: no line __version__ = '…'", name)
	}
	return string(m[1]), nil
}

// Environ returns the environment env with the libraries of the installation
// in dir before all others.
func Environ(env []string, dir string) []string {
	const key = "LD_LIBRARY_PATH="
	path := filepath.Join(dir, "lib")
	env = slices.Clone(env)
	for i, v := range env {
		if rest, ok := strings.CutPrefix(v, key); ok {
			switch {
			case rest == path || strings.HasPrefix(rest, path+":"):
				path = rest
			case rest != "":
				path += ":" + rest
			}
			env[i] = key + path
			return env
		}
	}
	return append(env, key+path)
}
