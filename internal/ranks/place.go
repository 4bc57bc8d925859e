// Package ranks tells a process where it stands among those of a run: by the environment that launchers leave (torchrun,
// Kubernetes' PyTorchJob, Slurm, MPI), none of which the program has to be told.
package ranks

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
)

// Place is where a process stands among those of a run.
type Place struct {
	Rank, Size           int // among all, from 0
	LocalRank, LocalSize int // among those on this host
	Host                 string
	Port                 int    // of the store where they meet
	Agent                bool   // the launcher is the store's server; else rank 0 is
	Listener             int    // a socket that rank 0 takes over to listen on; -1 for none
	Launcher             string // its name, for people
	Run                  string // what tells it from others at the same store
}

// DefaultPort is where the store is if nobody says so, as with torchrun.
const DefaultPort = 29500

// ListenerVariable names the variable that has the socket of rank 0 ([Place].Listener).
const ListenerVariable = "MVAG_LISTENER"

// FromEnv returns the place that the environment gives; nil where there is none, which is a process alone.
func FromEnv(getenv func(string) string) (*Place, error) {
	for _, l := range launchers {
		if getenv(l.rank) == "" && getenv(l.size) == "" {
			continue
		}
		if l.alone != nil && l.alone(getenv) {
			return nil, nil
		}
		p, err := l.place(getenv)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.name, err)
		}
		if name := getenv(LauncherVariable); name != "" {
			p.Launcher = name
		}
		return p, nil
	}
	return nil, nil
}

// launcher is how a launcher names what a process has to know.
type launcher struct {
	name, rank, size     string
	localRank, localSize string
	alone                func(getenv func(string) string) bool
	local                func(getenv func(string) string) int    // ranks on this host, where localSize does not tell
	host                 func(getenv func(string) string) string // that of rank 0, where MASTER_ADDR does not tell
	job                  string                                  // a number that tells runs on a host apart
}

var launchers = []launcher{
	{name: "torchrun", rank: "RANK", size: "WORLD_SIZE", localRank: "LOCAL_RANK", localSize: "LOCAL_WORLD_SIZE"},
	{name: "Slurm", rank: "SLURM_PROCID", size: "SLURM_STEP_NUM_TASKS", localRank: "SLURM_LOCALID",
		alone: slurmAlone, local: slurmLocal, host: slurmHost, job: "SLURM_JOB_ID"},
	{name: "Open MPI", rank: "OMPI_COMM_WORLD_RANK", size: "OMPI_COMM_WORLD_SIZE",
		localRank: "OMPI_COMM_WORLD_LOCAL_RANK", localSize: "OMPI_COMM_WORLD_LOCAL_SIZE"},
	{name: "MPI", rank: "PMI_RANK", size: "PMI_SIZE", localRank: "MPI_LOCALRANKID", localSize: "MPI_LOCALNRANKS"},
}

func (l launcher) place(getenv func(string) string) (*Place, error) {
	p := &Place{LocalSize: 1, Port: DefaultPort, Listener: -1, Launcher: l.name, Host: getenv("MASTER_ADDR"),
		Agent: strings.EqualFold(getenv("TORCHELASTIC_USE_AGENT_STORE"), "true") && l.rank == "RANK",
		Run:   getenv("TORCHELASTIC_RUN_ID")}
	if l.local != nil {
		p.LocalSize = l.local(getenv)
	}
	if job := getenv(l.job); job != "" { // two jobs on a host take different ports
		h := fnv.New32()
		_, _ = h.Write([]byte(job + getenv("SLURM_STEP_ID")))
		p.Port = 15000 + int(h.Sum32()%15000)
	}
	for _, v := range []struct {
		name string
		to   *int
		need bool
	}{
		{l.rank, &p.Rank, true}, {l.size, &p.Size, true}, {l.localRank, &p.LocalRank, false},
		{l.localSize, &p.LocalSize, false}, {"MASTER_PORT", &p.Port, false}, {ListenerVariable, &p.Listener, false},
	} {
		text := getenv(v.name)
		if text == "" && !v.need {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%s: have %q, want a number", v.name, text)
		}
		*v.to = n
	}
	switch {
	case p.Rank >= p.Size:
		return nil, fmt.Errorf("%s: have %d, want less than %s, which is %d", l.rank, p.Rank, l.size, p.Size)
	case p.LocalRank >= p.LocalSize && getenv(l.localSize) != "":
		return nil, fmt.Errorf("%s: have %d, want less than %s, which is %d", l.localRank, p.LocalRank, l.localSize, p.LocalSize)
	case p.Port < 1 || p.Port > 65535:
		return nil, fmt.Errorf("MASTER_PORT: have %d, want 1 to 65535", p.Port)
	}
	p.LocalSize = max(p.LocalSize, p.LocalRank+1)
	if p.Host == "" && l.host != nil {
		p.Host = l.host(getenv)
	}
	if p.Host == "" && p.LocalSize == p.Size {
		p.Host = "127.0.0.1"
	}
	if p.Host == "" {
		return nil, fmt.Errorf("MASTER_ADDR: have none, want the host of rank 0 of %d", p.Size)
	}
	return p, nil
}

// slurmAlone: the shell of sbatch and salloc has the variables of a rank, too, but no step; srun makes one.
func slurmAlone(getenv func(string) string) bool {
	n := getenv("SLURM_STEP_NUM_TASKS")
	return n == "" || n == "1"
}

// slurmLocal is the number of tasks on this node, of SLURM_STEP_TASKS_PER_NODE: 2(x3),1.
func slurmLocal(getenv func(string) string) int {
	node, _ := strconv.Atoi(getenv("SLURM_NODEID"))
	for part := range strings.SplitSeq(getenv("SLURM_STEP_TASKS_PER_NODE"), ",") {
		count, times, repeated := strings.Cut(strings.TrimSuffix(part, ")"), "(x")
		n, err := strconv.Atoi(count)
		of := 1
		if repeated && err == nil {
			of, err = strconv.Atoi(times)
		}
		if err != nil {
			break
		}
		if node < of {
			return n
		}
		node -= of
	}
	return 1
}

// slurmHost is the first node of SLURM_STEP_NODELIST: node[03-05,9],gpu1.
func slurmHost(getenv func(string) string) string {
	list := getenv("SLURM_STEP_NODELIST")
	name, rest, bracket := strings.Cut(list, "[")
	if comma := strings.IndexByte(name, ','); comma >= 0 || !bracket {
		name, _, _ = strings.Cut(list, ",")
		return name
	}
	inside, after, _ := strings.Cut(rest, "]")
	first := inside[:strings.IndexAny(inside+",", ",-")]
	suffix, _, _ := strings.Cut(after, ",")
	return name + first + suffix
}
