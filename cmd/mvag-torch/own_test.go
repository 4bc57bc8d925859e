package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mvag-torch/internal/lock"
	"mvag-torch/internal/tensor"
	"mvag-torch/internal/testenv"
)

// TestOwner is another process that has a lock until it is killed.
func TestOwner(t *testing.T) {
	path := os.Getenv("MVAG_TEST_OWNER")
	if path == "" {
		t.Skip("is run by TestSecondProcess")
	}
	l, err := lock.Take(path, path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	fmt.Println("owned")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// own lets another process have a lock, and returns what kills it.
func own(t *testing.T, path string) (process *os.Process, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestOwner$")
	cmd.Env = append(os.Environ(), "MVAG_TEST_OWNER="+path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close() })
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "owned\n" {
		t.Fatalf("%s: have %q, %v", path, line, err)
	}
	return cmd.Process, func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

// TestSecondProcess: while another process has what a command writes to, the command names that, changes nothing, and
// works once the other one is killed. The commands leave neither locks nor handles, goroutines or tensors.
func TestSecondProcess(t *testing.T) {
	dir, model, setting := trained(t, "--set", "memory.codes=20", "--set", "memory.dims=4", "--set", "data.classes=[gear]", "--set", "train.holdout=0.5")
	run, out, cache, maps := filepath.Dir(model), filepath.Join(dir, "out"), filepath.Join(dir, "cache"), filepath.Join(dir, "maps")
	parts := filepath.Join(dir, "demo", "realiad_demo", "gear")
	fresh := filepath.Join(dir, "fresh")
	must(t, "dataset", "demo", fresh, "--size", "64", "--seed", "2", "--classes", "gear", "--train", "4", "--good", "6", "--bad", "1")
	good := filepath.Join(fresh, "realiad_demo", "gear", "OK")
	for _, folder := range []string{out, cache, maps} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	noData := slices.Concat(setting, []string{"--set", "data.root=" + filepath.Join(dir, "none")}) // refused before it is read
	for _, test := range []struct {
		name, lock, what string
		args             []string
		blind            bool // does not work, for another reason
	}{
		{"train", filepath.Join(run, "lock"), run, slices.Concat([]string{"train"}, noData), true},
		{"train --resume", filepath.Join(run, "lock"), run, slices.Concat([]string{"train", "--resume"}, setting), false},
		{"enroll -c", filepath.Join(run, "lock"), run, slices.Concat([]string{"enroll"}, noData), true},
		{"enroll -m", filepath.Join(run, "lock"), model, []string{"enroll", "-m", model, "--class", "other", good}, true},
		{"calibrate", filepath.Join(run, "lock"), model, []string{"calibrate", "-m", model, good}, false},
		{"calibrate --undo", filepath.Join(run, "lock"), model, []string{"calibrate", "-m", model, "--undo"}, true},
		{"eval", filepath.Join(run, "eval.lock"), run, []string{"eval", "-m", model}, false},
		{"eval --save-maps", filepath.Join(maps, "eval.lock"), maps, []string{"eval", "-m", model, "--save-maps", maps}, false},
		{"predict", filepath.Join(out, "predict.lock"), out, []string{"predict", "-m", model, "-o", out, parts}, false},
		{"dataset prepare", filepath.Join(cache, "lock"), "data.cache: " + cache, slices.Concat([]string{"dataset", "prepare", "--cache", cache}, setting), false},
		{"predict, no -o", filepath.Join(run, "lock"), "", []string{"predict", "-m", model, parts}, false},
		{"eval in a run", filepath.Join(run, "lock"), "", []string{"eval", "-m", model}, false},
		{"info of a run", filepath.Join(run, "lock"), "", []string{"info", model}, false},
		{"train of none yet", filepath.Join(t.TempDir(), "lock"), "", slices.Concat([]string{"train"}, setting, []string{"--set", "name=new"}), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := files(t, dir)
			process, kill := own(t, test.lock)
			defer kill()
			if test.what == "" {
				must(t, test.args...)
				return
			}
			refused(t, test.args, fmt.Sprintf("%s: used by process %d on ", test.what, process.Pid))
			if after := files(t, dir); !slices.Equal(before, after) {
				t.Errorf("have files %q, want %q", after, before)
			}
			kill()
			if !test.blind {
				must(t, test.args...)
			}
		})
	}
	round := func() testenv.Usage {
		must(t, slices.Concat([]string{"train"}, setting, []string{"--resume"})...)
		must(t, "calibrate", "-m", model, good)
		must(t, "eval", "-m", model)
		must(t, "predict", "-m", model, "-o", out, parts)
		return testenv.Measure(t)
	}
	round()
	first, live := round(), tensor.Live()
	last := round()
	t.Logf("%s\n%s\n%s", testenv.UsageHead, first, last)
	testenv.CheckFlat(t, first, last, 16<<20)
	if tensor.Live() != live {
		t.Errorf("live tensors: have %d, want %d", tensor.Live(), live)
	}
	for _, test := range []string{filepath.Join(run, "*lock"), filepath.Join(maps, "*lock"), filepath.Join(out, "*lock"), filepath.Join(cache, "*lock")} {
		if left, err := filepath.Glob(test); err != nil || len(left) > 0 {
			t.Errorf("have %q, %v, want no locks left", left, err)
		}
	}
}

// files lists the files below a folder but locks, with size and time of change.
func files(t *testing.T, dir string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasSuffix(path, "lock") {
			info, err := d.Info()
			if err != nil {
				return err
			}
			list = append(list, fmt.Sprint(path, " ", info.Size(), " ", info.ModTime().UnixNano()))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}
