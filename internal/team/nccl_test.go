package team_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"mvag-torch/internal/team"
	"mvag-torch/internal/team/teamtest"
	"mvag-torch/internal/tensor"
)

// gpus is the number of ranks that can have a GPU each here: those of the stub of make dry-cuda share one. It skips the
// test where there is none.
func gpus(t *testing.T) int {
	t.Helper()
	n, err := tensor.CUDADevices()
	if err != nil || n == 0 {
		t.Skip("no CUDA device")
	}
	if name, _, _, _, err := tensor.DeviceInfo(0); err == nil && name == "stub" {
		return 2
	}
	return n
}

// TestCollectivesOnCUDA calls NCCL, and captures it in a graph. The stub gives each rank what it sent itself.
func TestCollectivesOnCUDA(t *testing.T) {
	n := gpus(t)
	teamtest.Run(t, n, func(tm *team.Team, _ string) {
		d, err := tensor.PickDevice("cuda")
		if err == nil {
			err = tm.Group().Use(d)
		}
		if err != nil {
			t.Fatal(err)
		}
		name, _, _, _, _ := tensor.DeviceInfo(d)
		teamtest.OnThread(t, func(s *tensor.Scope) {
			g, sum, all := tm.Group(), float32(0), ""
			for rank := range n {
				sent := float32(rank + 1)
				if name == "stub" {
					sent = float32(tm.Rank() + 1)
				}
				sum += sent
				all += fmt.Sprint(sent, sent, " ")
			}
			if name == "stub" {
				sum = float32(tm.Rank() + 1)
			}
			x := tensor.FromFloats(s, d, []float32{float32(tm.Rank() + 1), float32(tm.Rank() + 1)}, 2)
			if have := fmt.Sprint(g.AllGather(s, x).Floats()); have != "["+strings.TrimSuffix(all, " ")+"]" {
				t.Errorf("all-gather: have %v, want %v", have, all)
			}
			g.AllReduce(x)
			if have := x.Floats(); have[0] != sum || have[1] != sum {
				t.Errorf("all-reduce: have %v, want %v", have, sum)
			}
			graph, err := tensor.RecordGraph(s, d, nil, func() { g.AllReduce(x); g.AllGather(s, x) })
			if err != nil {
				t.Fatal(err)
			}
			graph.Replay()
			if have, want := x.Floats()[0], sum*float32(n); name != "stub" && have != want {
				t.Errorf("replay: have %v, want %v", have, want)
			}
		})
	})
}

// TestNCCLFailsOnCUDA: what fails in NCCL without anybody waiting for it ends the team.
func TestNCCLFailsOnCUDA(t *testing.T) {
	gpus(t)
	if name, _, _, _, _ := tensor.DeviceInfo(0); name != "stub" {
		t.Skip("a GPU would have to fail")
	}
	t.Setenv("MVAG_STUB_NCCL", "6")
	_, all := teamtest.Start(t, 2, func(tm *team.Team, _ string) {
		if err := tm.Group().Use(0); err != nil {
			t.Fatal(err)
		}
		var err error
		for err == nil {
			_, err = tm.Meet(nil, nil)
		}
		have := tm.Explain(err)
		fmt.Println(have)
		var ended *team.Failure // the other one, earlier
		code := 1
		if strings.Contains(have.Error(), "all still give signs: NCCL: remote process exited") || errors.As(have, &ended) {
			code = 0
		}
		os.Exit(code)
	})
	for rank, p := range all {
		if err := p.Wait(); err != nil {
			t.Errorf("rank %d: have %v, %s", rank, err, p.Output)
		}
	}
}
