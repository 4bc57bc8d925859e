// Package teamtest runs tests in several processes that are a team.
package teamtest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mvag-torch/internal/ranks"
	"mvag-torch/internal/team"
	"mvag-torch/internal/tensor"
)

// What a process is told of: its call, and the folders of the calls of its test so far.
const variable, folders = "MVAG_TEST_TEAM", "MVAG_TEST_TEAM_DIRS"

var (
	mu    sync.Mutex
	calls = map[string][]string{} // the folders of those of Run by a test
)

// Run calls f in each of n processes, which are a team, and in no other: they run the test up to this call, and end
// after it. Where one of them fails, t does. It returns a folder that all have seen as dir.
func Run(t *testing.T, n int, f func(tm *team.Team, dir string)) (dir string) {
	t.Helper()
	dir, out := Start(t, n, f)
	for rank, p := range out {
		if err := p.Wait(); err != nil {
			t.Errorf("rank %d of %d: %v\n%s", rank, n, err, p.Output)
		}
	}
	return dir
}

// Process is a rank that [Start] started.
type Process struct {
	*exec.Cmd
	Output *bytes.Buffer // of both kinds
}

// Start is Run without waiting.
func Start(t *testing.T, n int, f func(tm *team.Team, dir string)) (dir string, all []Process) {
	t.Helper()
	mu.Lock()
	defer mu.Unlock()
	running, earlier := os.Getenv(variable), len(calls[t.Name()])
	call := fmt.Sprintf("%s#%d", t.Name(), earlier)
	if running == "" {
		dir = t.TempDir()
	} else {
		dir = filepath.SplitList(os.Getenv(folders))[earlier]
	}
	calls[t.Name()] = append(calls[t.Name()], dir)
	if running == call {
		be(t, dir, f)
		t.SkipNow()
	} else if running != "" {
		return dir, nil // an earlier call
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	port := l.Addr().(*net.TCPAddr).Port
	pattern := "^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$"
	for rank := range n {
		p := Process{exec.Command(os.Args[0], "-test.run="+pattern), &bytes.Buffer{}}
		p.Stdout, p.Stderr = p.Output, p.Output
		p.Env = append(os.Environ(), variable+"="+call, folders+"="+strings.Join(calls[t.Name()], ":"),
			fmt.Sprintf("RANK=%d", rank), fmt.Sprintf("WORLD_SIZE=%d", n), fmt.Sprintf("LOCAL_RANK=%d", rank), fmt.Sprintf("LOCAL_WORLD_SIZE=%d", n),
			fmt.Sprintf("MASTER_PORT=%d", port), "OMP_WAIT_POLICY=passive")
		if rank == 0 {
			p.ExtraFiles = []*os.File{socket}
			p.Env = append(p.Env, ranks.ListenerVariable+"=3")
		}
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Process.Kill() })
		all = append(all, p)
	}
	return dir, all
}

// be is a rank.
func be(t *testing.T, dir string, f func(tm *team.Team, dir string)) {
	t.Helper()
	place, err := ranks.FromEnv(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	tm, err := team.Join(context.Background(), place, team.Options{Version: "test", Wait: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	f(tm, dir)
	if t.Failed() {
		return // the others learn of it as of any death
	}
	if err := tm.Leave(); err != nil {
		t.Fatal(err)
	}
}

// Write keeps what a rank has found, and Read returns it for the ranks of a folder in order.
func Write(t *testing.T, dir string, rank int, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("rank-%d", rank)), data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// Read is described at Write.
func Read(t *testing.T, dir string, n int) (all [][]byte) {
	t.Helper()
	for rank := range n {
		data, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("rank-%d", rank)))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data)
	}
	return all
}

// OnThread calls f on the LibTorch thread; t fails with its error.
func OnThread(t *testing.T, f func(s *tensor.Scope)) {
	t.Helper()
	if err := tensor.Run(func(s *tensor.Scope) error { f(s); return nil }); err != nil {
		t.Fatal(err)
	}
}
