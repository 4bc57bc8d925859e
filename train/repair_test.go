package train

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"mvag-torch/model/checkpoint"
)

// TestResumeFromThePreviousCheckpoint: a run whose checkpoint is damaged, or gone, goes on from the one before it, and
// ends with the same bytes as if nothing had happened.
func TestResumeFromThePreviousCheckpoint(t *testing.T) {
	cfg := smallConfig(t)
	if err := runOn(t.Context(), cfg, false, &watcher{}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(Folder(cfg), CheckpointName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	journal := journalOf(t, cfg)
	last := bytes.Clone(whole)
	last[len(last)-1] ^= 1
	for _, test := range []struct {
		name string
		does func() error
		kept []byte // as the damaged one
	}{
		{"gone", func() error { return os.Remove(path) }, nil},
		{"a bit", func() error { return os.WriteFile(path, last, 0o600) }, last},
		{"cut", func() error { return os.WriteFile(path, whole[:len(whole)/2], 0o600) }, whole[:len(whole)/2]},
	} {
		if err := test.does(); err != nil {
			t.Fatal(err)
		}
		if err := runOn(t.Context(), cfg, false, &watcher{}); err == nil {
			t.Errorf("%s: began anew without --resume", test.name)
		}
		var begin Begin
		w := &watcher{inside: func(b Begin) { begin = b }}
		if err := runOn(t.Context(), cfg, true, w); err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if begin.Start != 10 || begin.Repaired == nil || errors.Is(begin.Repaired, os.ErrNotExist) != (test.kept == nil) {
			t.Errorf("%s: went on from iteration %d, why %v; want 10 and why", test.name, begin.Start, begin.Repaired)
		}
		if have, err := os.ReadFile(path); err != nil || !bytes.Equal(have, whole) {
			t.Errorf("%s: the checkpoint differs, error %v", test.name, err)
		}
		if have := journalOf(t, cfg); have != journal {
			t.Errorf("%s: have journal\n%s, want\n%s", test.name, have, journal)
		}
		if have, err := os.ReadFile(checkpoint.Damaged(path)); !bytes.Equal(have, test.kept) || test.kept == nil && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: have %d bytes of the damaged one, want %d, error %v", test.name, len(have), len(test.kept), err)
		}
	}
	if f, err := checkpoint.Open(checkpoint.Previous(path)); err != nil || f.Info.Iteration != 10 {
		t.Errorf("the previous one: have %v, %v", f, err)
	} else {
		f.Close()
	}
}
