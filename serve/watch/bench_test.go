package watch

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mvag-torch/dataset"
	"mvag-torch/serve/journal"
	"mvag-torch/serve/line"
)

// bench is a watched folder with a line that judges by content: an object with an image "bad" fails, all others are good.
type bench struct {
	*testing.T
	dir     string
	journal string // its file
	j       *journal.Journal
	model   line.Model
	cfg     Folder
	stop    func()
	mu      sync.Mutex
	log     strings.Builder
	counts  map[string]int
	records []line.Record // new ones
	before  func(r line.Request, call int) error
	calls   map[string]int // by object
}

func (b *bench) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.Write(p)
}

func newBench(t *testing.T, views int, pattern string) *bench {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journal.db")
	j, err := journal.Open(path, journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	naming := dataset.Naming{Pattern: pattern}
	b := &bench{T: t, dir: filepath.Join(t.TempDir(), "in [1]*"), journal: path, j: j, stop: func() {}, counts: map[string]int{}, calls: map[string]int{},
		model: line.Model{Name: "parts", Views: views, Cameras: naming.CameraNames(views), Naming: naming}}
	b.cfg = Folder{Path: b.dir, Settle: 30 * time.Millisecond, Timeout: 400 * time.Millisecond, Poll: 50 * time.Millisecond}
	if err := os.Mkdir(b.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.stop() })
	return b
}

// judge stands for line.Line.Judge.
func (b *bench) judge(ctx context.Context, r line.Request) (*line.Judged, error) {
	b.mu.Lock()
	b.calls[r.Object.ID]++
	call, before := b.calls[r.Object.ID], b.before
	b.mu.Unlock()
	if before != nil {
		if err := before(r, call); err != nil {
			return nil, err
		}
	}
	record := line.Record{Source: r.Source, Object: r.Object.ID, Class: r.Object.Class, Decision: "good", Model: line.Judge{Name: r.Model}}
	failed := 0
	for i, v := range r.Object.Views {
		switch {
		case !v.Present():
			record.Absent = append(record.Absent, b.model.Cameras[i])
		case len(v.Data) == 0 || string(v.Data) == "bad":
			failed++
		case !strings.HasPrefix(string(v.Data), v.Path+" "):
			b.Errorf("%s: have %q of %q", r.Object.ID, v.Data, v.Path)
		}
	}
	if failed > 0 {
		record.Decision, record.Error = line.Failed, "no image"
	}
	e, exists, err := b.j.Append(r.Key, func(id string) ([]byte, error) {
		record.ID = id
		return json.Marshal(line.Stored{Record: record})
	})
	if err != nil {
		return nil, &line.StoreError{Err: err}
	}
	if exists {
		var s line.Stored
		return &line.Judged{Record: s.Record, Again: true}, json.Unmarshal(e.Data, &s)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.records = append(b.records, record)
	return &line.Judged{Record: record}, nil
}

func (b *bench) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

// start watches until b.stop is called.
func (b *bench) start() {
	b.Helper()
	w, err := New(b.cfg, Options{Judge: b.judge, Model: func() (line.Model, error) { return b.model, nil }, Journal: b.j,
		Log: b.logger(), Count: func(what string, n int) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.counts[what] += n
		}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
}

// put writes an image at once, under the name it is to have.
func (b *bench) put(names ...string) {
	b.Helper()
	for _, name := range names {
		b.write(name, name+" content")
	}
}

func (b *bench) write(name, text string) {
	b.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) eventually(what string, is func() bool) {
	b.Helper()
	for end := time.Now().Add(15 * time.Second); !is(); time.Sleep(3 * time.Millisecond) {
		if time.Now().After(end) {
			b.Fatalf("%s: not within 15 s; log: %s", what, b.said())
		}
	}
}

func (b *bench) said() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.String()
}

func (b *bench) counted(what string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.counts[what]
}

// judged are the objects in the order of their records, with what is absent.
func (b *bench) judged() (list []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.records {
		text := r.Object
		if len(r.Absent) > 0 {
			text += fmt.Sprint(" without ", r.Absent)
		}
		if r.Decision != "good" {
			text += " " + r.Decision
		}
		list = append(list, text)
	}
	return list
}

// expect waits until these objects and no others are judged, in any order.
func (b *bench) expect(want ...string) {
	b.Helper()
	slices.Sort(want)
	b.eventually(fmt.Sprintf("judged %q", want), func() bool { return len(b.judged()) >= len(want) })
	if have := slices.Sorted(slices.Values(b.judged())); !slices.Equal(have, want) {
		b.Errorf("have %q, want %q", have, want)
	}
}

// tree is all files of the folder; the date is written DATE.
func (b *bench) tree() []string {
	b.Helper()
	var list []string
	date := time.Now().Format(time.DateOnly)
	err := filepath.WalkDir(b.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != ".mvag-torch-results" && d.Name() != lockName {
			rel, _ := filepath.Rel(b.dir, path)
			list = append(list, strings.ReplaceAll(rel, date, "DATE"))
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return list
}

func (b *bench) expectTree(want ...string) {
	b.Helper()
	slices.Sort(want)
	b.eventually(fmt.Sprintf("files %q", want), func() bool { return slices.Equal(slices.Sorted(slices.Values(b.tree())), want) })
}

func cameras(object string, numbers ...int) (names []string) {
	for _, n := range numbers {
		names = append(names, fmt.Sprintf("%s_C%d.png", object, n))
	}
	return names
}

func in(folder string, names ...string) (list []string) {
	for _, name := range names {
		list = append(list, folder+"/DATE/"+name)
	}
	return list
}

const flat = "{object}_{camera}"
