package ranks

import (
	"strings"
	"testing"
)

// FuzzFromEnv holds that an environment is refused in one line, or gives a place that can be.
func FuzzFromEnv(f *testing.F) {
	f.Add("RANK=1 WORLD_SIZE=2 LOCAL_RANK=1 LOCAL_WORLD_SIZE=2 MASTER_ADDR=h MASTER_PORT=1")
	f.Add("SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=2 SLURM_STEP_NODELIST=n[3-5],x SLURM_JOB_ID=1 SLURM_STEP_TASKS_PER_NODE=2(x3),1 SLURM_NODEID=-1")
	f.Add("SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=2 SLURM_STEP_NODELIST=][ SLURM_STEP_TASKS_PER_NODE=2(x-9),(x SLURM_NODEID=9")
	f.Add("OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=1 MASTER_PORT=99999")
	f.Add("PMI_RANK=-1 PMI_SIZE=99999999999999999999")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := FromEnv(env(text))
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("have %q, want one line", err)
			}
			return
		}
		if p != nil && (p.Rank < 0 || p.Rank >= p.Size || p.LocalRank < 0 || p.LocalRank >= p.LocalSize || p.Port < 1 || p.Port > 65535 || p.Host == "") {
			t.Errorf("have %+v of %q", *p, text)
		}
	})
}
