package train

import (
	"context"
	"os"
	"strconv"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/internal/tensor"
	"mvag-torch/internal/testenv"
)

// flatWindow is the number of steps whose least counts are those of a mark: batches are read ahead, and files of
// checkpoints are open, now and then.
const flatWindow = 10

// TestNothingLeaksInSteps: handles, goroutines, threads, memory and tensors do not grow with the steps, nor stay after
// them. MVAG_TEST_FLAT is their number.
func TestNothingLeaksInSteps(t *testing.T) {
	steps := 60
	if n, err := strconv.Atoi(os.Getenv("MVAG_TEST_FLAT")); err == nil {
		steps = n
	}
	for name, change := range map[string]func(*configs.Config){
		"without cache": func(*configs.Config) {},
		"cache in memory, a memory": func(c *configs.Config) {
			c.Train.CacheFeatures, c.Memory.Codes, c.Memory.Dims = "ram", 8, 4
		},
		"cache on disk": func(c *configs.Config) { c.Train.CacheFeatures = "disk" },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := smallConfig(t)
			cfg.Train.CheckpointEvery = max(20, steps/20)
			change(&cfg)
			trainFlat(t, cfg, min(12, steps)) // what is loaded once and stays
			cfg.Name = "flat"
			before, live := testenv.Measure(t), tensor.Live()
			trainFlat(t, cfg, steps)
			after := testenv.Measure(t)
			t.Logf("after the end: %s %6d", after, tensor.Live())
			if tensor.Live() != live || after.Handles != before.Handles {
				t.Errorf("after the end: have %d tensors and %d handles, want %d and %d", tensor.Live(), after.Handles, live, before.Handles)
			}
		})
	}
}

// trainFlat trains and compares what is held after a third of the steps with what is held before the last.
func trainFlat(t *testing.T, cfg configs.Config, steps int) {
	t.Helper()
	cfg.Train.Iterations = steps
	marks := map[int]bool{20: true, steps / 10: true, steps / 3: true, steps / 2: true, steps - 1: true}
	var u testenv.Usage
	var first, last *testenv.Usage
	firstLive, lastLive, live := int64(0), int64(0), int64(0)
	t.Logf("%6s %s tensors", "steps", testenv.UsageHead)
	err := runOn(context.Background(), cfg, false, &watcher{after: func(done int) {
		near := false
		for m := range marks {
			near = near || done <= m && done > m-flatWindow
		}
		if !near {
			u, live = testenv.Usage{}, 0
			return
		}
		now := testenv.Measure(t)
		if u == (testenv.Usage{}) {
			u, live = now, tensor.Live()
		}
		u, live = u.Least(now), min(live, tensor.Live())
		if !marks[done] {
			return
		}
		mark := u
		t.Logf("%6d %s %6d", done, mark, live)
		if done >= steps/3 && first == nil {
			first, firstLive = &mark, live
		}
		last, lastLive = &mark, live
	}})
	if err != nil {
		t.Fatal(err)
	}
	if steps < 100 {
		return
	}
	// 4 MiB are malloc's own, which were seen to come and go; a leak of a tensor a step is seen in the tensors.
	testenv.CheckFlat(t, *first, *last, 4<<20)
	if firstLive != lastLive {
		t.Errorf("live tensors: have %d, want %d", lastLive, firstLive)
	}
}
