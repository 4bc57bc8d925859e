package team_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"mvag-torch/internal/team"
	"mvag-torch/internal/team/teamtest"
)

// TestSameError: of an error that all ranks have, one speaks.
func TestSameError(t *testing.T) {
	const n = 3
	dir := teamtest.Run(t, n, func(tm *team.Team, dir string) {
		var f *team.Failure
		err := tm.Explain(errors.New("no data"))
		quiet := errors.As(err, &f) && f.Quiet
		if !strings.HasSuffix(err.Error(), "): no data") {
			t.Errorf("have %v", err)
		}
		teamtest.Write(t, dir, tm.Rank(), fmt.Append(nil, quiet))
		os.Exit(0)
	})
	loud := 0
	for _, quiet := range teamtest.Read(t, dir, n) {
		if string(quiet) == "false" {
			loud++
		}
	}
	if loud != 1 {
		t.Errorf("have %d ranks that speak, want 1", loud)
	}
}

// TestLossAtTheEnd: a rank that waits for the others to be done, too, learns which one is gone.
func TestLossAtTheEnd(t *testing.T) {
	for _, gone := range []int{0, 1} {
		t.Run(fmt.Sprint(gone), func(t *testing.T) {
			_, all := teamtest.Start(t, 2, func(tm *team.Team, _ string) {
				if tm.Rank() == gone {
					if _, err := tm.Meet(nil, nil); err != nil {
						t.Fatal(err)
					}
					_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				}
				if _, err := tm.Meet(nil, nil); err != nil {
					t.Fatal(err)
				}
				f := failure(t, tm.Leave())
				if f.Rank != gone || !f.Gone() || f.Quiet {
					t.Fatalf("have %v, quiet %v, want that rank %d is gone", f, f.Quiet, gone)
				}
				os.Exit(0)
			})
			for rank, p := range all {
				if err := p.Wait(); err != nil && rank != gone {
					t.Errorf("rank %d: %v\n%s", rank, err, p.Output)
				}
			}
		})
	}
}
