package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/team"
	"mvag-torch/internal/team/teamtest"
	"mvag-torch/internal/tensor"
	"mvag-torch/internal/testenv"
)

// shared is the configuration of all ranks, of which rank 0 makes the data; the run folders are in dir.
func shared(t *testing.T, tm *team.Team, dir string) configs.Config {
	t.Helper()
	var text []byte
	if tm.Rank() == 0 {
		text = mustYAML(t, rankConfig(t, dir))
	}
	said, err := tm.Meet(text, nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := configs.Parse("rank 0", said[0])
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// rankConfig trains on batches of 4 objects of 3 views, with dropout and jitter. The images of one object cannot be
// read, which is all that a rank of four has in some steps.
func rankConfig(t *testing.T, dir string) configs.Config {
	t.Helper()
	cfg := smallConfig(t)
	cfg.Output, cfg.Train.Objects, cfg.Train.Holdout, cfg.Memory.Codes = dir, 4, 0, 0
	cfg.Train.Iterations, cfg.Train.Warmup, cfg.Train.CheckpointEvery = 8, 2, 4
	cfg.Train.LR, cfg.Train.LRFinal = 1e-4, 1e-5
	cfg.Train.HardWarmup, cfg.Model.Jitter.Prob = 4, [2]float64{0.5, 0.9}
	cfg.Data.OnError, cfg.Data.MaxUnreadable, cfg.Data.Prefetch = "skip", 1, 1
	for camera := 1; camera <= 3; camera++ {
		spoil(t, imageOf(cfg, 3, camera))
	}
	return cfg
}

func spoil(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, []byte("no image"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func mustYAML(t *testing.T, cfg configs.Config) []byte {
	t.Helper()
	text, err := configs.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// runRank is Run with a watcher on every rank.
func runRank(ctx context.Context, tm *team.Team, cfg configs.Config, resume bool, w *watcher) (*dataset.Set, error) {
	data, err := dataset.Open(cfg.Data)
	if err != nil {
		return nil, err
	}
	return data, start(&run{ctx: ctx, cfg: cfg, data: data, team: tm, sink: w}, resume)
}

// named is cfg with another run folder.
func named(cfg configs.Config, name string) configs.Config {
	cfg.Name = name
	return cfg
}

// lossesOf are the losses and gradient norms of a journal.
func lossesOf(t *testing.T, cfg configs.Config) (values []float64) {
	t.Helper()
	for line := range strings.Lines(journalOf(t, cfg)) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		values = append(values, float64(r.Loss), float64(r.GradNorm))
	}
	return values
}

// apart is the largest difference of losses and gradient norms between two runs, relative to them, in the first step and in
// all, and that of their weights, all together in the Euclidean norm.
func apart(t *testing.T, a, b configs.Config) (first, losses, weights float64) {
	t.Helper()
	have, want := lossesOf(t, a), lossesOf(t, b)
	if len(have) != len(want) {
		t.Fatalf("have %d steps, want %d", len(have)/2, len(want)/2)
	}
	for i := range want {
		losses = max(losses, math.Abs(have[i]-want[i])/math.Abs(want[i]))
		if i < 2 {
			first = losses
		}
	}
	state, _ := checkpointOf(t, a)
	other, _ := checkpointOf(t, b)
	var diff, all float64
	for name, want := range other {
		if strings.HasPrefix(name, "optimizer.") {
			continue
		}
		for i, w := range want {
			diff += math.Pow(float64(state[name][i]-w), 2)
			all += math.Pow(float64(w), 2)
		}
	}
	return first, losses, math.Sqrt(diff / all)
}

// TestRanksGiveTheSame: one, two and four processes have the same losses and weights up to the order of sums; so many
// processes have the same bits each time; and a run goes on in another number of them. The images that any of them has
// read or left out are those of all.
func TestRanksGiveTheSame(t *testing.T) {
	f := func(tm *team.Team, dir string) {
		cfg := shared(t, tm, dir)
		for _, name := range []string{"first", "again"}[:3-min(2, tm.Size()/2)] {
			data, err := runRank(t.Context(), tm, named(cfg, name), false, &watcher{})
			if err != nil {
				t.Fatal(err)
			}
			if lines := data.Source.Skipped.Lines(); len(lines) != 3 {
				t.Errorf("rank %d: have %q left out, want three images", tm.Rank(), lines)
			}
		}
		if tm.Size() == 4 {
			return
		}
		cfg.Train.AllReduce = "bfloat16"
		if _, err := runRank(t.Context(), tm, named(cfg, "bfloat16"), false, &watcher{}); err != nil {
			t.Fatal(err)
		}
		cfg.Train.AllReduce, cfg.Train.CacheFeatures = "float32", "ram"
		if _, err := runRank(t.Context(), tm, named(cfg, "features"), false, &watcher{}); err != nil {
			t.Fatal(err)
		}
		cfg.Train.CacheFeatures = "off"
		if tm.Rank() == 0 { // alone, and then together
			ctx, cancel := context.WithCancel(t.Context())
			_, _ = runRank(ctx, nil, named(cfg, "parted"), false, &watcher{after: func(done int) {
				if done == 5 {
					cancel()
				}
			}})
		}
		if _, err := tm.Meet(nil, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := runRank(t.Context(), tm, named(cfg, "parted"), true, &watcher{}); err != nil {
			t.Fatal(err)
		}
	}
	two := teamtest.Run(t, 2, f)
	four := teamtest.Run(t, 4, f)
	alone := rankConfig(t, t.TempDir())
	if _, err := runRank(t.Context(), nil, alone, false, &watcher{}); err != nil {
		t.Fatal(err)
	}
	cached := named(alone, "features")
	cached.Train.CacheFeatures = "ram"
	if _, err := runRank(t.Context(), nil, cached, false, &watcher{}); err != nil {
		t.Fatal(err)
	}
	_, info := checkpointOf(t, alone)
	of := func(dir, name string) configs.Config {
		cfg := named(alone, name)
		cfg.Output = dir
		return cfg
	}
	for name, c := range map[string]struct {
		have, want             configs.Config
		first, losses, weights float64
	}{ // the optimiser's first steps have a length that does not depend on the gradient, so rounding grows
		"two": {of(two, "first"), alone, 2e-6, 5e-4, 1e-4}, "four": {of(four, "first"), alone, 2e-6, 5e-4, 1e-4},
		"one and then two": {of(two, "parted"), alone, 2e-6, 5e-4, 1e-4}, "in bfloat16": {of(two, "bfloat16"), alone, 5e-3, 5e-3, 5e-4},
		"two of features": {of(two, "features"), cached, 2e-6, 5e-4, 1e-4},
	} {
		first, losses, weights := apart(t, c.have, c.want)
		t.Logf("%s: the first step differs by %.2g, losses by %.2g, weights by %.2g", name, first, losses, weights)
		if !(first <= c.first && losses <= c.losses && weights <= c.weights) {
			t.Errorf("%s: the first step differs by %.2g, losses by %.2g, weights by %.2g, want at most %v, %v, %v",
				name, first, losses, weights, c.first, c.losses, c.weights)
		}
		if _, have := checkpointOf(t, c.have); !slices.Equal(have.TrainImages, info.TrainImages) || len(have.TrainImages) == 0 {
			t.Errorf("%s: have %d training images, want %d", name, len(have.TrainImages), len(info.TrainImages))
		}
	}
	a, _ := checkpointOf(t, of(two, "first"))
	b, _ := checkpointOf(t, of(two, "again"))
	if !reflect.DeepEqual(a, b) || journalOf(t, of(two, "first")) != journalOf(t, of(two, "again")) {
		t.Error("two processes have other bits the second time")
	}
}

// TestRanksEndTogether: what happens on one rank ends the run on all, at the same step, with a checkpoint where that can
// be.
func TestRanksEndTogether(t *testing.T) {
	teamtest.Run(t, 2, func(tm *team.Team, dir string) {
		cfg := shared(t, tm, dir)
		host, _ := os.Hostname()
		want := func(name string, have error, mine string, saved int) {
			t.Helper()
			if have == nil || !strings.Contains(have.Error(), mine) || strings.Contains(have.Error(), "\n") {
				t.Errorf("%s: rank %d: have %v, want %q", name, tm.Rank(), have, mine)
			}
			var f *team.Failure
			if loud := !errors.As(have, &f) || !f.Quiet; loud && tm.Rank() == 1 && strings.Contains(mine, "rank 0") {
				t.Errorf("%s: rank 1 speaks, too", name)
			}
			if _, err := tm.Meet(nil, nil); err != nil {
				t.Fatal(err)
			}
			if tm.Rank() == 0 {
				if _, info := checkpointOf(t, named(cfg, name)); info.Iteration != saved {
					t.Errorf("%s: have a checkpoint of iteration %d, want %d", name, info.Iteration, saved)
				}
			}
		}

		ctx, cancel := context.WithCancel(t.Context())
		_, err := runRank(ctx, tm, named(cfg, "stopped"), false, &watcher{after: func(done int) {
			if done == 5 && tm.Rank() == 1 {
				cancel()
			}
		}})
		want("stopped", err, "interrupted after 5 of 8 iterations; go on with --resume", 5)

		_, err = runRank(t.Context(), tm, named(cfg, "disk"), false, &watcher{after: func(done int) {
			if done == 5 && tm.Rank() == 0 {
				testenv.FullDisk(t, 64<<10)
			}
		}})
		want("disk", err, fmt.Sprintf("rank 0 (%s): ", host), 4)
	})
}

// TestRankIsKilled: the others say which, and leave the last checkpoint as it is.
func TestRankIsKilled(t *testing.T) {
	_, all := teamtest.Start(t, 2, func(tm *team.Team, dir string) {
		cfg := shared(t, tm, dir)
		_, err := runRank(t.Context(), tm, cfg, false, &watcher{after: func(done int) {
			if done == 6 && tm.Rank() == 1 {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			}
		}})
		host, _ := os.Hostname()
		_, info := checkpointOf(t, cfg)
		err = tm.Explain(err)
		if want := fmt.Sprintf("rank 1 (%s): is gone", host); err == nil || !strings.Contains(err.Error(), want) || info.Iteration != 4 {
			fmt.Printf("have %v and a checkpoint of iteration %d, want %q and 4\n", err, info.Iteration, want)
			os.Exit(1)
		}
		os.Exit(0) // there is nobody to leave with
	})
	if err := all[0].Wait(); err != nil {
		t.Errorf("rank 0: %v\n%s", err, all[0].Output)
	}
}

// TestUnreadableOnOneRank: with on_error stop an image that one rank cannot read ends the run on all after a checkpoint;
// with skip the images of all ranks count.
func TestUnreadableOnOneRank(t *testing.T) {
	teamtest.Run(t, 2, func(tm *team.Team, dir string) {
		cfg := shared(t, tm, dir)
		cfg.Data.OnError = "stop"
		data, err := runRank(t.Context(), tm, named(cfg, "stop"), false, &watcher{})
		if err == nil || !strings.Contains(err.Error(), imageOf(cfg, 3, 1)) || data == nil {
			t.Errorf("rank %d: have %v, want an error that names %s", tm.Rank(), err, imageOf(cfg, 3, 1))
		}
		cfg.Data.OnError, cfg.Data.MaxUnreadable = "skip", 0.3
		if tm.Rank() == 0 { // 3 of 14 are less than that, 5 are not
			spoil(t, imageOf(cfg, 0, 1))
			spoil(t, imageOf(cfg, 1, 1))
		}
		if _, err := tm.Meet(nil, nil); err != nil {
			t.Fatal(err)
		}
		_, err = runRank(t.Context(), tm, named(cfg, "skip"), false, &watcher{})
		if err == nil || !strings.Contains(err.Error(), "5 of 14 training images of class \"part\" cannot be read") {
			t.Errorf("rank %d: have %v, want an error about 5 of 14 images", tm.Rank(), err)
		}
	})
}

// TestRanksAgree: what one rank has and the others do not is refused on all, with its name.
func TestRanksAgree(t *testing.T) {
	teamtest.Run(t, 2, func(tm *team.Team, dir string) {
		cfg := shared(t, tm, dir)
		host, _ := os.Hostname()
		as := fmt.Sprintf("as rank 0 (%s)", host)
		other := func(change func(*configs.Config)) configs.Config {
			cfg := cfg
			if tm.Rank() == 1 {
				change(&cfg)
			}
			return cfg
		}
		few := filepath.Join(t.TempDir(), "set")
		if tm.Rank() == 1 {
			if err := os.CopyFS(few, os.DirFS(cfg.Data.Root)); err != nil {
				t.Fatal(err)
			}
			moved := cfg
			moved.Data.Root = few
			spoil(t, imageOf(moved, 1, 1))
		}
		if _, err := runRank(t.Context(), tm, named(cfg, "there"), false, &watcher{}); err != nil {
			t.Fatal(err)
		}
		three := cfg
		three.Train.Objects = 3
		for _, c := range []struct { // in the same order on all ranks
			name   string
			cfg    configs.Config
			resume bool
			want   string
		}{
			{"configuration", other(func(c *configs.Config) { c.Train.LR = 0.5 }), false, `rank 1 (` + host + `): train.lr: have "0.5", want "0.0001" ` + as},
			{"interval", other(func(c *configs.Config) { c.Train.CheckpointEvery = 6 }), false, `train.checkpoint_every: have "6", want "4"`},
			{"data", other(func(c *configs.Config) { c.Data.Root = few }), false, "the data set"},
			{"backbone", other(func(c *configs.Config) { c.Backbone.Weights += "x" }), false, "no such file"},
			{"checkpoint", other(func(c *configs.Config) { c.Output = t.TempDir() }), true, `, in a folder that all ranks share (output): have "none", want "iteration 8"`},
			{"batch", three, false, "train.objects: have 3, want a multiple of the 2 ranks"},
		} {
			c.cfg.Name = c.name
			if c.resume {
				c.cfg.Name = "there"
			}
			_, err := runRank(t.Context(), tm, c.cfg, c.resume, &watcher{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: rank %d: have %v, want %q", c.name, tm.Rank(), err, c.want)
			}
		}
	})
}

// TestRanksHaveTheSameWeights: a rank whose weights differ by one bit is found before a checkpoint is written.
func TestRanksHaveTheSameWeights(t *testing.T) {
	teamtest.Run(t, 2, func(tm *team.Team, dir string) {
		cfg := shared(t, tm, dir)
		data, err := dataset.Open(cfg.Data)
		if err != nil {
			t.Fatal(err)
		}
		r := &run{ctx: t.Context(), cfg: cfg, data: data, team: tm}
		r.sink = &watcher{after: func(done int) {
			if done == 3 && tm.Rank() == 1 {
				tensor.NoGrad(func() {
					w := r.stepper.Optimizer.params[2]
					values := w.Floats()
					values[1] = math.Float32frombits(math.Float32bits(values[1]) ^ 1)
					w.CopyFrom(tensor.FromFloats(tensor.NewScope(), tensor.CPU, values, w.Shape()...))
				})
			}
		}}
		err = start(r, false)
		if err == nil || !strings.Contains(err.Error(), "rank 1 (") || !strings.Contains(err.Error(), "checksum of the weights after iteration 4: have ") {
			t.Errorf("rank %d: have %v", tm.Rank(), err)
		}
		if _, err := os.Stat(filepath.Join(Folder(cfg), CheckpointName)); !os.IsNotExist(err) {
			t.Errorf("have a checkpoint, or %v", err)
		}
	})
}

func TestRoll(t *testing.T) {
	for _, c := range []roll{
		{}, {stop: true}, {present: []bool{true}}, {present: []bool{false, true, true, true, true, true, true, true, false, true}},
		{present: make([]bool, 300), skipped: []dataset.LeftOut{{Path: "a", Message: "b"}, {Path: strings.Repeat("c\xff", 200), Message: ""}}},
	} {
		have, err := decodeRoll(c.encode())
		if err != nil || !reflect.DeepEqual(have, c) {
			t.Errorf("have %v, %v, want %v", have, err, c)
		}
		for n := range len(c.encode()) {
			if _, err := decodeRoll(c.encode()[:n]); err == nil && len(c.skipped) == 0 {
				t.Errorf("%v: %d bytes of it: have no error", c, n)
			}
		}
	}
	if n := len(roll{present: make([]bool, 1900)}.encode()); n > 251 {
		t.Errorf("have %d bytes, want one frame", n)
	}
}
