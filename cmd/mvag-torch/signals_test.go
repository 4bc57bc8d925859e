package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mvag-torch/inspect/inspecttest"
	"mvag-torch/internal/interrupt"
)

// await waits until something is so.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for began := time.Now(); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > 2*time.Minute {
			t.Fatalf("have waited for two minutes: %s", what)
		}
	}
}

// ignores tells whether a process ignores a signal.
func ignores(t *testing.T, pid int, s syscall.Signal) bool {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ = bytes.Cut(text, []byte("\nSigIgn:\t"))
	mask, err := strconv.ParseUint(string(text[:16]), 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return mask&(1<<(s-1)) != 0
}

// TestSignals: a training that is asked to end writes a checkpoint and ends within five seconds, with the exit code of
// the signal; here the time is bounded for a busy machine.
func TestSignals(t *testing.T) {
	for name, c := range map[string]struct {
		signals []syscall.Signal // one after the other, which count as one
		code    int
	}{
		"SIGTERM":        {[]syscall.Signal{syscall.SIGTERM}, 143},
		"Ctrl-C":         {[]syscall.Signal{syscall.SIGINT}, 130},
		"closed":         {[]syscall.Signal{syscall.SIGHUP}, 129},
		"twice at once":  {[]syscall.Signal{syscall.SIGTERM, syscall.SIGTERM}, 143},
		"nohup, SIGTERM": {[]syscall.Signal{syscall.SIGTERM}, 143},
	} {
		dir, setting := spread(t, iterations(100000)...)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args, nohup := append([]string{"train"}, setting...), strings.HasPrefix(name, "nohup")
			p := program{exec.Command(os.Args[0], args...), &bytes.Buffer{}, &bytes.Buffer{}}
			if nohup {
				p.Cmd = exec.Command("/bin/sh", append([]string{"-c", `trap '' HUP; exec "$0" "$@"`, os.Args[0]}, args...)...)
			}
			p.Stderr = p.text
			p.Env = append(os.Environ(), mainVariable+"=v1", "OMP_NUM_THREADS=1")
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = p.Process.Kill() })
			reached(t, dir)
			if nohup {
				before := iteration(t, dir)
				send(t, p.Process, syscall.SIGHUP)
				await(t, "iterations after a SIGHUP", func() bool { return iteration(t, dir) > before+2 })
			}
			began := time.Now()
			for _, s := range c.signals {
				send(t, p.Process, s)
			}
			code, text, failures := p.end(t)
			want := fmt.Sprintf("mvag-torch: interrupted after %d of 100000 iterations; go on with --resume", iteration(t, dir))
			took := time.Since(began)
			t.Logf("ended after %v", took)
			if code != c.code || len(failures) != 1 || failures[0] != want || took > 30*time.Second { // 5 where nothing else runs
				t.Errorf("after %v have code %d, %s, want %d and %q", took, code, text, c.code, want)
			}
		})
	}
}

func send(t *testing.T, p *os.Process, s syscall.Signal) {
	t.Helper()
	if err := p.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// TestSecondSignal: what cannot end in order, as it waits for its input here, ends with the second signal.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		first, second syscall.Signal
		code          int
	}{
		"Ctrl-C twice":         {syscall.SIGINT, syscall.SIGINT, 130},
		"SIGTERM twice":        {syscall.SIGTERM, syscall.SIGTERM, 143},
		"Ctrl-C, then SIGTERM": {syscall.SIGINT, syscall.SIGTERM, 143},
	} {
		t.Run(name, func(t *testing.T) {
			p := program{exec.Command(os.Args[0], "probe"), &bytes.Buffer{}, &bytes.Buffer{}}
			p.Env, p.Stderr = append(os.Environ(), mainVariable+"=v1"), p.text
			in, err := p.StdinPipe()
			if err == nil {
				err = p.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = p.Process.Kill() })
			if _, err := in.Write(make([]byte, 1<<20)); err != nil { // more than a pipe holds: it is reading
				t.Fatal(err)
			}
			send(t, p.Process, c.first)
			await(t, "the first signal", func() bool { return ignores(t, p.Process.Pid, syscall.SIGPIPE) })
			time.Sleep(once + 50*time.Millisecond)
			send(t, p.Process, c.second)
			began := time.Now()
			if code, text, _ := p.end(t); code != c.code || text != "" || time.Since(began) > 30*time.Second {
				t.Errorf("after %v have code %d, %q, want %d", time.Since(began), code, text, c.code)
			}
		})
	}
}

