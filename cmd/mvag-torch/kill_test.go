package main

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mvag-torch/internal/testenv"
)

// short is how many kills the short form has at least, of which train has 5/8.
const short = 16

// TestKills kills commands at random instants and at system calls, and lets the next start go on, each time with the same
// end as if nobody had killed them. MVAG_KILLS is how many kills there are at least; MVAG_KILL_SEED the seed, which is
// printed. Kills at system calls need strace.
func TestKills(t *testing.T) {
	few, seed := short, uint64(time.Now().UnixNano())
	if n, err := strconv.Atoi(os.Getenv("MVAG_KILLS")); err == nil {
		few = n
	}
	if n, err := strconv.ParseUint(os.Getenv("MVAG_KILL_SEED"), 10, 64); err == nil {
		seed = n
	}
	if os.Getenv("MVAG_KILLS") == "" && testing.Short() {
		t.Skip("takes a minute")
	}
	strace, why := testenv.Strace(t)
	t.Logf("seed %d; %s", seed, cmp.Or(why, strace))
	k := &killing{rng: rand.New(rand.NewPCG(seed, 0)), dir: t.TempDir(), strace: why == ""}
	list := k.victims(t)
	t.Run("of", func(t *testing.T) {
		for _, v := range list {
			share := 1
			if v.chain {
				share = few * 5 / 8
			} else if few > short {
				share = max(2, few*3/8/(len(list)-1))
			}
			t.Run(v.name, func(t *testing.T) {
				t.Parallel()
				v.suffer(t, share, few > short)
			})
		}
	})
	t.Logf("%d kills, %d resumes, %d mismatches, %d unreadable files, %d left over", k.kills, k.resumes, k.mismatches, k.unreadable, k.left)
	if k.kills < few {
		t.Errorf("have %d kills, want %d", k.kills, few)
	}
}

// killing counts what has happened.
type killing struct {
	mu     sync.Mutex
	rng    *rand.Rand
	dir    string
	strace bool

	kills, resumes, mismatches, unreadable, left int
}

func (k *killing) count(n *int, by int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	*n += by
}

// draw is a number below n.
func (k *killing) draw(n int64) int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.rng.Int64N(n)
}

// victim is a command that is killed.
type victim struct {
	*killing
	name  string
	base  string   // what is in its folder before it runs; "" for nothing
	args  []string // it writes below its folder only
	again []string // that goes on with what it has left, or where whole is new; args if nil
	chain bool     // it goes on from where it was killed, so that each start may be killed, too
	// whole is a file of which the old or the new one is there after a kill; "" for none.
	whole string

	work string
	want map[string]string // the files after it, by name
	old  string            // of whole
	took time.Duration     // of the shortest run that nobody has killed
}

// moment is when a command is killed: after a time, or where a thread makes its nth of those system calls.
type moment struct {
	after time.Duration
	calls string
	n     int
}

func (m moment) String() string {
	if m.calls != "" {
		return fmt.Sprintf("at %s %d", m.calls, m.n)
	}
	return fmt.Sprintf("after %v", m.after)
}

// calls are system calls that change files.
var calls = []string{"rename,renameat,renameat2", "fsync,fdatasync", "write,pwrite64", "ftruncate", "unlink,unlinkat", "link,linkat", "mkdir,mkdirat"}

// suffer kills v n times at random instants and, thoroughly, at the first of each of the system calls; else at one.
func (v *victim) suffer(t *testing.T, n int, thoroughly bool) {
	v.restore(t)
	if killed, text := v.start(t, v.args, moment{after: time.Hour}); killed || text != "" {
		t.Fatalf("not killed: %s", text)
	}
	v.want = tree(t, v.work)
	v.restore(t)
	v.old = tree(t, v.work)[v.whole]
	if v.chain {
		v.killInTurn(t, n, thoroughly)
		return
	}
	for killed, tries := 0, 0; killed < n && tries < 3*n; tries++ {
		if v.killOnce(t, moment{after: time.Duration(v.draw(int64(v.took)))}) {
			killed++
		}
	}
	if !v.strace {
		return
	}
	most := max(2, n/4) // of one call
	for _, which := range calls {
		for i := 1; i <= most && v.killOnce(t, moment{calls: which, n: i}); i++ {
			if !thoroughly {
				return
			}
		}
	}
}

