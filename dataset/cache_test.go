package dataset

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mvag-torch/configs"
	"mvag-torch/internal/lock"
)

// cacheSet writes n training objects and a defective test object, each with two views and odd file names, as a table,
// and returns the configuration.
func cacheSet(t testing.TB, n int) configs.Data {
	t.Helper()
	root := t.TempDir()
	list := "object,camera,path,split,label,mask\n"
	for i := range n + 1 {
		for c := range 2 {
			name := fmt.Sprintf("p ü%%2F[%d]?#_%d.png", i, c)
			img := texture(11+i, 9)
			img.Pix[0] = uint8(40*i + c)
			writeFile(t, filepath.Join(root, name), pngBytes(t, img))
			split, label, mask := "train", "good", ""
			if i == n {
				split, label, mask = "test", "dent", fmt.Sprintf("mask%d.png", c)
				m := image.NewGray(img.Rect)
				m.Pix[45+c] = 255
				writeFile(t, filepath.Join(root, mask), pngBytes(t, m))
			}
			list += fmt.Sprintf("%d,%d,%s,%s,%s,%s\n", i, c+1, name, split, label, mask)
		}
	}
	writeFile(t, filepath.Join(root, "list.csv"), []byte(list))
	return configs.Data{Format: "table", Root: root, Table: "list.csv", Views: 2, Fit: "squash", Resize: configs.Square(8), Crop: configs.Square(6), Cache: filepath.Join(t.TempDir(), "ca[c]he")}
}

// prepare prepares the data set of cfg.
func prepare(t testing.TB, ctx context.Context, cfg configs.Data) (Preparation, *Skipped, error) {
	t.Helper()
	plain := cfg
	plain.Cache = ""
	set, err := Open(plain)
	if err != nil {
		t.Fatal(err)
	}
	var plan Preparation
	err = Prepare(ctx, cfg, set, PrepareOptions{Begin: func(p Preparation) { plan = p }})
	return plan, set.Source.Skipped, err
}

// opened opens a data set with its cache.
func opened(t testing.TB, cfg configs.Data) *Set {
	t.Helper()
	set, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if set.Source.Cache != nil {
		t.Cleanup(set.Source.Cache.Close)
	}
	return set
}

// smallShards limits shards to two images.
func smallShards(t testing.TB) {
	before := shardBytes
	shardBytes = 2 * align(3*6*6)
	t.Cleanup(func() { shardBytes = before })
}

// sameSource compares all images and masks of a set from two sources.
func sameSource(t *testing.T, set *Set, a, b Source) {
	t.Helper()
	for _, o := range slices.Concat(set.Train, set.Test) {
		for _, v := range o.Views {
			x, y := make([]uint8, a.Fit.imageBytes(v.Tile)), make([]uint8, a.Fit.imageBytes(v.Tile))
			if !v.Present() {
				continue
			}
			wA, hA, errA := a.Image(v, x)
			wB, hB, errB := b.Image(v, y)
			if err := errors.Join(errA, errB); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(x, y) || wA != wB || hA != hB || wA < 1 || hA < 1 {
				t.Errorf("%s: the pixels differ, or the sizes %dx%d and %dx%d", v.Path, wA, hA, wB, hB)
			}
			if v.Defective() && v.Mask == "" {
				continue
			}
			m, err := a.Masks(v, configs.Square(5))
			if err != nil {
				t.Fatal(err)
			}
			n, err := b.Masks(v, configs.Square(5))
			if err != nil || !maps.EqualFunc(m, n, slices.Equal) {
				t.Errorf("%s: the masks differ; error %v", v.Mask, err)
			}
		}
	}
}

