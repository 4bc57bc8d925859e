package watch

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mvag-torch/dataset"
	"mvag-torch/serve/line"
)

func TestComplete(t *testing.T) {
	for name, notices := range map[string]bool{"with notices": true, "by polling": false} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 4, flat)
			b.cfg.Timeout = time.Minute // not needed
			if notices {
				b.cfg.Poll = time.Minute
			}
			b.start()
			time.Sleep(30 * time.Millisecond)
			b.put(cameras("S1", 1, 2)...)
			b.put(cameras("S2", 1, 2, 3, 4)...)
			b.expect("S2")
			b.put(cameras("S1", 3, 4)...)
			b.expect("S1", "S2")
			b.expectTree(in("done", append(cameras("S1", 1, 2, 3, 4), cameras("S2", 1, 2, 3, 4)...)...)...)
			b.stop()
			notes := 0
			if err := b.j.Values("watch", func(string, []byte) bool { notes++; return true }); err != nil || notes != 0 {
				t.Errorf("have %d notes left, %v", notes, err)
			}
		})
	}
}

// TestDoneIsNotReadAgain: the folders of what is done are marked for all commands.
func TestDoneIsNotReadAgain(t *testing.T) {
	b := newBench(t, 1, "")
	b.start()
	b.put("a.png")
	b.expectTree("done/DATE/a.png")
	c, err := dataset.Collect([]string{filepath.Join(b.dir, "done")}, dataset.CollectOptions{Views: 1})
	if err == nil {
		t.Errorf("have %d objects in what is done", len(c.Objects))
	}
	b.put("a.png") // the next part of that name
	b.expect("a.png", "a.png")
	b.expectTree("done/DATE/a.png", "done/DATE/a_2.png")
}

func TestTimeoutAndLateViews(t *testing.T) {
	b := newBench(t, 4, flat)
	b.start()
	b.put(cameras("S1", 1, 3)...)
	b.expect("S1 without [C2 C4]")
	b.put(cameras("S1", 4)...)
	b.expect("S1 without [C2 C4]", "S1 without [C1 C2 C3]")
	b.put(cameras("S1", 1, 2, 3, 4)...) // another part of that name
	b.expect("S1 without [C2 C4]", "S1 without [C1 C2 C3]", "S1")
	if late, incomplete := b.counted(CountLate), b.counted(CountIncomplete); late != 1 || incomplete != 1 {
		t.Errorf("have %d late and %d incomplete, want 1 and 1", late, incomplete)
	}
	if !strings.Contains(b.said(), "late views of an object that was judged without them") || !strings.Contains(b.said(), "without all its views") {
		t.Errorf("have %s", b.said())
	}
}

// TestSecondImageOfACamera: two parts of one name, the second before the first is judged.
func TestSecondImageOfACamera(t *testing.T) {
	b := newBench(t, 2, "{object}_{camera}_*")
	b.start()
	b.put("S1_C1_100.png", "S1_C1_200.png")
	time.Sleep(60 * time.Millisecond)
	b.put("S1_C2_100.png")
	b.expectTree(in("done", "S1_C1_100.png", "S1_C1_200.png", "S1_C2_100.png")...)
	b.expect("S1", "S1 without [C2]")
}

func TestBackpressure(t *testing.T) {
	b := newBench(t, 1, "")
	var most, now int
	var mu sync.Mutex
	b.before = func(r line.Request, call int) error {
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		time.Sleep(5 * time.Millisecond)
		mu.Lock()
		now--
		mu.Unlock()
		switch {
		case r.Object.ID == "unknown.png":
			return &line.UnknownError{Message: "class: not known"}
		case r.Object.ID == "broken.png":
			return errors.New("device lost")
		case call == 1:
			return &line.BusyError{RetryAfter: time.Millisecond}
		case call == 2:
			return &line.StoreError{Err: errors.New("no space left on device")}
		}
		return nil
	}
	b.start()
	var want, names []string
	for i := range 20 {
		names = append(names, fmt.Sprintf("%02d.png", i))
	}
	want = append(want, names...)
	b.put(names...)
	b.put("unknown.png", "broken.png")
	b.expect(want...)
	b.expectTree(append(in("done", names...), in("failed", "unknown.png", "broken.png")...)...)
	b.stop()
	if most < 2 || most > 4 {
		t.Errorf("have %d at once, want 2 to 4", most)
	}
	for _, what := range []string{"class: not known", "device lost"} {
		if !strings.Contains(b.said(), what) {
			t.Errorf("%q was not said", what)
		}
	}
	if strings.Contains(b.said(), "no space left on device") {
		t.Error("for each object it is said what the line says once")
	}
}