// TestSecondSignalToRanks: Ctrl-C ends all ranks in order; where one is stopped, the second ends the others and it.
func TestSecondSignalToRanks(t *testing.T) {
	dir, setting := spread(t, iterations(100000)...)
	t.Parallel()
	args := append([]string{"train", "--processes", "2"}, setting...)
	p := start(t, nil, args...)
	reached(t, dir)
	send(t, p.Process, syscall.SIGINT)
	code, text, failures := p.end(t)
	if code != 130 || len(failures) != 1 || !strings.Contains(failures[0], "interrupted after ") {
		t.Errorf("have code %d, %s, want 130 and one line", code, text)
	}
	p = start(t, nil, append(args, "--resume")...)
	at := iteration(t, dir)
	await(t, "iterations", func() bool { return iteration(t, dir) > at })
	ranks := []int{rankOf(t, p.Process.Pid, 0), rankOf(t, p.Process.Pid, 1)}
	if err := syscall.Kill(ranks[1], syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	send(t, p.Process, syscall.SIGINT)
	await(t, "the first signal", func() bool { return ignores(t, p.Process.Pid, syscall.SIGPIPE) })
	time.Sleep(once + 50*time.Millisecond)
	send(t, p.Process, syscall.SIGINT)
	if code, text, failures := p.end(t); code != 130 || failures != nil {
		t.Errorf("have code %d, %s, want 130 and nothing more", code, text)
	}
	for rank, pid := range ranks {
		await(t, fmt.Sprintf("the end of rank %d", rank), func() bool {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			return err != nil || strings.Contains(string(stat), ") Z ")
		})
	}
}

// TestSignalsToTheService: SIGHUP loads the models again, SIGTERM ends the service without an error.
func TestSignalsToTheService(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	file, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	p := program{exec.Command(os.Args[0], "serve", "-m", inspecttest.Checkpoint(t), "--addr", "127.0.0.1:0", "--out", dir), &bytes.Buffer{}, &bytes.Buffer{}}
	p.Env, p.Stderr = append(os.Environ(), mainVariable+"=v1"), file
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill() })
	says := func(text string) func() bool {
		return func() bool {
			have, err := os.ReadFile(log)
			return err == nil && strings.Contains(string(have), text)
		}
	}
	await(t, "ready", says("msg=ready"))
	send(t, p.Process, syscall.SIGHUP)
	await(t, "a SIGHUP", says("models are loaded again"))
	send(t, p.Process, syscall.SIGTERM)
	if code, _, _ := p.end(t); code != 0 || !says("msg=stopped")() {
		have, _ := os.ReadFile(log)
		t.Errorf("have code %d, %s, want 0 and that it has stopped", code, have)
	}
}

