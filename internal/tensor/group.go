package tensor

// #include <stdlib.h>
// #include "group.h"
import "C"

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"time"
	"unsafe"
)

// Store is a connection to the store where the processes of a run meet: names and values, at a server that one of them
// is. It may be used from any goroutine; a call waits for the server's answer.
type Store struct{ c unsafe.Pointer }

// StoreOptions say where a store is.
type StoreOptions struct {
	Host     string
	Port     int
	Server   bool          // this process is the server
	Listener int           // a socket that the server listens on; -1 for one of its own at Port
	Timeout  time.Duration // for a connection and an answer
	Prefix   string        // of all names
}

// OpenStore connects to a store.
func OpenStore(o StoreOptions) (*Store, error) {
	host, prefix := C.CString(o.Host), C.CString(o.Prefix)
	defer C.free(unsafe.Pointer(host))
	defer C.free(unsafe.Pointer(prefix))
	s := &Store{}
	return s, failure(C.mvag_store_open(&s.c, host, C.int(o.Port), C.bool(o.Server), C.int(o.Listener),
		C.int64_t(o.Timeout.Milliseconds()), prefix))
}

// Set gives a name a value.
func (s *Store) Set(name string, value []byte) error {
	key := C.CString(name)
	defer C.free(unsafe.Pointer(key))
	return failure(C.mvag_store_set(s.c, key, unsafe.Pointer(unsafe.SliceData(value)), C.size_t(len(value))))
}

// Get returns the value of a name, and false where it has none.
func (s *Store) Get(name string) ([]byte, bool, error) {
	key := C.CString(name)
	defer C.free(unsafe.Pointer(key))
	var value unsafe.Pointer
	var n C.size_t
	if err := failure(C.mvag_store_get(s.c, key, &value, &n)); err != nil || value == nil {
		return nil, false, err
	}
	defer C.free(value)
	return C.GoBytes(value, C.int(n)), true, nil
}

// Add adds to the number of a name, 0 at first, and returns the sum.
func (s *Store) Add(name string, by int64) (int64, error) {
	key := C.CString(name)
	defer C.free(unsafe.Pointer(key))
	var sum C.int64_t
	err := failure(C.mvag_store_add(s.c, key, C.int64_t(by), &sum))
	return int64(sum), err
}

// Close ends the connection, and the store at its server.
func (s *Store) Close() {
	if s != nil && s.c != nil {
		C.mvag_store_close(s.c)
		s.c = nil
	}
}

// Group is the processes of a run, which compute together: Gloo between their CPUs, NCCL between their GPUs. Every rank
// calls the same methods in the same order, with tensors of one shape and type, on the LibTorch thread. Where a rank is
// gone they fail as any operation does. A nil Group is a process alone.
type Group struct {
	c          unsafe.Pointer
	store      *Store
	rank, size int
	cuda       bool
}

// GroupOptions describe this process in a group.
type GroupOptions struct {
	Rank, Size int
	Address    string        // of this process on the network that joins them
	Interface  string        // the name of that network's device; "" for that of Address
	Timeout    time.Duration // of one operation; [Group.Abort] ends it earlier
}

// JoinGroup waits until all ranks have joined through the store, which the group keeps.
func JoinGroup(store *Store, o GroupOptions) (*Group, error) {
	address, device := C.CString(o.Address), C.CString(o.Interface)
	defer C.free(unsafe.Pointer(address))
	defer C.free(unsafe.Pointer(device))
	g := &Group{store: store, rank: o.Rank, size: o.Size}
	err := Run(func(*Scope) error {
		return failure(C.mvag_group_join(&g.c, store.c, C.int(o.Rank), C.int(o.Size), address, device, C.int64_t(o.Timeout.Milliseconds())))
	})
	if err != nil {
		return nil, fmt.Errorf("gloo: %w", err)
	}
	return g, nil
}

// Use prepares for tensors on device d of this rank: NCCL where it is a CUDA device. All ranks call it, once.
func (g *Group) Use(d Device) error {
	if g == nil || d == CPU || g.cuda {
		return nil
	}
	g.cuda = true
	return Run(func(*Scope) error { return failure(C.mvag_group_use(g.c, g.store.c, C.int(d))) })
}

// handle is NULL of no group.
func (g *Group) handle() unsafe.Pointer {
	if g == nil {
		return nil
	}
	return g.c
}

// Rank is the number of this process among the Size ones, from 0.
func (g *Group) Rank() int {
	if g == nil {
		return 0
	}
	return g.rank
}

// Size is the number of processes, 1 alone.
func (g *Group) Size() int {
	if g == nil {
		return 1
	}
	return g.size
}

// AllReduce replaces t by its sum over the ranks.
func (g *Group) AllReduce(t *Tensor) {
	if g != nil {
		check("all_reduce", C.mvag_all_reduce(g.c, C.handle(t.c)), t)
	}
}

