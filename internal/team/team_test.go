package team_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"mvag-torch/internal/ranks"
	"mvag-torch/internal/team"
	"mvag-torch/internal/team/teamtest"
	"mvag-torch/internal/tensor"
)

func TestCollectives(t *testing.T) {
	const n = 3
	teamtest.Run(t, n, func(tm *team.Team, _ string) {
		teamtest.OnThread(t, func(s *tensor.Scope) {
			rank, g := float32(tm.Rank()), tm.Group()
			x := tensor.FromFloats(s, tensor.CPU, []float32{rank, 1}, 2)
			if have := fmt.Sprint(g.AllGather(s, x).Floats()); have != "[0 1 1 1 2 1]" {
				t.Errorf("all-gather: have %v", have)
			}
			g.AllReduce(x)
			if have := fmt.Sprint(x.Floats()); have != "[3 3]" {
				t.Errorf("all-reduce: have %v", have)
			}
			half := tensor.FromFloats(s, tensor.CPU, []float32{rank + 0.5}, 1).To(s, tensor.BFloat16)
			g.AllReduce(half)
			if have := half.To(s, tensor.Float).Item(); have != 4.5 {
				t.Errorf("all-reduce in bfloat16: have %v", have)
			}
			if have := fmt.Sprint(g.Exchange([]byte{byte(tm.Rank()), 7})); have != "[[0 7] [1 7] [2 7]]" {
				t.Errorf("exchange: have %v", have)
			}
			for _, of := range []struct {
				have [][]float32
				want string
			}{{g.Gather([]float32{1, 2, 3}[:tm.Rank()]), "[[] [1] [1 2]]"}, {g.Gather(nil), "[[] [] []]"}} {
				if tm.Rank() > 0 {
					of.want = "[]"
				}
				if have := fmt.Sprint(of.have); have != of.want {
					t.Errorf("gather: have %v, want %v", have, of.want)
				}
			}
		})
		if !signal.Ignored(syscall.SIGPIPE) {
			t.Error("what Gloo writes to a rank that is gone ends this one without a word")
		}
		if g := tm.Group(); g.Rank() != tm.Rank() || g.Size() != n || tm.Size() != n {
			t.Errorf("have rank %d of %d, %d", g.Rank(), g.Size(), tm.Size())
		}
	})
}

func TestGradients(t *testing.T) {
	teamtest.Run(t, 2, func(tm *team.Team, _ string) {
		for _, as := range []tensor.DType{tensor.Float, tensor.BFloat16} {
			teamtest.OnThread(t, func(s *tensor.Scope) {
				a := tensor.FromFloats(s, tensor.CPU, []float32{1, 2, 3, 4}, 2, 2).RequireGrad()
				unused := tensor.FromFloats(s, tensor.CPU, []float32{1}).RequireGrad()
				b := tensor.FromFloats(s, tensor.CPU, []float32{5}).RequireGrad()
				params := []*tensor.Tensor{a, unused, b}
				r := tensor.NewGradients(s, tm.Group(), params, as)
				for step := range 3 {
					by := tensor.FromFloats(s, tensor.CPU, []float32{float32(1 + tm.Rank() + step)}, 1)
					a.Square(s).Sum(s, false, 0, 1).Add(s, b).Mul(s, by).Sum(s, false, 0).Backward()
					r.Reduce()
					k := float32(3 + 2*step)
					if have, want := fmt.Sprint(a.Grad(s).Floats(), b.Grad(s).Floats()), fmt.Sprint([]float32{2 * k, 4 * k, 6 * k, 8 * k}, []float32{k}); have != want {
						t.Errorf("%v, step %d: have %v, want %v", as, step, have, want)
					}
					if unused.Grad(s) != nil {
						t.Error("a parameter without gradient has one")
					}
					tensor.ClearGrads(params)
				}
			})
		}
	})
}

func TestMeet(t *testing.T) {
	teamtest.Run(t, 2, func(tm *team.Team, _ string) {
		long := bytes.Repeat([]byte{byte('a' + tm.Rank())}, 1000*tm.Rank())
		for _, mine := range [][]byte{nil, []byte("x"), long} {
			said, err := tm.Meet(mine, nil)
			if err != nil || len(said) != 2 || !bytes.Equal(said[tm.Rank()], mine) {
				t.Fatalf("have %d answers, %v", len(said), err)
			}
			if len(mine) > 300 && len(said[0]) != 0 {
				t.Errorf("have %d bytes of rank 0, want none", len(said[0]))
			}
		}
		if err := tm.Agree(team.Fact{Name: "seed", Value: "7"}); err != nil {
			t.Error(err)
		}
		host, _ := os.Hostname()
		err := tm.Agree(team.Fact{Name: "a", Value: "7"}, team.Fact{Name: "seed", Value: fmt.Sprint(tm.Rank())})
		want := fmt.Sprintf(`rank 1 (%s): seed: have "1", want "0" as rank 0 (%s)`, host, host)
		if f := failure(t, err); f.Error() != want || f.Quiet != (tm.Rank() == 1) {
			t.Errorf("have %v, quiet %v, want %s", f, f.Quiet, want)
		}
		var mine error
		if tm.Rank() == 1 {
			mine = errors.New("no disk")
		}
		_, err = tm.Meet(nil, mine)
		if want := fmt.Sprintf("rank 1 (%s): no disk", host); err == nil || err.Error() != want || errors.Is(err, mine) != (tm.Rank() == 1) {
			t.Errorf("have %v, want %s", err, want)
		}
		if have := tm.Explain(err); have != err {
			t.Errorf("have %v, want %v", have, err)
		}
	})
}

