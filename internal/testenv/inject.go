package testenv

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Fault is what the kernel answers in place of a system call.
type Fault struct {
	Call   string // "write", as strace knows it, or several with commas
	Answer string // "error=ENOSPC"; "retval=1" claims to have done what was not done; "delay_enter=9" us; "signal=SIGINT"
	When   string // "3", the third call of each thread; "3+" that and all later ones; "" all
	Path   string // only calls that use this file; "" any. A file that is made later has to have its name by then.
}

func (f Fault) String() string {
	text := f.Call + ":" + f.Answer
	if f.When != "" {
		text += ":when=" + f.When
	}
	if f.Path != "" {
		text += " of " + filepath.Base(f.Path)
	}
	return text
}

// Strace returns strace where it is and may trace, else "" and why. That it is missing fails the test if CI is set.
func Strace(t testing.TB) (path, why string) {
	t.Helper()
	path, err := exec.LookPath("strace")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("strace: missing, and CI is set")
		}
		return "", "strace: missing"
	}
	// Containers may forbid to trace.
	if out, err := exec.Command(path, "-f", "--seccomp-bpf", "-qq", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		return "", fmt.Sprintf("strace: %v: %s", err, bytes.TrimSpace(out))
	}
	return path, ""
}

// Inject lets cmd, which was not started yet, meet a fault. After it has ended, injected returns the calls that met it
// and whose text, with the paths of descriptors, has within. Without [Strace] the test is skipped.
func Inject(t testing.TB, cmd *exec.Cmd, f Fault) (injected func(within string) []string) {
	t.Helper()
	strace, why := Strace(t)
	if why != "" {
		t.Skip(why)
	}
	log := filepath.Join(t.TempDir(), "strace.log")
	inject := "inject=" + f.Call + ":" + f.Answer
	if f.When != "" {
		inject += ":when=" + f.When
	}
	args := []string{strace, "-f", "-qq", "-y", "-s", "0", "-o", log, "-e", "trace=" + f.Call, "-e", inject}
	if !strings.HasPrefix(f.Answer, "signal=") { // with the filter, which is faster, most of them are never delivered
		args = append(args, "--seccomp-bpf")
	}
	if f.Path != "" {
		args = append(args, "-P", f.Path)
	}
	cmd.Args = append(append(args, "--", cmd.Path), cmd.Args[1:]...)
	cmd.Path = strace
	return func(within string) (calls []string) {
		text, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		return injectedCalls(string(text), within)
	}
}

// injectedCalls finds the calls in what strace has written. A call during which another thread made one is on two lines.
func injectedCalls(log, within string) (calls []string) {
	begun := map[string]string{} // by thread
	for line := range strings.Lines(log) {
		line = strings.TrimSpace(line)
		thread, _, _ := strings.Cut(line, " ")
		if begin, cut := strings.CutSuffix(line, " <unfinished ...>"); cut {
			begun[thread] = begin
			continue
		}
		if _, end, cut := strings.Cut(line, " resumed>"); cut {
			line = begun[thread] + end
		}
		if strings.Contains(line, "(INJECTED)") && strings.Contains(line, within) {
			calls = append(calls, line)
		}
	}
	return calls
}

// SmallDisk returns a folder on a file system of its own that has room for so many bytes and is in memory. It needs root,
// and a container that may mount; without, the test is skipped.
func SmallDisk(t testing.TB, size int64) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d", size), "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("mount: %s", bytes.TrimSpace(out))
	}
	t.Cleanup(func() { unmount(t, dir) })
	return dir
}

// Remount changes a file system of SmallDisk to "ro", where nothing can be written, or back to "rw".
func Remount(t testing.TB, dir, how string) {
	t.Helper()
	if out, err := exec.Command("mount", "-o", "remount,"+how, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func unmount(t testing.TB, dir string) {
	if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// Fill writes a file that takes all of the file system of a folder but room bytes.
func Fill(t testing.TB, path string, room int64) {
	t.Helper()
	var s syscall.Statfs_t
	err := syscall.Statfs(filepath.Dir(path), &s)
	var f *os.File
	if err == nil {
		f, err = os.Create(path)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if n := int64(s.Bavail)*s.Bsize - room; n > 0 {
		if err := syscall.Fallocate(int(f.Fd()), 0, 0, n); err != nil {
			t.Fatal(err)
		}
	}
}

// Tally is what came of faults and damages: refused or reported in a line, made good, or taken for right (lost).
type Tally struct{ Injected, Refused, Repaired, Lost int }

// Log says what came of the faults of something, in words that make faults adds up. Anything that was lost fails the test.
func (a Tally) Log(t testing.TB, of string) {
	t.Helper()
	t.Logf("faults of %s: %d injected, %d refused, %d repaired, %d lost", of, a.Injected, a.Refused, a.Repaired, a.Lost)
	if a.Lost > 0 || a.Refused+a.Repaired == 0 {
		t.Errorf("have %+v, want something refused or repaired and nothing lost", a)
	}
}
