package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mvag-torch/internal/doctor"
	"mvag-torch/internal/libtorch"
)

// bin is a folder with the launcher and a core: a copy of the shell, which is linked dynamically as the core is.
type bin struct{ dir, launcher, core string }

func newBin(t *testing.T) bin {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "bin")
	p := bin{dir, filepath.Join(dir, "mvag-torch"), filepath.Join(dir, "mvag-torch-core")}
	build := exec.Command("go", "build", "-o", p.launcher, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	shell, err := os.ReadFile("/bin/sh")
	if err == nil {
		err = os.WriteFile(p.core, shell, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// install makes an installation of a version and returns its folder.
func install(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "version.py"), "__version__ = '"+version+"'\n")
	write(t, filepath.Join(dir, "lib", "libtorch_cpu.so"), "")
	write(t, filepath.Join(dir, "lib", "libc10.so"), "")
	return dir
}

func write(t *testing.T, name, text string) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(name), 0o755)
	if err == nil {
		err = os.WriteFile(name, []byte(text), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// start runs the launcher with LibTorch in dir.
func (p bin) start(t *testing.T, dir, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command(p.launcher, args...)
	cmd.Env = append(os.Environ(), "MVAG_LIBTORCH="+dir, "LD_LIBRARY_PATH=/other")
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return out.String(), errs.String(), -int(status.Signal())
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func TestBecomesTheCore(t *testing.T) {
	p, dir := newBin(t), install(t, libtorch.Version+"+cu130")
	for name, test := range map[string]struct {
		script, stdin, want string
		code                int
	}{
		"exit code":    {"exit 7", "", "", 7},
		"arguments":    {`echo "$0|$1"`, "", "a b|--flag=x y\n", 0},
		"stdin":        {"read x; echo got $x", "something\n", "got something\n", 0},
		"library path": {"echo $LD_LIBRARY_PATH", "", dir + "/lib:/other\n", 0},
		"signal":       {"kill -TERM $$; sleep 5", "", "", -int(syscall.SIGTERM)},
	} {
		t.Run(name, func(t *testing.T) {
			out, errs, code := p.start(t, dir, test.stdin, "-c", test.script, "a b", "--flag=x y")
			if out != test.want || code != test.code || errs != "" {
				t.Errorf("have %q, code %d, stderr %q; want %q, code %d", out, code, errs, test.want, test.code)
			}
		})
	}
}

func TestKeepsTheProcess(t *testing.T) {
	p, dir := newBin(t), install(t, libtorch.Version)
	cmd := exec.Command(p.launcher, "-c", "trap 'echo interrupted; exit 3' INT; echo $$; while :; do sleep 0.05; done")
	cmd.Env = append(os.Environ(), "MVAG_LIBTORCH="+dir)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 32)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if err := json.Unmarshal(bytes.TrimSpace(line[:n]), &pid); err != nil || pid != cmd.Process.Pid {
		t.Errorf("process: have %d (error %v), want %d", pid, err, cmd.Process.Pid)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	var ended *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &ended) || ended.ExitCode() != 3 {
		t.Errorf("after an interrupt: have %v, want exit code 3", err)
	}
}

// TestIgnoredHangup: what nohup has set reaches the core.
func TestIgnoredHangup(t *testing.T) {
	p, dir := newBin(t), install(t, libtorch.Version)
	cmd := exec.Command("/bin/sh", "-c", `trap '' HUP; exec "$0" -c 'kill -HUP $$; exit 5'`, p.launcher)
	cmd.Env = append(os.Environ(), "MVAG_LIBTORCH="+dir)
	var ended *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &ended) || ended.ExitCode() != 5 {
		t.Errorf("have %v, want exit code 5", err)
	}
}

func TestFaultsOfTheInstallation(t *testing.T) {
	missing := install(t, libtorch.Version)
	if err := os.Remove(filepath.Join(missing, "lib", "libtorch_cpu.so")); err != nil {
		t.Fatal(err)
	}
	good, damaged := install(t, libtorch.Version), install(t, libtorch.Version)
	// The shell needs libc, as the core needs the other libraries of LibTorch.
	write(t, filepath.Join(damaged, "lib", "libc.so.6"), "\x7fELF")
	for name, test := range map[string]struct {
		dir   string
		spoil func(bin) error
		want  []string
	}{
		"no LibTorch":     {filepath.Join(good, "none"), nil, []string{"libtorch: have none", "want " + libtorch.Version, "libtorch.sh"}},
		"another version": {install(t, "2.6.0+cpu"), nil, []string{"have 2.6.0", "want " + libtorch.Version}},
		"library removed": {missing, nil, []string{missing, "without libtorch_cpu.so"}},
		"no core":         {good, func(p bin) error { return os.Remove(p.core) }, []string{"mvag-torch-core", "make"}},
		"damaged core":    {good, func(p bin) error { return os.Truncate(p.core, 100) }, []string{"mvag-torch-core"}},
		"forbidden core":  {good, func(p bin) error { return os.Chmod(p.core, 0o644) }, []string{"mvag-torch-core", "permission"}},
		"core of no ELF":  {good, func(p bin) error { return os.WriteFile(p.core, []byte("x"), 0o755) }, []string{"mvag-torch-core"}},
		"damaged library": {damaged, nil, []string{"libc.so.6", damaged}},
		"unreadable path": {filepath.Join(good, "version.py"), nil, []string{"version.py"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newBin(t)
			if test.spoil != nil {
				if err := test.spoil(p); err != nil {
					t.Fatal(err)
				}
			}
			_, errs, code := p.start(t, test.dir, "", "-c", "true")
			if code != 1 || strings.Count(errs, "\n") != 1 || !strings.HasPrefix(errs, "mvag-torch: ") {
				t.Errorf("code %d, stderr %q; want one line and code 1", code, errs)
			}
			for _, want := range test.want {
				if !strings.Contains(errs, want) {
					t.Errorf("have %q, want %q in it", errs, want)
				}
			}
		})
	}
}

func TestDoctorWithoutLibTorch(t *testing.T) {
	p := newBin(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "c.yaml")
	write(t, config, "output: "+dir+"\nbackbone: {weights: "+dir+"/none.pt}\ndata: {root: "+dir+"/nodata}\n")
	out, errs, code := p.start(t, install(t, "2.6.0"), "", "doctor", "-c", config, "--json")
	if code != 1 || !strings.Contains(errs, "3 of ") {
		t.Errorf("code %d, stderr %q; want 3 failed checks and code 1", code, errs)
	}
	var report doctor.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"libtorch": "have 2.6.0", "backbone": "none.pt", "data": "nodata"}
	for _, c := range report.Checks {
		detail, bad := want[c.Name]
		if (c.Status == doctor.Fail) != bad || !strings.Contains(c.Detail, detail) || bad && c.Remedy == "" {
			t.Errorf("have %+v, want a failure: %v, with %q", c, bad, detail)
		}
	}
	if out, _, code := p.start(t, dir+"/none", "", "doctor"); code != 1 || !strings.Contains(out, "fail  libtorch") || !strings.Contains(out, "-> run third_party/libtorch.sh") {
		t.Errorf("code %d, have %q", code, out)
	}
	for _, args := range [][]string{{"doctor", "--jsn"}, {"doctor", "now"}} {
		if _, _, code := p.start(t, dir, "", args...); code != 2 {
			t.Errorf("%q: have code %d, want 2", args, code)
		}
	}
}