// AllGather returns the tensors t of all ranks, [Size, …].
func (g *Group) AllGather(s *Scope, t *Tensor) *Tensor {
	if g == nil {
		return t.Unsqueeze(s, 0)
	}
	out := s.slot()
	check("all_gather", C.mvag_all_gather(g.c, (*C.handle)(&out.c), C.handle(t.c)), t)
	return out.done("all_gather")
}

// Exchange returns what every rank gives, in the order of ranks; it is equally long for all of them. It does not wait
// for the device.
func (g *Group) Exchange(mine []byte) [][]byte {
	if g == nil {
		return [][]byte{mine}
	}
	all, n := make([]byte, g.size*len(mine)), len(mine)
	check("exchange", C.mvag_exchange(g.c, unsafe.Pointer(unsafe.SliceData(mine)), C.size_t(n), unsafe.Pointer(unsafe.SliceData(all))))
	parts := make([][]byte, g.size)
	for i := range parts {
		parts[i] = all[i*n : (i+1)*n : (i+1)*n]
	}
	return parts
}

// Gather returns at rank 0 what every rank gives, in the order of ranks, and nil at the others. How much it is may differ.
// It does not wait for the device.
func (g *Group) Gather(mine []float32) [][]float32 {
	if g == nil {
		return [][]float32{mine}
	}
	const size = unsafe.Sizeof(float32(0))
	sizes, longest := make([]C.size_t, g.size), C.size_t(0)
	for rank, n := range g.Exchange(binary.LittleEndian.AppendUint64(nil, uint64(len(mine))*uint64(size))) {
		sizes[rank] = C.size_t(binary.LittleEndian.Uint64(n))
		longest = max(longest, sizes[rank])
	}
	var parts [][]float32
	var at []unsafe.Pointer
	var pinned runtime.Pinner
	defer pinned.Unpin()
	if g.rank == 0 {
		parts, at = make([][]float32, g.size), make([]unsafe.Pointer, g.size)
		for rank, n := range sizes {
			parts[rank] = make([]float32, uintptr(n)/size)
			if n > 0 {
				at[rank] = unsafe.Pointer(unsafe.SliceData(parts[rank]))
				pinned.Pin(at[rank])
			}
		}
	}
	if longest > 0 {
		check("gather", C.mvag_gather(g.c, unsafe.Pointer(unsafe.SliceData(mine)), unsafe.SliceData(sizes), unsafe.SliceData(at)))
	}
	return parts
}

// State returns what has failed in NCCL meanwhile, which nobody waits for. It may be called from any goroutine.
func (g *Group) State() error { return failure(C.mvag_group_state(g.c)) }

// Failed tells whether something that involves other ranks has failed. It may be called from any goroutine.
func (g *Group) Failed() bool { return bool(C.mvag_group_failed(g.c)) }

// SetTimeout changes the time that one operation may take.
func (g *Group) SetTimeout(d time.Duration) {
	onThread(func() { C.mvag_group_timeout(g.c, C.int64_t(d.Milliseconds())) })
}

// Abort lets what waits for other ranks fail, from any goroutine. The group is of no more use then.
func (g *Group) Abort() { C.mvag_group_abort(g.c) }

// Leave frees the group, which has no work left.
func (g *Group) Leave() { onThread(func() { C.mvag_group_leave(g.c) }) }

// Gradients sums the gradients of parameters over the ranks of a group, all in one operation.
type Gradients struct {
	group         *Group
	params        []*Tensor
	flat, rounded *Tensor // [elements]; rounded of the type that is sent, nil where that is float32
}

// NewGradients prepares for params; what it needs lives in s. as is the type that gradients are sent in and summed,
// Float or BFloat16. Of no group it is nil.
func NewGradients(s *Scope, g *Group, params []*Tensor, as DType) *Gradients {
	if g == nil {
		return nil
	}
	var n int64
	for _, p := range params {
		n += p.Numel()
	}
	r := &Gradients{group: g, params: params, flat: Zeros(s, params[0].Device(), Float, n)}
	if as != Float {
		r.rounded = Zeros(s, params[0].Device(), as, n)
	}
	return r
}

// Reduce replaces the gradients by their sums, whose memory the next call overwrites. Which parameters have a gradient
// is the same in every call and on every rank.
func (r *Gradients) Reduce() {
	if r == nil {
		return
	}
	h, rounded := handles(r.params), C.handle(nil)
	if r.rounded != nil {
		rounded = C.handle(r.rounded.c)
	}
	check("reduce_gradients", C.mvag_reduce_gradients(r.group.c, firstHandle(h), C.int(len(h)), C.handle(r.flat.c), rounded))
}

// Checksum is a number for the bits of float32 tensors, which is the same wherever the bits are.
func Checksum(ts []*Tensor) int64 {
	h := handles(ts)
	var sum C.int64_t
	check("checksum", C.mvag_checksum(firstHandle(h), C.int(len(h)), &sum))
	return int64(sum)
}
