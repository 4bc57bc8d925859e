package regularfile

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestSpecialFiles holds that what is no file of bytes is refused at once, by name.
func TestSpecialFiles(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	listener, err := net.Listen("unix", in("socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	err = errors.Join(syscall.Mkfifo(in("pipe"), 0o600), os.Symlink("pipe", in("link to a pipe")), os.Symlink("loop", in("loop")),
		os.Symlink("/dev/zero", in("link to a device")))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{in("pipe"), in("link to a pipe"), in("link to a device"), in("loop"), in("socket"), in("none"), dir, "/dev/zero"} {
		t.Run(filepath.Base(path), func(t *testing.T) {
			waits := time.AfterFunc(time.Minute, func() { panic(path + ": opening it waits") })
			defer waits.Stop()
			if data, err := Read(path, 1<<20); err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
				t.Errorf("have %d bytes, %v, want an error that names %s", len(data), err, path)
			}
		})
	}
}

// TestSizes holds that no more is read than is allowed and than there was.
func TestSizes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path, 4); err == nil || err.Error() != path+": have 5 bytes, want at most 4" {
		t.Errorf("have %v", err)
	}
	if data, err := Read(path, 5); err != nil || string(data) != "12345" {
		t.Errorf("have %q, %v", data, err)
	}
	if err := os.Truncate(path, 1<<40); err != nil {
		t.Skip(err)
	}
	if _, err := Read(path, 1<<20); err == nil { // and no terabyte is allocated
		t.Error("have a terabyte")
	}
}

// TestWrite holds that a link in place of an output is replaced by Create and followed by Update, and that for nothing else
// than a file anybody waits.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	err := errors.Join(os.WriteFile(in("other"), []byte("kept"), 0o600), os.Symlink("other", in("link")), syscall.Mkfifo(in("pipe"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]func(string) (*os.File, error){"Update": Update, "Create": Create} {
		for _, path := range []string{in("pipe"), dir} {
			if _, err := open(path); err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("%s: have %v, want an error that names %s", name, err, path)
			}
		}
	}
	for _, step := range []struct {
		open    func(string) (*os.File, error)
		changed string // by a letter at the beginning
	}{{Update, "Xept"}, {Create, "Xept"}, {Create, "Xept"}} {
		f, err := step.open(in("link"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = f.WriteString("X"); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if have, err := os.ReadFile(in("other")); err != nil || string(have) != step.changed {
			t.Errorf("have %q, %v, want %q", have, err, step.changed)
		}
	}
	if have, err := os.ReadFile(in("link")); err != nil || string(have) != "X" {
		t.Errorf("have %q, %v in place of the link, want the new file", have, err)
	}
}
