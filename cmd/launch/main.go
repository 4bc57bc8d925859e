// Command launch is installed as mvag-torch. It finds and checks LibTorch, then executes mvag-torch-core, the actual
// program, in the same folder. The dynamic loader cannot start the core without LibTorch; this program is statically
// linked and can say what is wrong (docs/adr/0002-a-launcher-finds-libtorch.md).
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"mvag-torch/internal/atomicfile"
	"mvag-torch/internal/libtorch"
)

// Set by the linker.
var (
	version = "development"
	// built is the folder of the LibTorch that the core was built with.
	built string
)

const remedy = "run third_party/libtorch.sh, or set MVAG_LIBTORCH to an installation"

func main() {
	os.Exit(launch(os.Args))
}

// launch executes the core. It returns only if it cannot, with the exit code.
func launch(args []string) int {
	core, env, err := find()
	if err == nil {
		// On success this does not return: the core takes over the process.
		err = fmt.Errorf("%s: %w", core, syscall.Exec(core, args, env))
	}
	if len(args) > 1 && args[1] == "doctor" {
		return doctorWithout(err, args[2:])
	}
	fmt.Fprintf(os.Stderr, "mvag-torch: %v\n", err)
	return 1
}

// find returns the core and an environment in which the loader finds LibTorch.
func find() (core string, env []string, err error) {
	exe, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	core = filepath.Join(filepath.Dir(exe), "mvag-torch-core")
	if _, err := os.Stat(core); err != nil {
		return "", nil, fmt.Errorf("%s: %w; it belongs in the folder of mvag-torch: run make, or install both",
			core, atomicfile.Cause(err))
	}
	dir, err := libtorch.Find(libtorch.Folders(exe, built, os.Getenv))
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
