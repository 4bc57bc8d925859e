package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mvag-torch/internal/testenv"
)

// TestPromptCommands: a command that cannot look for a signal on its way ends all the same, here while a system call waits or
// steps are timed, with one line and without a file that it has not finished.
func TestPromptCommands(t *testing.T) {
	dir := t.TempDir()
	vit, run, out := vitUpTo(t, 11, 1), filepath.Join(dir, "run"), filepath.Join(dir, "out")
	must(t, "dataset", "demo", filepath.Join(dir, "demo"), "--classes", "gear", "--size", "64", "--train", "2", "--good", "1", "--bad", "1")
	err := errors.Join(os.Mkdir(run, 0o755),
		os.WriteFile(filepath.Join(run, "config.yaml"), []byte(must(t, "config", "-c", "quickstart")), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	const waits = "delay_enter=4000000" // microseconds, which strace waits for after the end, too
	reading := func(path string) testenv.Fault {
		return testenv.Fault{Call: "read,pread64", Answer: waits, Path: path}
	}
	writing := testenv.Fault{Call: "fsync", Answer: waits}
	bench := []string{"bench", "--steps", "1000000", "--set", "backbone.name=vit_tiny_patch16_224", "--set", "data.resize=64", "--set", "data.crop=64"}
	for name, c := range map[string]struct {
		args   []string
		fault  testenv.Fault
		folder string // in which a file appears that is not finished; "" where the program reads
	}{
		"info":          {[]string{"info", vit}, reading(vit), ""},
		"backbone info": {[]string{"backbone", "info", vit}, reading(vit), ""},
		"check":         {[]string{"dataset", "check", "-c", "quickstart", "--set", "data.root=" + filepath.Join(dir, "demo")}, reading(filepath.Join(dir, "demo", "realiad_jsons", "gear.json")), ""},
		"convert":       {[]string{"backbone", "convert", vit, filepath.Join(out, "vit.safetensors")}, writing, out},
		"report":        {[]string{"report", run}, writing, run},
		"train":         {append(bench, "--what", "train"), testenv.Fault{}, ""},
		"infer":         {append(bench, "--what", "infer"), testenv.Fault{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], c.args...)
			cmd.Env = append(os.Environ(), mainVariable+"=v1", "OMP_NUM_THREADS=1")
			if c.fault.Call != "" {
				testenv.Inject(t, cmd, c.fault)
			}
			log := filepath.Join(t.TempDir(), "stderr")
			var err error
			if cmd.Stderr, err = os.Create(log); err == nil {
				err = cmd.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			pid := cmd.Process.Pid
			await(t, "the work", func() bool {
				if c.fault.Call != "" {
					pid = child(cmd.Process.Pid)
				}
				return works(t, pid, c.fault.Path, c.folder, log)
			})
			late := time.AfterFunc(2*time.Minute, func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
			defer late.Stop()
			began := time.Now()
			if err := syscall.Kill(pid, syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // its code says more
			text, err := os.ReadFile(log)
			if err != nil {
				t.Fatal(err)
			}
			said := slices.DeleteFunc(strings.Split(string(text), "\n"), func(line string) bool {
				return !strings.HasPrefix(line, "mvag-torch: ")
			})
			took, want := time.Since(began), "mvag-torch: "+startsAgain
			if code := cmd.ProcessState.ExitCode(); code != 130 || len(said) != 1 || said[0] != want || took > 30*time.Second {
				t.Errorf("after %v have code %d, %q, want 130 and %q", took, code, text, want)
			}
			if have, _ := os.ReadDir(c.folder); c.folder == run && len(have) != 1 || c.folder == out && len(have) > 0 {
				t.Errorf("have %v, want no file more", have)
			}
		})
	}
}

// child is the one process that a process has started, 0 where it has none.
func child(pid int) (of int) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", pid))
	of, _ = strconv.Atoi(strings.TrimSpace(string(text)))
	return of
}

// works tells whether a process has a file open, or a file appears in a folder, or it says what it computes with.
func works(t *testing.T, pid int, file, folder, log string) bool {
	t.Helper()
	switch {
	case file != "":
		handles, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid)) // strace may not have started it
		return slices.ContainsFunc(handles, func(h string) bool {
			of, _ := os.Readlink(h)
			return of == file
		})
	case folder != "":
		there, err := filepath.Glob(filepath.Join(folder, ".mvag-*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(there) > 0
	}
	text, err := os.ReadFile(log)
	return err == nil && len(text) > 0
}

// TestEarlySignals: a signal that comes while LibTorch is loaded, or before main heeds it, ends the program with the code that a
// shell has for it, and nothing is left.
func TestEarlySignals(t *testing.T) {
	for _, f := range []testenv.Fault{
		{Call: "openat", When: "4"},       // the loader
		{Call: "rt_sigaction", When: "1"}, // the Go runtime, which has not yet taken any signal
		{Call: "rt_sigaction", When: "30"},
		{Call: "rt_sigaction", When: "100"},
	} {
		for name, code := range map[string]int{"SIGHUP": 129, "SIGINT": 130, "SIGTERM": 143} {
			f := f
			f.Answer = "signal=" + name
			t.Run(f.String(), func(t *testing.T) {
				t.Parallel()
				out := filepath.Join(t.TempDir(), "out")
				cmd := exec.Command(os.Args[0], "dataset", "demo", out, "--classes", "gear", "--size", "64", "--train", "1", "--good", "1", "--bad", "1")
				cmd.Env = append(os.Environ(), mainVariable+"=v1", "OMP_NUM_THREADS=1")
				testenv.Inject(t, cmd, f)
				cmd.Args = append([]string{"/bin/sh", "-c", `"$0" "$@"; exit $?`}, cmd.Args...)
				cmd.Path = cmd.Args[0]
				text, _ := cmd.CombinedOutput() // its code says more
				if have := cmd.ProcessState.ExitCode(); have != code {
					t.Errorf("have code %d, %s, want %d", have, text, code)
				}
				if _, err := os.Stat(out); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("have %v, want no folder of outputs", err)
				}
			})
		}
	}
}

// TestPipeAsConfiguration: a command that waits for its configuration from a pipe ends promptly.
func TestPipeAsConfiguration(t *testing.T) {
	for _, args := range [][]string{{"config"}, {"train"}, {"serve"}} {
		t.Run(args[0], func(t *testing.T) {
			t.Parallel()
			pipe := filepath.Join(t.TempDir(), "pipe")
			if err := syscall.Mkfifo(pipe, 0o600); err != nil {
				t.Fatal(err)
			}
			p := start(t, nil, append(args, "-c", pipe)...)
			w, err := os.OpenFile(pipe, os.O_WRONLY, 0) // once the program has opened it, too
			if err == nil {
				defer w.Close()
				err = p.Process.Signal(syscall.SIGINT)
			}
			if err != nil {
				t.Fatal(err)
			}
			if code, text, _ := p.end(t); code != 130 || text != "mvag-torch: "+startsAgain+"\n" {
				t.Errorf("have code %d, %q, want 130 and one line", code, text)
			}
		})
	}
}
