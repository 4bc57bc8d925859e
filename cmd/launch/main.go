// Command launch is what users know as mvag-torch: it finds LibTorch, checks
// it, and becomes mvag-torch-core, the program proper, which lies beside it.
// The dynamic loader starts the core only where it finds LibTorch; this
// program is linked with nothing, and so can say what is wrong
// (docs/adr/0002-a-launcher-finds-libtorch.md).
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"mvag-torch/internal/libtorch"
)

// Set by the linker.
var (
	version = "development"
	// built is the LibTorch that the core was built with.
	built string
)

const remedy = "run third_party/libtorch.sh, or set MVAG_LIBTORCH to an installation"

func main() {
	os.Exit(launch(os.Args))
}

// launch becomes the core; it returns, with the exit code, only where it
// cannot.
func launch(args []string) int {
	core, env, err := find()
	if err == nil {
		// On success this does not return: process number, signals and open
		// files are the core's.
		err = fmt.Errorf("%s: %w", core, syscall.Exec(core, args, env))
	}
	if len(args) > 1 && args[1] == "doctor" {
		return doctorWithout(err, args[2:])
	}
	fmt.Fprintf(os.Stderr, "mvag-torch: %v\n", err)
	return 1
}

// find returns the core and the environment in which the loader finds
// LibTorch.
func find() (core string, env []string, err error) {
	exe, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	core = filepath.Join(filepath.Dir(exe), "mvag-torch-core")
	if _, err := os.Stat(core); err != nil {
		return "", nil, fmt.Errorf("%s: %w; it belongs beside mvag-torch: run make, or install both", core, cause(err))
	}
	dir, err := libtorch.Find(libtorch.Places(exe, built, os.Getenv))
	if err != nil {
		return "", nil, fmt.Errorf("%w; %s", err, remedy)
	}
	env = libtorch.Environ(os.Environ(), dir)
	err = libtorch.Loadable(context.Background(), core, env)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil, fmt.Errorf("%s: the system has no loader for it, want x86-64 Linux with glibc", core)
	case err != nil:
		return "", nil, fmt.Errorf("%w (LibTorch %s in %s); %s", err, libtorch.Version, dir, remedy)
	}
	return core, env, nil
}

// cause is err without the operation and path of an *fs.PathError.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
