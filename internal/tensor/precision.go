package tensor

// #include <stdlib.h>
// #include "bridge.h"
import "C"

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// SetPrecision allows TF32, with its 10-bit mantissas, in float32 matrix multiplications and convolutions where the
// hardware has it (PyTorch's "high"); for "fp32" they are exact.
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

// slowBFloat16: LibTorch's bfloat16 matmuls take some twenty times as long as float32's on a CPU for which oneDNN has
// none.
var slowBFloat16 = !(cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL && cpu.X86.HasAVX512DQ)

// matmulInFloat converts tensors of bfloat16 to float32 where their matmuls are slow, and returns a function that
// converts the result back. Rounded factors, sums in float32 and a rounded result are what other CPUs compute.
func matmulInFloat(s *Scope, tensors ...**Tensor) (back func(*Tensor) *Tensor) {
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
