package tensor

// #include <stdlib.h>
// #include "bridge.h"
import "C"

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// SetPrecision lets float32 matrix products and convolutions be computed with TF32's
// 10-bit mantissas where the hardware has them (PyTorch's "high"), or, for "fp32",
// exactly.
func SetPrecision(precision string) error {
	mode := "high"
	if precision == "fp32" {
		mode = "highest"
	}
	text := C.CString(mode)
	defer C.free(unsafe.Pointer(text))
	return Run(func(*Scope) error {
		check("set_float32_matmul_precision", C.mvag_set_matmul_precision(text))
		return nil
	})
}

// slowBFloat16: LibTorch's products of bfloat16 take some twenty times as long
// as float32's on a processor on which oneDNN has none.
var slowBFloat16 = !(cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL && cpu.X86.HasAVX512DQ)

// quick returns tensors of bfloat16 as float32 where their products are slow,
// and a function that gives the result its type back. Rounded factors, sums in
// float32 and a rounded result are what other processors compute.
func quick(s *Scope, tensors ...**Tensor) (back func(*Tensor) *Tensor) {
	x := *tensors[0]
	if !slowBFloat16 || x.DType() != BFloat16 || x.Device() != CPU {
		return func(y *Tensor) *Tensor { return y }
	}
	for _, t := range tensors {
		if *t != nil {
			*t = (*t).To(s, Float)
		}
	}
	return func(y *Tensor) *Tensor { return y.To(s, BFloat16) }
}
