package train

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/machine"
	"mvag-torch/internal/team"
	"mvag-torch/internal/team/teamtest"
	"mvag-torch/internal/tensor"
	"mvag-torch/internal/testenv"
	"mvag-torch/model"
)

// found is what a rank has after features were computed.
type found struct {
	Features, Memory string // hashes
	Skipped          []string
	Inode            uint64 // of the file that holds the features
	Images           int    // whose hashes are noted
	Done             int    // objects when it began, of the last report
}

// prepareRun prepares a run of cfg on the ranks of tm up to its features, and calls f.
func prepareRun(ctx context.Context, cfg configs.Config, tm *team.Team, w *watcher, f func(s *tensor.Scope, r *run) error) error {
	data, err := dataset.Open(cfg.Data)
	if err != nil {
		return err
	}
	data.Source.Read = &dataset.ReadImages{}
	r := &run{ctx: ctx, cfg: cfg, data: data, team: tm, sink: w, tiles: dataset.Tiled(data.Train, data.Source.Fit)}
	return tensor.Run(func(s *tensor.Scope) error {
		m, err := model.Open(s, cfg, nil)
		if err != nil {
			return err
		}
		r.device, r.backbone = m.Device, m.BackboneSHA256
		r.stepper = NewStepper(s, cfg, m.Model, nil, w.Uncaptured)
		return f(s, r)
	})
}

// features fills the cache of cfg, or makes the pass for the memory alone if it has none.
func features(t *testing.T, ctx context.Context, cfg configs.Config, tm *team.Team) (have found, err error) {
	t.Helper()
	w := &watcher{}
	err = prepareRun(ctx, cfg, tm, w, func(s *tensor.Scope, r *run) error {
		if r.cfg.Train.CacheFeatures == "off" {
			err := r.encodeToRemember(s)
			have = r.found(t, nil)
			return err
		}
		c, missing, err := r.openCache()
		if err == nil {
			err = r.fill(s, c, missing)
		}
		if err == nil {
			have = r.found(t, c)
		}
		return errors.Join(err, c.store.Close())
	})
	if n := len(w.features); n > 0 {
		have.Done = w.features[0].Done
	}
	return have, err
}

func (r *run) found(t *testing.T, c *cache) (have found) {
	t.Helper()
	have.Skipped, have.Images = r.data.Source.Skipped.Lines(), len(r.data.Source.Read.Hashes(nil))
	if r.memory != nil {
		text, err := r.memory.Marshal()
		if err != nil {
			t.Error(err)
		}
		sum := sha256.New()
		fmt.Fprintln(sum, text)
		for _, x := range r.memory.Tensors() {
			fmt.Fprintln(sum, x)
		}
		have.Memory = fmt.Sprintf("%x", sum.Sum(nil))
	}
	if c == nil {
		return have
	}
	sum := sha256.New()
	read, data := make([]bool, r.cfg.Data.Views), make([]byte, r.cfg.Data.Views*c.viewBytes)
	for i := range r.tiles {
		if err := c.store.Read(c.keys[&r.tiles[i]], read, data); err != nil {
			t.Error(err)
		}
		fmt.Fprintln(sum, read)
		sum.Write(data)
	}
	have.Features, have.Inode = fmt.Sprintf("%x", sum.Sum(nil)), mapped(t, c.store.Path())
	return have
}

// mapped returns the inode of the file of features that this process has mapped, which is of the given path, or has none
// if that is "".
func mapped(t *testing.T, path string) uint64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Error(err)
	}
	if path == "" {
		path = "/memfd:features (deleted)"
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if strings.HasSuffix(strings.TrimSpace(line), path) && len(fields) > 5 {
			var inode uint64
			fmt.Sscan(fields[4], &inode)
			return inode
		}
	}
	t.Errorf("%s is not mapped", path)
	return 0
}

// alone is features of a process alone, which rank 0 is meanwhile; all ranks get what it has.
func alone(t *testing.T, cfg configs.Config, tm *team.Team) (have found) {
	t.Helper()
	err := error(nil)
	if tm.Rank() == 0 {
		have, err = features(t, t.Context(), cfg, nil)
	}
	text, _ := json.Marshal(have)
	said, err := tm.Meet(text, err)
	if err == nil {
		err = json.Unmarshal(said[0], &have)
	}
	if err != nil {
		t.Fatal(err)
	}
	return have
}

