package ranks_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mvag-torch/internal/ranks"
)

// local runs a script of the shell in n ranks and returns what they wrote to stdout and stderr.
func local(t *testing.T, ctx context.Context, n int, script string) (out, text string, err error) {
	t.Helper()
	dir := t.TempDir()
	files := [2]*os.File{}
	for i := range files {
		if files[i], err = os.Create(filepath.Join(dir, strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
		defer files[i].Close()
	}
	err = ranks.Local{Size: n, Path: "/bin/sh", Args: []string{"-c", script}, Stdout: files[0], Stderr: files[1],
		Grace: 300 * time.Millisecond}.Run(ctx)
	var read [2][]byte
	for i, f := range files {
		var failed error
		if read[i], failed = os.ReadFile(f.Name()); failed != nil {
			t.Fatal(failed)
		}
	}
	return string(read[0]), string(read[1]), err
}

func TestLocal(t *testing.T) {
	t.Setenv("MASTER_ADDR", "elsewhere")
	t.Setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
	out, text, err := local(t, t.Context(), 3, `echo "$RANK of $WORLD_SIZE"
		[ $RANK = 0 ] && [ $MVAG_LISTENER = 3 ] && [ -S /proc/self/fd/3 ] && echo socket
		[ $RANK = 0 ] || echo "$RANK $LOCAL_RANK $LOCAL_WORLD_SIZE $MASTER_ADDR $MVAG_LISTENER $TORCHELASTIC_USE_AGENT_STORE $MVAG_LAUNCHER" >&2
		[ $RANK != 2 ] || { echo mvag-torch: rank 2 \(here\): no disk; printf end; } >&2`)
	if err != nil || out != "0 of 3\nsocket\n" {
		t.Errorf("have %q, error %v, want the lines of rank 0", out, err)
	}
	for _, want := range []string{"rank 1: 1 1 3 127.0.0.1   mvag-torch\n", "rank 2: 2 2 3 127.0.0.1   mvag-torch\n", "mvag-torch: rank 2 (here): no disk\n", "rank 2: end\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("have %q, want %q in it", text, want)
		}
	}
	if strings.Count(text, "\n") != 4 {
		t.Errorf("have %q, want 4 lines", text)
	}
}

func TestLocalFailures(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		want   ranks.Ended
	}{
		"the first that failed": {"[ $RANK = 1 ] && exit 7; sleep 0.2; exit 3", ranks.Ended{Code: 7}},
		"one fails":             {"[ $RANK = 1 ] && exit 7; exit 0", ranks.Ended{Code: 7}},
		"killed, others tell":   {"[ $RANK = 1 ] && kill -9 $$; sleep 0.1; exit 3", ranks.Ended{Code: 1}},
		"killed, nobody tells":  {"[ $RANK = 1 ] && kill -9 $$; exit 0", ranks.Ended{Code: 1, Text: "rank 1: signal: killed"}},
		"others stay":           {"[ $RANK = 1 ] && exit 1; exec sleep 100", ranks.Ended{Code: 1, Text: "rank 0, 2 did not end within 300ms of rank 1 and was killed"}},
		"one is stopped":        {"[ $RANK = 1 ] && kill -STOP $$; exit 4", ranks.Ended{Code: 4, Text: "rank 1 did not end within 300ms of rank"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := local(t, t.Context(), 3, c.script)
			var have *ranks.Ended
			if !errors.As(err, &have) || have.Code != c.want.Code || !strings.HasPrefix(have.Text, c.want.Text) || c.want.Text == "" && have.Text != "" {
				t.Errorf("have %+v (%v), want %+v", have, err, c.want)
			}
		})
	}
	if err := (ranks.Local{Size: 2, Path: "/nowhere"}).Run(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "rank 0: ") {
		t.Errorf("no program: have %v", err)
	}
}

// TestLocalStops: all get the signal, once, and may end as they like.
func TestLocalStops(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	dir := t.TempDir()
	go func() { awaitReady(t, dir); stop() }()
	out, text, err := local(t, ctx, 2, fmt.Sprintf(`trap 'echo stopped >&2; exit 0' TERM; touch %s/ready-$RANK; while :; do sleep 0.02; done`, dir))
	if out != "" || strings.Count(text, "stopped\n") != 2 || err != nil {
		t.Errorf("have %q, %q, error %v, want both stopped", out, text, err)
	}
}

// TestLocalStopsEarly: ranks that the signal ends, since they do not heed it yet, are no failure of theirs.
func TestLocalStopsEarly(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	_, _, err := local(t, ctx, 2, "exec sleep 100")
	var have *ranks.Ended
	if !errors.As(err, &have) || have.Code != 143 || have.Text != "interrupted" || !errors.Is(err, context.Canceled) {
		t.Errorf("have %+v (%v), want that it was interrupted", have, err)
	}
}

// TestLocalStopsWithAFault: what has failed on the way counts, not that others have ended as they were told to.
func TestLocalStopsWithAFault(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	dir := t.TempDir()
	go func() { awaitReady(t, dir); stop() }()
	_, _, err := local(t, ctx, 2, fmt.Sprintf(`trap '[ $RANK = 0 ] && exit 143; while [ -d /proc/$(cat %[1]s/ready-0) ]; do sleep 0.02; done; exit 1' TERM
		echo $$ >%[1]s/new-$RANK; mv %[1]s/new-$RANK %[1]s/ready-$RANK; while :; do sleep 0.02; done`, dir))
	var have *ranks.Ended
	if !errors.As(err, &have) || have.Code != 1 || errors.Is(err, context.Canceled) {
		t.Errorf("have %+v (%v), want code 1 of the rank that has failed", have, err)
	}
}

// awaitReady waits until both of two ranks have said in the folder that they run.
func awaitReady(t *testing.T, dir string) {
	await(t, func() bool {
		all, err := filepath.Glob(filepath.Join(dir, "ready-*"))
		return err == nil && len(all) == 2
	})
}

// await fails after ten seconds.
func await(t *testing.T, done func() bool) {
	t.Helper()
	for began := time.Now(); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Error("have waited for ten seconds")
			return
		}
	}
}

// TestLocalDies: ranks do not outlive the process that has started them.
func TestLocalDies(t *testing.T) {
	const variable = "MVAG_TEST_DIES"
	if dir := os.Getenv(variable); dir != "" {
		_, _, err := local(t, t.Context(), 2, "echo $$ >"+dir+"/new-$RANK; mv "+dir+"/new-$RANK "+dir+"/pid-$RANK; while :; do sleep 0.02; done")
		t.Fatal(err)
	}
	dir := t.TempDir()
	parent := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	parent.Env = append(os.Environ(), variable+"="+dir)
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	for rank := range 2 {
		var pid int
		await(t, func() bool {
			text, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("pid-%d", rank)))
			if err == nil {
				pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
			}
			return err == nil
		})
		if rank == 0 {
			defer func() { await(t, func() bool { return gone(pid) }) }()
			continue
		}
		if err := parent.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = parent.Wait()
		await(t, func() bool { return gone(pid) })
	}
}

// gone says whether a process is over, whoever reaps it.
func gone(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(text), ") Z ") || syscall.Kill(pid, 0) != nil
}