// killOnce kills v, which has not run before, and lets it run again.
func (v *victim) killOnce(t *testing.T, m moment) (killed bool) {
	t.Helper()
	v.restore(t)
	if killed, _ = v.start(t, v.args, m); killed {
		v.look(t, m)
		v.finish(t, m)
	}
	v.compare(t, m)
	return killed
}

// killInTurn kills v, and what goes on from there, and so on. Half of the kills are at system calls.
func (v *victim) killInTurn(t *testing.T, n int, thoroughly bool) {
	args := v.args
	for i, done := 0, 0; done < n && i < 3*n; i++ {
		m := moment{after: time.Duration(v.draw(int64(v.took)))}
		if v.strace && i%2 == 1 {
			m = moment{calls: calls[v.draw(int64(len(calls)))], n: 1 + int(v.draw(map[bool]int64{false: 4, true: 8}[thoroughly]))}
		}
		killed, text := v.start(t, args, m)
		v.look(t, m)
		if text != "" {
			t.Errorf("%v: %s", m, text)
			v.count(&v.mismatches, 1)
			return
		}
		if args = v.again; killed {
			if done++; done < n { // finish counts the last
				v.count(&v.resumes, 1)
			}
			continue
		}
		v.compare(t, m)
		v.restore(t)
		args = v.args
	}
	v.finish(t, moment{})
	v.compare(t, moment{})
}

// start runs the program until it ends or m is there. The text is why it has failed otherwise. With --seccomp-bpf, strace would
// be faster and deliver few of its signals.
func (v *victim) start(t *testing.T, args []string, m moment) (killed bool, text string) {
	t.Helper()
	c := exec.Command(os.Args[0], args...)
	if m.calls != "" {
		c = exec.Command("strace", append([]string{"-f", "-qq", "-o", os.DevNull, "-e", "trace=" + m.calls,
			"-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", m.calls, m.n), os.Args[0]}, args...)...)
	}
	var said bytes.Buffer
	c.Stderr, c.Dir = &said, v.dir
	c.Env = append(os.Environ(), mainVariable+"=v1", "OMP_NUM_THREADS=1", "OMP_WAIT_POLICY=passive")
	c.WaitDelay = time.Second
	began := time.Now()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if m.calls == "" {
		defer time.AfterFunc(m.after, func() { _ = c.Process.Kill() }).Stop()
	}
	err := c.Wait()
	status, _ := c.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case status.Signaled() && status.Signal() == syscall.SIGKILL:
		v.count(&v.kills, 1)
		return true, ""
	case err != nil:
		return false, fmt.Sprintf("%q: %v: %s", args, err, said.String())
	}
	if took := time.Since(began); m.calls == "" && (v.took == 0 || took < v.took) {
		v.took = took
	}
	return false, ""
}

// finish lets v go on after a kill, to the end.
func (v *victim) finish(t *testing.T, m moment) {
	t.Helper()
	args := v.again
	if args == nil || v.whole != "" && tree(t, v.work)[v.whole] == v.old {
		args = v.args
	}
	v.count(&v.resumes, 1)
	if killed, text := v.start(t, args, moment{after: time.Hour}); killed || text != "" {
		t.Errorf("going on after a kill %v: %s", m, text)
	}
}

// look reads all files after a kill.
func (v *victim) look(t *testing.T, m moment) {
	t.Helper()
	for _, fault := range unreadable(v.work) {
		t.Errorf("kill %v: unreadable: %s", m, fault)
		v.count(&v.unreadable, 1)
	}
	if v.whole == "" {
		return
	}
	if have := tree(t, v.work)[v.whole]; have != v.old && have != v.want[v.whole] {
		t.Errorf("kill %v: %s is neither the old nor the new one", m, v.whole)
		v.count(&v.mismatches, 1)
	}
}

// compare holds that the files are those of a command that nobody has killed.
func (v *victim) compare(t *testing.T, m moment) {
	t.Helper()
	have := tree(t, v.work)
	for name, want := range v.want {
		if have[name] != want {
			t.Errorf("kill %v: %s: have %.12s, want %.12s", m, name, have[name], want)
			v.count(&v.mismatches, 1)
		}
	}
	for name := range have {
		if _, ok := v.want[name]; !ok {
			t.Errorf("kill %v: left over: %s", m, name)
			v.count(&v.left, 1)
		}
	}
}

