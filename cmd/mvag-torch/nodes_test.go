package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mvag-torch/internal/testenv"
	"mvag-torch/model/checkpoint"
)

// namespace is a network namespace that stands for a host.
type namespace struct{ name, address string }

// twoNodes makes two of them, joined by a link of 50 Mbit/s in one direction.
func twoNodes(t *testing.T) [2]namespace {
	t.Helper()
	ip, errIP := exec.LookPath("ip")
	tc, errTC := exec.LookPath("tc")
	if errIP != nil || errTC != nil || os.Getuid() != 0 {
		t.Skip("want root, ip and tc to make two network namespaces")
	}
	id := os.Getpid()
	a, b := namespace{fmt.Sprintf("mvag-%d-a", id), "10.213.7.1"}, namespace{fmt.Sprintf("mvag-%d-b", id), "10.213.7.2"}
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Skipf("%q: %v: %s", args, err, out)
		}
	}
	for _, n := range []namespace{a, b} {
		run(ip, "netns", "add", n.name)
		t.Cleanup(func() { _ = exec.Command(ip, "netns", "del", n.name).Run() })
		run(ip, "-n", n.name, "link", "set", "lo", "up")
	}
	run(ip, "link", "add", "ma"+fmt.Sprint(id), "netns", a.name, "type", "veth", "peer", "name", "mb"+fmt.Sprint(id), "netns", b.name)
	for i, n := range []namespace{a, b} {
		device := []string{"ma", "mb"}[i] + fmt.Sprint(id)
		run(ip, "-n", n.name, "address", "add", n.address+"/24", "dev", device)
		run(ip, "-n", n.name, "link", "set", device, "up")
	}
	run(tc, "-n", b.name, "qdisc", "add", "dev", "mb"+fmt.Sprint(id), "root", "tbf", "rate", "50mbit", "burst", "64kb", "latency", "100ms")
	return [2]namespace{a, b}
}

// agent starts torchrun on a node, which starts this program with args in two processes.
func (n namespace) agent(t *testing.T, python, first string, number int, args []string) program {
	t.Helper()
	p := program{exec.Command("ip", append([]string{"netns", "exec", n.name, python, "-m", "torch.distributed.run", "--no-python",
		"--nnodes", "2", "--nproc-per-node", "2", "--node-rank", fmt.Sprint(number), "--max-restarts", "100", "--rdzv-backend", "c10d",
		"--rdzv-endpoint", first + ":29400", "--rdzv-id", "mvag", "--rdzv-conf", fmt.Sprint("is_host=", number == 0), "--local-addr", n.address, os.Args[0]}, args...)...),
		&bytes.Buffer{}, &bytes.Buffer{}}
	p.Stdout, p.Stderr = p.out, p.text
	p.Env = append(os.Environ(), mainVariable+"=v1", "OMP_NUM_THREADS=1", "OMP_WAIT_POLICY=passive")
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Signal(syscall.SIGTERM); _ = p.Wait() })
	return p
}

// workers are the processes of a training, by rank, in a folder that their arguments name.
func workers(t *testing.T, dir string) (pids map[string]int) {
	t.Helper()
	pids = map[string]int{}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		args, _ := os.ReadFile(filepath.Join(p, "cmdline")) // it may be over
		env, _ := os.ReadFile(filepath.Join(p, "environ"))
		if !strings.HasPrefix(string(args), os.Args[0]+"\x00") || !bytes.Contains(args, []byte("output="+dir+"\x00")) {
			continue
		}
		for _, v := range strings.Split(string(env), "\x00") {
			if rank, ok := strings.CutPrefix(v, "RANK="); ok {
				var pid int
				if _, err := fmt.Sscan(filepath.Base(p), &pid); err == nil {
					pids[rank] = pid
				}
			}
		}
	}
	return pids
}

