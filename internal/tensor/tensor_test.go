package tensor

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"mvag-torch/internal/golden"
	"mvag-torch/internal/libtorch"
)

// must runs f on the LibTorch thread and fails the test on an error.
func must(t *testing.T, f func(*Scope)) {
	t.Helper()
	if err := Run(func(s *Scope) error { f(s); return nil }); err != nil {
		t.Fatal(err)
	}
}

func TestFailingOperationIsAnErrorWithShapes(t *testing.T) {
	err := Run(func(s *Scope) error {
		Zeros(s, CPU, Float, 2, 3).Matmul(s, Zeros(s, CPU, Float, 4, 5))
		return nil
	})
	var e *Error
	if !errors.As(err, &e) || e.Op != "matmul" || len(e.Shapes) != 2 || !slices.Equal(e.Shapes[1], []int64{4, 5}) {
		t.Fatalf("have %v, want a matmul error with both shapes", err)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Fatalf("error of several lines: %q", err)
	}
	must(t, func(s *Scope) { // the thread works on
		if got := Zeros(s, CPU, Float, 3).AddScalar(s, 2).Floats(); !slices.Equal(got, []float32{2, 2, 2}) {
			t.Errorf("have %v", got)
		}
	})
	err = Run(func(s *Scope) error {
		Zeros(s, CPU, Float, 3).CopyFrom(Zeros(s, CPU, Float, 4))
		return nil
	})
	if err == nil {
		t.Error("copying 4 numbers to 3: no error")
	}
}

func TestScopesFreeWhatTheyMade(t *testing.T) {
	before := Live()
	must(t, func(s *Scope) {
		x := Zeros(s, CPU, Float, 4)
		kept := s.Local(func(s *Scope) *Tensor {
			for range 1000 {
				x = x.AddScalar(s, 1)
			}
			return x
		})
		if have := Live() - before; have != 2 {
			t.Errorf("live tensors: have %d, want 2", have)
		}
		if got := kept.Floats(); got[0] != 1000 {
			t.Errorf("have %v, want 1000", got)
		}
		outer := Zeros(s, CPU, Float, 1)
		if got := s.Local(func(*Scope) *Tensor { return outer }); got != outer {
			t.Error("Local moved a tensor of the outer scope")
		}
	})
	_ = Run(func(s *Scope) error {
		Zeros(s, CPU, Float, 2).Local2(s)
		return nil
	})
	if have := Live(); have != before {
		t.Errorf("live tensors: have %d, want %d", have, before)
	}
}

// TestLocalWithinLocal: where f makes results in the outer scope and calls its Local, too, no scope is lost, and both are
// used again. Blocks of a lost one would never be freed.
func TestLocalWithinLocal(t *testing.T) {
	must(t, func(s *Scope) {
		made := map[*Scope]bool{}
		for range 3 {
			s.Local(func(inner *Scope) *Tensor {
				made[inner] = true
				Zeros(inner, CPU, Float, 1)
				return s.Local(func(other *Scope) *Tensor {
					made[other] = true
					return Zeros(other, CPU, Float, 1)
				})
			})
		}
		if len(made) != 2 || len(s.idle) != 2 || !made[s.idle[0]] || !made[s.idle[1]] {
			t.Errorf("have %d scopes and %d at hand, want the same two again and again", len(made), len(s.idle))
		}
	})
}

// Local2 fails in a nested scope.
func (x *Tensor) Local2(s *Scope) *Tensor {
	return s.Local(func(s *Scope) *Tensor { return x.AddScalar(s, 1).Reshape(s, 7) })
}

func TestNoGradRestoresTheEarlierMode(t *testing.T) {
	must(t, func(s *Scope) {
		x := Zeros(s, CPU, Float, 2).RequireGrad()
		requires := func() bool {
			y := x.MulScalar(s, 3).Sum(s, false, 0)
			ClearGrads([]*Tensor{x})
			err := run(func(*Scope) error { y.Backward(); return nil })
			return err == nil && x.Grad(s) != nil
		}
		NoGrad(func() {
			NoGrad(func() {})
			if requires() {
				t.Error("gradients recorded inside NoGrad")
			}
			func() {
				defer func() { _ = recover() }()
				NoGrad(func() { panic("x") })
			}()
			if requires() {
				t.Error("a panic in a nested NoGrad re-enabled gradients")
			}
		})
		if !requires() {
			t.Error("gradients not recorded after NoGrad")
		}
	})
}

