package train

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestJournalKeepsWhatItCannotRead: a journal is cut where a run goes on, and never because of a line that is none.
func TestJournalKeepsWhatItCannotRead(t *testing.T) {
	const lines = "{\"iteration\":0}\n{\"iteration\":1}\n{\"iteration\":2}\n"
	for _, test := range []struct {
		name, text string
		start      int
		want, err  string // what is kept, or a part of the error
	}{
		{"fresh run", lines, 0, "", ""},
		{"beyond the checkpoint", lines, 2, lines[:32], ""},
		{"all", lines, 3, lines, ""},
		{"shorter than the checkpoint", lines, 9, lines, ""},
		{"unfinished line", lines + `{"iter`, 5, lines, ""},
		{"damaged line", "{\"iteration\":0}\n\x00\x00\x00\n{\"iteration\":2}\n", 3, "", "train.jsonl: line 2: "},
		{"empty", "", 3, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "train.jsonl")
			if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			j, err := openJournal(path, test.start)
			if err == nil {
				err = j.close()
			}
			have, readErr := os.ReadFile(path)
			if readErr != nil {
				t.Fatal(readErr)
			}
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) || string(have) != test.text {
					t.Errorf("have %v and %q, want an error with %q and the file as it was", err, have, test.err)
				}
				return
			}
			if err != nil || string(have) != test.want {
				t.Errorf("have %v and %q, want %q", err, have, test.want)
			}
		})
	}
}
