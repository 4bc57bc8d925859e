package tensor

// #include "bridge.h"
import "C"

import (
	"fmt"
	"os"
)

// workspaces is the environment variable by which cuBLAS, and LibTorch for it, size their workspaces. With one of these
// values a matmul does not depend on what else the GPU does.
const workspaces = "CUBLAS_WORKSPACE_CONFIG"

// SetDeterministic lets LibTorch take only operations that give the same bits each time, on a device, with a number of
// threads; one that has no such form is an *Error. The kernels and loops of this package always do. It has to be called
// before anything is computed on a GPU. An environment that asks cuBLAS for something else is an error.
func SetDeterministic(on bool) error {
	if on {
		switch have, set := os.LookupEnv(workspaces); {
		case !set:
			if err := os.Setenv(workspaces, ":4096:8"); err != nil { // C's environment, too
				return fmt.Errorf("deterministic: %w", err)
			}
		case have != ":4096:8" && have != ":16:8":
			return fmt.Errorf("deterministic: %s: have %q, want :4096:8 or :16:8, or none", workspaces, have)
		}
	}
	onThread(func() { C.mvag_set_deterministic(C.bool(on)) })
	return nil
}

// allowAny lets an operation run whose values are the same each time though LibTorch does not promise it for all that it
// returns. The function that it returns ends that.
func allowAny() func() {
	before := C.mvag_set_deterministic(C.bool(false))
	return func() { C.mvag_set_deterministic(before) }
}

// CPUCapability is the set of instructions that LibTorch's loops on the CPU use: AVX512, AVX2 or DEFAULT.
func CPUCapability() string { return C.GoString(C.mvag_cpu_capability()) }