// restore makes the folder of v as it is before it runs.
func (v *victim) restore(t *testing.T) {
	t.Helper()
	err := os.RemoveAll(v.work)
	if err == nil {
		err = os.MkdirAll(v.work, 0o755)
	}
	if err == nil && v.base != "" {
		err = os.CopyFS(v.work, os.DirFS(v.base))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// victims makes the data and the models that the commands work on. All paths are relative to the folder of k.
func (k *killing) victims(t *testing.T) (list []*victim) {
	must(t, "dataset", "demo", filepath.Join(k.dir, "demo"), "--classes", "gear,hex_nut", "--size", "64", "--train", "8", "--good", "4", "--bad", "1")
	vit := randomVit(t, 1)
	settings := func(work string) []string {
		list := []string{"-c", "quickstart"}
		for _, s := range []string{"output=" + work, "data.root=demo", "backbone.name=vit_tiny_patch16_224", "backbone.weights=" + vit,
			"backbone.layers=[0, 1]", "model.decoder_depth=2", "data.resize=64", "data.crop=64", "data.classes=[gear, hex_nut]", "train.objects=2",
			"train.warmup=1", "train.checkpoint_every=2", "train.iterations=12", "train.holdout=0.5", "train.cache_features=disk", "eval.map_size=64",
			"memory.codes=20", "memory.dims=4", "device=cpu"} {
			list = append(list, "--set", s)
		}
		return list
	}
	model := filepath.Join("quickstart", "checkpoint.safetensors")
	base := filepath.Join(k.dir, "base")
	add := func(name, base, whole string, args func(work string) (first, again []string)) *victim {
		v := &victim{killing: k, name: name, base: base, whole: whole, work: filepath.Join(k.dir, "work-"+name)}
		v.args, v.again = args(filepath.Base(v.work))
		list = append(list, v)
		return v
	}
	images := filepath.Join("demo", "realiad_demo", "gear", "OK")
	add("train", "", "", func(w string) (first, again []string) {
		first = append([]string{"train"}, settings(w)...)
		return first, append(slices.Clone(first), "--resume")
	}).chain = true
	maker := &victim{killing: k, name: "base", work: base}
	maker.restore(t)
	for _, args := range [][]string{append([]string{"train"}, settings("base")...), {"eval", "-m", filepath.Join("base", model), "--save-maps", filepath.Join("base", "maps")}} {
		if killed, text := maker.start(t, args, moment{after: time.Hour}); killed || text != "" {
			t.Fatal(text)
		}
	}
	of := func(more ...string) func(string) ([]string, []string) {
		return func(w string) (first, again []string) {
			for i, a := range more {
				more[i] = strings.ReplaceAll(a, "WORK", w)
			}
			return more, nil
		}
	}
	in := filepath.Join("WORK", model)
	add("prepare", "", "", func(w string) ([]string, []string) {
		return append([]string{"dataset", "prepare", "--cache", filepath.Join(w, "cache")}, settings(w)...), nil
	})
	add("demo", "", "", of("dataset", "demo", "WORK/set", "--classes", "gear", "--size", "64", "--train", "12", "--good", "2", "--bad", "2"))
	add("enroll", "", "", func(w string) ([]string, []string) { return append([]string{"enroll"}, settings(w)...), nil })
	add("eval", base, "", of("eval", "-m", in, "-o", "WORK/again", "--save-maps", "WORK/again/maps"))
	add("metrics", base, "", of("metrics", "WORK/maps", "-o", "WORK/scored"))
	add("calibrate", base, model, of("calibrate", "-m", in, images))
	add("enroll-class", base, model, func(w string) ([]string, []string) {
		first := []string{"enroll", "-m", filepath.Join(w, model), "--class", "wheel", images}
		return first, append(slices.Clone(first), "--replace")
	})
	add("bundle", base, "parts.mvag", of("export", "-m", in, "--format", "bundle", "-o", "WORK/parts.mvag", "--force"))
	add("onnx", base, "parts.onnx", of("export", "-m", in, "--format", "onnx", "-o", "WORK/parts.onnx", "--force"))
	add("external", base, "", of("export", "-m", in, "--format", "onnx", "--external", "-o", "WORK/more.onnx", "--force"))
	add("convert", "", "", of("backbone", "convert", vitUpTo(t, 11, 1), "WORK/vit.safetensors"))
	add("predict", base, "", of("predict", "-m", in, "-o", "WORK/out", "--maps", images))
	add("report", base, "quickstart/report.html", of("report", "WORK/quickstart"))
	return list
}
