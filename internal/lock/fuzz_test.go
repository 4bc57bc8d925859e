package lock

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzOwner holds that whatever the file of a lock holds, who has it is named in a line.
func FuzzOwner(f *testing.F) {
	f.Add([]byte(`{"pid":7,"host":"a","since":"2026-01-02T03:04:05Z","command":"train"}`))
	f.Add([]byte(`{"pid":7,"host":"a\n\u001b[31m","command":"\u0000"}`))
	f.Add([]byte(strings.Repeat("[", 5000)))
	path := filepath.Join(f.TempDir(), "lock")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if line := (&Held{"it", owner(file)}).Error(); strings.ContainsAny(line, "\n\x1b\x00\x7f") || len(line) > 3*maxOwner {
			t.Errorf("have %q of %q", line, text)
		}
	})
}
