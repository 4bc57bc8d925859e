// Package tensor is the only package that knows LibTorch. It offers tensors that live in arenas ([Scope]), the
// operations the model needs as thin methods over gotch's libtch, and, through one C++ bridge, what gotch lacks: seeds,
// gradients, the optimiser step, TorchScript buffers, and CUDA loaded at run time.
//
// Contracts. All work runs on one locked OS thread, entered by [Run]; other goroutines exchange Go values with it,
// never tensors. An operation that fails panics with [*Error], which Run alone turns into an error. Grad mode changes
// only through [NoGrad]. There are no finalizers: a tensor is freed when its scope ends.
package tensor

// #cgo CXXFLAGS: -std=c++17 -fopenmp -DMVAG_BRIDGE
// #cgo LDFLAGS: -fopenmp -lstdc++ -ltorch_cpu -lc10 -ldl
// #cgo noescape mvag_sizes
// #cgo nocallback mvag_sizes
// #cgo noescape mvag_free_all
// #cgo nocallback mvag_free_all
// #include <stdlib.h>
// #include "bridge.h"
import "C"

import (
	"fmt"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/sugarme/gotch/libtch"
)

// Tensor is a handle to a LibTorch tensor. It is made by an operation in a [Scope] and must not be used after that
// scope has ended.
type Tensor struct {
	// Tensors lie in C memory (see Scope), so that passing one to LibTorch costs neither a Go allocation nor a pointer
	// check. No other field may be added: mvag_free_all reads an array of them.
	c libtch.Ctensor
}

// DType is a LibTorch scalar type.
type DType int32

// The scalar types in use, with LibTorch's values.
const (
	Uint8    DType = 0
	Int64    DType = 4
	Half     DType = 5
	Float    DType = 6
	Double   DType = 7
	Bool     DType = 11
	BFloat16 DType = 15
)

func (d DType) String() string {
	switch d {
	case Uint8:
		return "uint8"
	case Int64:
		return "int64"
	case Half:
		return "float16"
	case Float:
		return "float32"
	case Double:
		return "float64"
	case Bool:
		return "bool"
	case BFloat16:
		return "bfloat16"
	}
	return fmt.Sprintf("dtype(%d)", int32(d))
}

// size is the number of bytes of an element.
func (d DType) size() int {
	switch d {
	case Uint8, Bool:
		return 1
	case Half, BFloat16:
		return 2
	case Float:
		return 4
	}
	return 8
}

// Error is what a failing operation panics with; Run returns it.
type Error struct {
	Op     string    // the operation
	Shapes [][]int64 // the shapes of its inputs
	Err    string    // LibTorch's message
}

func (e *Error) Error() string {
	parts := make([]string, len(e.Shapes))
	for i, s := range e.Shapes {
		parts[i] = fmt.Sprint(s)
	}
	text, _, _ := strings.Cut(e.Err, "\n")
	if strings.Contains(text, " does not have a deterministic implementation") {
		text = "LibTorch has no deterministic implementation on this device, want deterministic: false"
	}
	return fmt.Sprintf("%s(%s): %s", e.Op, strings.Join(parts, ", "), text)
}

// live counts the tensors that scopes hold.
var live atomic.Int64

// Live returns the number of tensors held by open scopes.
func Live() int64 { return live.Load() }

// chunkTensors is the number of tensors in one block of a scope.
const chunkTensors = 128

// Scope is an arena of tensors: the first argument of everything that makes one. Close frees them all at once.
type Scope struct {
	chunks [][]Tensor // C memory; all but the last in use are full
	n      int        // tensors in use
	dims   [16]int64  // scratch for sizes passed to C
	idle   []*Scope   // reused by Local

	owned []interface{ free() } // what is freed after the tensors
}

// NewScope returns an empty scope, for tensors that outlive one call such as weights. The caller closes it.
func NewScope() *Scope { return &Scope{} }

// slot returns a new, undefined tensor of the scope.
func (s *Scope) slot() *Tensor {
	chunk := s.n / chunkTensors
	if chunk == len(s.chunks) {
		p := C.calloc(chunkTensors, C.size_t(unsafe.Sizeof(Tensor{})))
		s.chunks = append(s.chunks, unsafe.Slice((*Tensor)(p), chunkTensors))
	}
	t := &s.chunks[chunk][s.n%chunkTensors]
	s.n++
	return t
}

// reset frees the tensors and keeps the blocks.
func (s *Scope) reset() {
	defined := int64(0)
	for i := 0; i*chunkTensors < s.n; i++ {
		used := s.chunks[i][:min(chunkTensors, s.n-i*chunkTensors)]
		for j := range used {
			if used[j].c != nil {
				defined++
			}
		}
		C.mvag_free_all((*C.handle)(unsafe.Pointer(&used[0])), C.size_t(len(used)))
		clear(used)
	}
	s.n = 0
	live.Add(-defined)
	for _, o := range s.owned {
		o.free()
	}
	s.owned = nil
}