// TestFolderVanishes: a share that goes and comes back.
func TestFolderVanishes(t *testing.T) {
	b := newBench(t, 1, "")
	b.start()
	b.put("a.png")
	b.expectTree("done/DATE/a.png")
	away := b.dir + " away"
	if err := os.Rename(b.dir, away); err != nil {
		t.Fatal(err)
	}
	b.eventually("said", func() bool { return strings.Contains(b.said(), "folder cannot be read") })
	time.Sleep(200 * time.Millisecond)
	if n := strings.Count(b.said(), "folder cannot be read"); n != 1 {
		t.Errorf("said %d times", n)
	}
	if err := os.Rename(away, b.dir); err != nil {
		t.Fatal(err)
	}
	b.put("b.png")
	b.expectTree(in("done", "a.png", "b.png")...)
	b.expect("a.png", "b.png")
	if !strings.Contains(b.said(), "folder is there again") {
		t.Error("its return was not said")
	}
}

// TestCannotMove: a place that is taken by something else does not stop the line, nor is anything judged twice.
func TestCannotMove(t *testing.T) {
	b := newBench(t, 1, "")
	b.write("done", "not a folder")
	b.start()
	b.put("a.png", "b.png")
	b.expect("a.png", "b.png")
	b.eventually("said", func() bool { return strings.Contains(b.said(), "cannot be moved, will try again") })
	time.Sleep(200 * time.Millisecond)
	b.stop()
	b.start() // knows them from the journal
	time.Sleep(200 * time.Millisecond)
	b.expect("a.png", "b.png")
	if err := os.Remove(filepath.Join(b.dir, "done")); err != nil {
		t.Fatal(err)
	}
	b.expectTree(in("done", "a.png", "b.png")...)
	b.expect("a.png", "b.png")
	if calls := slices.Sorted(maps.Values(b.calls)); !slices.Equal(calls, []int{1, 1}) {
		t.Errorf("have calls %v, want one each", calls)
	}
}

func TestLeave(t *testing.T) {
	b := newBench(t, 2, flat)
	b.cfg.Done = Leave
	b.start()
	b.put("S1_C1.png", "S1_C2.png", "S2_C1.png")
	b.expect("S1", "S2 without [C2]")
	b.stop()
	b.put("S2_C2.png") // while no one is there
	b.start()
	b.expect("S1", "S2 without [C2]", "S2 without [C1]")
	b.write("S1_C1.png", "S1_C1.png of the next part")
	b.write("S1_C2.png", "S1_C2.png of the next part")
	b.expect("S1", "S2 without [C2]", "S2 without [C1]", "S1")
	b.stop()
	if _, err := b.j.Prune(func(uint64, int, []byte) bool { return false }); err != nil {
		t.Fatal(err)
	}
	b.start() // knows them although their records are gone
	time.Sleep(300 * time.Millisecond)
	b.expect("S1", "S2 without [C2]", "S2 without [C1]", "S1")
	b.expectTree("S1_C1.png", "S1_C2.png", "S2_C1.png", "S2_C2.png")
	b.stop()
	b.cfg.Done = Move
	b.start()
	b.expectTree(in("done", "S1_C1.png", "S1_C2.png", "S2_C1.png", "S2_C2.png")...)
	b.expect("S1", "S2 without [C2]", "S2 without [C1]", "S1")
}

