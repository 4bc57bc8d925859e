package train

import (
	"strings"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/internal/tensor"
)

func TestCacheOn(t *testing.T) {
	for name, c := range map[string]struct {
		device      tensor.Device
		bytes, free uint64
		want        string
	}{
		"fits":              {tensor.CPU, 1e9, 2e9, "ram"},
		"more than half":    {tensor.CPU, 1e9 + 1, 2e9, "off"},
		"free is not known": {tensor.CPU, 1, 0, "off"},
		"GPU":               {0, 1, 1e12, "off"},
	} {
		if have, why := cacheOn(c.device, c.bytes, c.free); have != c.want || why == "" {
			t.Errorf("%s: have %s (%s), want %s", name, have, why, c.want)
		}
	}
}

// Settings that are auto become others before the run, which says so and stores them; a resumed run keeps them, whatever
// memory is free then.
func TestAuto(t *testing.T) {
	defer func(f func() uint64) { freeMemory = f }(freeMemory)
	for _, c := range []struct {
		free, later uint64
		want        string
	}{{1 << 40, 0, "ram"}, {1000, 1 << 40, "off"}} {
		cfg := smallConfig(t)
		cfg.Precision, cfg.Train.CacheFeatures = configs.Auto, configs.Auto
		said := ""
		w := &watcher{inside: func(b Begin) { said = b.Auto }}
		freeMemory = func() uint64 { return c.free }
		stopped := &watcher{inside: w.inside, after: func(done int) {
			if done == 7 {
				panic("killed")
			}
		}}
		func() {
			defer func() { _ = recover() }()
			_ = runOn(t.Context(), cfg, false, stopped)
		}()
		if !strings.HasPrefix(said, "precision fp32, train.cache_features "+c.want+" (") {
			t.Errorf("%s: have said %q", c.want, said)
		}
		freeMemory = func() uint64 { return c.later }
		if err := runOn(t.Context(), cfg, true, w); err != nil {
			t.Fatalf("%s: resume: %v", c.want, err)
		}
		_, info := checkpointOf(t, cfg)
		if info.Iteration != 12 || info.Config.Precision != "fp32" || info.Config.Train.CacheFeatures != c.want {
			t.Errorf("have iteration %d, %s, features %s, want 12, fp32, %s",
				info.Iteration, info.Config.Precision, info.Config.Train.CacheFeatures, c.want)
		}
		if said != "precision fp32, train.cache_features "+c.want+" (as before)" {
			t.Errorf("%s: resumed: have said %q", c.want, said)
		}
		asked := cfg
		asked.Train.CacheFeatures = map[string]string{"ram": "off", "off": "ram"}[c.want]
		if err := runOn(t.Context(), asked, true, &watcher{}); err == nil || !strings.Contains(err.Error(), "train.cache_features: have ") {
			t.Errorf("%s: resumed with %s: have %v, want a refusal", c.want, asked.Train.CacheFeatures, err)
		}
	}
}