// onRanks is features on all ranks of tm, each of which gets what all have.
func onRanks(t *testing.T, cfg configs.Config, tm *team.Team) (all []found) {
	t.Helper()
	have, err := features(t, t.Context(), cfg, tm)
	text, _ := json.Marshal(have)
	said, err := tm.Meet(text, err)
	if err != nil {
		t.Fatalf("%s: %v", cfg.Name, err)
	}
	for _, text := range said {
		var f found
		if err := json.Unmarshal(text, &f); err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
	}
	return all
}

// TestFeaturesOverRanks holds that ranks have the features of one process, bit for bit, and rank 0 the memory, however
// they are kept; that those of a machine have one copy; and that each image is read by one of them.
func TestFeaturesOverRanks(t *testing.T) {
	const n = 3
	plain, tiled := smallConfig(t), tiledConfig(t)
	teamtest.Run(t, n, func(tm *team.Team, dir string) {
		for _, c := range []struct {
			name     string
			cfg      configs.Config
			cache    string
			machines int
			before   func(configs.Config)
			done     int // objects whose features are there at first
		}{
			{name: "ram", cfg: plain, cache: "ram", machines: 1},
			{name: "two machines", cfg: plain, cache: "ram", machines: 2},
			{name: "tiles", cfg: tiled, cache: "ram", machines: 1},
			{name: "disk", cfg: plain, cache: "disk", machines: 1},
			{name: "found", cfg: plain, cache: "disk", machines: 1, done: 5},
			{name: "killed", cfg: plain, cache: "disk", machines: 1, before: cutFile, done: 2},
			{name: "pass", cfg: plain, cache: "off", machines: 1},
		} {
			cfg := c.cfg
			cfg.Name, cfg.Output, cfg.Train.CacheFeatures = c.name, t.TempDir(), c.cache
			cfg.Memory = configs.Memory{Codes: 6, Dims: 2}
			want := alone(t, cfg, tm)
			cfg.Output = dir
			if c.before != nil && tm.Rank() == 0 {
				c.before(cfg)
			}
			identity = func() string { return fmt.Sprint(machine.Identity(), min(tm.Rank(), c.machines-1)) }
			inodes, images := map[uint64]bool{}, 0
			for rank, have := range onRanks(t, cfg, tm) {
				if have.Features != want.Features || rank == 0 && have.Memory != want.Memory || rank > 0 && have.Memory != "" || have.Done != c.done {
					t.Errorf("%s, rank %d: have %+v, want %+v", c.name, rank, have, want)
				}
				inodes[have.Inode] = true
				images += have.Images
			}
			if len(inodes) != c.machines || images != want.Images {
				t.Errorf("%s: have %d copies and %d images read, want %d, %d", c.name, len(inodes), images, c.machines, want.Images)
			}
		}
		if names, err := filepath.Glob("/dev/shm/features*"); err != nil || len(names) > 0 {
			t.Errorf("have %v, %v, want nothing left", names, err)
		}
	})
}

// cutFile leaves two records and a half, as a kill does.
func cutFile(cfg configs.Config) {
	names, _ := filepath.Glob(filepath.Join(cfg.Output, "features", "*.bin"))
	for _, name := range names {
		if info, err := os.Stat(name); err == nil {
			_ = os.Truncate(name, 4096+(info.Size()-4096)/2)
		}
	}
}