// TestCache: pixels from the cache equal those from files, whatever the file names. A second preparation has nothing to
// do.
func TestCache(t *testing.T) {
	smallShards(t)
	cfg := cacheSet(t, 3)
	plan, _, err := prepare(t, t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	want := Preparation{Folder: cfg.Cache, Images: 8, Masks: 2, Bytes: 8*align(108) + 2*align(36), Free: plan.Free, Shards: 5}
	if plan != want || plan.Free <= 0 {
		t.Errorf("have %+v, want %+v", plan, want)
	}
	set := opened(t, cfg)
	sameSource(t, set, Source{Fit: set.Source.Fit}, set.Source)
	plan, _, err = prepare(t, t.Context(), cfg)
	if err != nil || plan.Have != 10 || plan.Shards != 0 || plan.Bytes != 0 {
		t.Errorf("again: have %+v and error %v", plan, err)
	}
}

// TestCacheOfStrips: the parts of a strip are separate records.
func TestCacheOfStrips(t *testing.T) {
	root := t.TempDir()
	writeFile(t, filepath.Join(root, "nut/train/good/a.png"), pngBytes(t, texture(12, 6)))
	writeFile(t, filepath.Join(root, "nut/test/dent/b.png"), pngBytes(t, texture(24, 9)))
	m := image.NewGray(image.Rect(0, 0, 24, 9))
	m.Pix[30] = 9
	writeFile(t, filepath.Join(root, "nut/ground_truth/dent/b.png"), pngBytes(t, m))
	cfg := configs.Data{Format: "manta", Root: root, Views: 2, Fit: "squash", Resize: configs.Square(6), Crop: configs.Square(4), Cache: t.TempDir()}
	if _, _, err := prepare(t, t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	set := opened(t, cfg)
	sameSource(t, set, Source{Fit: set.Source.Fit}, set.Source)
}

// TestCacheLoader: batches are the same from files and from the cache.
func TestCacheLoader(t *testing.T) {
	cfg := cacheSet(t, 5)
	if _, _, err := prepare(t, t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	set := opened(t, cfg)
	opt := LoaderOptions{Source: set.Source, Objects: 2, Seed: 7, Count: 9, Workers: 3, Prefetch: 2}
	cached := drain(t, train(t, set.Train, opt), true)
	opt.Source.Cache = nil
	for i, b := range drain(t, train(t, set.Train, opt), true) {
		if !bytes.Equal(b.Pixels, cached[i].Pixels) {
			t.Errorf("batch %d differs", i)
		}
	}
}

// TestPrepareResumes: an interrupted preparation keeps its complete shards, removes incomplete ones and continues.
func TestPrepareResumes(t *testing.T) {
	smallShards(t)
	cfg := cacheSet(t, 5)
	cfg.Workers = 1
	ctx, cancel := context.WithCancel(t.Context())
	plain := cfg
	plain.Cache = ""
	err := Prepare(ctx, cfg, opened(t, plain), PrepareOptions{Progress: func(done, total int) {
		if total != 14 {
			t.Errorf("have %d images in all, want 14", total)
		}
		if done == 5 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("have %v, want %v", err, context.Canceled)
	}
	for _, name := range []string{".pixels-123", ".00c0ffee00c0ffee.tmp", ".mvag-00c0ffee00c0ffee.tmp"} {
		writeFile(t, filepath.Join(cfg.Cache, name), []byte("half a shard of a killed program"))
	}
	if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), "10 images and masks of the set are not prepared") {
		t.Errorf("an unfinished cache: have error %v", err)
	}
	plan, _, err := prepare(t, t.Context(), cfg)
	if err != nil || plan.Have != 4 || plan.Images != 12 {
		t.Errorf("have %+v and error %v, want 4 of 12 images there", plan, err)
	}
	leftOver(t, cfg.Cache)
	set := opened(t, cfg)
	sameSource(t, set, Source{Fit: set.Source.Fit}, set.Source)
}

// leftOver reports hidden files in a cache.
func leftOver(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			t.Errorf("%s is left over", e.Name())
		}
	}
}

// fullDisk fails from the n-th write on, like a full disk.
type fullDisk struct {
	io.WriterAt
	left *atomic.Int32
}

func (d fullDisk) WriteAt(data []byte, at int64) (int, error) {
	if d.left.Add(-1) < 0 {
		return 0, syscall.ENOSPC
	}
	return d.WriterAt.WriteAt(data, at)
}

// TestPrepareFullDisk: whichever write fails, no shard appears, and Prepare succeeds once there is room.
func TestPrepareFullDisk(t *testing.T) {
	cfg := cacheSet(t, 1)
	plain := cfg
	plain.Cache = ""
	set := opened(t, plain)
	const writes = 6 + 2 // four images and two masks; the index and what stands before it
	for n := range int32(writes) {
		left := new(atomic.Int32)
		left.Store(n)
		err := Prepare(t.Context(), cfg, set, PrepareOptions{writer: func(w io.WriterAt) io.WriterAt { return fullDisk{w, left} }})
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("write %d fails: have %v, want %v", n, err, syscall.ENOSPC)
		}
		wantError(t, err, "data.cache: ")
		if shards, err := shardFiles(cfg.Cache); err != nil || len(shards) > 0 {
			t.Errorf("write %d fails: have shards %q and error %v", n, shards, err)
		}
		leftOver(t, cfg.Cache)
	}
	if _, _, err := prepare(t, t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	sameSource(t, opened(t, cfg), Source{Fit: set.Source.Fit}, opened(t, cfg).Source)
}

// TestCacheAlone: a data set can be opened and read from its cache and its index files alone.
func TestCacheAlone(t *testing.T) {
	f := newFixture(t)
	f.write(t)
	realiad := f.config()
	for _, tt := range []struct {
		name  string
		cfg   configs.Data
		files []string
		gone  string // folder below the root with the images and masks
	}{
		{"mvtec", configs.Data{Format: "mvtec", Views: 1}, []string{
			"cup/train/good/0.png", "cup/test/good/1.png", "cup/test/cut/2.png", "cup/ground_truth/cut/2_mask.png"}, "."},
		{"manta", configs.Data{Format: "manta", Views: 2}, []string{
			"mechanics/nut/train/ok/0.png", "mechanics/nut/test/dent/1.png", "mechanics/nut/ground_truth/dent/1.png"}, "mechanics"},
		{"folder", configs.Data{Format: "folder", Views: 2, Good: "good", Bad: "bad", Masks: "masks", Pattern: "{object}/{camera}", Holdout: 0.5}, []string{
			"good/a/left.png", "good/a/right.png", "good/b/left.png", "bad/dent/c/left.png", "masks/dent/c/left.png"}, "."},
		{"table", configs.Data{Format: "table", Views: 1, Table: "list.csv"}, []string{
			"list.csv = path,split,label,mask\np/a.png,train,,\np/b.png,test,dent,p/m.png\n", "p/a.png", "p/b.png", "p/m.png"}, "p"},
		{"visa by its table", configs.Data{Format: "visa", Views: 1, Table: "list.csv"}, []string{
			"list.csv = object,split,label,image,mask\nx,train,normal,x/0.png,\nx,test,anomaly,x/1.png,x/m.png\n", "x/0.png", "x/1.png", "x/m.png"}, "x"},
		{"realiad", realiad, nil, "pics"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := tt.cfg
			if cfg.Root == "" {
				cfg.Root = lay(t, tt.files...)
			}
			cfg.Resize, cfg.Crop, cfg.Cache = configs.Square(6), configs.Square(4), t.TempDir()
			plain := cfg
			plain.Cache = ""
			files := opened(t, plain)
			if err := Prepare(t.Context(), cfg, files, PrepareOptions{}); err != nil {
				t.Fatal(err)
			}
			whole := opened(t, cfg)
			if err := os.RemoveAll(filepath.Join(cfg.Root, tt.gone)); err != nil {
				t.Fatal(err)
			}
			alone := opened(t, cfg)
			if have, want := dump(alone, cfg.Root), dump(files, cfg.Root); have != want {
				t.Errorf("have %s\nwant %s", have, want)
			}
			sameSource(t, alone, whole.Source, alone.Source)
			all := slices.Concat(files.Train, files.Test)
			if have, want := alone.Identity(all), whole.Identity(all); have != want {
				t.Errorf("have identity %s, want %s", have, want)
			}
		})
	}
}

