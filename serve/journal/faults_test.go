package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	bolt "go.etcd.io/bbolt"

	"mvag-torch/internal/testenv"
)

func TestSecondService(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := open(t, path, Options{})
	add(t, j, "", "x")
	if _, err := Open(path, Options{}); err == nil || err.Error() != path+": another service uses it" {
		t.Errorf("have %v", err)
	}
	add(t, j, "", "x")
}

// TestDiskFull lets the kernel refuse to let the file grow, as it does on a full disk, in a process of its own: the
// limit would hit what the test writes elsewhere.
func TestDiskFull(t *testing.T) {
	if !testenv.InOwnProcess(t) {
		return
	}
	path := filepath.Join(t.TempDir(), "journal.db")
	j := open(t, path, Options{To: []string{"lines"}})
	first := add(t, j, "first", "x")
	lift := testenv.FullDisk(t, 1<<16)
	stored, failed := []Entry{first}, 0
	for i := range 60 {
		e, _, err := j.Append(fmt.Sprint(i), content(strings.Repeat("x", 3000)))
		if err == nil {
			stored = append(stored, e)
			continue
		}
		failed++
		if !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), "file too large") || strings.Contains(err.Error(), "\n") {
			t.Fatalf("have %v", err)
		}
	}
	lift()
	if failed == 0 || len(stored) < 2 {
		t.Fatalf("have %d stored, %d failed", len(stored), failed)
	}
	stored = append(stored, add(t, j, "last", "there is room again"))
	_ = j.Close()
	j = open(t, path, Options{To: []string{"lines"}})
	if have := pending(t, j, "lines"); !slices.Equal(have, seqs(stored)) {
		t.Errorf("have %v, want %v", have, seqs(stored))
	}
}

// TestReadOnlyFolder takes the rights of root away from one thread, where the test has them.
func TestReadOnlyFolder(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "there.db")
	open(t, path, Options{}).Close()
	if err := errors.Join(os.Chmod(path, 0o444), os.Chmod(dir, 0o555)); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o755)
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends
		if os.Geteuid() == 0 {
			if _, _, errno := syscall.RawSyscall(syscall.SYS_SETFSUID, 65534, 0, 0); errno != 0 {
				t.Error(errno)
			}
		}
		if _, err := os.ReadDir(filepath.Dir(dir)); err != nil {
			t.Errorf("the way there: %v", err)
		}
		for _, path := range []string{filepath.Join(dir, "new.db"), path} {
			if j, err := Open(path, Options{}); err == nil || err.Error() != path+": permission denied" {
				t.Errorf("have %v, %v", j, err)
			}
		}
	}()
	<-done
}

func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "journal.db")
	j := open(t, path, Options{To: []string{"lines"}})
	for i := range 200 {
		add(t, j, fmt.Sprint(i), strings.Repeat("x", 300))
	}
	_ = j.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(dir, "foreign.db")
	db, err := bolt.Open(foreign, 0o666, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = db.Close()
	other, err := os.ReadFile(foreign)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"empty":       {nil, "damaged"},
		"one byte":    {whole[:1], "damaged"},
		"one page":    {whole[:4096], "damaged"},
		"two pages":   {whole[:8192], "damaged"},
		"half":        {whole[:len(whole)/2], "damaged"},
		"text":        {[]byte(strings.Repeat("no journal\n", 9000)), "damaged"},
		"no headers":  {append(make([]byte, 8192), whole[8192:]...), "damaged"},
		"zeros":       {append(slices.Clone(whole[:8192]), make([]byte, len(whole)-8192)...), "damaged"},
		"of others":   {other, "not a journal of this program"},
		"another one": {whole, ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "j.db")
			if err := os.WriteFile(path, test.data, 0o644); err != nil {
				t.Fatal(err)
			}
			j, err := Open(path, Options{To: []string{"lines"}})
			if err == nil {
				defer j.Close()
			}
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("have %v, want %s", err, test.want)
			}
			if have, err := os.ReadFile(path); err != nil || string(have) != string(test.data) {
				t.Error("the file was changed")
			}
		})
	}
}
