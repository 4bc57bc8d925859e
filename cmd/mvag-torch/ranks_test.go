package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mvag-torch/internal/testenv/listen"
	"mvag-torch/model/checkpoint"
	"mvag-torch/model/weights"
)

// spread are settings of a training whose steps take some milliseconds, four objects of five views each, and its folder.
func spread(t *testing.T, more ...string) (dir string, setting []string) {
	t.Helper()
	dir = t.TempDir()
	must(t, "dataset", "demo", filepath.Join(dir, "demo"), "--classes", "gear", "--size", "64", "--train", "8", "--good", "2", "--bad", "2")
	setting = []string{"-c", "quickstart", "--set", "output=" + dir, "--set", "data.root=" + filepath.Join(dir, "demo"),
		"--set", "backbone.name=vit_tiny_patch16_224", "--set", "backbone.weights=" + randomVit(t, 1),
		"--set", "backbone.layers=[0, 1]", "--set", "model.decoder_depth=2", "--set", "data.resize=64", "--set", "data.crop=64",
		"--set", "train.objects=4", "--set", "train.warmup=1", "--set", "train.checkpoint_every=2", "--set", "eval.map_size=64",
		"--set", "device=cpu"}
	return dir, append(setting, more...)
}

func iterations(n int) []string { return []string{"--set", fmt.Sprintf("train.iterations=%d", n)} }

// program is a process of this program.
type program struct {
	*exec.Cmd
	out, text *bytes.Buffer
}

// start starts the program with variables of the environment.
func start(t *testing.T, env []string, args ...string) program {
	t.Helper()
	p := program{exec.Command(os.Args[0], args...), &bytes.Buffer{}, &bytes.Buffer{}}
	p.Stdout, p.Stderr = p.out, p.text
	p.Env = append(append(os.Environ(), mainVariable+"=v1", "OMP_NUM_THREADS=1", "OMP_WAIT_POLICY=passive"), env...)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill() })
	return p
}

// end waits for the program and returns its exit code, what it wrote to stderr, and the lines of error in that.
func (p program) end(t *testing.T) (code int, text string, failures []string) {
	t.Helper()
	late := time.AfterFunc(3*time.Minute, func() { _ = p.Process.Kill() })
	err := p.Wait()
	if !late.Stop() {
		t.Errorf("have waited for three minutes: %s", p.text)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	for line := range strings.Lines(p.text.String()) {
		if strings.HasPrefix(line, "mvag-torch: ") || strings.HasPrefix(line, "rank ") {
			failures = append(failures, strings.TrimSuffix(line, "\n"))
		}
	}
	return p.ProcessState.ExitCode(), p.text.String(), failures
}

// interrupt sends a SIGTERM when it is time, and is end.
func (p program) interrupt(t *testing.T, when func() bool) (code int, text string, failures []string) {
	t.Helper()
	for began := time.Now(); !when() && time.Since(began) < time.Minute; {
		time.Sleep(5 * time.Millisecond)
	}
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	return p.end(t)
}

// reached waits for the checkpoint in a folder.
func reached(t *testing.T, dir string) {
	t.Helper()
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "quickstart", "checkpoint.safetensors")); err == nil {
			return
		}
	}
	t.Fatal("have no checkpoint after a minute")
}

// rankOf returns the process of a rank among the children of parent.
func rankOf(t *testing.T, parent, rank int) int {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		stat, _ := os.ReadFile(filepath.Join(p, "stat")) // it may be over
		env, _ := os.ReadFile(filepath.Join(p, "environ"))
		_, fields, _ := strings.Cut(string(stat), ") ")
		of := strings.Fields(fields)
		if len(of) > 1 && of[1] == strconv.Itoa(parent) && slices.Contains(strings.Split(string(env), "\x00"), fmt.Sprintf("RANK=%d", rank)) {
			pid, err := strconv.Atoi(filepath.Base(p))
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
	}
	t.Fatalf("process %d has no rank %d", parent, rank)
	return 0
}

