package libtorch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Loadable asks the dynamic loader whether it finds every library that program needs in the environment env, without
// running it. The error is one line that names the first missing or damaged library.
func Loadable(ctx context.Context, program string, env []string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = append(env[:len(env):len(env)], "LD_TRACE_LOADED_OBJECTS=1") // see ld.so(8)
	var said bytes.Buffer
	cmd.Stderr = &said
	found, err := cmd.Output()
	for line := range strings.Lines(string(found)) {
		if name, ok := strings.CutSuffix(strings.TrimSpace(line), " => not found"); ok {
			return fmt.Errorf("libtorch: %s is missing", name)
		}
	}
	first, _, _ := strings.Cut(strings.TrimSpace(said.String()), "\n")
	if _, reason, ok := strings.Cut(first, "error while loading shared libraries: "); ok {
		first = reason
	}
	first = strings.TrimPrefix(first, program+": ")
	var status *exec.ExitError
	switch {
	case first != "":
		return fmt.Errorf("libtorch: %s", first)
	case errors.As(err, &status):
		return fmt.Errorf("libtorch: the loader of %s: %w", program, err)
	}
	return err
}
