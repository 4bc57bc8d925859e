package serve

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg"
	_ "image/png"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"mvag-torch/dataset"
	"mvag-torch/inspect/inspecttest"
	"mvag-torch/serve/journal"
	"mvag-torch/serve/line"
	"mvag-torch/serve/watch"
)

// watching is the configuration of the service that is killed, below a folder with the checkpoint.
func watching(dir, checkpoint string) Config {
	cfg := Defaults()
	cfg.HTTP.Address = "127.0.0.1:0"
	cfg.Out = filepath.Join(dir, "out")
	cfg.Models = []Model{{Name: "parts", Path: checkpoint}}
	cfg.Watch = []watch.Folder{{Path: filepath.Join(dir, "in"), Class: inspecttest.Trained, Pattern: "{object}_{camera}",
		Settle: 20 * time.Millisecond, Timeout: time.Minute, Poll: 200 * time.Millisecond}}
	return cfg
}

// TestKilledChild is the service that TestKilled kills.
func TestKilledChild(t *testing.T) {
	dir := os.Getenv("MVAG_TEST_KILLED")
	if dir == "" {
		t.Skip("is run by TestKilled")
	}
	cfg := watching(dir, os.Getenv("MVAG_TEST_CHECKPOINT"))
	if list := strings.Fields(os.Getenv("MVAG_TEST_DESTINATIONS")); len(list) == 2 {
		spool(&cfg, list[0], list[1])
	}
	s, err := Start(t.Context(), cfg, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("ready", s.URL())
	t.Fatal(s.Run(context.Background()))
}

// TestKilled kills a service with a watched folder again and again while images arrive. At last each object is in the
// journal and in the file of results exactly once, with all its views, and no file is left. MVAG_TEST_KILLS is how often.
func TestKilled(t *testing.T) {
	kills := howMany(6)
	objects := 25 * kills
	dir, checkpoint := t.TempDir(), inspecttest.Checkpoint(t)
	in := filepath.Join(dir, "in")
	if err := os.Mkdir(in, 0o755); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() { written <- writeObjects(in, objects, time.Duration(kills)*300*time.Millisecond, samples(t)) }()
	halfway := 0
	for range kills {
		halfway += killed(t, dir, checkpoint, func(string) {})
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	cfg := watching(dir, checkpoint)
	_, stop := run(t, func(c *Config) { *c = cfg })
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		left, err := filepath.Glob(filepath.Join(in, "*.png"))
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d files are left", len(left))
		}
	}
	stop()
	checkOnce(t, cfg.Out, objects)
	t.Logf("%d kills, %d objects judged whose files were not all moved", kills, halfway)
	moved := 0
	_ = filepath.WalkDir(filepath.Join(in, "done"), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(d.Name(), ".png") {
			moved++
		}
		return err
	})
	if moved != objects*inspecttest.Views {
		t.Errorf("have %d files in the folder of what is done, want %d", moved, objects*inspecttest.Views)
	}
}

// TestKilledWithRequests kills a service while objects come by HTTP: what was answered is in the journal under the id of
// the answer, and in the file of results, once; an object that was not may be there or not.
func TestKilledWithRequests(t *testing.T) {
	kills := howMany(4)
	dir, checkpoint := t.TempDir(), inspecttest.Checkpoint(t)
	if err := os.Mkdir(filepath.Join(dir, "in"), 0o755); err != nil {
		t.Fatal(err)
	}
	o := inspecttest.Objects(t, inspecttest.Trained, 1)[0]
	a := asker{answered: map[string]string{}}
	for range kills {
		killed(t, dir, checkpoint, func(url string) {
			for range 3 {
				a.asking.Go(func() { a.ask(url, o) })
			}
			for began := time.Now(); time.Since(began) < time.Minute && a.answers() == 0; {
				time.Sleep(5 * time.Millisecond)
			}
		})
		a.asking.Wait()
	}
	cfg := watching(dir, checkpoint)
	_, stop := run(t, func(c *Config) { *c = cfg })
	stop()
	ids := recorded(t, cfg.Out)
	a.check(t, ids)
	checkFiles(t, cfg.Out, ids)
	t.Logf("%d kills, %d objects sent, %d answered, %d in the journal", kills, a.asked, len(a.answered), len(ids))
	if len(a.answered) < kills {
		t.Errorf("have %d answers, want more than kills", len(a.answered))
	}
}

// howMany is how often a test kills: MVAG_TEST_KILLS, or few.
func howMany(few int) int {
	if n, err := strconv.Atoi(os.Getenv("MVAG_TEST_KILLS")); err == nil {
		return n
	}
	return few
}

// asker sends objects to services that are killed.
type asker struct {
	asking   sync.WaitGroup
	mu       sync.Mutex
	asked    int
	answered map[string]string // ids by objects
}

// ask sends an object under names of its own until the service ends.
func (a *asker) ask(url string, o dataset.Object) {
	for {
		a.mu.Lock()
		o.ID = fmt.Sprint("R", a.asked)
		a.asked++
		a.mu.Unlock()
		r, err := ask(url, o)
		if err != nil {
			return
		}
		a.mu.Lock()
		a.answered[o.ID] = r.ID
		a.mu.Unlock()
	}
}

func (a *asker) answers() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.answered)
}

