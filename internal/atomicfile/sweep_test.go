package atomicfile

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// names are those in a folder, sorted.
func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// TestSweep: only files of atomicfile that nobody is writing go.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	others := []string{".mvag-0123456789abcde.tmp", ".mvag-0123456789abcdeg.tmp", ".mvag-0123456789abcdef.tmp.png", ".0123456789abcdef.tmp", "mvag-0123456789abcdef.tmp", "a.tmp"}
	for _, name := range append(slices.Clone(others), ".mvag-0123456789abcdef.tmp") {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	folder, link := ".mvag-00000000000000f0.tmp", ".mvag-00000000000000f1.tmp"
	if err := os.Mkdir(filepath.Join(dir, folder), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a.tmp", filepath.Join(dir, link)); err != nil {
		t.Fatal(err)
	}
	f, err := Create(filepath.Join(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer Discard(f)
	want := append(others, folder, link, filepath.Base(f.Name()))
	slices.Sort(want)
	if have := names(t, dir); !slices.Equal(have, want) {
		t.Errorf("have %q, want %q", have, want)
	}
	Sweep(dir)
	if have := names(t, dir); !slices.Equal(have, want) {
		t.Errorf("after a further sweep: have %q, want %q", have, want)
	}
}

// TestKilled kills writers in the middle: others find the old file, and the next writer removes what they left.
func TestKilled(t *testing.T) {
	if path := os.Getenv("MVAG_TEST_WRITE"); path != "" {
		err := Write(path, func(w io.Writer) error {
			if _, err := w.Write(make([]byte, 2<<20)); err != nil { // more than the buffer takes
				return err
			}
			fmt.Println("half")
			select {} // until it is killed
		})
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "a")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	var left []string
	for range 2 { // the second removes what the first has left
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), "MVAG_TEST_WRITE="+path)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		now := names(t, filepath.Dir(path))
		if len(now) != 2 || slices.Contains(left, now[0]) {
			t.Errorf("have %q after %q, want one temporary file and another", now, left)
		}
		left = now
		Sweep(filepath.Dir(path)) // it is in use
		if have := names(t, filepath.Dir(path)); !slices.Equal(have, now) {
			t.Errorf("have %q, want %q", have, now)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
	}
	if have, err := os.ReadFile(path); err != nil || string(have) != "old" {
		t.Errorf("have %q, %v, want the old file", have, err)
	}
	if err := Write(path, text("new")); err != nil {
		t.Fatal(err)
	}
	checkOnly(t, path, "new")
}

// TestSweepWhileWriting sweeps as fast as it can while files are written: each of them appears.
func TestSweepWhileWriting(t *testing.T) {
	dir, stop := t.TempDir(), make(chan struct{})
	var sweeping sync.WaitGroup
	sweeping.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				Sweep(dir)
			}
		}
	})
	for i := range 100 {
		if err := Write(filepath.Join(dir, "a"), text(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	sweeping.Wait()
	checkOnly(t, filepath.Join(dir, "a"), "99")
}
