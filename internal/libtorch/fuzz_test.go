package libtorch

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// FuzzVersion holds that of whatever is in version.py the version is a word, and the error a line with the file.
func FuzzVersion(f *testing.F) {
	f.Add([]byte("__version__ = '2.11.0+cpu'\n"))
	f.Add([]byte("__version__ = '2\n\x1b[31m'"))
	f.Add([]byte("__version__ = ''"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(filepath.Join(dir, "version.py"), text, 0o644); err != nil {
			t.Fatal(err)
		}
		version, err := VersionIn(dir)
		if err == nil && (version == "" || strings.ContainsAny(version, "\n\x1b'+ ")) {
			t.Errorf("have %q of %q", version, text)
		}
		if _, err := Find([]string{dir}); err == nil || !strings.Contains(err.Error(), dir) || strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("have %q of %q, want a line with %s", err, text, dir)
		}
	})
}

// TestVersionOfAPipe: nobody waits for a writer, nor reads a device.
func TestVersionOfAPipe(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "version.py"), 0o600); err != nil {
		t.Fatal(err)
	}
	if have, err := VersionIn(dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("have %q, %v", have, err)
	}
}