// TestUnreadableOverRanks: an image that one rank cannot read is left out by all, or ends all with its name; too many
// end all with a word of rank 0.
func TestUnreadableOverRanks(t *testing.T) {
	cfg := smallConfig(t)
	cfg.Data.OnError, cfg.Data.MaxUnreadable = "skip", 1
	for _, path := range []string{imageOf(cfg, 1, 2), imageOf(cfg, 2, 1)} { // of ranks 1 and 2
		if err := os.WriteFile(path, []byte("no image"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	teamtest.Run(t, 3, func(tm *team.Team, dir string) {
		for _, cache := range []string{"ram", "disk"} {
			cfg := cfg
			cfg.Train.CacheFeatures, cfg.Output = cache, t.TempDir()
			want := alone(t, cfg, tm)
			cfg.Output = dir
			for rank, have := range onRanks(t, cfg, tm) {
				if have.Features != want.Features || len(have.Skipped) != 2 || len(want.Skipped) != 2 ||
					!strings.Contains(strings.Join(have.Skipped, " "), "part_0001_OK_C2") { // each rank has a folder of its own
					t.Errorf("%s, rank %d: have %+v, want %+v", cache, rank, have, want)
				}
			}
		}
		cfg := cfg
		cfg.Train.CacheFeatures, cfg.Data.MaxUnreadable = "ram", 0.1
		_, err := features(t, t.Context(), cfg, tm)
		fails(t, tm, err, 0, "2 of 14 training images")
		cfg.Data.OnError = "stop"
		if text, err := os.ReadFile(imageOf(cfg, 0, 1)); err != nil || os.WriteFile(imageOf(cfg, 2, 1), text, 0o600) != nil {
			t.Fatal(err)
		}
		_, err = features(t, t.Context(), cfg, tm)
		fails(t, tm, err, 1, "part_0001_OK_C2")
	})
}

// fails checks that one rank has failed with words, which it is alone to tell.
func fails(t *testing.T, tm *team.Team, err error, rank int, words ...string) {
	t.Helper()
	var f *team.Failure
	own := err != nil && !errors.As(err, &f)
	for _, word := range append(words, fmt.Sprintf("rank %d (", rank)) {
		if err == nil || !strings.Contains(err.Error(), word) || strings.Contains(err.Error(), "\n") {
			t.Errorf("have %v, want one line with %q", err, word)
		}
	}
	if own != (tm.Rank() == rank) || !own && !f.Quiet {
		t.Errorf("have %v of this rank: %v", err, own)
	}
}

// TestDamagedFeaturesOverRanks: rank 0 tells of the records that each rank has mended.
func TestDamagedFeaturesOverRanks(t *testing.T) {
	teamtest.Run(t, 2, func(tm *team.Team, dir string) {
		cfg := shared(t, tm, dir)
		cfg.Train.CacheFeatures, cfg.Train.Iterations = "disk", 4
		train := func(name string) *watcher {
			cfg.Name = name
			data, err := dataset.Open(cfg.Data)
			if err != nil {
				t.Fatal(err)
			}
			w := &watcher{}
			if err := Run(t.Context(), cfg, data, Options{Team: tm}, w); err != nil {
				t.Fatal(err)
			}
			return w
		}
		train("whole")
		var err error
		if tm.Rank() == 0 {
			err = damageFeatures(cfg)
		}
		if _, err := tm.Meet(nil, err); err != nil {
			t.Fatal(err)
		}
		of := map[bool]int{}
		for _, damage := range train("damaged").mended {
			if !strings.Contains(damage.Error(), ".bin: record ") {
				t.Errorf("have %v", damage)
			}
			of[strings.HasPrefix(damage.Error(), "rank 1: ")]++
		}
		if told := of[true] > 0 && of[false] > 0; told != (tm.Rank() == 0) || len(of) > 0 && tm.Rank() > 0 {
			t.Errorf("rank %d: have %d of rank 1 and %d of its own, want rank 0 to tell of both", tm.Rank(), of[true], of[false])
		}
	})
}

// damageFeatures changes a byte in each record of the file of features.
func damageFeatures(cfg configs.Config) error {
	files, err := filepath.Glob(filepath.Join(cfg.Output, "features", "*.bin"))
	if err != nil || len(files) != 1 {
		return fmt.Errorf("have %q, %v", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		return err
	}
	const head, records = 4096, 4 // the images of the fifth object cannot be read
	if (len(text)-head)%records != 0 {
		return fmt.Errorf("have %d bytes, want %d records", len(text), records)
	}
	for i := range records {
		text[len(text)-1-i*(len(text)-head)/records] ^= 4
	}
	return os.WriteFile(files[0], text, 0o600)
}

// TestFailuresOverRanks: what goes wrong on one rank alone ends all.
func TestFailuresOverRanks(t *testing.T) {
	cfg := smallConfig(t)
	teamtest.Run(t, 3, func(tm *team.Team, dir string) {
		cfg := cfg
		cfg.Train.CacheFeatures, cfg.Output = "disk", dir
		at := func(rank int, change func()) {
			if tm.Rank() == rank {
				change()
			}
		}
		apart := cfg
		at(2, func() { apart.Output = t.TempDir() })
		_, err := features(t, t.Context(), apart, tm)
		fails(t, tm, err, 2, "rank 0 has written "+filepath.Join(dir, "features"), "want output in a folder that all hosts share")

		ctx, cancel := context.WithCancel(t.Context())
		at(1, cancel)
		cfg.Train.CacheFeatures = "ram"
		_, err = features(t, ctx, cfg, tm)
		fails(t, tm, err, 1, "canceled")

		full := cfg
		full.Train.CacheFeatures, full.Output = "disk", filepath.Join(dir, "full")
		lift := func() {}
		at(0, func() { lift = testenv.FullDisk(t, 8192) })
		_, err = features(t, t.Context(), full, tm)
		lift()
		fails(t, tm, err, 0, syscall.EFBIG.Error())
	})
}
