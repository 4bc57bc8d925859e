package tensor

// #include "bridge.h"
import "C"

// Patches maps pixels [B, 3, H, W] of uint8 to [B·P, K] of bfloat16: the pixels of
// each square of so many a side, over 255, less means [3], over deviations [3]; and
// zeros up to K, a multiple of 8.
func (pixels *Tensor) Patches(s *Scope, means, deviations *Tensor, side int64) *Tensor {
	out := s.slot()
	check("patches", C.mvag_patches((*C.handle)(&out.c), C.handle(pixels.c), C.handle(means.c), C.handle(deviations.c), C.int64_t(side)), pixels, means, deviations)
	return out.done("patches")
}

// PlacePatches is table [N, C] for each of so many pictures, with x [B·P, C] of
// bfloat16 added to the last P rows: [B, N, C].
func (x *Tensor) PlacePatches(s *Scope, table *Tensor, pictures int64) *Tensor {
	out := s.slot()
	check("place_patches", C.mvag_place_patches((*C.handle)(&out.c), C.handle(x.c), C.handle(table.c), C.int64_t(pictures)), x, table)
	return out.done("place_patches")
}