// TestCacheIncomplete: if some of the files exist, they decide what the data set is, not the cache.
func TestCacheIncomplete(t *testing.T) {
	cfg := configs.Data{Format: "folder", Views: 1, Good: "good", Pattern: "{object}.png", Fit: "squash", Resize: configs.Square(6), Crop: configs.Square(4), Cache: t.TempDir()}
	cfg.Root = lay(t, "good/a.png", "good/b.png")
	if _, _, err := prepare(t, t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(cfg.Root, "good/a.png"), filepath.Join(cfg.Root, "good/c.png")); err != nil {
		t.Fatal(err)
	}
	_, err := Open(cfg)
	wantError(t, err, "1 images and masks of the set are not prepared", "good/c.png")
}

// TestIdentity: the identity is the same with and without a cache, and changes with everything that decides results.
func TestIdentity(t *testing.T) {
	cfg := cacheSet(t, 1)
	plain := cfg
	plain.Cache = ""
	if _, _, err := prepare(t, t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	set, cached := opened(t, plain), opened(t, cfg)
	want := set.Identity(set.Test)
	if have := cached.Identity(cached.Test); have != want || have == set.Identity(set.Train) {
		t.Errorf("have %s from the cache, want %s and not that of training", have, want)
	}
	object := set.Test[0]
	for name, change := range map[string]func(o *Object){
		"class":   func(o *Object) { o.Class = "x" },
		"object":  func(o *Object) { o.ID = "x" },
		"code":    func(o *Object) { o.Views[0].Code = "x" },
		"no mask": func(o *Object) { o.Views[0].Mask = "" },
		"bits":    func(o *Object) { o.Views[0].Bits = 12 },
		"camera":  func(o *Object) { o.Views[0], o.Views[1] = o.Views[1], o.Views[0] },
		"name":    func(o *Object) { o.Views[0].Path += "x" },
		"time":    func(o *Object) { touch(t, o.Views[1].Mask) },
		"size":    func(o *Object) { writeFile(t, o.Views[1].Path, []byte("x")) },
	} {
		other := object
		other.Views = slices.Clone(object.Views)
		change(&other)
		if set.Identity([]Object{other}) == want {
			t.Errorf("%s: the identity is the same", name)
		}
		want = set.Identity(set.Test) // files may have changed
	}
	if image, mask := set.Source.Stamps(set.Train[0].Views[0]); mask != (Stamp{}) || image.Size < 1 || filepath.IsAbs(image.Name) {
		t.Errorf("have stamps %v and %v", image, mask)
	}
}

// TestCacheRefuses: a cache that does not belong to the data set, or is damaged, is an error.
func TestCacheRefuses(t *testing.T) {
	cfg := cacheSet(t, 2)
	if _, _, err := prepare(t, t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	first := opened(t, cfg).Train[0].Views[0]
	shard := filepath.Join(cfg.Cache, "pixels-00000.shard")
	whole, err := os.ReadFile(shard)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(first.Path)
	if err != nil {
		t.Fatal(err)
	}
	pixels := make([]uint8, 108)
	gone := false // after the set was opened
	use := func() error {
		set, err := Open(cfg)
		if err == nil && gone {
			err = os.Remove(first.Path)
		}
		if err != nil {
			return err
		}
		defer set.Source.Cache.Close()
		set.Source.Skipped = &Skipped{} // must not hide it
		err = fitView(set.Source, first, pixels)
		if err != nil && set.Source.Skip(first, err) == nil {
			t.Error("the fault of a cache was skipped")
		}
		return err
	}
	damaged := bytes.Clone(whole)
	damaged[shardData+5] ^= 1
	broken := bytes.Clone(whole)
	broken[len(broken)-9] ^= 1
	for _, tt := range []struct {
		name   string
		change func()
		words  []string
	}{
		{"another preprocessing", func() { cfg.Crop = configs.Square(4) }, []string{shard, "have images made with fit squash, resize 8, crop 6,", "want fit squash, resize 8, crop 4"}},
		{"a changed image", func() { writeFile(t, first.Path, pngBytes(t, texture(40, 3))) }, []string{first.Path, "has changed since it was prepared"}},
		{"a changed image of the same size", func() {
			other := bytes.Clone(content)
			other[len(other)-1] ^= 1
			writeFile(t, first.Path, other)
			touch(t, first.Path)
		}, []string{first.Path, "has changed"}},
		{"damaged pixels of an image that is gone", func() {
			writeFile(t, shard, damaged)
			gone = true
		}, []string{shard, first.Path, "damaged: have the checksum"}},
		{"a damaged index", func() { writeFile(t, shard, broken) }, []string{shard, "damaged: have an index of checksum"}},
		{"a cut shard", func() { writeFile(t, shard, whole[:len(whole)-1]) }, []string{shard, "damaged: have"}},
		{"another version", func() { writeFile(t, shard, slices.Concat(whole[:8], []byte{1}, whole[9:])) }, []string{shard, "have a shard of version 1, want 3"}},
		{"no shard", func() { writeFile(t, shard, content) }, []string{shard, "not a shard"}},
		{"no folder", func() { cfg.Cache = filepath.Join(cfg.Cache, "none") }, []string{"have no prepared images", "dataset prepare"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := cfg
			tt.change()
			err := use()
			wantError(t, err, append(tt.words, "data.cache: ")...)
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("have several lines: %q", err)
			}
			cfg, gone = before, false
			writeFile(t, shard, whole)
			writeFile(t, first.Path, content)
		})
	}
	t.Run("a copied set", func(t *testing.T) {
		touch(t, first.Path)
		if err := use(); err != nil {
			t.Errorf("another time alone: have %v", err)
		}
	})
	t.Run("prepare of another preprocessing", func(t *testing.T) {
		other := cfg
		other.Resize = configs.Square(9)
		_, _, err := prepare(t, t.Context(), other)
		wantError(t, err, "want fit squash, resize 9, crop 6")
	})
	t.Run("a file of somebody else", func(t *testing.T) {
		other := cfg
		other.Cache = t.TempDir()
		writeFile(t, filepath.Join(other.Cache, "pixels-00007.shard"), []byte("diary"))
		_, _, err := prepare(t, t.Context(), other)
		wantError(t, err, "pixels-00007.shard", "not a shard")
	})
	t.Run("two at once", func(t *testing.T) {
		own, err := lock.Take(filepath.Join(cfg.Cache, "lock"), "")
		if err != nil {
			t.Fatal(err)
		}
		defer own.Release()
		_, _, err = prepare(t, t.Context(), cfg)
		wantError(t, err, "data.cache: "+cfg.Cache, fmt.Sprintf("used by process %d on ", os.Getpid()))
	})
}

// TestCacheMends: where records are damaged, the files that they were made from are read: values are the same, and a line
// says so.
func TestCacheMends(t *testing.T) {
	cfg := cacheSet(t, 2)
	if _, _, err := prepare(t, t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	shard := filepath.Join(cfg.Cache, "pixels-00000.shard")
	whole, err := os.ReadFile(shard)
	if err != nil {
		t.Fatal(err)
	}
	plain := cfg
	plain.Cache = ""
	files := opened(t, plain)
	for name, damaged := range map[string]int{"none": 0, "an image": shardData + 5, "another bit of it": shardData + 107, "all": -1} {
		t.Run(name, func(t *testing.T) {
			text := bytes.Clone(whole)
			for i := range int(binary.LittleEndian.Uint64(text[16:])) - shardData {
				if damaged < 0 || damaged == shardData+i {
					text[shardData+i] ^= 0x40
				}
			}
			set := opened(t, cfg)
			writeFile(t, shard, text) // of a cache that is in use
			sameSource(t, set, set.Source, files.Source)
			line, count := set.Source.Cache.Mended(), "1 image or mask: "
			if damaged < 0 {
				count = "8 images or masks"
			}
			if damaged == 0 && line != "" || damaged != 0 && (!strings.Contains(line, count) || !strings.Contains(line, shard) || strings.Contains(line, "\n")) {
				t.Errorf("have %q, want %s of %s", line, count, shard)
			}
		})
	}
	writeFile(t, shard, whole)
	set := opened(t, cfg)
	if err := os.Truncate(shard, shardData); err != nil { // memory behind it faults
		t.Fatal(err)
	}
	sameSource(t, set, set.Source, files.Source)
	if line := set.Source.Cache.Mended(); !strings.Contains(line, "cannot be read") {
		t.Errorf("a shard that was cut: have %q", line)
	}
}

// touch changes the modification time of a file.
func touch(t testing.TB, path string) {
	t.Helper()
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(path, later, later); err != nil {
		t.Fatal(err)
	}
}

// TestPrepareReplaces: damaged and outdated shards are written again.
func TestPrepareReplaces(t *testing.T) {
	smallShards(t)
	cfg := cacheSet(t, 3)
	if _, _, err := prepare(t, t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	writeFile(t, opened(t, cfg).Train[0].Views[1].Path, pngBytes(t, texture(31, 7)))
	shards, err := shardFiles(cfg.Cache)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(shards[2], 4100); err != nil {
		t.Fatal(err)
	}
	plan, _, err := prepare(t, t.Context(), cfg)
	if err != nil || plan.Replaced != 2 || plan.Shards != 2 || plan.Have != 6 {
		t.Errorf("have %+v and error %v, want two shards replaced", plan, err)
	}
	set := opened(t, cfg)
	sameSource(t, set, Source{Fit: set.Source.Fit}, set.Source)
}

// TestCutWhileMapped: truncating a shard while it is in use is no crash. Its images are read instead, and where they are
// gone, too, that is an error.
func TestCutWhileMapped(t *testing.T) {
	cfg := cacheSet(t, 2)
	if _, _, err := prepare(t, t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	set := opened(t, cfg)
	if err := os.Truncate(filepath.Join(cfg.Cache, "pixels-00000.shard"), 0); err != nil {
		t.Fatal(err)
	}
	view := set.Train[0].Views[0]
	if err := fitView(set.Source, view, make([]uint8, 108)); err != nil || !strings.Contains(set.Source.Cache.Mended(), "pixels-00000.shard") {
		t.Errorf("have %v, said %q", err, set.Source.Cache.Mended())
	}
	if err := os.Remove(view.Path); err != nil {
		t.Fatal(err)
	}
	wantError(t, fitView(set.Source, view, make([]uint8, 108)), "data.cache: ", "pixels-00000.shard", "cannot be read")
}

// TestPrepareUnreadable: an image that cannot be read stops Prepare, or is left out by it and by every run with the
// cache.
func TestPrepareUnreadable(t *testing.T) {
	cfg := cacheSet(t, 2)
	plain := cfg
	plain.Cache = ""
	bad := opened(t, plain).Train[1].Views[0]
	writeFile(t, bad.Path, []byte("no image"))
	_, _, err := prepare(t, t.Context(), cfg)
	wantError(t, err, bad.Path, "not a JPEG, PNG")
	cfg.OnError, cfg.MaxUnreadable = "skip", 0.9
	for range 2 { // the second time, the shard is there
		_, skipped, err := prepare(t, t.Context(), cfg)
		if lines := skipped.Lines(); err != nil || len(lines) != 1 || !strings.Contains(lines[0], bad.Path) {
			t.Errorf("have %q and error %v", lines, err)
		}
	}
	set := opened(t, cfg)
	opt := LoaderOptions{Source: set.Source, Objects: 2, Count: 1, Prefetch: 1}
	b := drain(t, train(t, set.Train, opt), false)[0]
	if n := len(set.Source.Skipped.Lines()); n != 1 || slices.Index(b.Present, false) < 0 {
		t.Errorf("have %d images left out and present %v", n, b.Present)
	}
	writeFile(t, bad.Path, pngBytes(t, texture(9, 9)))
	wantError(t, fitView(opened(t, cfg).Source, bad, make([]uint8, 108)), bad.Path, "has changed")
	if plan, _, err := prepare(t, t.Context(), cfg); err != nil || plan.Replaced != 1 {
		t.Errorf("have %+v and error %v, want the shard replaced", plan, err)
	}
}

// TestPrepareNoRoom: the required space is compared with the disk before anything is written.
func TestPrepareNoRoom(t *testing.T) {
	p := &preparer{cfg: configs.Data{Cache: t.TempDir()}}
	err := p.announce(Preparation{Images: 5, Bytes: 1 << 60})
	wantError(t, err, p.cfg.Cache, " free, want 1152921504.7 GB for 5 images and masks")
}

// TestRelPath: names of any bytes survive JSON.
func TestRelPath(t *testing.T) {
	for _, name := range []string{"a/b.png", "ü/\xff\n%2F?#;.png", "..a", "a:b//c", " "} {
		text, err := json.Marshal(relPath(name))
		var back relPath
		if err == nil {
			err = json.Unmarshal(text, &back)
		}
		if err != nil || string(back) != name {
			t.Errorf("have %q by way of %s and error %v, want %q", back, text, err, name)
		}
	}
}

// FuzzCache reads a shard with an arbitrary index and one changed byte.
func FuzzCache(f *testing.F) {
	cfg := cacheSet(f, 1)
	if _, _, err := prepare(f, f.Context(), cfg); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(cfg.Cache, "pixels-00000.shard"))
	if err != nil {
		f.Fatal(err)
	}
	end := bytes.LastIndex(whole, []byte(`{"preprocessing"`))
	index := whole[end:]
	f.Add(index, uint16(0), uint8(0))
	f.Add(index, uint16(18), uint8(1))
	f.Add(index, uint16(5000), uint8(1))
	f.Add(bytes.Replace(index, []byte(`"offset":4096`), []byte(`"offset":-64`), 1), uint16(0), uint8(0))
	f.Add(bytes.Replace(index, []byte(`"crop":6`), []byte(`"crop":7`), 1), uint16(0), uint8(0))
	f.Add(bytes.Replace(index, []byte(`"path":"`), []byte(`"error":"x","path":"%zz`), 1), uint16(0), uint8(0))
	set := opened(f, cfg)
	f.Fuzz(func(t *testing.T, index []byte, at uint16, flip uint8) {
		file, err := os.Create(filepath.Join(t.TempDir(), "pixels-00000.shard"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		data := slices.Concat(whole[:end], index)
		if _, err := file.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := writeIndex(file, int64(end), index); err != nil {
			t.Fatal(err)
		}
		if flip > 0 {
			if _, err := file.WriteAt([]byte{data[int(at)%len(data)] ^ flip}, int64(at)%int64(len(data))); err != nil {
				t.Fatal(err)
			}
		}
		x, err := readShard(file, int64(len(data)))
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("have error of several lines %q", err)
			}
			return
		}
		crop := x.Preprocessing.Crop
		c := &Cache{root: cfg.Root, view: crop, records: map[key]*cached{}}
		defer c.Close()
		if err := c.add(file.Name(), x.Preprocessing); err != nil || max(crop[0], crop[1]) > 64 {
			return
		}
		for _, o := range slices.Concat(set.Train, set.Test) {
			for _, v := range o.Views {
				_, _ = c.read(kindImage, v, func(p []uint8) { bytes.Clone(p) }) // any error, but no panic
				_, _ = c.read(kindMask, v, func(p []uint8) { bytes.Clone(p) })
				_, _ = (Source{Cache: c}).glance(v)
			}
		}
	})
}

// TestPreprocessingOfSquares: the index of a cache of squashed squares is that of earlier programs, whose caches stay of
// use.
func TestPreprocessingOfSquares(t *testing.T) {
	text, err := json.Marshal(Fit{Mode: Squash, Resize: configs.Square(448), Crop: configs.Square(392)}.preprocessing())
	const want = `{"resize":448,"crop":392,"exif":false,"jpeg":"image/jpeg","pixels":2}`
	if have := strings.Replace(string(text), "libjpeg-turbo", "image/jpeg", 1); err != nil || have != want {
		t.Errorf("have %s and error %v, want %s", text, err, want)
	}
}