// Close frees every tensor of the scope. The scope may be used again.
func (s *Scope) Close() {
	s.reset()
	for _, chunk := range s.chunks {
		C.free(unsafe.Pointer(&chunk[0]))
	}
	s.chunks = nil
	for _, inner := range s.idle {
		inner.Close()
	}
	s.idle = nil
}

// Local runs f in a scope of its own, moves f's result into s and frees the rest. A result that f took from s or from
// another scope stays where it is.
func (s *Scope) Local(f func(*Scope) *Tensor) *Tensor {
	inner := &Scope{}
	if last := len(s.idle) - 1; last >= 0 { // f may call s.Local, too, which then takes another
		inner, s.idle = s.idle[last], s.idle[:last]
	}
	defer func() {
		inner.reset()
		s.idle = append(s.idle, inner)
	}()
	return s.adopt(inner, f(inner))
}

// Free frees t, a tensor of s, before the scope ends; nil is none.
func (s *Scope) Free(t *Tensor) {
	if t == nil || t.c == nil || !s.owns(t) {
		return
	}
	C.mvag_free_all((*C.handle)(unsafe.Pointer(t)), 1)
	t.c = nil
	live.Add(-1)
}

// adopt moves t from another scope into s, if it lies there.
func (s *Scope) adopt(from *Scope, t *Tensor) *Tensor {
	if t == nil || !from.owns(t) {
		return t
	}
	moved := s.slot()
	moved.c, t.c = t.c, nil
	return moved
}

func (s *Scope) owns(t *Tensor) bool {
	p := uintptr(unsafe.Pointer(t))
	for _, chunk := range s.chunks {
		first := uintptr(unsafe.Pointer(&chunk[0]))
		if p >= first && p < first+chunkTensors*unsafe.Sizeof(Tensor{}) {
			return true
		}
	}
	return false
}

// done completes an operation of libtch that has written to out: it panics with an Error if nothing was written.
func (out *Tensor) done(op string, inputs ...*Tensor) *Tensor {
	if out.c == nil {
		fail(op, takeError(), inputs)
	}
	live.Add(1)
	return out
}

// own makes a tensor of s of a handle that an operation returned.
func (s *Scope) own(op string, h C.handle, of ...*Tensor) *Tensor {
	t := s.slot()
	*(*C.handle)(&t.c) = h
	return t.done(op, of...)
}

// check panics with an Error if a bridge call returned a message.
func check(op string, msg *C.char, inputs ...*Tensor) {
	if msg != nil {
		text := C.GoString(msg)
		C.free(unsafe.Pointer(msg))
		fail(op, text, inputs)
	}
}

func fail(op, text string, inputs []*Tensor) {
	e := &Error{Op: op, Err: text}
	for _, t := range inputs {
		if t != nil && t.c != nil {
			e.Shapes = append(e.Shapes, t.Shape())
		}
	}
	panic(e)
}

// takeError fetches the error that libtch left for this thread.
func takeError() string {
	if text := takeErrorIfAny(); text != "" {
		return text
	}
	return "no result and no error"
}

// takeErrorIfAny is takeError for operations without a result; "" is success.
func takeErrorIfAny() string {
	msg := unsafe.Pointer(libtch.GetAndResetLastErr())
	if msg == nil {
		return ""
	}
	defer C.free(msg)
	return C.GoString((*C.char)(msg))
}

// Shape returns the sizes of the tensor.
func (t *Tensor) Shape() []int64 {
	var sizes [16]int64
	n := int(C.mvag_sizes(C.handle(t.c), (*C.int64_t)(&sizes[0]), 16))
	return append([]int64(nil), sizes[:n]...)
}

// Dim returns size i of the tensor; negative i count from the end.
func (t *Tensor) Dim(i int) int64 {
	var sizes [16]int64
	n := int(C.mvag_sizes(C.handle(t.c), (*C.int64_t)(&sizes[0]), 16))
	if i < 0 {
		i += n
	}
	return sizes[:n][i]
}

// Numel returns the number of elements.
func (t *Tensor) Numel() int64 {
	n := int64(1)
	for _, d := range t.Shape() {
		n *= d
	}
	return n
}

// DType returns the scalar type.
func (t *Tensor) DType() DType { return DType(libtch.AtScalarType(t.c)) }

// Device returns where the tensor lies.
func (t *Tensor) Device() Device { return Device(C.mvag_device(C.handle(t.c))) }
