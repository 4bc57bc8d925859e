package tensor

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// bug panics as a fault of the program would.
func bug(indices []int) int { return indices[len(indices)] }

// TestPanicKeepsItsStack: a panic of a job, which runs on another goroutine, shows where it happened.
func TestPanicKeepsItsStack(t *testing.T) {
	defer func() {
		text := fmt.Sprint(recover())
		for _, want := range []string{"index out of range", "tensor.bug("} {
			if !strings.Contains(text, want) {
				t.Errorf("have %q, want %q in it", text, want)
			}
		}
		must(t, func(s *Scope) { Zeros(s, CPU, Float, 1) }) // the thread works on
	}()
	_ = Run(func(*Scope) error { bug(nil); return nil })
}

// TestEndedGoroutine: a job that ends its goroutine, as FailNow does, ends that of its caller, and the next job runs.
func TestEndedGoroutine(t *testing.T) {
	returned, ended := false, make(chan struct{})
	go func() {
		defer close(ended)
		_ = Run(func(s *Scope) error {
			Zeros(s, CPU, Float, 1)
			runtime.Goexit()
			return nil
		})
		returned = true
	}()
	<-ended
	if returned {
		t.Error("the caller goes on, want its end")
	}
	must(t, func(s *Scope) { Zeros(s, CPU, Float, 1) })
}

// TestFailedCaptureIsAnnounced: whoever replays work learns once why it cannot be captured.
func TestFailedCaptureIsAnnounced(t *testing.T) {
	must(t, func(s *Scope) {
		var told []error
		r := NewReplayer(s, CPU, true, func(why error) { told = append(told, why) })
		r.Record = RecordGraph // which wants a CUDA device
		work := func(s *Scope, in []*Tensor) *Tensor { return in[0].AddScalar(s, 1) }
		for range 5 {
			if have := r.Call(s, "work", []*Tensor{Zeros(s, CPU, Float, 1)}, work).Item(); have != 1 {
				t.Errorf("have %v, want 1", have)
			}
		}
		if len(told) != 1 || !strings.Contains(told[0].Error(), "want a CUDA device") {
			t.Errorf("have %v, want one error", told)
		}
	})
}
