package dataset

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mvag-torch/configs"
)

// FuzzMark holds that whatever another part of a preparation has left for the first, that agrees, or says in one line what
// it would do instead.
func FuzzMark(f *testing.F) {
	p := &preparer{cfg: configs.Data{Cache: f.TempDir()}, opt: PrepareOptions{Parts: 2, Meet: func(mine error) error { return mine }}}
	f.Add([]byte(p.summary(nil)))
	f.Add([]byte("2 shards\nfrom \x1b[31m"))
	f.Add([]byte(strings.Repeat("x", 1<<17)))
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(p.mark(1), text, 0o644); err != nil {
			t.Fatal(err)
		}
		err := p.agree(nil, nil)
		if same := string(text) == p.summary(nil); same != (err == nil) {
			t.Errorf("have %v of %q", err, text)
		}
		if err != nil && (!strings.HasPrefix(err.Error(), "data.cache: ") || strings.ContainsAny(err.Error(), "\n\x1b\x00")) {
			t.Errorf("have %q, want a line", err)
		}
	})
}

// TestMarkOfAPipe: for a pipe in place of what another part has left, or of a shard, nobody waits.
func TestMarkOfAPipe(t *testing.T) {
	p := &preparer{cfg: configs.Data{Cache: t.TempDir()}, opt: PrepareOptions{Parts: 2, Meet: func(mine error) error { return mine }}}
	shard := filepath.Join(p.cfg.Cache, "pixels-00000.shard")
	for _, path := range []string{p.mark(1), shard} {
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.agree(nil, nil); err == nil || !strings.Contains(err.Error(), p.mark(1)) {
		t.Errorf("have %v", err)
	}
	if err := p.scan(); err == nil || !strings.Contains(err.Error(), shard) {
		t.Errorf("have %v", err)
	}
}
