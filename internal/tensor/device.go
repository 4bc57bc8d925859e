package tensor

// #include <stdlib.h>
// #include "bridge.h"
import "C"

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"mvag-torch/internal/libtorch"
)

// Device is where tensors lie: CPU, or n >= 0 for CUDA device n.
type Device int32

// CPU is the main memory.
const CPU Device = -1

func (d Device) String() string {
	if d < 0 {
		return "cpu"
	}
	return fmt.Sprintf("cuda:%d", int32(d))
}

// loadCUDA loads LibTorch's CUDA backend once; the program itself links only the CPU part, so that one binary serves
// both.
var loadCUDA = sync.OnceValue(func() error {
	if msg := C.mvag_load_cuda(); msg != nil {
		defer C.free(unsafe.Pointer(msg))
		return fmt.Errorf("cuda: %s", C.GoString(msg))
	}
	return nil
})

// local is the number of this process among those on its host, and how many they are.
var local = struct{ rank, size int }{0, 1}

// SetLocalRank gives this process a CUDA device of its own among the size ones on this host, unless it sees one only:
// that is what [PickDevice] takes then.
func SetLocalRank(rank, size int) { local.rank, local.size = rank, size }

// PickDevice turns "auto", "cpu", "cuda" or "cuda:N" into a device. "auto" takes the first CUDA device where there is
// one, or that of [SetLocalRank], and so does "cuda"; asked for by name, a missing one is an error.
func PickDevice(name string) (d Device, err error) {
	err = Run(func(*Scope) error {
		d, err = pick(name)
		return err
	})
	return d, err
}

func pick(name string) (Device, error) {
	switch name {
	case "cpu":
		return CPU, nil
	case "auto":
		if loadCUDA() == nil && C.mvag_cuda_devices() > 0 {
			return own(int(C.mvag_cuda_devices()))
		}
		return CPU, nil
	}
	number, ok := strings.CutPrefix(name, "cuda")
	index := 0
	if number, has := strings.CutPrefix(number, ":"); ok && has {
		n, err := strconv.ParseUint(number, 10, 7)
		index, ok = int(n), err == nil
	} else {
		ok = ok && number == ""
	}
	if !ok {
		return CPU, fmt.Errorf(`device: have %q, want auto, cpu, cuda or cuda:N`, name)
	}
	if err := loadCUDA(); err != nil {
		return CPU, fmt.Errorf("device %s: %w", name, err)
	}
	if n := int(C.mvag_cuda_devices()); index >= n {
		return CPU, fmt.Errorf("device %s: have %d CUDA devices; is the NVIDIA driver installed and the GPU visible?", name, n)
	}
	if number == "" {
		return own(int(C.mvag_cuda_devices()))
	}
	return Device(index), nil
}

// own is the CUDA device of this process, of n.
func own(n int) (Device, error) {
	switch {
	case n == 1:
		return 0, nil
	case local.rank >= n:
		return CPU, fmt.Errorf("device: have %d CUDA devices, want one for each of the %d ranks on this host", n, local.size)
	}
	return Device(local.rank), nil
}

// CheckVersion compares the LibTorch that was loaded with the one that the program was built with. Where the
// installation does not tell its version (no version.py beside lib/), it is taken as it is.
func CheckVersion() error { return compareVersion(Library()) }

func compareVersion(dir, want string) error {
	have, err := libtorch.VersionIn(dir)
	if err != nil || have == want {
		return nil
	}
	return fmt.Errorf("libtorch: have %s in %s, want %s; run third_party/libtorch.sh or correct LD_LIBRARY_PATH", have, dir, want)
}
