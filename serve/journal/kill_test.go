package journal

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMain is the process that is killed, where the environment says so: eight callers append and print each id once it
// is stored.
func TestMain(m *testing.M) {
	path := os.Getenv("MVAG_TEST_JOURNAL")
	if path == "" {
		os.Exit(m.Run())
	}
	j, err := Open(path, Options{To: []string{"lines"}})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	var mu sync.Mutex
	for caller := range 8 {
		go func() {
			for i := 0; ; i++ {
				key := fmt.Sprint(os.Getpid(), " ", caller, " ", i)
				e, _, err := j.Append(key, func(id string) ([]byte, error) { return []byte(id + strings.Repeat("x", 500)), nil })
				if err == nil && caller == 0 && i%5 == 4 {
					err = j.Published("lines", e.Seq)
				}
				if err == nil && caller == 1 && i%50 == 49 {
					_, err = j.Prune(func(seq uint64, count int, _ []byte) bool { return count < 10_000 })
				}
				mu.Lock()
				if err != nil {
					fmt.Println("!", err)
				} else {
					fmt.Println(e.ID + " " + key)
				}
				mu.Unlock()
			}
		}()
	}
	select {}
}

// TestKilled kills a process that appends, at any moment, again and again: all that was stored is there once.
func TestKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	stored := map[string]string{} // key by id
	for round := range 12 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "MVAG_TEST_JOURNAL="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Duration(20+rand.IntN(150))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			id, key, ok := strings.Cut(lines.Text(), " ")
			if !ok || id == "!" {
				t.Fatalf("round %d: %q", round, lines.Text())
			}
			if stored[id] != "" {
				t.Errorf("%s was given twice", id)
			}
			stored[id] = key
		}
		_ = cmd.Wait()
	}
	j := open(t, path, Options{To: []string{"lines"}})
	seen := map[string]int{}
	if err := j.Newest(0, func(e Entry) bool { seen[e.ID]++; return bytes.HasPrefix(e.Data, []byte(e.ID)) }); err != nil {
		t.Fatal(err)
	}
	for id, key := range stored {
		if e, ok, err := j.ByKey(key); err != nil || !ok || e.ID != id || seen[id] != 1 {
			t.Errorf("%s (%s): have %+v, %v, %v, %d times", id, key, e.ID, ok, err, seen[id])
		}
	}
	if len(stored) < 100 || len(seen) != j.Len() {
		t.Errorf("have %d stored and %d seen of %d", len(stored), len(seen), j.Len())
	}
	t.Logf("%d stored, %d in the journal", len(stored), j.Len())
}

// TestFlippedBytes damages a journal at random: every call gives what was stored or an error, and none ends the process.
func TestFlippedBytes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := open(t, path, Options{To: []string{"lines"}})
	for i := range 60 {
		add(t, j, fmt.Sprint(i), strings.Repeat("x", 300))
	}
	_ = j.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	refused := 0
	for i := range 150 {
		data := bytes.Clone(whole)
		for range 8 {
			data[8192+random.IntN(len(data)-8192)] ^= byte(1 + random.IntN(255))
		}
		path := filepath.Join(t.TempDir(), fmt.Sprint(i))
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		j, err := Open(path, Options{To: []string{"lines"}})
		if err != nil {
			refused++
			if !strings.HasPrefix(err.Error(), path+": ") || strings.Contains(err.Error(), "\n") {
				t.Errorf("have %q", err)
			}
			continue
		}
		err = j.Newest(0, func(e Entry) bool {
			if !strings.HasPrefix(string(e.Data), e.ID+" xxx") || strings.Trim(string(e.Data[len(e.ID)+1:]), "x") != "" {
				t.Errorf("have %q of %s", e.Data, e.ID)
			}
			return true
		})
		if err != nil {
			refused++
		}
		_, _, _ = j.Append("new", content("y"))
		_ = j.Close()
	}
	if refused == 0 {
		t.Error("no damage was noticed")
	}
	t.Logf("%d of 150 noticed", refused)
}

func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 8, 64} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			j, err := Open(filepath.Join(b.TempDir(), "j.db"), Options{To: []string{"lines"}})
			if err != nil {
				b.Fatal(err)
			}
			defer j.Close()
			data := bytes.Repeat([]byte("x"), 2000)
			b.SetParallelism(callers)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if _, _, err := j.Append("", func(string) ([]byte, error) { return data, nil }); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
