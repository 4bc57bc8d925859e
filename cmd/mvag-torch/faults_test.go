package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mvag-torch/internal/testenv"
	"mvag-torch/model/checkpoint"
	"mvag-torch/model/modeltest"
	"mvag-torch/model/weights"
)

// sufferer is a command that meets faults.
type sufferer struct {
	name  string
	args  []string
	again []string // what succeeds after a fault; nil for args
	needs string   // the command that leaves what this one begins with, "" for nothing
	files []string // what it leaves, below the folder of outputs: the same bytes with and without a fault before
}

// faultBench is where commands meet faults. Outputs of all of them are in one folder, whose name is in what they write.
type faultBench struct {
	t     *testing.T
	root  string
	out   string            // of commands
	after map[string]string // by command, a copy of out as it was afterwards
	all   []sufferer
	sum   testenv.Tally
}

// newFaultBench makes a bench in an empty folder.
func newFaultBench(t *testing.T, root string) *faultBench {
	b := &faultBench{t: t, root: root, after: map[string]string{}}
	b.out = filepath.Join(b.root, "out")
	backbone := filepath.Join(b.root, "vits14.safetensors")
	if err := weights.WriteSafetensors(backbone, modeltest.RandomViT(3, 4), nil); err != nil {
		t.Fatal(err)
	}
	demo, cache := filepath.Join(b.root, "demo"), filepath.Join(b.out, "cache")
	must(t, "dataset", "demo", demo, "--size", "64", "--train", "4", "--good", "2", "--bad", "1")
	set := []string{"-c", "quickstart", "--set", "output=" + b.out, "--set", "data.root=" + demo, "--set", "data.classes=[gear]", "--set", "backbone.weights=" + backbone,
		"--set", "backbone.layers=[1, 3]", "--set", "model.decoder_depth=2", "--set", "data.resize=64", "--set", "data.crop=56", "--set", "train.warmup=1",
		"--set", "train.iterations=4", "--set", "train.checkpoint_every=2", "--set", "train.holdout=0.5", "--set", "train.cache_features=disk", "--set", "eval.map_size=64", "--set", "device=cpu",
		"--set", "memory.codes=20", "--set", "memory.dims=4", "--set", "inspect.head=reconstruction"}
	with := func(args []string, more ...string) []string { return append(append([]string{}, args...), more...) }
	run := filepath.Join(b.out, "quickstart")
	model, good := filepath.Join(run, "checkpoint.safetensors"), filepath.Join(demo, "realiad_demo", "gear", "OK")
	b.all = []sufferer{
		{"train", with([]string{"train"}, set...), with([]string{"train", "--resume"}, set...), "", []string{"quickstart/checkpoint.safetensors", "quickstart/config.yaml"}},
		{"eval", []string{"eval", "-m", model, "--save-maps", filepath.Join(b.out, "maps")}, nil, "train",
			[]string{"quickstart/results.json", "quickstart/scores.jsonl", "quickstart/curves.jsonl", "maps/gear.maps.npy"}},
		{"calibrate", []string{"calibrate", "-m", model, good}, nil, "train", []string{"quickstart/checkpoint.safetensors"}},
		{"predict", []string{"predict", "-m", model, filepath.Join(good, "S0001", "*_C[12]_*"), "-o", filepath.Join(b.out, "predictions"), "--maps"}, nil, "train", nil},
		{"export", []string{"export", "--force", "--format", "bundle", "-m", model, "-o", filepath.Join(b.out, "model.mvag")}, nil, "train", []string{"model.mvag"}},
		{"prepare", with([]string{"dataset", "prepare", "--cache", cache}, set...), nil, "", []string{"cache/pixels-00000.shard"}},
		{"enroll", with([]string{"enroll"}, set...), nil, "", []string{"quickstart/checkpoint.safetensors"}},
	}
	return b
}

// command is the program in a process of its own.
func (b *faultBench) command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), mainVariable+"=test")
	return cmd
}

