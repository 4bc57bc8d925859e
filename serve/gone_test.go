package serve

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mvag-torch/inspect/inspecttest"
)

// TestOutIsGone moves the folder of a running service away and back: meanwhile it answers and makes nothing.
func TestOutIsGone(t *testing.T) {
	out, objects := filepath.Join(t.TempDir(), "out"), inspecttest.Objects(t, inspecttest.Trained, 3)
	url, stop := run(t, func(c *Config) { c.Out, c.Models = out, []Model{{Name: "parts", Path: inspecttest.Checkpoint(t)}} })
	results := func(n int) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			text, err := os.ReadFile(filepath.Join(out, "results.jsonl"))
			if strings.Count(string(text), "\n") == n {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("have %s, %v, want %d results", text, err, n)
			}
		}
	}
	post(t, url, objects[0])
	results(1)
	if err := os.Rename(out, out+"-moved"); err != nil {
		t.Fatal(err)
	}
	var answer json.RawMessage
	kind, body := form(objects[1])
	err := call(http.MethodGet, url+"/v2/health/ready", "", nil, http.StatusServiceUnavailable, &answer)
	err = errors.Join(err, call(http.MethodPost, url+"/v1/inspect", kind, body, http.StatusServiceUnavailable, &answer))
	if err != nil || !strings.Contains(string(answer), "journal.db: was removed, renamed or replaced") {
		t.Errorf("have %s, %v, want the cause", answer, err)
	}
	if _, err := os.Lstat(out); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("have %v, want no folder", err)
	}
	if err := os.Rename(out+"-moved", out); err != nil {
		t.Fatal(err)
	}
	post(t, url, objects[1])
	stop()
	results(2)
}
