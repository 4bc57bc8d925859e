package tensor

// #include <stdlib.h>
// #include "bridge.h"
import "C"

import (
	"runtime/cgo"
	"unsafe"
)

// Module is a TorchScript archive whose code is run. It lives as long as the scope that it was loaded into.
type Module struct{ c unsafe.Pointer }

// LoadModule reads a TorchScript archive onto device d, its values as float32. The archive's author decides what its
// forward does: see docs/format/weights.md.
func LoadModule(s *Scope, path string, d Device) *Module {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	m := &Module{}
	check("jit::load", C.mvag_module_load(&m.c, name, C.int(d)))
	s.owned = append(s.owned, m)
	return m
}

// Forward calls the archive's forward, which maps a tensor to a list of tensors, without gradients. The same input
// gives the same bits in every call on the CPU.
func (m *Module) Forward(s *Scope, x *Tensor) []*Tensor {
	v := &visitor{scope: s}
	h := cgo.NewHandle(v)
	defer h.Delete()
	check("forward", C.mvag_module_forward(m.c, C.handle(x.c), C.uintptr_t(h)), x)
	outputs := make([]*Tensor, len(v.found))
	for i := range outputs {
		outputs[i] = v.found[i].Tensor
	}
	return outputs
}

func (m *Module) free() {
	C.mvag_module_free(m.c)
	m.c = nil
}