// begin puts what a command begins with into the folder of outputs.
func (b *faultBench) begin(s sufferer) {
	b.t.Helper()
	if err := clearFolder(b.out); err != nil {
		b.t.Fatal(err)
	}
	if s.needs == "" {
		return
	}
	if err := os.CopyFS(b.out, os.DirFS(b.after[s.needs])); err != nil {
		b.t.Fatal(err)
	}
}

// clearFolder empties a folder, which may be a file system of its own, or makes it.
func clearFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return os.MkdirAll(dir, 0o755)
	}
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

// reference runs a command without a fault, and before it what it needs.
func (b *faultBench) reference(s sufferer) {
	b.t.Helper()
	if s.needs != "" && b.after[s.needs] == "" {
		b.reference(b.all[0])
	}
	b.begin(s)
	if out, err := b.command(s.args...).CombinedOutput(); err != nil {
		b.t.Fatalf("%s: %v: %s", s.name, err, out)
	}
	b.after[s.name] = filepath.Join(b.root, "after", s.name)
	if err := os.CopyFS(b.after[s.name], os.DirFS(b.out)); err != nil {
		b.t.Fatal(err)
	}
}

// ended checks how a command ended that met a fault: with success, or with one line that names cause and a file.
func (b *faultBench) ended(s sufferer, what, cause string, stderr string, err error) {
	b.t.Helper()
	if err == nil {
		return
	}
	b.sum.Refused++
	var exit *exec.ExitError
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	last := lines[len(lines)-1]
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.HasPrefix(last, "mvag-torch: ") || !strings.Contains(last, cause) || !strings.Contains(last, b.root) {
		b.t.Errorf("%s: %s: have %v and\n%s\nwant exit code 1 and a last line that names a file and %q", s.name, what, err, stderr, cause)
	}
	for _, line := range lines[:len(lines)-1] {
		if strings.HasPrefix(line, "mvag-torch: ") || strings.Contains(line, "goroutine ") {
			b.t.Errorf("%s: %s: have\n%s\nwant one line of error", s.name, what, stderr)
		}
	}
}

// recovers checks what is left of a fault: a checkpoint that was there is whole, no temporary file stays once the command
// has run again, and its files are those of a command without a fault.
func (b *faultBench) recovers(s sufferer, what string) {
	b.t.Helper()
	path := filepath.Join(b.out, "quickstart", "checkpoint.safetensors")
	f, _, err := checkpoint.OpenLast(path)
	if err == nil {
		f.Close()
	} else if s.needs != "" || !errors.Is(err, fs.ErrNotExist) {
		b.sum.Lost++
		b.t.Errorf("%s: %s: have %v, want the last good checkpoint", s.name, what, err)
	}
	args := s.args
	if s.again != nil {
		args = s.again
	}
	if s.name == "enroll" && err == nil { // it was done before something failed
		return
	}
	if out, err := b.command(args...).CombinedOutput(); err != nil {
		b.sum.Lost++
		b.t.Errorf("%s: %s: again: %v: %s", s.name, what, err, out)
		return
	}
	b.sum.Repaired++
	b.same(s, what+": again")
	b.noneLeft(s, what+": again")
}

// same checks that the files of a command are those of one without a fault.
func (b *faultBench) same(s sufferer, what string) {
	b.t.Helper()
	for _, name := range s.files {
		want, err := os.ReadFile(filepath.Join(b.after[s.name], name))
		if err != nil {
			b.t.Fatal(err)
		}
		if have, err := os.ReadFile(filepath.Join(b.out, name)); err != nil || !bytes.Equal(have, want) {
			b.t.Errorf("%s: %s: %s differs, error %v", s.name, what, name, err)
		}
	}
}

// noneLeft checks that there is no temporary file.
func (b *faultBench) noneLeft(s sufferer, what string) {
	b.t.Helper()
	err := filepath.WalkDir(b.out+"/", func(path string, _ fs.DirEntry, err error) error { // which may be a link
		if strings.HasSuffix(path, ".tmp") {
			b.t.Errorf("%s: %s: %s is left over", s.name, what, path)
		}
		return err
	})
	if err != nil {
		b.t.Error(err)
	}
}

