package train

import (
	"math"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/train/schedule"
)

// TestStepDraws holds what a step draws to the seed of the run and to its number, and the steps with jitter to their
// probability.
func TestStepDraws(t *testing.T) {
	cfg := configs.Default()
	draw := func(seed int64, it int) (int64, float32) {
		cfg.Seed = seed
		return (&Stepper{cfg: cfg}).draw(it)
	}
	// Runs are resumed by later versions, which have to draw the same.
	for _, c := range []struct {
		seed  int64
		it    int
		want  int64
		scale float32
	}{{1, 0, 4716837203393067202, 0}, {1, 1, -7645799727428463789, 0}, {2, 40000, 8681679120735074239, 4.4}} {
		if have, scale := draw(c.seed, c.it); have != c.want || scale != c.scale {
			t.Errorf("seed %d, step %d: have %d, scale %v, want %d, %v", c.seed, c.it, have, scale, c.want, c.scale)
		}
	}
	seen := map[int64]bool{}
	for seed := range int64(3) {
		jittered, want, variance := 0.0, 0.0, 0.0
		for it := range cfg.Train.Iterations {
			of, scale := draw(seed, it)
			if seen[of] {
				t.Fatalf("seed %d, step %d: has the seed of another", seed, it)
			}
			seen[of] = true
			j := cfg.Model.Jitter
			p := schedule.Linear(it, cfg.Train.Iterations, j.Prob[0], j.Prob[1])
			want, variance = want+p, variance+p*(1-p)
			if scale != 0 {
				jittered++
			}
		}
		if math.Abs(jittered-want) > 5*math.Sqrt(variance) {
			t.Errorf("seed %d: have %v steps with jitter, want %v ± %v", seed, jittered, want, 5*math.Sqrt(variance))
		}
	}
	cfg.Model.Jitter.Enabled = false
	if of, scale := draw(2, 40000); of != 8681679120735074239 || scale != 0 {
		t.Errorf("without jitter: have %d, scale %v, want the same seed and 0", of, scale)
	}
}
