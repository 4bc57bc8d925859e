package tensor

// #include "bridge.h"
import "C"

import (
	"fmt"
	"unsafe"
)

// Graph is a captured CUDA graph: work that is launched as a whole, so that a step costs the host one call. It lives as
// long as the scope that it was captured into.
type Graph struct{ c unsafe.Pointer }

// RecordGraph calls work and captures what it launches on device d, without running it. Each replay reads and writes
// the memory that work read and wrote. What the host decides in work, shapes and scalars included, is the same in each
// replay; random numbers are drawn anew, as if work were called again. Work must not wait for the device, and must have
// been called before without capture, so that libraries are loaded. Where capture fails, nothing was computed and
// nothing has changed.
//
// A graph may take its memory from another one, like: then a replay of one overwrites what the other has left there.
func RecordGraph(s *Scope, d Device, like Recording, work func()) (Recording, error) {
	var share unsafe.Pointer
	if other, ok := like.(*Graph); ok {
		share = other.c
	}
	g := &Graph{}
	err := caught(func() error {
		check("graph", C.mvag_graph_begin(&g.c, C.int(d), share))
		work()
		check("graph", C.mvag_graph_end(g.c))
		return nil
	})
	if err != nil {
		C.mvag_graph_abandon(g.c)
		g.free()
		return nil, fmt.Errorf("%v: %w", d, err)
	}
	s.owned = append(s.owned, g)
	return g, nil
}

// Replay launches the captured work. It does not wait for the device.
func (g *Graph) Replay() { check("graph", C.mvag_graph_replay(g.c)) }

func (g *Graph) free() {
	C.mvag_graph_free(g.c)
	g.c = nil
}
