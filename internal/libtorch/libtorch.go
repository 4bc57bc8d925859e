// Package libtorch finds the LibTorch to run with, without loading it.
//
// An installation is a folder with the layout of the Python package torch: version.py, and the shared libraries in lib.
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

	"mvag-torch/internal/regularfile"
)

// Version is the LibTorch version that the program is written for, the same as in third_party/libtorch.sh.
const Version = "2.11.0"

// linked are the libraries that the core is linked with.
var linked = []string{"libtorch_cpu.so", "libc10.so"}

// Folders returns the folders in which to look for LibTorch, in order. If $MVAG_LIBTORCH is set, it is the only one.
// Otherwise they are libtorch/torch next to the folder of the executable exe (the layout of a release), the folder that
// the core was built with ("" if unknown), and the user's cache.
func Folders(exe, built string, getenv func(string) string) []string {
	if set := getenv("MVAG_LIBTORCH"); set != "" {
		return []string{set}
	}
	folders := []string{filepath.Join(filepath.Dir(exe), "..", "libtorch", "torch")}
	if built != "" {
		folders = append(folders, built)
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
			folders = append(folders, own)
		}
	}
	return folders
}

// Find returns the first of folders that has LibTorch of this Version. The error is one line: what is wrong with the
// first folder that exists, or, if none does, all of them.
func Find(folders []string) (dir string, err error) {
	for _, folder := range folders {
		folder, absErr := filepath.Abs(folder)
		if absErr != nil {
			return "", absErr
		}
		if _, absent := os.Stat(folder); errors.Is(absent, fs.ErrNotExist) {
			continue
		}
		fault := check(folder)
		if fault == nil {
			return folder, nil
		}
		if err == nil {
			err = fault
		}
	}
	if err == nil {
		err = fmt.Errorf("libtorch: have none in %s, want %s", strings.Join(folders, ", "), Version)
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

var versionLine = regexp.MustCompile(`(?m)^__version__ = '([0-9A-Za-z._-]+)`)

// VersionIn reads the version of the installation in dir from version.py, without the suffix after "+".
func VersionIn(dir string) (string, error) {
	name := filepath.Join(dir, "version.py")
	text, err := regularfile.Read(name, 1<<20)
	if err != nil {
		return "", err
	}
	m := versionLine.FindSubmatch(text)
	if m == nil {
		return "", fmt.Errorf("%s: no line __version__ = '…'", name)
	}
	return string(m[1]), nil
}

// spin is how long LibTorch's threads on the CPU wait actively for each other. By default it is so long that two
// programs on one machine slow each other down (docs/performance.md).
const spin = "GOMP_SPINCOUNT=20000"

// Environ returns env with the libraries of the installation in dir first in LD_LIBRARY_PATH, and with short active
// waiting unless env says how OpenMP's threads are to wait.
func Environ(env []string, dir string) []string {
	const key = "LD_LIBRARY_PATH="
	path := filepath.Join(dir, "lib")
	env = slices.Clone(env)
	if !slices.ContainsFunc(env, func(v string) bool {
		return strings.HasPrefix(v, "GOMP_SPINCOUNT=") || strings.HasPrefix(v, "OMP_WAIT_POLICY=")
	}) {
		env = append(env, spin)
	}
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
