package testenv

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"testing"
)

// Usage is what a process holds of its system.
type Usage struct {
	Handles, Goroutines, Threads int
	Resident                     int64 // bytes of memory that belong to no file, without Go's garbage
}

// Measure returns the usage of this process.
func Measure(t testing.TB) (u Usage) {
	t.Helper()
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("no /proc")
	}
	for line := range bytes.Lines(text) {
		_, _ = fmt.Sscanf(string(line), "Threads: %d", &u.Threads)
		if n, _ := fmt.Sscanf(string(line), "RssAnon: %d kB", &u.Resident); n == 1 {
			u.Resident <<= 10
		}
	}
	handles, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	u.Handles, u.Goroutines = len(handles)-1, runtime.NumGoroutine() // without that of reading the folder
	return u
}

// Least returns the least of each of the counts of u and v, and the latter's memory: what comes and goes is not held.
func (u Usage) Least(v Usage) Usage {
	return Usage{min(u.Handles, v.Handles), min(u.Goroutines, v.Goroutines), min(u.Threads, v.Threads), v.Resident}
}

// String is a row of a table: handles, goroutines, threads, MiB.
func (u Usage) String() string {
	return fmt.Sprintf("%8d %11d %8d %8.1f", u.Handles, u.Goroutines, u.Threads, float64(u.Resident)/(1<<20))
}

// UsageHead is the head of that table.
const UsageHead = " handles  goroutines  threads      MiB"

// Threads that Go starts for calls that block come and stay, a few in all.
const moreThreads = 8

// CheckFlat compares usages after two numbers of steps or objects. Handles and goroutines are equal; memory grew by
// growth at most.
func CheckFlat(t testing.TB, first, last Usage, growth int64) {
	t.Helper()
	if last.Handles > first.Handles || last.Goroutines > first.Goroutines || last.Threads > first.Threads+moreThreads {
		t.Errorf("handles, goroutines, threads: have %d, %d, %d, want %d, %d and at most %d", last.Handles, last.Goroutines, last.Threads,
			first.Handles, first.Goroutines, first.Threads+moreThreads)
	}
	if grown := last.Resident - first.Resident; grown > growth {
		t.Errorf("memory grew by %.1f MiB, want at most %.1f", float64(grown)/(1<<20), float64(growth)/(1<<20))
	}
}
