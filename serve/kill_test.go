package serve

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

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
	s, err := Start(t.Context(), watching(dir, os.Getenv("MVAG_TEST_CHECKPOINT")), slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("ready")
	t.Fatal(s.Run(context.Background()))
}

// TestKilled kills a service with a watched folder again and again while images arrive. At last each object is in the
// journal and in the file of results exactly once, with all its views, and no file is left. MVAG_TEST_KILLS is how often.
func TestKilled(t *testing.T) {
	kills := 6
	if n, err := strconv.Atoi(os.Getenv("MVAG_TEST_KILLS")); err == nil {
		kills = n
	}
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
		halfway += killed(t, dir, checkpoint)
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

// killed runs the service and kills it some time after it is ready. It returns for how many objects the service found
// that the one before had judged them but not moved all their files.
func killed(t *testing.T, dir, checkpoint string) (halfway int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledChild$")
	cmd.Env = append(os.Environ(), "MVAG_TEST_KILLED="+dir, "MVAG_TEST_CHECKPOINT="+checkpoint)
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
	if err == nil && text == "ready\n" {
		time.Sleep(time.Duration(20+rand.IntN(400)) * time.Millisecond)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err != nil || text != "ready\n" {
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
	j, err := journal.Open(filepath.Join(out, "journal.db"), journal.Options{To: []string{toLines}})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	inJournal := map[string]int{}
	ids := map[string]string{}
	err = j.Newest(0, func(e journal.Entry) bool {
		var s line.Stored
		if err := json.Unmarshal(e.Data, &s); err != nil {
			t.Error(err)
		}
		inJournal[s.Record.Object]++
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
	inLines := map[string]int{}
	for row := range strings.Lines(string(text)) {
		var r line.Record
		if err := json.Unmarshal([]byte(row), &r); err != nil {
			t.Fatalf("%q: %v", row, err)
		}
		if inLines[r.Object]++; r.ID != ids[r.Object] {
			t.Errorf("%s: have id %s in the file, want %s", r.Object, r.ID, ids[r.Object])
		}
	}
	for i := range objects {
		if name := fmt.Sprint("S", i); inJournal[name] != 1 || inLines[name] != 1 {
			t.Errorf("%s: have it %d times in the journal and %d times in the file, want once", name, inJournal[name], inLines[name])
		}
	}
	if len(inJournal) != objects || len(inLines) != objects || j.Spooled(toLines) != 0 {
		t.Errorf("have %d objects in the journal, %d in the file, %d pending; want %d, all published", len(inJournal), len(inLines), j.Spooled(toLines), objects)
	}
}