func TestRunFromManyGoroutines(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			err := Run(func(s *Scope) error {
				if i%2 == 1 {
					Zeros(s, CPU, Float, 2).Reshape(s, 5)
				}
				return Run(func(s *Scope) error { Zeros(s, CPU, Float, 1); return nil })
			})
			if (err != nil) != (i%2 == 1) {
				t.Errorf("goroutine %d: error %v", i, err)
			}
		})
	}
	wg.Wait()
}

func TestScaleGrad(t *testing.T) {
	must(t, func(s *Scope) {
		x := FromFloats(s, CPU, []float32{1, 2, 3, 4}, 2, 2).RequireGrad()
		factor := FromFloats(s, CPU, []float32{1, 0.5}, 2, 1)
		y := x.ScaleGrad(s, factor)
		if !slices.Equal(y.Floats(), x.Floats()) {
			t.Error("values changed")
		}
		y.Square(s).Sum(s, false, 0, 1).Backward()
		if got, want := x.Grad(s).Floats(), []float32{2, 4, 3, 4}; !slices.Equal(got, want) {
			t.Errorf("gradient: have %v, want %v", got, want)
		}
	})
}

// The known first numbers of torch.manual_seed(1); torch.randn(6).
func TestSeedIsPyTorchs(t *testing.T) {
	must(t, func(s *Scope) {
		Seed(1)
		got := Zeros(s, CPU, Float, 2, 3).RandnLike(s).Floats()
		for i, want := range []float32{0.6614, 0.2669, 0.0617, 0.6213, -0.4519, -0.1661} {
			if d := got[i] - want; d > 5e-5 || d < -5e-5 {
				t.Fatalf("have %v, want 0.6614 0.2669 …", got)
			}
		}
	})
}

func TestPickDevice(t *testing.T) {
	if d, err := PickDevice("cpu"); err != nil || d != CPU {
		t.Errorf("cpu: %v, %v", d, err)
	}
	for _, name := range []string{"gpu", "cuda:", "cuda:x", "cuda:-1", ""} {
		if _, err := PickDevice(name); err == nil || !strings.Contains(err.Error(), "want auto, cpu, cuda or cuda:N") {
			t.Errorf("%q: error %v", name, err)
		}
	}
	if _, err := PickDevice("cuda:99"); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("cuda:99: error %v", err)
	}
}

