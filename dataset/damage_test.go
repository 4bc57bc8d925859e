package dataset

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mvag-torch/internal/testenv"
)

// TestEachBitOfAShard flips bits of a shard, and cuts it: pixels are those of the files, or the cache is refused in one line
// that names the shard. With MVAG_FAULTS=all it flips each bit and cuts at each byte, else one bit of each byte.
func TestEachBitOfAShard(t *testing.T) {
	cfg := cacheSet(t, 1)
	if _, _, err := prepare(t, t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	plain := cfg
	plain.Cache = ""
	files := opened(t, plain)
	want := map[string][]byte{}
	for _, o := range files.Train {
		for _, v := range o.Views {
			want[v.Path] = make([]byte, files.Source.Fit.imageBytes(v.Tile))
			if _, _, err := files.Source.Image(v, want[v.Path]); err != nil {
				t.Fatal(err)
			}
		}
	}
	shard := filepath.Join(cfg.Cache, "pixels-00000.shard")
	var sum testenv.Tally
	eachDamage(t, shard, func(what string, at int) {
		sum.Injected++
		set, err := Open(cfg)
		if err != nil {
			sum.Refused++
			if !strings.Contains(err.Error(), shard) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%s at byte %d: have %q, want one line that names the shard", what, at, err)
			}
			return
		}
		defer set.Source.Cache.Close()
		for _, o := range set.Train {
			for _, v := range o.Views {
				have := make([]byte, len(want[v.Path]))
				if _, _, err := set.Source.Image(v, have); err != nil || !bytes.Equal(have, want[v.Path]) {
					t.Fatalf("%s at byte %d: %s: the pixels differ, error %v", what, at, v.Path, err)
				}
			}
		}
		if set.Source.Cache.Mended() != "" {
			sum.Repaired++
		}
	})
	sum.Log(t, "a shard of a cache")
}

// eachDamage visits a file with bits flipped and cut. Of the empty bytes before the first record it takes a few.
func eachDamage(t *testing.T, path string, visit func(what string, at int)) {
	t.Helper()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all := os.Getenv("MVAG_FAULTS") == "all"
	for at := range whole {
		if at > shardPrefix && at < shardData && at%512 != 0 {
			continue
		}
		for bit := range 8 {
			if all || bit == at%8 {
				text := bytes.Clone(whole)
				text[at] ^= 1 << bit
				writeFile(t, path, text)
				visit("a flipped bit", at)
			}
		}
		if all || at%64 == 0 {
			writeFile(t, path, whole[:at])
			visit("a cut", at)
		}
	}
	writeFile(t, path, whole)
}
