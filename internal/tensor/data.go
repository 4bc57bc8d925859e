package tensor

// #include <stdlib.h>
// #include "bridge.h"
import "C"

import (
	"runtime/cgo"
	"unsafe"
)

// FromBytes copies raw little-endian elements to a new tensor of the given type and shape on device d.
func FromBytes(s *Scope, d Device, dtype DType, data []byte, shape ...int64) *Tensor {
	return fromData(s, d, dtype, unsafe.Pointer(unsafe.SliceData(data)), len(data), shape)
}

// FromFloats copies float32 values to a new tensor on device d.
func FromFloats(s *Scope, d Device, data []float32, shape ...int64) *Tensor {
	return fromData(s, d, Float, unsafe.Pointer(unsafe.SliceData(data)), 4*len(data), shape)
}

// FromInts copies int64 values to a new tensor on device d.
func FromInts(s *Scope, d Device, data []int64, shape ...int64) *Tensor {
	return fromData(s, d, Int64, unsafe.Pointer(unsafe.SliceData(data)), 8*len(data), shape)
}

// Upload is FromBytes for the input of a step: on a CUDA device the copy overlaps with the step before. It waits until
// the step before that one has finished, a step being what is launched between two uploads.
func Upload(s *Scope, d Device, dtype DType, data []byte, shape ...int64) *Tensor {
	if d == CPU {
		return FromBytes(s, d, dtype, data, shape...)
	}
	out := s.slot()
	dims, n := s.sizes(shape)
	check("upload", C.mvag_upload((*C.handle)(&out.c), unsafe.Pointer(unsafe.SliceData(data)), C.size_t(len(data)),
		(*C.int64_t)(&dims[0]), C.int(n), C.int(dtype), C.int(d)))
	return out.done("upload")
}

func fromData(s *Scope, d Device, dtype DType, data unsafe.Pointer, bytes int, shape []int64) *Tensor {
	out := s.slot()
	n := copy(s.dims[:], shape)
	check("from_data", C.mvag_from_data((*C.handle)(&out.c), data, C.size_t(bytes),
		(*C.int64_t)(&s.dims[0]), C.int(n), C.int(dtype), C.int(d)))
	return out.done("from_data")
}

// Bytes copies the elements to the host, row-major. It waits for the device.
func (t *Tensor) Bytes() []byte {
	data := make([]byte, int(t.Numel())*t.DType().size())
	check("to_host", C.mvag_to_host(C.handle(t.c), unsafe.Pointer(unsafe.SliceData(data)), C.size_t(len(data))), t)
	return data
}

// Floats copies the elements, which must be float32, to the host, row-major. It waits for the device.
func (t *Tensor) Floats() []float32 {
	data := make([]float32, t.Numel())
	check("to_host", C.mvag_to_host(C.handle(t.c), unsafe.Pointer(unsafe.SliceData(data)), C.size_t(4*len(data))), t)
	return data
}

// Item returns the value of a tensor of one element. It waits for the device.
func (t *Tensor) Item() float64 {
	var v C.double
	check("item", C.mvag_item(C.handle(t.c), &v), t)
	return float64(v)
}

// Named is a tensor of a TorchScript archive.
type Named struct {
	Name   string
	Tensor *Tensor
}

// LoadTorchScript reads the parameters and buffers of a TorchScript archive onto the CPU, in the archive's order. Its
// code is not run.
func LoadTorchScript(s *Scope, path string) []Named {
	v := &visitor{scope: s}
	h := cgo.NewHandle(v)
	defer h.Delete()
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	check("jit::load", C.mvag_jit_load(name, C.uintptr_t(h)))
	return v.found
}

type visitor struct {
	scope *Scope
	found []Named
}

//export mvagVisitTensor
func mvagVisitTensor(h C.uintptr_t, name *C.char, t C.handle) {
	v := cgo.Handle(h).Value().(*visitor)
	out := v.scope.slot()
	*(*C.handle)(&out.c) = t
	v.found = append(v.found, Named{C.GoString(name), out.done("jit::load")})
}
