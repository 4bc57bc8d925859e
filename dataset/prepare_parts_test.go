package dataset

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"mvag-torch/configs"
)

// barrier is a Meet of n goroutines: where one has an error, all have one.
type barrier struct {
	mu    sync.Mutex
	ready *sync.Cond
	n     int
	came  int
	round int
	errs  []error // of this round
	last  error
}

var errOther = errors.New("another part has failed")

func newBarrier(n int) *barrier {
	b := &barrier{n: n}
	b.ready = sync.NewCond(&b.mu)
	return b
}

func (b *barrier) meet(mine error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.errs = append(b.errs, mine)
	if b.came++; b.came == b.n {
		b.last, b.came, b.errs = errors.Join(b.errs...), 0, nil
		b.round++
		b.ready.Broadcast()
	} else {
		for round := b.round; round == b.round; {
			b.ready.Wait()
		}
	}
	if mine == nil && b.last != nil {
		return errOther
	}
	return mine
}

// together prepares cfg in n parts; change may make a part different.
func together(t *testing.T, n int, cfg configs.Data, change func(part int, cfg *configs.Data, opt *PrepareOptions) context.Context) ([]error, []*Set) {
	t.Helper()
	b, errs, sets := newBarrier(n), make([]error, n), make([]*Set, n)
	var wg sync.WaitGroup
	for part := range n {
		mine, ctx := cfg, t.Context()
		opt := PrepareOptions{Part: part, Parts: n, Meet: b.meet}
		if change != nil {
			ctx = change(part, &mine, &opt)
		}
		plain := mine
		plain.Cache = ""
		sets[part] = opened(t, plain)
		wg.Go(func() { errs[part] = Prepare(ctx, mine, sets[part], opt) })
	}
	wg.Wait()
	return errs, sets
}

// filesOf are the files of a folder by name.
func filesOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(text)
	}
	return files
}

// TestPrepareInParts: several processes write the files of one, whatever there was before and however many there are,
// and the first of them tells what all have left out.
func TestPrepareInParts(t *testing.T) {
	smallShards(t)
	cfg := cacheSet(t, 4) // 12 images and masks in 6 shards
	cfg.OnError, cfg.MaxUnreadable = "skip", 1
	writeFile(t, filepath.Join(cfg.Root, "p ü%2F[1]?#_1.png"), []byte("no image"))
	writeFile(t, filepath.Join(cfg.Root, "p ü%2F[2]?#_0.png"), []byte("no image"))
	_, skipped, err := prepare(t, t.Context(), cfg)
	if err != nil || len(skipped.Lines()) != 2 {
		t.Fatalf("have %q, %v", skipped.Lines(), err)
	}
	want := filesOf(t, cfg.Cache)
	for _, n := range []int{1, 3, 4, 9} {
		cfg.Cache = filepath.Join(t.TempDir(), "cache")
		for _, left := range []string{"", ".part-2", "pixels-00000.shard"} { // of a killed one; a shard that is there
			if left != "" {
				writeFile(t, filepath.Join(cfg.Cache, left), []byte(want[left]))
			}
		}
		var last [2]int
		errs, sets := together(t, n, cfg, func(part int, _ *configs.Data, opt *PrepareOptions) context.Context {
			if part == 0 {
				opt.Begin = func(p Preparation) {
					if p.Have != 2 || p.Shards != 5 {
						t.Errorf("%d parts: have %+v", n, p)
					}
				}
				opt.Progress = func(done, total int) { last = [2]int{done, total} }
			}
			return t.Context()
		})
		if err := errors.Join(errs...); err != nil {
			t.Fatalf("%d parts: %v", n, err)
		}
		have := filesOf(t, cfg.Cache)
		if len(have) != len(want) {
			t.Errorf("%d parts: have %d files, want %d", n, len(have), len(want))
		}
		for name, text := range want {
			if have[name] != text {
				t.Errorf("%d parts: %s differs", n, name)
			}
		}
		if lines := sets[0].Source.Skipped.Lines(); !slices.Equal(lines, skipped.Lines()) {
			t.Errorf("%d parts: have %q left out, want %q", n, lines, skipped.Lines())
		}
		if last[0] == 0 || last[0] > last[1] || last[1] != 10 {
			t.Errorf("%d parts: have progress %v", n, last)
		}
	}
}

// TestPartsCountTogether: images that cannot be read are too many if those of all parts are.
func TestPartsCountTogether(t *testing.T) {
	smallShards(t)
	cfg := cacheSet(t, 4)
	cfg.OnError, cfg.MaxUnreadable = "skip", 0.25 // of 8 training images
	writeFile(t, filepath.Join(cfg.Root, "p ü%2F[1]?#_1.png"), []byte("no image"))
	writeFile(t, filepath.Join(cfg.Root, "p ü%2F[2]?#_0.png"), []byte("no image"))
	errs, _ := together(t, 3, cfg, nil)
	wantError(t, errs[0], "2 of 8 training images of class")
	if errs[1] != errOther || errs[2] != errOther {
		t.Errorf("have %v, want that part 0 tells", errs)
	}
}

// TestPartsThatFail: one part ends all, with the shards of the rounds behind, and tells why; the next preparation goes on.
func TestPartsThatFail(t *testing.T) {
	smallShards(t)
	for name, tt := range map[string]struct {
		change func(part int, cfg *configs.Data, opt *PrepareOptions, stop func())
		tells  int // the part
		want   string
	}{
		"another folder": {func(part int, cfg *configs.Data, _ *PrepareOptions, _ func()) {
			if part == 1 {
				cfg.Cache = t.TempDir()
			}
		}, 0, "rank 1 does not see the folder"},
		"no folder": {func(part int, cfg *configs.Data, _ *PrepareOptions, _ func()) {
			if part == 1 {
				cfg.Cache = filepath.Join(t.TempDir(), "none")
			}
		}, 1, "rank 1 does not see the folder"},
		"another set": {func(part int, cfg *configs.Data, _ *PrepareOptions, _ func()) {
			if part == 2 {
				cfg.Root, cfg.Table = t.TempDir(), "list.csv"
				writeFile(t, filepath.Join(cfg.Root, "a.png"), pngBytes(t, texture(9, 9)))
				writeFile(t, filepath.Join(cfg.Root, "list.csv"), []byte("object,camera,path,split,label,mask\n0,1,a.png,train,good,\n0,2,a.png,train,good,\n"))
			}
		}, 0, "rank 2 would prepare something else than rank 0"},
		"interrupted": {func(part int, _ *configs.Data, opt *PrepareOptions, stop func()) {
			if part == 1 {
				opt.Progress = func(done, _ int) {
					if done > 6 {
						stop()
					}
				}
			}
		}, 1, context.Canceled.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := cacheSet(t, 5) // 14 images and masks in 7 shards
			cfg.Workers = 1
			ctx, cancel := context.WithCancel(t.Context())
			errs, _ := together(t, 3, cfg, func(part int, cfg *configs.Data, opt *PrepareOptions) context.Context {
				tt.change(part, cfg, opt, cancel)
				if part == tt.tells {
					return ctx
				}
				return t.Context()
			})
			for part, err := range errs {
				if told := err != nil && strings.Contains(err.Error(), tt.want); told != (part == tt.tells) || !told && err != errOther {
					t.Errorf("part %d: have %v", part, err)
				}
			}
			leftOver(t, cfg.Cache)
			if errs, _ := together(t, 2, cfg, nil); errors.Join(errs...) != nil {
				t.Error(errs)
			}
			sameSource(t, opened(t, cfg), Source{Fit: opened(t, cfg).Source.Fit}, opened(t, cfg).Source)
		})
	}
}
