package eval

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mvag-torch/eval/report"
	"mvag-torch/eval/score"
)

// FuzzRestore holds that only results of the wanted fingerprint are taken from a file of finished classes, and that what
// is left aside is told with file and line.
func FuzzRestore(f *testing.F) {
	path := filepath.Join(f.TempDir(), "partial.jsonl")
	if err := save(path, "print", finished{Result: score.Result{Class: report.Class{Name: "nut"}}}); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(append(good[:len(good)/2:len(good)/2], good...))
	f.Add([]byte(`{"protocol":"print","classes":[{"class":"nut"},{"class":"nut"}]}`))
	f.Add([]byte("{\"classes\":[null]}\n[]\nnull"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		found, ignored := restore(path, map[string]string{"nut": "print"})
		if ignored != nil && !strings.HasPrefix(ignored.Error(), path+":") {
			t.Errorf("have %q, want file and line first", ignored)
		}
		for name := range found {
			if name != "nut" {
				t.Errorf("have class %q, which was not wanted", name)
			}
		}
	})
}