func TestCompareVersion(t *testing.T) {
	dir := t.TempDir()
	if err := compareVersion(dir, "2.11.0"); err != nil {
		t.Errorf("no version.py: %v", err)
	}
	write := func(v string) {
		if err := os.WriteFile(filepath.Join(dir, "version.py"), []byte("x = 1\n__version__ = '"+v+"'\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("2.11.0+cu130")
	if err := compareVersion(dir, "2.11.0"); err != nil {
		t.Error(err)
	}
	write("2.6.0+cpu")
	if err := compareVersion(dir, "2.11.0"); err == nil || !strings.Contains(err.Error(), "have 2.6.0") || !strings.Contains(err.Error(), "want 2.11.0") {
		t.Errorf("have %v", err)
	}
	if err := CheckVersion(); err != nil {
		t.Error(err)
	}
	if _, built := Library(); built != libtorch.Version {
		t.Errorf("built with LibTorch %s, want %s", built, libtorch.Version)
	}
}

func TestStableAdamWLeavesParametersWithoutGradient(t *testing.T) {
	must(t, func(s *Scope) {
		p := FromFloats(s, CPU, []float32{1, -2}, 2).RequireGrad()
		q := FromFloats(s, CPU, []float32{5}, 1).RequireGrad()
		p.Square(s).Sum(s, false, 0).Backward()
		zeros := func() []*Tensor { return []*Tensor{Zeros(s, CPU, Float, 2), Zeros(s, CPU, Float, 1)} }
		m, v, x := zeros(), zeros(), zeros()
		opt := AdamW{Beta1: 0.9, Beta2: 0.999, Eps: 1e-10, WeightDecay: 0.5, Clip: 1, Fused: true}
		norm := StableAdamW(s, []*Tensor{p, q}, m, v, x, opt.Rates(s, CPU, 0.1, 1), value(s, CPU, 5), opt)
		if got := norm.Item(); got < 4.472 || got > 4.4722 {
			t.Errorf("norm: have %v, want sqrt(20)", got)
		}
		if q.Floats()[0] != 5 {
			t.Error("a parameter without gradient was changed")
		}
		// By hand: decay 0.95, then a step of lr·sign(g), since m/d = ±1 and rms(g/d) = 1.
		if got := p.Floats(); got[0] < 0.8499 || got[0] > 0.8501 || got[1] < -1.8001 || got[1] > -1.7999 {
			t.Errorf("have %v, want [0.85 -1.8]", got)
		}
	})
}

// TestStableAdamWOfLists compares LibTorch's operations on lists of tensors with the loops for the CPU over three
// steps.
func TestStableAdamWOfLists(t *testing.T) {
	steps := func(fused bool) (values []float32) {
		must(t, func(s *Scope) {
			Seed(5)
			var p, m, v, x []*Tensor
			for _, n := range []int64{1, 7, 40} {
				p = append(p, Rand(s, CPU, n, n).RequireGrad())
				zero := func() *Tensor { return Zeros(s, CPU, Float, n, n) }
				m, v, x = append(m, zero()), append(v, zero()), append(x, zero())
			}
			for step := range int64(3) {
				for i, q := range p {
					q.Square(s).MulScalar(s, float64(i+1)).Sum(s, false, 0, 1).Backward()
				}
				opt := AdamW{Beta1: 0.9, Beta2: 0.999, Eps: 1e-10, WeightDecay: 0.5, Clip: 1, Fused: fused}
				norm := StableAdamW(s, p, m, v, x, opt.Rates(s, CPU, 0.1, step+1), value(s, CPU, 1), opt)
				values = append(values, float32(norm.Item()))
				ClearGrads(p)
			}
			for _, list := range [][]*Tensor{p, m, v, x} {
				for _, q := range list {
					values = append(values, q.Floats()...)
				}
			}
		})
		return values
	}
	compare(t, "lists", steps(false), steps(true), 1e-5)
}

// compare wants numbers that agree to a share of the largest.
func compare(t *testing.T, name string, have, want []float32, share float64) {
	t.Helper()
	if err := golden.Near(have, want, share); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// rss is the resident set in bytes.
func rss(t *testing.T) int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("no /proc")
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

func TestNoLeakInManyOperations(t *testing.T) {
	must(t, func(s *Scope) {
		x := FromFloats(s, CPU, make([]float32, 64), 8, 8)
		loop := func(n int) {
			for range n / 10 {
				s.Local(func(s *Scope) *Tensor {
					y := x.Gelu(s).AddScalar(s, 1).Matmul(s, x).Elu(s).Softmax(s, -1)
					v, _ := y.Topk(s, 3, -1, true)
					v.Sum(s, false, 0, 1)
					y.Reshape(s, 16, 4).Permute(s, 1, 0).Neg(s)
					return nil
				})
			}
		}
		loop(10_000)
		tensors, before := Live(), rss(t)
		loop(100_000)
		if Live() != tensors {
			t.Errorf("live tensors: have %d, want %d", Live(), tensors)
		}
		grown := rss(t) - before
		t.Logf("100,000 operations: %d live tensors, resident set grew by %d KiB", Live(), grown/1024)
		if grown > 2<<20 { // gotch's own wrappers leak 32 B each: 3.2 MB
			t.Errorf("resident set grew by %d bytes", grown)
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	b.ReportAllocs()
	err := Run(func(s *Scope) error {
		x := Zeros(s, CPU, Float, 4)
		step := func(s *Scope) *Tensor {
			for range 100 {
				x.Add(s, x)
			}
			return nil
		}
		for b.Loop() {
			s.Local(step)
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/op-tensor")
}
