package watch

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mvag-torch/internal/lock"
)

// TestTwoWatchers has another process watch the folder: it is named, and gone once it is killed. A folder that another
// process took over while it was away is left to that.
func TestTwoWatchers(t *testing.T) {
	if dir := os.Getenv("MVAG_TEST_WATCH"); dir != "" {
		w, err := New(Folder{Path: dir}, Options{Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		fmt.Println("watching")
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	}
	b := newBench(t, 1, "")
	b.put("a.png")
	other := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0], "-test.run=^TestTwoWatchers$")
		cmd.Env = append(os.Environ(), "MVAG_TEST_WATCH="+b.dir)
		in, err := cmd.StdinPipe()
		t.Cleanup(func() { _ = in.Close() })
		out, failed := cmd.StdoutPipe()
		if err = errors.Join(err, failed); err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(out).ReadString('\n'); line != "watching\n" {
			t.Fatalf("have %q, %v", line, err)
		}
		return cmd
	}
	cmd := other()
	_, err := New(b.cfg, Options{Log: b.logger()})
	var held *lock.Held
	if !errors.As(err, &held) || held.Owner.PID != cmd.Process.Pid || !strings.HasPrefix(err.Error(), b.dir+": used by process ") {
		t.Fatalf("have %v, want process %d", err, cmd.Process.Pid)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	b.start()
	b.expect("a.png")

	if err := os.Remove(filepath.Join(b.dir, lockName)); err != nil { // by a person; the other one comes first
		t.Fatal(err)
	}
	if err := os.Rename(b.dir, b.dir+" away"); err != nil {
		t.Fatal(err)
	}
	b.eventually("said", func() bool { return strings.Contains(b.said(), "folder cannot be read") })
	if err := os.Mkdir(b.dir+" new", 0o755); err != nil {
		t.Fatal(err)
	}
	dir := b.dir
	b.dir += " new"
	cmd = other()
	b.dir = dir
	if err := os.Rename(b.dir+" new", b.dir); err != nil {
		t.Fatal(err)
	}
	b.eventually("said", func() bool {
		return strings.Contains(b.said(), "another process watches the folder") && strings.Contains(b.said(), fmt.Sprint("process ", cmd.Process.Pid))
	})
	b.put("b.png")
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	b.expect("a.png", "b.png")
}

// TestUnlockable: in a folder that cannot be written the service goes on, and says what nothing keeps away.
func TestUnlockable(t *testing.T) {
	b := newBench(t, 1, "")
	if err := os.Mkdir(filepath.Join(b.dir, lockName), 0o755); err != nil { // as root may write anywhere
		t.Fatal(err)
	}
	b.start()
	b.put("a.png")
	b.expect("a.png")
	if n := strings.Count(b.said(), "nothing keeps other services out of the folder"); n != 1 {
		t.Errorf("said %d times: %s", n, b.said())
	}
}