// TestInterruptedCommands: what a command says that was told to end before it began to work.
func TestInterruptedCommands(t *testing.T) {
	dir, model, setting := trained(t, "--set", "train.holdout=0.5", "--set", "memory.codes=20", "--set", "memory.dims=4")
	images := filepath.Join(dir, "demo", "realiad_demo", "gear", "OK")
	other := append(append([]string(nil), setting...), "--set", "name=other")
	maps := filepath.Join(dir, "maps")
	must(t, "eval", "-m", model, "-o", filepath.Join(dir, "ev"), "--save-maps", maps)
	ctx, end := context.WithCancelCause(t.Context())
	end(&stopped{syscall.SIGTERM})
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"train":        {append([]string{"train"}, other...), "interrupted after 0 of 2 iterations; go on with --resume"},
		"trained":      {append([]string{"train", "--resume"}, setting...), "interrupted after all iterations, without thresholds; go on with --resume"},
		"enroll":       {append([]string{"enroll"}, other...), "interrupted; nothing is written, and the same command starts again"},
		"enroll class": {[]string{"enroll", "-m", model, "--class", "wheel", images}, unchanged},
		"calibrate":    {[]string{"calibrate", "-m", model}, unchanged},
		"eval":         {[]string{"eval", "-m", model, "-o", filepath.Join(dir, "e")}, goesOn + ": 0 classes of 3 finished"},
		"predict":      {[]string{"predict", "-m", model, images}, "interrupted after 0 images; the same command starts with the first again"},
		"metrics":      {[]string{"metrics", maps}, startsAgain},
		"prepare":      {append([]string{"dataset", "prepare", "--cache", filepath.Join(dir, "cache")}, setting...), goesOn},
		"check":        {append([]string{"dataset", "check"}, setting...), startsAgain},
		"demo":         {[]string{"dataset", "demo", filepath.Join(dir, "demo2"), "--size", "64"}, startsAgain},
		"bundle":       {[]string{"export", "-m", model, "--format", "bundle", "-o", filepath.Join(dir, "b.mvag")}, "interrupted; nothing is written"},
		"onnx":         {[]string{"export", "-m", model, "--format", "onnx", "-o", filepath.Join(dir, "b.onnx")}, "interrupted; nothing is written"},
		"doctor":       {append([]string{"doctor"}, setting...), startsAgain},
		"fetch":        {[]string{"backbone", "fetch", "vit_base_patch14_reg4_dinov2", "-o", filepath.Join(dir, "fetched")}, goesOn},
		"loader":       {[]string{"bench", "--what", "loader"}, startsAgain},
		"steps":        {[]string{"bench", "--what", "train"}, startsAgain},
		"inference":    {[]string{"bench", "--what", "infer"}, startsAgain},
		"info":         {[]string{"info", model}, startsAgain},
		"report":       {[]string{"report", filepath.Dir(model)}, startsAgain},
		"backbone":     {[]string{"backbone", "info", filepath.Join(dir, "vits14.safetensors")}, startsAgain},
		"convert":      {[]string{"backbone", "convert", filepath.Join(dir, "vits14.safetensors"), filepath.Join(dir, "c.safetensors")}, startsAgain},
	} {
		t.Run(name, func(t *testing.T) {
			err := run(ctx, append([]string{"mvag-torch"}, c.args...))
			if err == nil {
				t.Fatal("no error")
			}
			if code, text := explain(ctx, err); code != 143 || text != c.want {
				t.Errorf("have %d, %q (%#v), want 143, %q", code, text, err, c.want)
			}
		})
	}
}

// TestExplainAfterASignal: what failed on the way is not hidden by the signal.
func TestExplainAfterASignal(t *testing.T) {
	ctx, end := context.WithCancelCause(t.Context())
	end(&stopped{syscall.SIGINT})
	full := fmt.Errorf("checkpoint: %w", syscall.ENOSPC)
	for name, c := range map[string]struct {
		err  error
		code int
		text string
	}{
		"of the context":  {interrupted(ctx, context.Cause(ctx), goesOn), 130, goesOn},
		"wrapped":         {interrupted(ctx, fmt.Errorf("image 3: %w", ctx.Err()), goesOn), 130, goesOn},
		"said already":    {interrupted(ctx, interrupt.Error("interrupted after 3"), goesOn), 130, "interrupted after 3"},
		"something else":  {interrupted(ctx, full, goesOn), 1, full.Error()},
		"wrong use":       {interrupted(ctx, usageError{errors.New("no")}, goesOn), 2, "no"},
		"another context": {interrupted(t.Context(), context.Canceled, goesOn), 130, context.Canceled.Error()},
	} {
		if code, text := explain(ctx, c.err); code != c.code || text != c.text {
			t.Errorf("%s: have %d, %q, want %d, %q", name, code, text, c.code, c.text)
		}
	}
}

// TestPathsThatDoNotCome: standard input that gives nothing does not keep a command.
func TestPathsThatDoNotCome(t *testing.T) {
	in, keep := io.Pipe()
	defer keep.Close()
	ctx, end := context.WithCancelCause(t.Context())
	time.AfterFunc(20*time.Millisecond, func() { end(&stopped{syscall.SIGINT}) })
	if text, err := io.ReadAll(untilEnd{ctx, in}); !errors.Is(err, context.Canceled) || len(text) > 0 {
		t.Errorf("have %q, %v", text, err)
	}
	all, err := io.ReadAll(untilEnd{t.Context(), strings.NewReader(strings.Repeat("path\n", 1000))})
	if err != nil || len(all) != 5000 {
		t.Errorf("have %d bytes, %v, want all", len(all), err)
	}
}
