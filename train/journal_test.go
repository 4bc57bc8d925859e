package train

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOpenJournal: a journal is cut where a run goes on. Lines that are none, or out of order, are left out, and then the
// file as it was is kept beside. Steps that are not there are said.
func TestOpenJournal(t *testing.T) {
	line := func(i int) string { return fmt.Sprintf("{\"iteration\":%d,\"loss\":1.5}\n", i) }
	lines := func(numbers ...int) (text string) {
		for _, i := range numbers {
			text += line(i)
		}
		return text
	}
	begun := "{\"iteration\":0,\"start\":{\"seed\":3}}\n"
	missing := func(start, from int) string {
		return fmt.Sprintf("train.jsonl: have no steps from iteration %d on, want those before iteration %d; ", from, start)
	}
	for _, test := range []struct {
		name, text string
		start      int
		want, lost string // what is kept, and a part of what is said of lines that are not
	}{
		{"fresh run", lines(0, 1, 2), 0, "", ""},
		{"beyond the checkpoint", lines(0, 1, 2), 2, lines(0, 1), ""},
		{"all", begun + lines(0, 1, 2), 3, begun + lines(0, 1, 2), ""},
		{"shorter than the checkpoint", lines(0, 1, 2), 9, lines(0, 1, 2), missing(9, 3)},
		{"unfinished line", lines(0, 1) + `{"iter`, 5, lines(0, 1), missing(5, 2)},
		{"unfinished line beyond the checkpoint", lines(0, 1) + `{"iter`, 2, lines(0, 1), ""},
		{"starts alone", begun + begun, 1, begun + begun, missing(1, 0)},
		{"damaged line", line(0) + "\x00\x00\n" + line(2), 3, lines(0, 2), "train.jsonl: 1 line cannot be read: line 2: "},
		{"two, and some beyond", line(0) + "x\n" + line(2) + "[]\n" + lines(4, 5), 5, lines(0, 2, 4), "2 lines cannot be read, the first: line 2: "},
		{"a number that grew", lines(0, 9, 2, 3), 4, lines(0, 2, 3), "iteration 9 after 0: out of order"},
		{"a number below the checkpoint that grew", lines(0, 9, 2, 3), 20, lines(0, 2, 3), "iteration 9 after 0"},
		{"a number that shrank", lines(0, 1, 2, 0, 4), 9, lines(0, 1, 2, 4), "iteration 0 after 2"},
		{"two lines become one", strings.Replace(lines(0, 1, 2), "\n", " ", 1), 3, line(2), "line 1: "},
		{"empty", "", 3, "", missing(3, 0)},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "train.jsonl")
			if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			j, err := openJournal(path, test.start)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(j.append([]byte("more\n")), j.close()); err != nil {
				t.Fatal(err)
			}
			if have, err := os.ReadFile(path); err != nil || string(have) != test.want+"more\n" {
				t.Errorf("have %q, %v, want %q and more", have, err, test.want)
			}
			beside, err := os.ReadFile(filepath.Join(filepath.Dir(path), "train.damaged.jsonl"))
			if test.lost == "" {
				if j.lost != nil || err == nil {
					t.Errorf("have %v lost, %q beside", j.lost, beside)
				}
				return
			}
			if j.lost == nil || !strings.Contains(j.lost.Error(), test.lost) || strings.Contains(j.lost.Error(), "\n") || (err == nil) == strings.Contains(test.lost, "have no steps") || err == nil && string(beside) != test.text {
				t.Errorf("have %v lost, %q beside, want %q", j.lost, beside, test.lost)
			}
		})
	}
}
