package serve

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzLoad holds that a configuration of the service is refused in lines that name the file, and that one that is read
// is checked to the end.
func FuzzLoad(f *testing.F) {
	f.Add("models: [{path: a.safetensors}]\nwatch: [{path: in}]\nhttp: {listen: ':8080'}\n")
	f.Add("a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nmodels: *c")
	f.Add("models: !!python/object/apply:os.system [id]")
	f.Add("wait: 9999999999h\nqueue: 1e99\n---\n{}")
	f.Add("? {a: 1}\n: b")
	path := filepath.Join(f.TempDir(), "serve.yaml")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		cfg, err := Load(path)
		if err != nil {
			if !strings.HasPrefix(err.Error(), path+": ") {
				t.Errorf("have %q, want the file first", err)
			}
			return
		}
		if strings.Contains(text, "file:") || strings.Contains(text, "env:") {
			return // secrets are read by Check
		}
		if err := cfg.Check(); err == nil && len(cfg.Models) == 0 {
			t.Error("have no models and no error")
		}
	})
}