func failure(t *testing.T, err error) *team.Failure {
	t.Helper()
	var f *team.Failure
	if !errors.As(err, &f) {
		t.Fatalf("have %v, want a failure", err)
	}
	return f
}

// TestLoss: the others learn within ten seconds which rank is gone, however it went.
func TestLoss(t *testing.T) {
	for name, c := range map[string]struct {
		rank int // that goes
		how  func() error
		want string
	}{
		"killed":  {1, func() error { return syscall.Kill(os.Getpid(), syscall.SIGKILL) }, "is gone: it was killed, or its connection is closed"},
		"first":   {0, func() error { return syscall.Kill(os.Getpid(), syscall.SIGKILL) }, "is gone: it was killed, or its connection is closed"},
		"stopped": {1, func() error { return syscall.Kill(os.Getpid(), syscall.SIGSTOP) }, "gives no sign any more: it is stopped, or its host or network is down"},
		"failed":  {2, func() error { return errors.New("no disk") }, "no disk"},
	} {
		t.Run(name, func(t *testing.T) {
			_, all := teamtest.Start(t, 3, func(tm *team.Team, _ string) {
				if _, err := tm.Meet(nil, nil); err != nil {
					t.Fatal(err)
				}
				if tm.Rank() == c.rank {
					if err := c.how(); err != nil {
						fmt.Println(tm.Explain(err))
						os.Exit(9)
					}
					time.Sleep(time.Hour) // until the signal comes
				}
				began := time.Now()
				_, err := tm.Meet(nil, nil)
				f := failure(t, tm.Explain(err))
				speaks := 0
				if c.rank == 0 {
					speaks = 1
				}
				code, took := 0, time.Since(began)
				if loud := c.rank != 2 && tm.Rank() == speaks; f.Rank != c.rank || f.Text != c.want || f.Quiet == loud || took > 10*time.Second {
					fmt.Printf("have %v, quiet %v after %v, want rank %d, %s\n", f, f.Quiet, took, c.rank, c.want)
					code = 1
				}
				os.Exit(code)
			})
			for rank, p := range all {
				if rank != c.rank {
					if err := p.Wait(); err != nil {
						t.Errorf("rank %d: %v\n%s", rank, err, p.Output)
					}
				}
			}
		})
	}
}

// TestFaultyStarts: each rank of a team that cannot be says why.
func TestFaultyStarts(t *testing.T) {
	join := func(rank, size, port int, o team.Options) error {
		_, err := team.Join(context.Background(), &ranks.Place{Rank: rank, Size: size, LocalSize: 1, Host: "127.0.0.1", Port: port, Listener: -1, Launcher: "torchrun"}, o)
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := join(0, 2, port, team.Options{Wait: time.Second}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("cannot listen at port %d", port)) {
		t.Errorf("a port in use: have %v", err)
	}
	l.Close()
	if err := join(1, 2, port, team.Options{Wait: time.Second}); err == nil || !strings.Contains(err.Error(), "where rank 0 or torchrun should answer") {
		t.Errorf("no rank 0: have %v", err)
	}
	if err := join(0, 3, port, team.Options{Wait: time.Second}); err == nil || err.Error() != "after 1s have 1 of 3 ranks, without 1, 2" {
		t.Errorf("others are missing: have %v", err)
	}
	results := make(chan error, 3)
	for _, rank := range []int{0, 1, 1} {
		go func() { results <- join(rank, 3, port+1, team.Options{Wait: 10 * time.Second}) }()
	}
	for range 3 {
		if err := <-results; err == nil || !strings.Contains(err.Error(), "have this rank twice: process") {
			t.Errorf("two ranks with one number: have %v", err)
		}
	}
	for i, c := range []struct {
		size int // as rank 1 has it
		o    team.Options
		want string
	}{
		{2, team.Options{Version: "v1"}, "version: have v1, want v0 as rank 0"},
		{3, team.Options{Version: "v0"}, "number of ranks: have 3, want 2 as rank 0"},
		{2, team.Options{Version: "v0", Command: "eval"}, "command: have eval, want  as rank 0"},
	} {
		c.o.Wait = 10 * time.Second
		go func() { results <- join(0, 2, port+2+i, team.Options{Version: "v0", Wait: c.o.Wait}) }()
		go func() { results <- join(1, c.size, port+2+i, c.o) }()
		for range 2 {
			if err := <-results; err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("have %v, want %s", err, c.want)
			}
		}
	}
}
