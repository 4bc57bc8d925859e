package tensor

// #include "bridge.h"
import "C"

// Patches maps pixels [B, 3, H, W] of uint8 to [B·P, K] of bfloat16: the pixels of each patch of side·side, divided by
// 255, less mean [3], over std [3], and zeros up to K, a multiple of 8. Fused, it is one kernel on CUDA.
func (pixels *Tensor) Patches(s *Scope, mean, std *Tensor, side int64, fused bool) *Tensor {
	out := s.slot()
	check("patches", C.mvag_patches((*C.handle)(&out.c), C.handle(pixels.c), C.handle(mean.c), C.handle(std.c), C.int64_t(side),
		C.bool(fused)), pixels, mean, std)
	return out.done("patches")
}

// PlacePatches is table [N, C] for each of the given number of images, with x [B·P, C] of bfloat16 added to the last P
// rows: [B, N, C]. Fused, it is one kernel on CUDA.
func (x *Tensor) PlacePatches(s *Scope, table *Tensor, images int64, fused bool) *Tensor {
	out := s.slot()
	check("place_patches", C.mvag_place_patches((*C.handle)(&out.c), C.handle(x.c), C.handle(table.c), C.int64_t(images),
		C.bool(fused)), x, table)
	return out.done("place_patches")
}
