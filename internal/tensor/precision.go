package tensor

// #include <stdlib.h>
// #include "bridge.h"
import "C"

import "unsafe"

// SetMatmulPrecision lets float32 matrix products and convolutions be computed
// with TF32's 10-bit mantissas where the hardware has them (PyTorch's "high"),
// or exactly.
func SetMatmulPrecision(tf32 bool) error {
	mode := "highest"
	if tf32 {
		mode = "high"
	}
	text := C.CString(mode)
	defer C.free(unsafe.Pointer(text))
	return Run(func(*Scope) error {
		check("set_float32_matmul_precision", C.mvag_set_matmul_precision(text))
		return nil
	})
}