// check holds that the journal has what was answered, under that id.
func (a *asker) check(t *testing.T, ids map[string]string) {
	t.Helper()
	for object, id := range a.answered {
		if ids[object] != id {
			t.Errorf("%s: answered with id %s, have %q in the journal", object, id, ids[object])
		}
	}
}

// killed runs the service and kills it some time after it is ready at the address that ready is called with. It returns
// for how many objects the service found that the one before had judged them but not moved all their files. The environment
// of the service has more variables.
func killed(t *testing.T, dir, checkpoint string, ready func(url string), more ...string) (halfway int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledChild$")
	cmd.Env = append(append(os.Environ(), "MVAG_TEST_KILLED="+dir, "MVAG_TEST_CHECKPOINT="+checkpoint), more...)
	var log strings.Builder
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	text, err := bufio.NewReader(out).ReadString('\n')
	if err == nil && strings.HasPrefix(text, "ready ") {
		ready(strings.TrimSpace(strings.TrimPrefix(text, "ready ")))
		time.Sleep(time.Duration(20+rand.IntN(400)) * time.Millisecond)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err != nil || !strings.HasPrefix(text, "ready ") {
		t.Fatalf("%v: %q: %s", err, text, log.String())
	}
	if strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("have %s", log.String())
	}
	if _, after, found := strings.Cut(log.String(), "objects were judged before"); found {
		_, number, _ := strings.Cut(after, " objects=")
		_, _ = fmt.Sscan(number, &halfway)
	}
	return halfway
}

// samples are the images that the objects have.
func samples(t *testing.T) (list [][]byte) {
	t.Helper()
	for _, o := range inspecttest.Objects(t, inspecttest.Trained, 8) {
		for _, v := range o.Views {
			list = append(list, v.Data)
		}
	}
	return list
}

// writeObjects writes images over some time, half of them under another name at first.
func writeObjects(in string, objects int, over time.Duration, images [][]byte) error {
	for i := range objects {
		for c := range inspecttest.Views {
			path := filepath.Join(in, fmt.Sprintf("S%d_C%d.png", i, c+1))
			name := path
			if i%2 == 0 {
				name += ".part"
			}
			if err := os.WriteFile(name, images[rand.IntN(len(images))], 0o644); err != nil {
				return err
			}
			if name != path {
				if err := os.Rename(name, path); err != nil {
					return err
				}
			}
		}
		time.Sleep(over / time.Duration(objects))
	}
	return nil
}

// checkOnce checks that each object is in the journal and in the file of results once, with all its views.
func checkOnce(t *testing.T, out string, objects int) {
	t.Helper()
	ids := recorded(t, out)
	for i := range objects {
		if name := fmt.Sprint("S", i); ids[name] == "" {
			t.Errorf("%s: is not in the journal", name)
		}
	}
	if len(ids) != objects {
		t.Errorf("have %d objects in the journal, want %d", len(ids), objects)
	}
	checkFiles(t, out, ids)
}

// recorded returns the ids of the objects in the journal, each of which has to be there and in the file of results once,
// with all its views.
func recorded(t *testing.T, out string) map[string]string {
	t.Helper()
	j, err := journal.Open(filepath.Join(out, "journal.db"), journal.Options{To: []string{toLines}})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	ids := map[string]string{}
	err = j.Newest(0, func(e journal.Entry) bool {
		var s line.Stored
		if err := json.Unmarshal(e.Data, &s); err != nil {
			t.Error(err)
		}
		if ids[s.Record.Object] != "" {
			t.Errorf("%s: is in the journal twice", s.Record.Object)
		}
		ids[s.Record.Object] = s.Record.ID
		if len(s.Record.Absent) > 0 || s.Record.Decision == line.Failed {
			t.Errorf("%s: have %q, without %q", s.Record.Object, s.Record.Decision, s.Record.Absent)
		}
		return true
	})
	text, err2 := os.ReadFile(filepath.Join(out, "results.jsonl"))
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	lines := map[string]bool{}
	for row := range strings.Lines(string(text)) {
		var r line.Record
		if err := json.Unmarshal([]byte(row), &r); err != nil {
			t.Fatalf("%q: %v", row, err)
		}
		if lines[r.Object] || r.ID != ids[r.Object] {
			t.Errorf("%s: have id %s in the file, want %s, once", r.Object, r.ID, ids[r.Object])
		}
		lines[r.Object] = true
	}
	if len(lines) != len(ids) || j.Spooled(toLines) != 0 {
		t.Errorf("have %d objects in the journal, %d in the file, %d pending; want all published", len(ids), len(lines), j.Spooled(toLines))
	}
	return ids
}

// checkFiles holds that the folder has the pictures of the records, all of which can be read, and no file more than that.
func checkFiles(t *testing.T, out string, ids map[string]string) {
	t.Helper()
	want := map[string]bool{"journal.db": true, "results.jsonl": true}
	for _, id := range ids {
		want[id+"_seen.jpg"], want[id+"_map.png"] = true, true
	}
	err := filepath.WalkDir(out, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !want[d.Name()] && filepath.Ext(path) != ".lock" {
			t.Errorf("left over: %s", path)
		}
		delete(want, d.Name())
		if ext := filepath.Ext(path); ext == ".jpg" || ext == ".png" {
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close()
			if _, _, err := image.Decode(f); err != nil {
				t.Errorf("unreadable: %s: %v", path, err)
			}
		}
		return nil
	})
	if err != nil || len(want) > 0 {
		t.Errorf("have no files %v (%v)", want, err)
	}
}
