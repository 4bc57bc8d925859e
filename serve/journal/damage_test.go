package journal

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mvag-torch/internal/testenv"
)

// TestEachBit flips bits of a journal: it is refused in one line that names the file, or what it says of an entry is what
// was appended, or that the entry is damaged. With MVAG_FAULTS=all it flips two bits of each byte, else one of some.
func TestEachBit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := open(t, path, Options{To: []string{"lines"}})
	want := map[string]string{}
	for i := range 12 {
		key, text := fmt.Sprint("key", i), strings.Repeat(fmt.Sprint("record ", i), 8)
		e := add(t, j, key, text)
		want[e.ID] = string(e.Data)
	}
	name := j.Name()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all := os.Getenv("MVAG_FAULTS") == "all"
	var sum testenv.Tally
	oneLine := func(at int, err error) {
		if !strings.HasPrefix(err.Error(), path+": ") || strings.Contains(err.Error(), "\n") {
			t.Fatalf("byte %d: have %q, want one line that names the file", at, err)
		}
	}
	for at := range whole {
		if whole[at] == 0 && (at%97 != 0 || !all) || !all && at%17 != 0 {
			continue // much is empty
		}
		for bit := range 8 {
			if bit != at%8 && !(all && bit == (at+3)%8) {
				continue
			}
			text := bytes.Clone(whole)
			text[at] ^= 1 << bit
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			sum.Injected++
			j, err := Open(path, Options{To: []string{"lines"}})
			if err != nil {
				sum.Refused++
				oneLine(at, err)
				continue
			}
			err = j.Newest(0, func(e Entry) bool {
				if text, ok := want[e.ID]; ok && text != string(e.Data) || !ok && j.Name() == name {
					t.Errorf("byte %d: entry %s: have %q", at, e.ID, e.Data)
				}
				return true
			})
			if err != nil {
				sum.Refused++
				oneLine(at, err)
			}
			_ = j.Close()
		}
	}
	sum.Log(t, "a journal")
}