// TestPythonTwoNodes trains under torchrun on two nodes, over a slow link, and while a rank is killed ten times at any
// instant: the weights are those of as many processes on one host that nobody disturbs, bit for bit.
func TestPythonTwoNodes(t *testing.T) {
	python := testenv.Python(t)
	nodes := twoNodes(t)
	const short, long, kills = 8, 40, 10
	train := func(setting []string, n int) []string {
		return append(append([]string{"train", "--resume"}, setting...), iterations(n)...)
	}
	both := func(setting []string, n int) (agents [2]program) {
		for i, node := range nodes {
			agents[i] = node.agent(t, python, nodes[0].address, i, train(setting, n))
		}
		return agents
	}
	finish := func(agents [2]program) {
		t.Helper()
		for i, p := range agents {
			if code, text, _ := p.end(t); code != 0 {
				t.Fatalf("node %d: have code %d, %s", i, code, text)
			}
		}
	}
	undisturbed := func(n int) (dir string) {
		dir, setting := spread(t, "--set", "train.log_every=1")
		if code, text, _ := start(t, nil, append(train(setting, n), "--processes", "4")...).end(t); code != 0 {
			t.Fatalf("have code %d, %s", code, text)
		}
		return dir
	}
	dir, setting := spread(t, "--set", "train.log_every=1")
	began := time.Now()
	slow := both(setting, short)
	finish(slow)
	t.Logf("over a link of 50 Mbit/s, %v with the start: %s", time.Since(began).Round(time.Second/10), last(slow[0]))
	mismatches := differences(t, undisturbed(short), dir)

	dir, setting = spread(t)
	agents := both(setting, long)
	restarts, rng := 0, rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	for kill := range kills {
		before := assembled(t, dir, nil)
		wait := time.Duration(rng.Int64N(int64(4 * time.Second)))
		time.Sleep(wait)
		victim := rng.IntN(4)
		if err := syscall.Kill(before[fmt.Sprint(victim)], syscall.SIGKILL); err != nil {
			t.Fatalf("kill %d of rank %d: %v; %s%s", kill, victim, err, agents[0].text, agents[1].text)
		}
		at := time.Now()
		assembled(t, dir, before)
		restarts++
		t.Logf("kill %d: rank %d after %v; all ranks are back after %v", kill+1, victim, wait.Round(time.Millisecond), time.Since(at).Round(time.Second/10))
	}
	finish(agents)
	mismatches += differences(t, undisturbed(long), dir)
	t.Logf("kills %d, restarts %d, mismatches %d", kills, restarts, mismatches)
	if restarts != kills || mismatches != 0 {
		t.Error("want as many restarts as kills, and no mismatch")
	}
}

// last is the last line on the steps.
func last(p program) (line string) {
	for l := range strings.Lines(p.text.String()) {
		if strings.Contains(l, "images/s") {
			line = strings.TrimSpace(l)
		}
	}
	return line
}

// assembled waits for four ranks that are none of those before.
func assembled(t *testing.T, dir string, before map[string]int) map[string]int {
	t.Helper()
	for began := time.Now(); time.Since(began) < 2*time.Minute; time.Sleep(20 * time.Millisecond) {
		all := workers(t, dir)
		same := slices.ContainsFunc([]string{"0", "1", "2", "3"}, func(r string) bool { return all[r] == before[r] })
		if len(all) == 4 && !same {
			return all
		}
	}
	t.Fatal("have no four ranks after two minutes")
	return nil
}

// differences counts the tensors of two checkpoints that differ in a bit.
func differences(t *testing.T, want, have string) (n int) {
	t.Helper()
	var files [2]*checkpoint.File
	for i, dir := range []string{want, have} {
		f, err := checkpoint.Open(filepath.Join(dir, "quickstart", "checkpoint.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files[i] = f
	}
	if a, b := files[0].Info.Iteration, files[1].Info.Iteration; a != b || !slices.Equal(files[0].Names(), files[1].Names()) {
		t.Fatalf("have iterations %d and %d, tensors %q and %q", a, b, files[0].Names(), files[1].Names())
	}
	for _, name := range files[0].Names() {
		a, errA := files[0].Bytes(name)
		b, errB := files[1].Bytes(name)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if !bytes.Equal(a, b) {
			n++
			t.Errorf("%s differs", name)
		}
	}
	return n
}