// TestStoppedHalfway: a service that ended while it moved the files of an object does not judge the others again.
func TestStoppedHalfway(t *testing.T) {
	b := newBench(t, 4, flat)
	names := cameras("S1", 1, 2, 3, 4)
	b.put(names...)
	w, err := New(b.cfg, Options{Judge: b.judge, Journal: b.j, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	x := &work{model: "parts"}
	x.object = dataset.Object{ID: "S1", Views: make([]dataset.View, 4)}
	for i, name := range names {
		info, err := os.Stat(filepath.Join(b.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		id, inode := identOf(info)
		x.files = append(x.files, &file{rel: name, ident: id, inode: inode})
		x.idents = append(x.idents, id)
		x.object.Views[i] = dataset.View{Camera: i, Path: name}
	}
	x.key = w.key(x.files)
	if w.judge(t.Context(), x); x.err != nil || x.again {
		t.Fatal(x.err)
	}
	w.Close() // as the kernel does with a process that dies
	b.expect("S1")
	for _, name := range names[:2] {
		if err := os.MkdirAll(filepath.Join(b.dir, "done/old"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(b.dir, name), filepath.Join(b.dir, "done/old", name)); err != nil {
			t.Fatal(err)
		}
	}
	b.put(cameras("S2", 1, 2, 3, 4)...)
	b.start()
	b.expectTree(slices.Concat([]string{"done/old/S1_C1.png", "done/old/S1_C2.png"}, in("done", names[2:]...), in("done", cameras("S2", 1, 2, 3, 4)...))...)
	b.expect("S1", "S2")
}

// TestJournalIsGone: files of judged objects stay where they are until the journal that knows of them is there again.
func TestJournalIsGone(t *testing.T) {
	b := newBench(t, 1, "")
	b.put("a.png")
	model := func() (line.Model, error) { return b.model, nil }
	w, err := New(b.cfg, Options{Judge: b.judge, Model: model, Journal: b.j, Log: b.logger()})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	info, err := os.Stat(filepath.Join(b.dir, "a.png"))
	if err != nil {
		t.Fatal(err)
	}
	id, inode := identOf(info)
	x := &work{model: "parts", key: "a", to: doneFolder}
	x.files, x.idents = []*file{{rel: "a.png", ident: id, inode: inode, state: over}}, []ident{id}
	if err := os.Rename(b.journal, b.journal+"-moved"); err != nil {
		t.Fatal(err)
	}
	w.leave(x)
	w.moveAgain()
	b.expectTree("a.png")
	if n := strings.Count(b.said(), "journal.db: was removed, renamed or replaced"); n != 1 {
		t.Errorf("have it said %d times: %s", n, b.said())
	}
	if err := os.Rename(b.journal+"-moved", b.journal); err != nil {
		t.Fatal(err)
	}
	w.moveAgain()
	b.expectTree("done/DATE/a.png")
}

// TestChangedWhileJudged: a file that is written again while it is judged is judged again.
func TestChangedWhileJudged(t *testing.T) {
	b := newBench(t, 1, "")
	b.before = func(r line.Request, call int) error {
		if call == 1 {
			b.write("a.png", "a.png of another part")
		}
		return nil
	}
	b.start()
	b.put("a.png")
	b.expectTree("done/DATE/a.png")
	b.eventually("both", func() bool { return len(b.judged()) == 2 })
}

// TestStopsGracefully: what was begun is finished, the rest waits.
func TestStopsGracefully(t *testing.T) {
	b := newBench(t, 1, "")
	b.cfg.Parallel = 2
	begun, held := make(chan struct{}, 9), make(chan struct{})
	b.before = func(line.Request, int) error { begun <- struct{}{}; <-held; return nil }
	b.start()
	b.put("a.png", "b.png", "c.png")
	<-begun
	<-begun
	go func() { time.Sleep(50 * time.Millisecond); close(held) }()
	b.stop()
	if n := len(b.judged()); n != 2 || len(b.tree()) != 3 {
		t.Errorf("have %d judged", n)
	}
	b.start()
	b.expect("a.png", "b.png", "c.png")
	b.expectTree(in("done", "a.png", "b.png", "c.png")...)
}

func TestCheck(t *testing.T) {
	for name, f := range map[string]Folder{
		"no path":  {},
		"negative": {Path: "x", Settle: -1},
		"done":     {Path: "x", Done: "delete"},
		"pattern":  {Path: "x", Pattern: "{serial}"},
	} {
		if _, err := New(f, Options{}); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: have %v", name, err)
		}
	}
}
