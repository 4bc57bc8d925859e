package lock

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// hold takes the lock in a process of its own, which the caller kills.
func hold(t *testing.T, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestTake$", "some words")
	cmd.Env = append(os.Environ(), "MVAG_TEST_LOCK="+path)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("have %q, %v", line, err)
	}
	return cmd
}

// TestTake: another process is named while it lives, and only then.
func TestTake(t *testing.T) {
	if path := os.Getenv("MVAG_TEST_LOCK"); path != "" {
		l, err := Take(path, "it")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("held")
		for {
			time.Sleep(time.Hour)
			runtime.KeepAlive(l)
		}
	}
	path := filepath.Join(t.TempDir(), "lock")
	cmd := hold(t, path)
	_, err := Take(path, "runs/a")
	var held *Held
	if !errors.As(err, &held) || held.Owner.PID != cmd.Process.Pid || time.Since(held.Owner.Since).Abs() > time.Hour {
		t.Fatalf("have %v, want process %d", err, cmd.Process.Pid)
	}
	host, _ := os.Hostname()
	for _, want := range []string{"runs/a: used by process ", " on " + host + " since ", "-test.run=^TestTake$ some words)"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("have %q, want %q in it", err, want)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	l, err := Take(path, "runs/a")
	if err != nil || l.Unsupported != nil {
		t.Fatalf("after the owner has died: have %v, %+v", err, l)
	}
	if _, err := Take(path, "runs/a"); !errors.As(err, &held) || held.Owner.PID != os.Getpid() {
		t.Errorf("a second time in one process: have %v", err)
	}
	l.Release()
	if l, err = Take(path, "runs/a"); err != nil {
		t.Errorf("after release: have %v", err)
	}
	l.Release()
	(*Lock)(nil).Release()
	if _, err := os.Lstat(path); err == nil {
		t.Error("the file has stayed")
	}
}

// TestWait: the owner is told once, and the lock is taken when that has died.
func TestWait(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	cmd := hold(t, path)
	ctx, stop := context.WithTimeout(t.Context(), 3*poll)
	defer stop()
	var held *Held
	if _, err := Wait(ctx, path, "x", nil); !errors.As(err, &held) {
		t.Errorf("after its time: have %v", err)
	}
	told := 0
	l, err := Wait(t.Context(), path, "x", func(h *Held) {
		if told++; h.Owner.PID != cmd.Process.Pid {
			t.Errorf("have %v, want process %d", h, cmd.Process.Pid)
		}
		time.AfterFunc(3*poll, func() { _ = cmd.Process.Kill() })
	})
	if err != nil || told != 1 {
		t.Fatalf("have %v, told %d times", err, told)
	}
	l.Release()
}

// TestRemoved: a file that somebody removed is no longer the lock, and is not removed in the place of another's.
func TestRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := Take(path, "x")
	if err != nil || !first.Current() {
		t.Fatalf("have %v", err)
	}
	if err := os.Remove(path); err != nil || first.Current() {
		t.Fatalf("have %v, want it gone", err)
	}
	second, err := Take(path, "x")
	if err != nil {
		t.Fatal(err)
	}
	first.Release()
	if !second.Current() {
		t.Error("the file of another lock was removed")
	}
	second.Release()
}

// TestOneOwner has goroutines take the lock in turn, which removes and makes its file: never two at a time.
func TestOneOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var inside, turns atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for turns.Load() < 2000 {
				l, err := Take(path, "x")
				if err != nil {
					continue
				}
				if turns.Add(1); inside.Add(1) != 1 {
					t.Error("two owners")
				}
				inside.Add(-1)
				l.Release()
			}
		})
	}
	all.Wait()
}

// TestNoAddress: what may have a password in it is not written.
func TestNoAddress(t *testing.T) {
	args := os.Args
	defer func() { os.Args = args }()
	os.Args = []string{"mvag-torch", "serve", "--mqtt", "tcp://me:secret@broker:1883", "--out", "x"}
	path := filepath.Join(t.TempDir(), "lock")
	l, err := Take(path, "x")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	if _, err := Take(path, "x"); err == nil || !strings.HasSuffix(err.Error(), "(mvag-torch serve --mqtt tcp://… --out x)") {
		t.Errorf("have %v", err)
	}
}

// TestOwner has what may be in the file of a lock that is held.
func TestOwner(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"nothing":             {"", "x: another process uses it"},
		"not JSON":            {"1234", "x: another process uses it"},
		"of a negative":       {`{"pid":-1}`, "x: another process uses it"},
		"long":                {`{"pid":1,"command":"` + strings.Repeat("x", maxOwner) + `"}`, "x: another process uses it"},
		"control characters":  {`{"pid":7,"host":"a\n\u001b[2Jb","command":"c"}`, "x: used by process 7 on a??[2Jb since "},
		"characters that are": {`{"pid":7,"host":"grün","command":"ü"}`, "x: used by process 7 on grün since "},
	} {
		path := filepath.Join(t.TempDir(), "lock")
		l, err := Take(path, "x")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(test.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Take(path, "x"); err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s: have %v, want %s", name, err, test.want)
		}
		l.Release()
	}
}

// TestTakeWhereItCannot: no folder, a link, a folder in its place.
func TestTakeWhereItCannot(t *testing.T) {
	dir := t.TempDir()
	link, folder := filepath.Join(dir, "link"), filepath.Join(dir, "folder")
	if err := errors.Join(os.Symlink(filepath.Join(dir, "other"), link), os.Mkdir(folder, 0o755)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "no", "lock"), link, folder} {
		if _, err := Take(path, "x"); err == nil || !strings.HasPrefix(err.Error(), path+": ") {
			t.Errorf("%s: have %v", path, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "other")); err == nil {
		t.Error("a link was followed")
	}
}
