package tensor

// #include <stdlib.h>
// #include "bridge.h"
// #include "cuda.h"
import "C"

import (
	"errors"
	"fmt"
	"path/filepath"
	"unsafe"
)

// Library returns the folder of the LibTorch that was loaded, which holds lib, and the version that the program was
// built with.
func Library() (dir, version string) {
	lib := C.GoString(C.mvag_library_path())
	return filepath.Dir(filepath.Dir(lib)), C.GoString(C.mvag_header_version())
}

// CUDADriver returns the newest CUDA that NVIDIA's driver serves, 12040 for 12.4, or 0 where there is no driver.
func CUDADriver() int { return int(C.mvag_driver_version()) }

// CUDADevices returns the number of CUDA devices that LibTorch sees, or why its CUDA libraries do not load.
func CUDADevices() (n int, err error) {
	err = Run(func(*Scope) error {
		if err := loadCUDA(); err != nil {
			return err
		}
		n = int(C.mvag_cuda_devices())
		return nil
	})
	return n, err
}

// DeviceInfo describes CUDA device d: its name, its compute capability ("9.0") and its memory in bytes.
func DeviceInfo(d Device) (name, capability string, free, total uint64, err error) {
	name, major, minor, err := describe(d)
	if err != nil {
		return "", "", 0, 0, err
	}
	var f, t C.uint64_t
	if err := Run(func(*Scope) error { return failure(C.mvag_device_memory(C.int(d), &f, &t)) }); err != nil {
		return "", "", 0, 0, fmt.Errorf("%v: %w", d, err)
	}
	return name, fmt.Sprintf("%d.%d", major, minor), uint64(f), uint64(t), nil
}

// describe returns what the driver says of CUDA device d: its name and compute capability.
func describe(d Device) (name string, major, minor int, err error) {
	var text [256]C.char
	var a, b C.int
	if !C.mvag_device_name(C.int(d), &text[0], C.int(len(text)), &a, &b) {
		return "", 0, 0, fmt.Errorf("%v: the driver does not describe it", d)
	}
	return C.GoString(&text[0]), int(a), int(b), nil
}

// DeviceUse returns the bytes of CUDA device d that LibTorch holds now, and the most it has held.
func DeviceUse(d Device) (now, peak uint64, err error) {
	var n, p C.uint64_t
	if err := Run(func(*Scope) error { return failure(C.mvag_device_use(C.int(d), &n, &p)) }); err != nil {
		return 0, 0, fmt.Errorf("%v: %w", d, err)
	}
	return uint64(n), uint64(p), nil
}

// failure turns the bridge's message into an error and frees it.
func failure(msg *C.char) error {
	if msg == nil {
		return nil
	}
	defer C.free(unsafe.Pointer(msg))
	return errors.New(C.GoString(msg))
}