// TestFaults lets the system calls of commands fail: they end with one line, and the same command succeeds afterwards with
// the same result. With MVAG_FAULTS=all each call of a kind fails once, else the first of one kind in some commands.
func TestFaults(t *testing.T) {
	b := newFaultBench(t, t.TempDir())
	all := os.Getenv("MVAG_FAULTS") == "all"
	kinds := []struct{ call, errno, text string }{
		{"rename,renameat,renameat2", "EIO", "input/output error"}, {"fsync", "ENOSPC", "no space left on device"},
		{"mkdirat,mkdir", "EROFS", "read-only file system"}, {"linkat", "EDQUOT", "disk quota exceeded"}, {"unlinkat", "EACCES", "permission denied"},
		{"ftruncate", "EIO", "input/output error"},
	}
	for i, s := range b.all {
		if !all && s.name != "train" && s.name != "calibrate" && s.name != "prepare" {
			continue
		}
		b.counted(t, s, func() {
			for k, kind := range kinds {
				if !all && k != i%2 { // a rename or a sync, which all of them need
					continue
				}
				for when := 1; when == 1 || all; when++ {
					fault := testenv.Fault{Call: kind.call, Answer: "error=" + kind.errno, When: fmt.Sprint(when)}
					if !b.meets(s, fault, kind.text) {
						break
					}
				}
			}
		})
	}
}

// counted lets a command meet faults in a test of its own, and logs what came of them.
func (b *faultBench) counted(t *testing.T, s sufferer, meets func()) {
	t.Run(s.name, func(t *testing.T) {
		b.t, b.sum = t, testenv.Tally{}
		b.reference(s)
		meets()
		b.sum.Log(t, s.name)
	})
	b.t = t
}

// meets lets a command meet a fault, and reports whether it did.
func (b *faultBench) meets(s sufferer, fault testenv.Fault, text string) bool {
	b.t.Helper()
	b.begin(s)
	cmd := b.command(s.args...)
	injected := testenv.Inject(b.t, cmd, fault)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	calls := injected(b.out)
	b.sum.Injected += len(calls)
	b.ended(s, fault.String(), text, stderr.String(), err)
	if len(calls) > 0 {
		b.recovers(s, fault.String())
	}
	return len(calls) > 0
}

// TestFullDisk gives commands a disk that is full after so many bytes: they end with one line, what they had written before
// is as it was, nothing else is left, and they go on when there is room.
func TestFullDisk(t *testing.T) {
	b := newFaultBench(t, t.TempDir())
	all := os.Getenv("MVAG_FAULTS") == "all"
	disk := testenv.SmallDisk(t, 1<<30)
	if err := os.Symlink(disk, b.out); err != nil {
		t.Fatal(err)
	}
	for _, s := range b.all {
		if !all && s.name != "train" {
			continue
		}
		b.counted(t, s, func() {
			for _, room := range []int64{0, 4 << 10, 300 << 10, 5 << 20, 20 << 20} {
				if all || room == 20<<20 {
					b.fills(s, disk, room)
				}
			}
		})
	}
}

// fills lets a command meet a full disk. One that may run again over what it has written has done so before.
func (b *faultBench) fills(s sufferer, disk string, room int64) {
	b.t.Helper()
	before := s
	if s.needs != "" {
		before.needs = s.name
	}
	b.begin(before)
	what := fmt.Sprintf("a disk with room for %d bytes", room)
	filler := filepath.Join(disk, "filler")
	testenv.Fill(b.t, filler, room)
	cmd := b.command(s.args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	if err == nil && room == 0 {
		b.t.Errorf("%s: %s: succeeded", s.name, what)
	}
	b.sum.Injected++
	b.ended(s, what, "", stderr.String(), err)
	if err := os.Remove(filler); err != nil {
		b.t.Fatal(err)
	}
	b.noneLeft(s, what)
	if s.needs != "" {
		b.same(s, what)
	}
	b.recovers(s, what)
}
