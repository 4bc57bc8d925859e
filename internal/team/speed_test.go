package team_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"mvag-torch/internal/team"
	"mvag-torch/internal/team/teamtest"
	"mvag-torch/internal/tensor"
)

// TestReduceSpeed times the sum of so many gradients over two processes, for docs/distributed.md:
//
//	MVAG_BENCH_REDUCE=61425448 go test -run ReduceSpeed -v ./internal/team
func TestReduceSpeed(t *testing.T) {
	elements, err := strconv.ParseInt(os.Getenv("MVAG_BENCH_REDUCE"), 10, 64)
	if err != nil {
		t.Skip("MVAG_BENCH_REDUCE is not a number of elements")
	}
	const n = 2
	dir := teamtest.Run(t, n, func(tm *team.Team, dir string) {
		text := ""
		for _, as := range []tensor.DType{tensor.Float, tensor.BFloat16} {
			teamtest.OnThread(t, func(s *tensor.Scope) {
				p := tensor.Zeros(s, tensor.CPU, tensor.Float, elements).RequireGrad()
				r := tensor.NewGradients(s, tm.Group(), []*tensor.Tensor{p}, as)
				var times []time.Duration
				for range 7 {
					tensor.ClearGrads([]*tensor.Tensor{p})
					p.Square(s).Sum(s, false, 0).Backward()
					began := time.Now()
					r.Reduce()
					times = append(times, time.Since(began))
				}
				slices.Sort(times)
				text += fmt.Sprintf("%v: median %v, fastest %v; ", as, times[3].Round(time.Millisecond), times[0].Round(time.Millisecond))
			})
		}
		teamtest.Write(t, dir, tm.Rank(), []byte(text))
	})
	t.Logf("%d elements: %s", elements, teamtest.Read(t, dir, n)[0])
}