// iteration is that of the checkpoint in a folder.
func iteration(t *testing.T, dir string) int {
	t.Helper()
	f, err := checkpoint.Open(filepath.Join(dir, "quickstart", "checkpoint.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return f.Info.Iteration
}

// TestProcesses trains on two processes, stops, goes on with four, and evaluates with three what one process does.
func TestProcesses(t *testing.T) {
	dir, setting := spread(t)
	alone, again := spread(t)
	t.Parallel()
	p := start(t, nil, append(append([]string{"train", "--processes", "2"}, setting...), iterations(1000)...)...)
	reached(t, dir)
	code, text, failures := p.interrupt(t, func() bool { return true })
	at := iteration(t, dir)
	want := fmt.Sprintf("interrupted after %d of 1000 iterations; go on with --resume", at)
	if code != 143 || len(failures) != 1 || !strings.HasPrefix(failures[0], "mvag-torch: ") || !strings.HasSuffix(failures[0], want) {
		t.Errorf("have code %d, %s, want 143 and one line with %q", code, text, want)
	}
	if strings.Count(text, "training on cpu") != 1 || strings.Count(text, "2 ranks on 1 host, by mvag-torch\n") != 1 {
		t.Errorf("have %s, want one that speaks", text)
	}
	p = start(t, nil, append(append([]string{"train", "--resume", "--processes", "4"}, setting...), iterations(1000)...)...)
	code, text, failures = p.interrupt(t, func() bool { return iteration(t, dir) > at })
	if code != 143 || len(failures) != 1 || !strings.Contains(text, fmt.Sprintf("resumed after %d of 1000 iterations\n", at)) {
		t.Errorf("have code %d, %s, want one line and that it has resumed after %d", code, text, at)
	}
	for _, c := range []struct{ args, setting []string }{
		{[]string{"train", "--processes", "2"}, setting}, {[]string{"train"}, again},
	} {
		d := c.setting[3][len("output="):]
		if err := os.RemoveAll(filepath.Join(d, "quickstart")); err != nil {
			t.Fatal(err)
		}
		args := append(append(c.args, c.setting...), iterations(6)...)
		if code, text, failures := start(t, nil, args...).end(t); code != 0 || failures != nil || strings.Count(text, "wrote "+d) != 4 {
			t.Errorf("%q: have code %d, %s, want three checkpoints and a report", c.args, code, text)
		}
	}
	lossesAgree(t, filepath.Join(dir, "quickstart", "train.jsonl"), filepath.Join(alone, "quickstart", "train.jsonl"))
	model := filepath.Join(dir, "quickstart", "checkpoint.safetensors")
	tables := map[string]string{}
	for _, n := range []string{"1", "3"} {
		e := start(t, nil, "eval", "-m", model, "-o", filepath.Join(dir, n), "--format", "json", "--processes", n)
		if code, text, _ := e.end(t); code != 0 {
			t.Fatalf("eval: have code %d, %s", code, text)
		}
		tables[n] = e.out.String()
	}
	if tables["1"] != tables["3"] || !strings.Contains(tables["1"], `"gear"`) {
		t.Errorf("have %s, want %s", tables["3"], tables["1"])
	}
}

// lossesAgree compares two journals: the sums of several ranks are rounded in another order.
func lossesAgree(t *testing.T, paths ...string) {
	t.Helper()
	var losses [2][]float64
	for i, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(text) {
			var step struct{ Loss float64 }
			if err := json.Unmarshal(line, &step); err != nil {
				t.Fatal(err)
			}
			losses[i] = append(losses[i], step.Loss)
		}
	}
	if len(losses[0]) != len(losses[1]) || len(losses[0]) == 0 {
		t.Fatalf("have %d and %d losses", len(losses[0]), len(losses[1]))
	}
	for i, v := range losses[0] {
		if w := losses[1][i]; math.Abs(v-w) > 0.005*w {
			t.Errorf("iteration %d: have loss %v, want %v", i, v, w)
		}
	}
}

// TestProcessesFail: all end within ten seconds of a fault, with one line that names the rank and its fault. Another ten
// pass before a stopped process is killed.
func TestProcessesFail(t *testing.T) {
	for name, c := range map[string]struct {
		rank   int
		signal syscall.Signal
		within time.Duration
		want   string
		more   string // another line
	}{
		"killed": {1, syscall.SIGKILL, 10 * time.Second, "rank 1 (HOST): is gone: it was killed, or its connection is closed", ""},
		"first":  {0, syscall.SIGKILL, 10 * time.Second, "rank 0 (HOST): is gone: it was killed, or its connection is closed", ""},
		"stopped": {1, syscall.SIGSTOP, 25 * time.Second, "rank 1 (HOST): gives no sign any more: it is stopped, or its host or network is down",
			"rank 1 did not end within 10s of rank 0 and was killed"},
		"first stopped": {0, syscall.SIGSTOP, 25 * time.Second, "rank 0 (HOST): gives no sign any more: it is stopped, or its host or network is down",
			"rank 0 did not end within 10s of rank 1 and was killed"},
	} {
		dir, setting := spread(t, iterations(100000)...)
		t.Run(name, func(t *testing.T) {
			t.Parallel() // with other tests, too: most of the time is waiting
			p := start(t, nil, append([]string{"train", "--processes", "2"}, setting...)...)
			reached(t, dir)
			if err := syscall.Kill(rankOf(t, p.Process.Pid, c.rank), c.signal); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			code, text, failures := p.end(t)
			want := []string{"mvag-torch: " + host(t, c.want)}
			if c.more != "" {
				want = append(want, "mvag-torch: "+c.more)
			}
			if took := time.Since(began); code != 1 || !slices.Equal(failures, want) || took > c.within {
				t.Errorf("after %v have code %d, %s, want 1 and %q", took, code, text, want)
			}
		})
	}
}

// host puts the name of this host into a text.
func host(t *testing.T, text string) string {
	t.Helper()
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(text, "HOST", name)
}

// TestProcessesThatDoNotDivide: no process starts where the batch cannot be divided.
func TestProcessesThatDoNotDivide(t *testing.T) {
	p := start(t, nil, "train", "-c", "quickstart", "--processes", "3", "--set", "train.objects=4")
	if code, text, _ := p.end(t); code != 1 || text != "mvag-torch: train.objects: have 4, want a multiple of the 3 ranks\n" {
		t.Errorf("have code %d, %q", code, text)
	}
}

// placed is the environment of a rank as a launcher leaves it.
func placed(rank, size, port int) []string {
	return []string{fmt.Sprintf("RANK=%d", rank), fmt.Sprintf("WORLD_SIZE=%d", size), fmt.Sprintf("LOCAL_RANK=%d", rank),
		fmt.Sprintf("LOCAL_WORLD_SIZE=%d", size), fmt.Sprintf("MASTER_PORT=%d", port), "MASTER_ADDR=127.0.0.1"}
}

// TestRanksThatDiffer: ranks of a launcher that cannot work together end with one line.
func TestRanksThatDiffer(t *testing.T) {
	dir, setting := spread(t, iterations(4)...)
	other, _ := spread(t)
	must(t, "dataset", "demo", filepath.Join(other, "more"), "--classes", "gear", "--size", "64", "--train", "9")
	taken := listen.Free(t)
	l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", taken))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Parallel()
	train := append([]string{"train", "--wait", "60s"}, setting...)
	with := func(key, value string) []string { return append(slices.Clone(train), "--set", key+"="+value) }
	for name, c := range map[string]struct {
		env  []string // of rank 1
		args []string
		want string
	}{
		"version":       {[]string{mainVariable + "=v2"}, train, "rank 1 (HOST): version: have v2, want v1 as rank 0 (HOST)"},
		"configuration": {nil, with("train.lr", "0.001"), `rank 1 (HOST): train.lr: have "0.001", want "0.002" as rank 0 (HOST)`},
		"backbone":      {nil, with("backbone.weights", randomVit(t, 2)), "rank 1 (HOST): SHA-256 of backbone.weights: have "},
		"data":          {nil, with("data.root", filepath.Join(other, "more")), "rank 1 (HOST): the data set ("},
		"no data":       {nil, with("data.root", filepath.Join(other, "none")), "rank 1 (HOST): "},
	} {
		t.Run(name, func(t *testing.T) {
			port := listen.Free(t)
			both := []program{start(t, placed(0, 2, port), train...), start(t, append(placed(1, 2, port), c.env...), c.args...)}
			var lines []string
			for _, p := range both {
				code, text, failures := p.end(t)
				if code == 0 {
					t.Errorf("have code 0, %s", text)
				}
				lines = append(lines, failures...)
			}
			if len(lines) != 1 || !strings.HasPrefix(lines[0], "mvag-torch: "+host(t, c.want)) {
				t.Errorf("have %q, want one line with %s", lines, c.want)
			}
			if _, err := os.Stat(filepath.Join(dir, "quickstart", "checkpoint.safetensors")); err == nil {
				t.Error("have a checkpoint")
			}
		})
	}
	train[2] = "2s"
	for name, c := range map[string]struct {
		env  []string
		want string
	}{
		"one is missing": {placed(0, 2, listen.Free(t)), "after 2s have 1 of 2 ranks, without 1"},
		"port in use":    {placed(0, 2, taken), fmt.Sprintf("rank 0 (HOST): cannot listen at port %d, ", taken)},
		"no number":      {placed(2, 2, listen.Free(t)), "torchrun: RANK: have 2, want less than WORLD_SIZE, which is 2"},
	} {
		code, text, failures := start(t, c.env, train...).end(t)
		if code != 1 || len(failures) != 1 || !strings.HasPrefix(failures[0], "mvag-torch: "+host(t, c.want)) {
			t.Errorf("%s: have code %d, %s, want 1 and a line with %s", name, code, text, c.want)
		}
	}
	code, text, _ := start(t, placed(0, 2, listen.Free(t)), append([]string{"train", "--processes", "2"}, setting...)...).end(t)
	if want := "have --processes or --gpus, and rank 0 of 2 by torchrun; want one of them"; code != 2 || !strings.Contains(text, want) {
		t.Errorf("have code %d, %s, want 2 and a line with %s", code, text, want)
	}
}

// TestRanksOnAFullDisk: where rank 0 cannot write the checkpoint, all end, and it says why.
func TestRanksOnAFullDisk(t *testing.T) {
	dir, setting := spread(t, iterations(4)...)
	t.Parallel()
	port := listen.Free(t)
	var all []program
	for rank := range 2 {
		const limited = `trap '' XFSZ; [ $RANK = 1 ] || ulimit -f 8000; exec "$0" "$@"`
		args := append([]string{"-c", limited, os.Args[0], "train"}, setting...)
		p := program{exec.Command("/bin/sh", args...), &bytes.Buffer{}, &bytes.Buffer{}}
		p.Stderr = p.text
		p.Env = append(append(os.Environ(), mainVariable+"=v1", "OMP_NUM_THREADS=1"), placed(rank, 2, port)...)
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Process.Kill() })
		all = append(all, p)
	}
	for rank, p := range all {
		code, text, failures := p.end(t)
		if rank == 0 && (len(failures) != 1 || !strings.HasSuffix(failures[0], "file too large")) || rank == 1 && text != "" || code != 1 {
			t.Errorf("rank %d: have code %d, %s", rank, code, text)
		}
	}
	if names, err := filepath.Glob(filepath.Join(dir, "quickstart", "*checkpoint*")); err != nil || names != nil {
		t.Errorf("have %q, %v, want no part of a checkpoint", names, err)
	}
}

// randomVit writes weights of a seed.
func randomVit(t *testing.T, seed int64) (path string) {
	t.Helper()
	return vitUpTo(t, 1, seed)
}

// vitUpTo writes random weights of a small encoder up to a block, of which 11 is the last.
func vitUpTo(t *testing.T, last int, seed int64) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "vit.safetensors")
	arch, err := weights.ParseArch("vit_tiny_patch16_224")
	if err == nil {
		err = weights.WriteSafetensors(path, arch.Random(last, 4, seed), nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}
