package journal

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func open(t *testing.T, path string, opt Options) *Journal {
	t.Helper()
	j, err := Open(path, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func content(text string) func(string) ([]byte, error) {
	return func(id string) ([]byte, error) { return []byte(id + " " + text), nil }
}

func add(t *testing.T, j *Journal, key, text string) Entry {
	t.Helper()
	e, _, err := j.Append(key, content(text))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func seqs(list []Entry) (s []uint64) {
	for _, e := range list {
		s = append(s, e.Seq)
	}
	return s
}

func pending(t *testing.T, j *Journal, to string) []uint64 {
	t.Helper()
	list, err := j.Pending(to, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if n := j.Spooled(to); n != len(list) {
		t.Errorf("%s: Spooled is %d, Pending has %d", to, n, len(list))
	}
	return seqs(list)
}

func newest(t *testing.T, j *Journal, before uint64) (list []Entry) {
	t.Helper()
	if err := j.Newest(before, func(e Entry) bool { list = append(list, e); return true }); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestAppend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := open(t, path, Options{To: []string{"lines"}})
	a := add(t, j, "k1", "a")
	b := add(t, j, "", "b")
	if a.Seq != 1 || b.Seq != 2 || a.ID != j.Name()+"-1" || len(j.Name()) != 8 || string(b.Data) != b.ID+" b" {
		t.Errorf("have %+v and %+v in %q", a, b, j.Name())
	}
	again, exists, err := j.Append("k1", func(string) ([]byte, error) { t.Error("made again"); return nil, nil })
	if err != nil || !exists || again.ID != a.ID || string(again.Data) != string(a.Data) {
		t.Errorf("same key: have %+v, %v, %v", again, exists, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := j.Append("", content("c")); !errors.Is(err, ErrClosed) || err.Error() != path+": closed" {
		t.Errorf("after Close: have %v", err)
	}

	j = open(t, path, Options{To: []string{"lines"}})
	for _, want := range []Entry{a, b} {
		if have, ok, err := j.Get(want.ID); err != nil || !ok || string(have.Data) != string(want.Data) {
			t.Errorf("reopened: have %+v, %v, %v, want %+v", have, ok, err, want)
		}
	}
	if have, ok, err := j.ByKey("k1"); err != nil || !ok || have.ID != a.ID {
		t.Errorf("reopened: key: have %+v, %v, %v", have, ok, err)
	}
	if c := add(t, j, "", "c"); c.Seq != 3 {
		t.Errorf("have number %d after reopening, want 3", c.Seq)
	}
	for _, id := range []string{"", "1", j.Name(), j.Name() + "-", j.Name() + "-0", j.Name() + "-01", j.Name() + "-4",
		j.Name() + "-+1", "00000000-1x", "../" + a.ID, j.Name() + "-99999999999999999999"} {
		if _, ok, err := j.Get(id); ok || err != nil {
			t.Errorf("%q: have %v, %v, want nothing", id, ok, err)
		}
	}
}

func TestAppendOfAFailingMake(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal.db"), Options{To: []string{"lines"}})
	lost := errors.New("lost")
	if _, _, err := j.Append("k", func(string) ([]byte, error) { return nil, lost }); !errors.Is(err, lost) || err.Error() != "lost" {
		t.Errorf("have %v", err)
	}
	if _, ok, _ := j.ByKey("k"); ok || j.Len() != 0 || j.Spooled("lines") != 0 {
		t.Error("something was stored")
	}
}

// TestConcurrent: callers of the same key get the same entry, and all others their own, while some of them fail.
func TestConcurrent(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal.db"), Options{To: []string{"lines"}})
	var mu sync.Mutex
	ids := map[string]string{}
	var wait sync.WaitGroup
	for i := range 400 {
		wait.Go(func() {
			key := fmt.Sprint(i % 200)
			e, _, err := j.Append(key, func(id string) ([]byte, error) {
				if i%200 < 20 {
					return nil, errors.New("refused")
				}
				return []byte(id), nil
			})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case (err != nil) != (i%200 < 20):
				t.Errorf("%d: %v", i, err)
			case err == nil && ids[key] != "" && ids[key] != e.ID:
				t.Errorf("key %s: have %s and %s", key, ids[key], e.ID)
			case err == nil:
				ids[key] = e.ID
			}
		})
	}
	wait.Wait()
	if n := j.Len(); n != 180 || len(pending(t, j, "lines")) != 180 || len(newest(t, j, 0)) != 180 {
		t.Errorf("have %d entries, want 180", n)
	}
}

func TestNewest(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal.db"), Options{})
	n := uint64(2*chunk + 7)
	for range n {
		add(t, j, "", "x")
	}
	for before, want := range map[uint64]uint64{0: n, 1: 0, 2: 1, chunk + 1: chunk, n: n - 1, n + 1: n, n + 500: n} {
		have := seqs(newest(t, j, before))
		if uint64(len(have)) != want || want > 0 && (have[0] != want || have[want-1] != 1) {
			t.Errorf("before %d: have %d entries, want %d", before, len(have), want)
		}
	}
	var first []uint64
	err := j.Newest(0, func(e Entry) bool { // which may call the journal
		add(t, j, "", "y")
		first = append(first, e.Seq)
		return len(first) < 3
	})
	if err != nil || !slices.Equal(first, []uint64{n, n - 1, n - 2}) {
		t.Errorf("have %v, %v", first, err)
	}
}

func TestPublish(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := open(t, path, Options{To: []string{"lines", "mqtt"}})
	select {
	case <-j.Changed("lines"):
		t.Error("woken without an entry")
	default:
	}
	for range 4 {
		add(t, j, "", "x")
	}
	<-j.Changed("lines")
	<-j.Changed("mqtt")
	if err := j.Published("lines", 1, 3, 3, 99); err != nil {
		t.Fatal(err)
	}
	if have := pending(t, j, "lines"); !slices.Equal(have, []uint64{2, 4}) {
		t.Errorf("lines: have %v", have)
	}
	if have := pending(t, j, "mqtt"); len(have) != 4 {
		t.Errorf("mqtt: have %v", have)
	}
	if _, err := j.Pending("opcua", 1); err == nil || err.Error() != path+`: no destination "opcua"` {
		t.Errorf("have %v", err)
	}
	_ = j.Close()

	// One destination is gone, one is new, and one comes back later.
	j = open(t, path, Options{To: []string{"lines", "webhook"}})
	<-j.Changed("lines")
	if len(j.Retired()) != 1 || j.Retired()["mqtt"] != 4 || len(pending(t, j, "webhook")) != 0 {
		t.Errorf("have %v", j.Retired())
	}
	add(t, j, "", "x")
	_ = j.Close()
	j = open(t, path, Options{To: []string{"lines", "mqtt"}})
	if have := pending(t, j, "mqtt"); !slices.Equal(have, []uint64{1, 2, 3, 4}) {
		t.Errorf("mqtt: have %v", have)
	}
}

func TestSpoolFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := open(t, path, Options{To: []string{"mqtt"}, Spool: 3})
	var mu sync.Mutex
	var full ErrFull
	stored, refused := 0, 0
	var wait sync.WaitGroup
	for i := range 10 { // together, so that they share a sync
		wait.Go(func() {
			_, _, err := j.Append(fmt.Sprint(i), content("x"))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				stored++
			} else if errors.As(err, &full) && full.To == "mqtt" && full.Pending == 3 {
				refused++
			}
		})
	}
	wait.Wait()
	if stored != 3 || refused != 7 || !strings.HasPrefix(full.Error(), path+": 3 entries") {
		t.Errorf("have %d stored and %d refused (%v)", stored, refused, full)
	}
	list, err := j.Pending("mqtt", 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Published("mqtt", list[0].Seq); err != nil {
		t.Fatal(err)
	}
	add(t, j, "", "there is room again")
}

func TestPrune(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := open(t, path, Options{To: []string{"lines", "old"}})
	n := 2*chunk + 10
	for i := range n {
		add(t, j, fmt.Sprint(i+1), "x")
	}
	for seq := range uint64(n) {
		if seq+1 != 3 && seq+1 < uint64(n)-1 {
			if err := j.Published("lines", seq+1); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = j.Close()
	j = open(t, path, Options{To: []string{"lines"}})
	if err := j.Put("review", "1", []byte("good")); err != nil {
		t.Fatal(err)
	}
	removed, err := j.Prune(func(seq uint64, count int, data []byte) bool {
		if int(seq) != n-count+1 || len(data) == 0 {
			t.Fatalf("have %d, %d", seq, count)
		}
		return count <= 4
	})
	if err != nil || len(removed) != n-5 || removed[0] != j.Name()+"-1" {
		t.Errorf("removed %d, %v", len(removed), err)
	}
	want := []uint64{uint64(n), uint64(n - 1), uint64(n - 2), uint64(n - 3), 3}
	if have := seqs(newest(t, j, 0)); !slices.Equal(have, want) || j.Len() != 5 {
		t.Errorf("have %v, %d, want %v", have, j.Len(), want)
	}
	for key, want := range map[string]bool{"1": false, "2": false, "3": true, "4": false, fmt.Sprint(n - 3): true, fmt.Sprint(n): true} {
		if _, ok, err := j.ByKey(key); err != nil || ok != want {
			t.Errorf("key %s: have %v, %v", key, ok, err)
		}
	}
	if v, ok, err := j.GetValue("review", "1"); err != nil || !ok || string(v) != "good" {
		t.Errorf("note: have %q, %v, %v", v, ok, err)
	}
	_ = j.Close()
	j = open(t, path, Options{To: []string{"lines"}}) // what is there belongs together
	if e := add(t, j, "1", "again"); e.Seq != uint64(n+1) {
		t.Errorf("have number %d, want one that never was", e.Seq)
	}
}

func TestNotes(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal.db"), Options{})
	if _, ok, err := j.GetValue("review", "7"); ok || err != nil {
		t.Errorf("have %v, %v", ok, err)
	}
	for i := range 300 {
		if err := j.Put("review", fmt.Sprintf("%03d", i), fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(j.Put("review", "007", nil), j.Put("history", "a", []byte("b")), j.Remove("review", "008"), j.Remove("x", "y")); err != nil {
		t.Fatal(err)
	}
	var keys []string
	err := j.Values("review", func(key string, value []byte) bool {
		if v, ok, err := j.GetValue("review", key); !ok || err != nil || string(v) != string(value) {
			t.Errorf("%s: have %q, %v, %v, want %q", key, v, ok, err, value)
		}
		keys = append(keys, key)
		return true
	})
	if err != nil || len(keys) != 299 || !slices.IsSorted(keys) {
		t.Errorf("have %d keys, %v", len(keys), err)
	}
	for _, err := range []error{j.Put("", "a", nil), j.Put("a", "", nil), j.Put("a", strings.Repeat("x", 1<<16), nil)} {
		if err == nil || !strings.HasPrefix(err.Error(), j.path+": note ") {
			t.Errorf("have %v", err)
		}
	}
}
