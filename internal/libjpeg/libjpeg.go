//go:build libjpeg && cgo

package libjpeg

// #cgo pkg-config: libjpeg
// #cgo CFLAGS: -O2
// #include "decode.h"
import "C"

import (
	"errors"
	"unsafe"
)

// Available says whether the program was built with libjpeg-turbo.
const Available = true

// Decode decodes a JPEG at scale eighths of its size, 1 to 8, into out.
func Decode(data []byte, scale int, out []uint8) (Picture, error) {
	if len(data) == 0 || len(out) == 0 {
		return Picture{}, errors.New("no data, or no room")
	}
	p := C.jpeg_decode((*C.uint8_t)(unsafe.SliceData(data)), C.size_t(len(data)), C.int(scale),
		(*C.uint8_t)(unsafe.SliceData(out)), C.size_t(len(out)))
	if p.error[0] != 0 {
		return Picture{}, errors.New(C.GoString(&p.error[0]))
	}
	return Picture{int(p.width), int(p.height), int(p.channels)}, nil
}
