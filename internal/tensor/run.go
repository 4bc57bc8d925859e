package tensor

// #include "bridge.h"
import "C"

import (
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// worker is the one OS thread on which all LibTorch work happens: grad mode, pending errors, current device and
// OpenMP's team are thread-local.
var worker struct {
	start sync.Once
	tid   atomic.Int64
	jobs  chan func()
}

func startWorker() {
	worker.jobs = make(chan func())
	work()
}

// work starts the thread. It returns when the thread is ready.
func work() {
	ready := make(chan struct{})
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is LibTorch's
		worker.tid.Store(int64(unix.Gettid()))
		C.mvag_keep_memory()
		close(ready)
		for job := range worker.jobs {
			job()
		}
	}()
	<-ready
}

// Run calls f on the LibTorch thread with a fresh scope, frees the scope, and returns f's error, or the *Error of the
// operation that failed in it. Calls from several goroutines take turns; a call from within f runs at once. Where f ends
// its goroutine, as FailNow of a test does, the caller's ends, too.
func Run(f func(*Scope) error) error {
	worker.start.Do(startWorker)
	if int64(unix.Gettid()) == worker.tid.Load() {
		return run(f)
	}
	var err error
	var crash string
	returned, finished := false, make(chan struct{})
	worker.jobs <- func() {
		defer close(finished)
		defer func() { // a bug in f belongs to the caller, with the stack that shows it
			if r := recover(); r != nil {
				crash = fmt.Sprintf("%v\n\nin a call of tensor.Run, on the thread of LibTorch:\n%s", r, debug.Stack())
			} else if !returned {
				work() // this thread ends
			}
		}()
		err = run(f)
		returned = true
	}
	<-finished
	switch {
	case crash != "":
		panic(crash)
	case !returned:
		runtime.Goexit()
	}
	return err
}

func run(f func(*Scope) error) error {
	s := NewScope()
	defer s.Close()
	return caught(func() error { return f(s) })
}

// caught returns f's error, or the *Error that an operation in it panicked with.
func caught(f func() error) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case *Error:
			err = r
		default:
			panic(r)
		}
	}()
	return f()
}

// NoGrad calls f without gradients and restores the earlier mode, also when f panics.
func NoGrad(f func()) {
	before := C.mvag_set_grad_mode(C.bool(false))
	defer C.mvag_set_grad_mode(before)
	f()
}

// RequireGrad makes t a leaf whose gradient Backward computes.
func (t *Tensor) RequireGrad() *Tensor {
	check("requires_grad", C.mvag_require_grad(C.handle(t.c)), t)
	return t
}

// Grad returns t's gradient, or nil where there is none.
func (t *Tensor) Grad(s *Scope) *Tensor {
	out := s.slot()
	check("grad", C.mvag_grad((*C.handle)(&out.c), C.handle(t.c)), t)
	if out.c == nil {
		return nil
	}
	return out.done("grad")
}

// Backward adds the gradients of the scalar t to every leaf it depends on.
func (t *Tensor) Backward() {
	check("backward", C.mvag_backward(C.handle(t.c), nil), t)
}

// BackwardFrom is Backward of a t of any shape, whose gradient is grad.
func (t *Tensor) BackwardFrom(grad *Tensor) {
	check("backward", C.mvag_backward(C.handle(t.c), C.handle(grad.c)), t, grad)
}

// ClearGrads forgets the gradients of params.
func ClearGrads(params []*Tensor) {
	h := handles(params)
	check("clear_grads", C.mvag_clear_grads(firstHandle(h), C.int(len(h))))
}

// ScaleGrad returns x; the gradient that flows back through it is multiplied by factor, which broadcasts to x's shape.
func (x *Tensor) ScaleGrad(s *Scope, factor *Tensor) *Tensor {
	out := s.slot()
	check("scale_grad", C.mvag_scale_grad((*C.handle)(&out.c), C.handle(x.c), C.handle(factor.c)), x, factor)
	return out.done("scale_grad")
}

func handles(ts []*Tensor) []C.handle {
	h := make([]C.handle, len(ts))
	for i, t := range ts {
		h[i] = C.handle(t.c)
	}
	return h
}

func firstHandle(h []C.handle) *C.handle {
	if len(h) == 0 {
		return nil
	}
	return &h[0]
}

// Seed seeds LibTorch's generators of all devices, which training does not draw from ([Draws]).
func Seed(seed int64) { C.mvag_seed(C.int64_t(seed)) }

// SetThreads sets the number of CPU threads of one operation.
func SetThreads(n int) { onThread(func() { C.mvag_set_threads(C.int(n)) }) }

// Threads returns the number of CPU threads of one operation.
func Threads() (n int) {
	onThread(func() { n = int(C.mvag_threads()) })
	return n
}

// onThread calls f, which cannot fail, on the LibTorch thread.
func onThread(f func()) { _ = Run(func(*Scope) error { f(); return nil }) }

// AdamW holds the settings of one step of StableAdamW; see StableAdamW.
type AdamW struct {
	Beta1, Beta2, Eps, WeightDecay, Clip float64

	Fused bool // by kernels of our own on CUDA, by loops on the CPU ([Kernels].Optimizer); else LibTorch's operations
}

// Rates returns what a step takes from the learning rate lr and its index, 1 for the first: [3] on device d.
func (o AdamW) Rates(s *Scope, d Device, lr float64, step int64) *Tensor {
	return FromFloats(s, d, []float32{
		float32(1 - lr*o.WeightDecay),                            // by which a parameter decays
		float32(lr / (1 - math.Pow(o.Beta1, float64(step)))),     // of m over d
		float32(math.Sqrt(1 - math.Pow(o.Beta2, float64(step)))), // over which √vmax goes into d
	}, 3)
}

// StableAdamW updates params, in place, from their gradients: the gradients are clipped to the total norm opt.Clip,
// weight decay is decoupled and applied first, the second moment is amsgrad's running maximum, and the update of each
// tensor is divided by max(1, rms(g/d)) (docs/model.md section 5). m, v and vmax are the moments of each parameter, rates
// are opt.Rates of the step. Parameters without a gradient are left alone. Where the total loss, a scalar, or the gradient
// norm is not finite, all parameters and moments are left as they are to the bit, as if there were no step. It returns
// the gradient norm before clipping, a scalar on the device; nothing waits for the device.
func StableAdamW(s *Scope, params, m, v, vmax []*Tensor, rates, loss *Tensor, opt AdamW) *Tensor {
	out := s.slot()
	p := handles(params)
	check("stable_adamw", C.mvag_stable_adamw((*C.handle)(&out.c), firstHandle(p), firstHandle(handles(m)), firstHandle(handles(v)),
		firstHandle(handles(vmax)), C.int(len(p)), C.handle(rates.c), C.handle(loss.c), C.mvag_adamw{
			beta1: C.double(opt.Beta1), beta2: C.double(opt.Beta2), eps: C.double(opt.Eps), clip: C.double(opt.Clip), fused: C.bool(opt.Fused),
		}))
	return out.done("stable_adamw")
}
