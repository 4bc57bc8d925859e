package train

import (
	"testing"

	"mvag-torch/internal/team"
	"mvag-torch/internal/team/teamtest"
	"mvag-torch/internal/tensor"
	"mvag-torch/model/modeltest"
)

// TestRankOnCUDA takes steps as the one rank of a team, whose sums NCCL computes in captured graphs, too: on a GPU with
// the bits of steps alone, on the stub of make dry-cuda without regard to values.
func TestRankOnCUDA(t *testing.T) {
	computes := modeltest.CUDA(t)
	if !computes {
		t.Setenv("MVAG_STUB_IDLE", "1")
	}
	teamtest.Run(t, 1, func(tm *team.Team, _ string) {
		if err := tm.Group().Use(0); err != nil {
			t.Fatal(err)
		}
		cfg := smallConfig(t)
		cfg.Train.Iterations, cfg.Train.HardWarmup, cfg.Device = 20, 5, "cuda"
		for _, precision := range []string{"fp32", "bf16"} {
			for _, sent := range []string{"float32", "bfloat16"} {
				cfg.Precision, cfg.Train.AllReduce = precision, sent
				have := trainIn(t, tm.Group(), cfg, false, tensor.RecordGraph)
				if have.uncaptured != nil {
					t.Errorf("%s, %s: %v", precision, sent, have.uncaptured)
				}
				if want := trainWith(t, cfg, false, tensor.RecordGraph); computes && sent == "float32" {
					have.same(t, want)
				} else if computes {
					have.near(t, want, 0.02)
				}
			}
		}
	})
}
