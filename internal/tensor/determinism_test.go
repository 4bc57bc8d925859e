package tensor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sugarme/gotch/libtch"
)

// TestDeterministic: an operation without a deterministic form is an error of one line that says what to set, and the
// environment of cuBLAS is what LibTorch wants, or refused.
func TestDeterministic(t *testing.T) {
	put := func() error { // of equal indices any may win
		return Run(func(s *Scope) error {
			x, index, y := Zeros(s, CPU, Float, 4), FromInts(s, CPU, []int64{1, 1}, 2), Full(s, CPU, Float, 1, 2)
			out := s.slot()
			libtch.AtgPut(&out.c, x.c, index.c, y.c, 0)
			out.done("put", x)
			return nil
		})
	}
	t.Setenv(workspaces, "")
	os.Unsetenv(workspaces)
	if err := put(); err != nil {
		t.Fatal(err)
	}
	if err := SetDeterministic(true); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := SetDeterministic(false); err != nil {
			t.Error(err)
		}
	}()
	if have := os.Getenv(workspaces); have != ":4096:8" {
		t.Errorf("%s: have %q", workspaces, have)
	}
	err := put()
	if err == nil || !strings.Contains(err.Error(), "put([4]): ") || !strings.HasSuffix(err.Error(), "want deterministic: false") || strings.Contains(err.Error(), "\n") {
		t.Errorf("have %v", err)
	}
	must(t, func(s *Scope) { // what the losses need
		if have := FromFloats(s, CPU, []float32{3, 1, 2}, 3).Kthvalue(s, 2, 0).Item(); have != 2 {
			t.Errorf("2nd smallest: have %v", have)
		}
	})
	if err := put(); err == nil {
		t.Error("allowed after another operation was")
	}
	for _, value := range []string{"", ":0:0", ":16:8"} {
		t.Setenv(workspaces, value)
		if err := SetDeterministic(true); (err == nil) != (value == ":16:8") || err != nil && !strings.Contains(err.Error(), "want :4096:8 or :16:8") {
			t.Errorf("%s=%q: have %v", workspaces, value, err)
		}
	}
	if CPUCapability() == "" {
		t.Error("LibTorch does not say which instructions it uses")
	}
}

// TestKernelsHaveNoAtomics: the order of sums in a kernel is written in it. Atomic additions would leave it to the
// scheduler.
func TestKernelsHaveNoAtomics(t *testing.T) {
	files, err := filepath.Glob("*.cu")
	if err != nil || len(files) < 5 {
		t.Fatalf("have %v, %v, want the kernels", files, err)
	}
	headers, err := filepath.Glob("*.h")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, headers...) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"atomicAdd", "atomicCAS", "atomicExch", "atomicMax", "atomicMin", "red.", "atom."} {
			if strings.Contains(string(text), word) {
				t.Errorf("%s has %s", file, word)
			}
		}
	}
}
