package publish

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mvag-torch/internal/testenv"
	"mvag-torch/serve/journal"
)

// idsOf returns the ids in a file of results, which must consist of whole lines.
func idsOf(t *testing.T, path string) (ids []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		t.Errorf("%s ends in %q", path, text[max(0, len(text)-20):])
	}
	for line := range strings.Lines(string(text)) {
		var r struct{ ID string }
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Errorf("%q: %v", line, err)
		}
		ids = append(ids, r.ID)
	}
	return ids
}

func drained(t *testing.T, j *journal.Journal, to string) {
	t.Helper()
	eventually(t, "all published", func() bool { return j.Spooled(to) == 0 })
}

func TestLines(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "results.jsonl")
	j := newJournal(t, "", "lines")
	var l logs
	var want []string
	run := func() func() {
		return start(t, &Runner{Journal: j, To: "lines", Destination: NewLines(path, j.Name(), l.logger())})
	}
	more := func(n int) {
		for range n {
			want = append(want, add(t, j, "gear", "S"))
		}
	}
	check := func(name, path string) {
		t.Helper()
		if have := idsOf(t, path); fmt.Sprint(have) != fmt.Sprint(want) {
			t.Errorf("%s: have %q, want %q", name, have, want)
		}
	}
	more(3)
	stop := run()
	drained(t, j, "lines")
	check("at first", path)
	stop()

	// Written but not marked: a crash between the two, for some of those that are pending.
	more(3)
	pending, err := j.Pending("lines", 2)
	if err != nil {
		t.Fatal(err)
	}
	d := NewLines(path, j.Name(), l.logger())
	for _, e := range pending {
		m, err := newMessage(e)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Send(t.Context(), []Message{m}); err != nil {
			t.Fatal(err)
		}
	}
	_ = d.Close()
	stop = run()
	drained(t, j, "lines")
	check("after a crash", path)
	stop()

	for name, cut := range map[string]int{"torn": 20, "without line feed": 1} {
		more(1)
		last, err := j.Pending("lines", 1)
		if err != nil {
			t.Fatal(err)
		}
		m, err := newMessage(last[0])
		if err != nil {
			t.Fatal(err)
		}
		if f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0); err != nil {
			t.Fatal(err)
		} else if _, err := f.Write(append(m.Body, '\n')[:len(m.Body)+1-cut]); err != nil {
			t.Fatal(err)
		}
		stop = run()
		drained(t, j, "lines")
		check(name, path)
		stop()
	}
	if n := strings.Count(l.String(), "torn last line cut off"); n != 1 {
		t.Errorf("have it said %d times: %s", n, l.String())
	}

	stop = run()
	more(1)
	drained(t, j, "lines")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	old := want
	want = nil
	more(2)
	drained(t, j, "lines")
	check("rotated", path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	want = nil
	more(1)
	drained(t, j, "lines")
	check("removed", path)
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	want = nil
	more(1)
	drained(t, j, "lines")
	check("cut", path)
	stop()
	want = old
	check("the rotated one", path+".1")
	for _, what := range []string{"was moved or removed", "was changed by someone else"} {
		if !strings.Contains(l.String(), what) {
			t.Errorf("%q was not said: %s", what, l.String())
		}
	}
}

// TestLinesOfAnotherJournal: numbers of another journal, or of an older state of this one, stop nothing.
func TestLinesOfAnotherJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.jsonl")
	j := newJournal(t, "", "lines")
	old := fmt.Sprintf("{\"id\":\"%s-1\",\"object\":\"of a journal that was put back\"}\n{\"id\":\"deadbeef-900\"}\nnot ours\n", j.Name())
	if err := os.WriteFile(path, []byte(old), 0o644); err != nil {
		t.Fatal(err)
	}
	id := add(t, j, "gear", "S1")
	var l logs
	start(t, &Runner{Journal: j, To: "lines", Destination: NewLines(path, j.Name(), l.logger())})
	drained(t, j, "lines")
	text, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(text), old) || strings.Count(string(text), id) != 2 {
		t.Errorf("have %s, %v", text, err)
	}
	if strings.Count(l.String(), "lines that this journal does not have") != 1 {
		t.Errorf("have %s", l.String())
	}
}

func TestLinesWhereItCannot(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	path := filepath.Join(dir, "results.jsonl")
	j := newJournal(t, "", "lines")
	add(t, j, "gear", "S1")
	var l logs
	start(t, &Runner{Journal: j, To: "lines", Destination: NewLines(path, j.Name(), l.logger()), Log: l.logger()})
	eventually(t, "said", func() bool { return strings.Contains(l.String(), path+": no such file or directory") })
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	drained(t, j, "lines")
	if n := len(idsOf(t, path)); n != 1 {
		t.Errorf("have %d lines", n)
	}
}

// TestLinesDiskFull runs in a process of its own: the limit would hit what the test writes elsewhere.
func TestLinesDiskFull(t *testing.T) {
	if !testenv.InOwnProcess(t) {
		return
	}
	path := filepath.Join(t.TempDir(), "results.jsonl")
	j := newJournal(t, "", "lines")
	for range 100 {
		add(t, j, "gear", "S1")
	}
	lift := testenv.FullDisk(t, 3000) // amid a line
	d := NewLines(path, j.Name(), (&logs{}).logger())
	r := &Runner{Journal: j, To: "lines", Destination: d, Log: (&logs{}).logger(), Window: 10}
	failed := 0
	for range 20 {
		if _, err := r.round(context.Background()); err != nil {
			failed++
			if err.Error() != path+": file too large" && !strings.Contains(err.Error(), "journal.db: ") {
				t.Fatal(err)
			}
		}
	}
	if failed == 0 || j.Spooled("lines") == 0 {
		t.Errorf("have %d failed, %d pending", failed, j.Spooled("lines"))
	}
	lift()
	r.First, r.Most = time.Millisecond, time.Millisecond
	start(t, r)
	drained(t, j, "lines")
	ids := idsOf(t, path)
	for i, id := range ids {
		if want := fmt.Sprint(j.Name(), "-", i+1); id != want {
			t.Fatalf("line %d: have %s, want %s", i+1, id, want)
		}
	}
	if len(ids) != 100 {
		t.Errorf("have %d lines, want 100", len(ids))
	}
}
