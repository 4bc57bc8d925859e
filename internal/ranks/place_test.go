package ranks

import (
	"strings"
	"testing"
)

func TestFromEnv(t *testing.T) {
	for name, c := range map[string]struct {
		env  string
		want Place
	}{
		"torchrun": {"RANK=3 WORLD_SIZE=4 LOCAL_RANK=1 LOCAL_WORLD_SIZE=2 MASTER_ADDR=10.0.0.1 MASTER_PORT=29400 TORCHELASTIC_USE_AGENT_STORE=True TORCHELASTIC_RUN_ID=none",
			Place{3, 4, 1, 2, "10.0.0.1", 29400, true, -1, "torchrun", "none"}},
		"PyTorchJob": {"RANK=1 WORLD_SIZE=2 MASTER_ADDR=job-master-0 MASTER_PORT=23456",
			Place{1, 2, 0, 1, "job-master-0", 23456, false, -1, "torchrun", ""}},
		"own": {"RANK=0 WORLD_SIZE=2 LOCAL_RANK=0 LOCAL_WORLD_SIZE=2 MVAG_LISTENER=3 MASTER_PORT=1024 MVAG_LAUNCHER=mvag-torch",
			Place{0, 2, 0, 2, "127.0.0.1", 1024, false, 3, "mvag-torch", ""}},
		"Slurm": {"SLURM_PROCID=5 SLURM_STEP_NUM_TASKS=7 SLURM_LOCALID=1 SLURM_NODEID=2 SLURM_STEP_TASKS_PER_NODE=2(x3),1 SLURM_STEP_NODELIST=gpu[07-09,12] SLURM_JOB_ID=77 SLURM_STEP_ID=0 MASTER_PORT=5000",
			Place{5, 7, 1, 2, "gpu07", 5000, false, -1, "Slurm", ""}},
		"Open MPI": {"OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_RANK=1 OMPI_COMM_WORLD_LOCAL_SIZE=2",
			Place{1, 2, 1, 2, "127.0.0.1", 29500, false, -1, "Open MPI", ""}},
		"MPICH": {"PMI_RANK=1 PMI_SIZE=4 MPI_LOCALRANKID=1 MPI_LOCALNRANKS=2 MASTER_ADDR=a",
			Place{1, 4, 1, 2, "a", 29500, false, -1, "MPI", ""}},
	} {
		have, err := FromEnv(env(c.env))
		if err != nil || have == nil || *have != c.want {
			t.Errorf("%s: have %+v, %v, want %+v", name, have, err, c.want)
		}
	}
}

func TestAlone(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":         "",
		"shell of sbatch": "SLURM_PROCID=0 SLURM_NTASKS=4 SLURM_JOB_ID=77",
		"srun -n 1":       "SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=1",
	} {
		if have, err := FromEnv(env(text)); have != nil || err != nil {
			t.Errorf("%s: have %+v, %v, want none", name, have, err)
		}
	}
}

func TestFaults(t *testing.T) {
	for text, want := range map[string]string{
		"RANK=0":                                `torchrun: WORLD_SIZE: have "", want a number`,
		"WORLD_SIZE=2":                          `torchrun: RANK: have "", want a number`,
		"RANK=2 WORLD_SIZE=2":                   "torchrun: RANK: have 2, want less than WORLD_SIZE, which is 2",
		"RANK=-1 WORLD_SIZE=2":                  `torchrun: RANK: have "-1", want a number`,
		"RANK=x WORLD_SIZE=2":                   `torchrun: RANK: have "x", want a number`,
		"RANK=1 WORLD_SIZE=2":                   "torchrun: MASTER_ADDR: have none, want the host of rank 0 of 2",
		"RANK=0 WORLD_SIZE=1 MASTER_PORT=70000": "torchrun: MASTER_PORT: have 70000, want 1 to 65535",
		"RANK=1 WORLD_SIZE=4 LOCAL_RANK=2 LOCAL_WORLD_SIZE=2": "torchrun: LOCAL_RANK: have 2, want less than LOCAL_WORLD_SIZE, which is 2",
	} {
		if have, err := FromEnv(env(text)); have != nil || err == nil || err.Error() != want {
			t.Errorf("%s: have %v, %v, want %q", text, have, err, want)
		}
	}
}

func TestSlurm(t *testing.T) {
	for list, want := range map[string]string{
		"node1": "node1", "a,b": "a", "node[3-5]": "node3", "node[003,007]": "node003", "a,node[3-5]": "a", "rack[1-2]-n": "rack1-n", "": "",
	} {
		if have := slurmHost(env("SLURM_STEP_NODELIST=" + list)); have != want {
			t.Errorf("%s: have %q, want %q", list, have, want)
		}
	}
	for node, want := range map[string]int{"0": 2, "2": 2, "3": 1, "9": 1} {
		if have := slurmLocal(env("SLURM_STEP_TASKS_PER_NODE=2(x3),1 SLURM_NODEID=" + node)); have != want {
			t.Errorf("node %s: have %d, want %d", node, have, want)
		}
	}
	a, errA := FromEnv(env("SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=2 SLURM_STEP_NODELIST=a SLURM_JOB_ID=1"))
	b, errB := FromEnv(env("SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=2 SLURM_STEP_NODELIST=a SLURM_JOB_ID=2"))
	if errA != nil || errB != nil || a.Port == b.Port {
		t.Errorf("have %+v %v, %+v %v, want two ports", a, errA, b, errB)
	}
}

// env is an environment: NAME=VALUE, separated by spaces.
func env(text string) func(string) string {
	values := map[string]string{}
	for _, pair := range strings.Fields(text) {
		name, value, _ := strings.Cut(pair, "=")
		values[name] = value
	}
	return func(name string) string { return values[name] }
}
