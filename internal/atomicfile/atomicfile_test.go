package atomicfile

import (
	"cmp"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mvag-torch/internal/testenv"
)

// checkOnly checks that the folder of path holds path alone, and what is in it.
func checkOnly(t *testing.T, path, want string) {
	t.Helper()
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) != 1 {
		t.Errorf("have %v, %v, want one file", files, err)
	}
	if have, err := os.ReadFile(path); err != nil || string(have) != want {
		t.Errorf("have %q, %v, want %q", have, err, want)
	}
}

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	long := strings.Repeat("0123456789", 1<<18) // more than the buffer takes
	for _, want := range []string{"old", "", long} {
		if err := Write(path, text(want)); err != nil {
			t.Fatal(err)
		}
		checkOnly(t, path, want)
	}
	if info, err := os.Stat(path); err != nil || info.Mode()&0o400 == 0 || info.Mode()&0o111 != 0 {
		t.Errorf("have mode %v, %v", info.Mode(), err)
	}
}

func TestWriteFailing(t *testing.T) {
	for name, test := range map[string]struct {
		write func(io.Writer) error
		want  string
	}{
		"at once":    {func(io.Writer) error { return errors.New("device lost") }, "device lost"},
		"half way":   {func(w io.Writer) error { return cmp.Or(text("half")(w), error(syscall.ENOSPC)) }, "no space left on device"},
		"by a panic": {func(w io.Writer) error { panic("lost") }, "lost"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a[1]*")
			if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
				t.Fatal(err)
			}
			err := func() (err error) {
				defer func() {
					if lost := recover(); lost != nil {
						err = errors.New(path + ": " + lost.(string))
					}
				}()
				return Write(path, test.write)
			}()
			if want := path + ": " + test.want; err == nil || err.Error() != want {
				t.Errorf("have %v, want %s", err, want)
			}
			checkOnly(t, path, "old")
		})
	}
}

// TestWriteFailingDisk lets the kernel refuse to let the file grow, as it does on a full disk: while the values are
// written and when the buffer is flushed.
func TestWriteFailingDisk(t *testing.T) {
	if !testenv.InOwnProcess(t) {
		return
	}
	for name, content := range map[string]string{"while writing": strings.Repeat("x", 3<<20), "at the end": "12345"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a")
			if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
				t.Fatal(err)
			}
			lift := testenv.FullDisk(t, 4)
			err := Write(path, text(content))
			lift()
			if want := path + ": file too large"; err == nil || err.Error() != want {
				t.Errorf("have %v, want %s", err, want)
			}
			checkOnly(t, path, "old")
		})
	}
}

func TestWriteWhereItCannot(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "no", "a")
	if err := Write(missing, text("x")); err == nil || err.Error() != missing+": no such file or directory" || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing folder: have %v", err)
	}
	folder := filepath.Join(t.TempDir(), "a")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Write(folder, text("x")); err == nil || !strings.HasPrefix(err.Error(), folder+": ") {
		t.Errorf("over a folder: have %v", err)
	}
	if files, err := os.ReadDir(filepath.Dir(folder)); err != nil || len(files) != 1 {
		t.Errorf("have %v, %v, want only the folder", files, err)
	}
	if os.Geteuid() == 0 {
		return // root may write anywhere
	}
	if err := os.Chmod(folder, 0o555); err != nil {
		t.Fatal(err)
	}
	if err := Write(filepath.Join(folder, "b"), text("x")); !errors.Is(err, os.ErrPermission) {
		t.Errorf("folder without permission: have %v", err)
	}
}

// TestCommitStopsAtTheFirstError: a file whose sync fails never gets its name.
func TestCommitStopsAtTheFirstError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Commit(f, path); !errors.Is(err, os.ErrClosed) || !strings.HasPrefix(err.Error(), path+": ") {
		t.Errorf("have %v, want that the file is closed", err)
	}
	Discard(f)
	checkOnly(t, path, "old")
}

func TestCause(t *testing.T) {
	a := filepath.Join(t.TempDir(), "a")
	_, opening := os.Open(a)
	other := errors.New("other")
	for name, test := range map[string]struct{ err, want error }{
		"of a path": {opening, syscall.ENOENT},
		"of two":    {os.Rename(a, a+"b"), syscall.ENOENT},
		"wrapped":   {errors.Join(opening), syscall.ENOENT},
		"another":   {other, other},
		"none":      {nil, nil},
	} {
		if have := Cause(test.err); have != test.want {
			t.Errorf("%s: have %v, want %v", name, have, test.want)
		}
	}
}
