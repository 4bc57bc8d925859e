package tensor

// #include "bridge.h"
import "C"

import "github.com/sugarme/gotch/libtch"

// Neural-network operations.

// Linear is x·wᵀ + b over the last dimension; b may be nil.
func (x *Tensor) Linear(s *Scope, w, b *Tensor) *Tensor {
	back := matmulInFloat(s, &x, &w, &b)
	out := s.slot()
	libtch.AtgLinear(&out.c, x.c, w.c, optional(b))
	return back(out.done("linear", x, w, b))
}

// LinearAdd is base + x·wᵀ + b in fewer passes; x and w are of base's type.
func (x *Tensor) LinearAdd(s *Scope, base, w, b *Tensor) *Tensor {
	out := s.slot()
	check("linear_add", C.mvag_linear_add((*C.handle)(&out.c), C.handle(base.c), C.handle(x.c), C.handle(w.c), C.handle(b.c)), base, x, w, b)
	return out.done("linear_add", base, x, w, b)
}

// LinearBFloat16 is x·wᵀ + b on CUDA ([Kernels].Linear) for x of bfloat16 and w and b of float32 or bfloat16, and the
// exact GELU of that where gelu is set; b may be nil. The gradients of w and b are summed in float32. The output width
// is a multiple of 8 where gradients are wanted.
func (x *Tensor) LinearBFloat16(s *Scope, w, b *Tensor, gelu bool) *Tensor {
	out := s.slot()
	check("linear_bfloat16", C.mvag_linear_bfloat16((*C.handle)(&out.c), C.handle(x.c), C.handle(w.c), C.handle(optional(b)), C.bool(gelu)), x, w, b)
	return out.done("linear_bfloat16")
}

func (x *Tensor) Matmul(s *Scope, y *Tensor) *Tensor {
	back := matmulInFloat(s, &x, &y)
	out := s.slot()
	libtch.AtgMatmul(&out.c, x.c, y.c)
	return back(out.done("matmul", x, y))
}

// LayerNorm normalises the last dimension.
func (x *Tensor) LayerNorm(s *Scope, w, b *Tensor, eps float64) *Tensor {
	out := s.slot()
	dims, n := s.sizes([]int64{w.Dim(0)})
	libtch.AtgLayerNorm(&out.c, x.c, dims, n, w.c, b.c, eps, 1)
	return out.done("layer_norm", x, w, b)
}

// Gelu is the exact (erf) GELU.
func (x *Tensor) Gelu(s *Scope) *Tensor {
	out := s.slot()
	check("gelu", C.mvag_gelu((*C.handle)(&out.c), C.handle(x.c)), x)
	return out.done("gelu", x)
}

func (x *Tensor) Elu(s *Scope) *Tensor {
	out := s.slot()
	libtch.AtgElu(&out.c, x.c)
	return out.done("elu", x)
}

func (x *Tensor) Sigmoid(s *Scope) *Tensor {
	out := s.slot()
	libtch.AtgSigmoid(&out.c, x.c)
	return out.done("sigmoid", x)
}

func (x *Tensor) Softmax(s *Scope, dim int64) *Tensor {
	out := s.slot()
	libtch.AtgSoftmax(&out.c, x.c, dim, int32(x.DType()))
	return out.done("softmax", x)
}

// Attention is softmax(q·kᵀ/√D)·v for q, k, v of shape [B, H, N, D].
func Attention(s *Scope, q, k, v *Tensor) *Tensor {
	back := matmulInFloat(s, &q, &k, &v)
	out := s.slot()
	libtch.AtgScaledDotProductAttention(&out.c, q.c, k.c, v.c, nil, 0, 0, 0, 1)
	return back(out.done("scaled_dot_product_attention", q, k, v))
}

// CosineSimilarity is the cosine of x and y along dim, each norm at least eps.
func (x *Tensor) CosineSimilarity(s *Scope, y *Tensor, dim int64, eps float64) *Tensor {
	out := s.slot()
	libtch.AtgCosineSimilarity(&out.c, x.c, y.c, dim, eps)
	return out.done("cosine_similarity", x, y)
}

// Conv2d convolves [B, C, H, W] with w [O, C, h, w]; b may be nil.
func (x *Tensor) Conv2d(s *Scope, w, b *Tensor, stride, padding int64) *Tensor {
	out := s.slot()
	s.dims[0], s.dims[1], s.dims[2] = stride, padding, 1
	libtch.AtgConv2d(&out.c, x.c, w.c, optional(b), s.dims[0:1], 1, s.dims[1:2], 1, s.dims[2:3], 1, 1)
	return out.done("conv2d", x, w, b)
}

// Conv2dExact convolves [B, C, H, W] with w [O, C, h, w] in float32, never in TF32, whatever [SetPrecision] says.
func (x *Tensor) Conv2dExact(s *Scope, w *Tensor, padding int64) *Tensor {
	out := s.slot()
	check("conv2d", C.mvag_conv2d_exact((*C.handle)(&out.c), C.handle(x.c), C.handle(w.c), C.int64_t(padding)), x, w)
	return out.done("conv2d", x, w)
}

// Bilinear resizes [B, C, H, W] to h x w without antialiasing.
func (x *Tensor) Bilinear(s *Scope, h, w int64, alignCorners bool) *Tensor {
	out := s.slot()
	s.dims[0], s.dims[1] = h, w
	libtch.AtgUpsampleBilinear2d(&out.c, x.c, s.dims[:2], 2, toInt(alignCorners), 0, 1, 0, 1)
	return out.done("upsample_bilinear2d", x)
}

// BicubicAntialiased resizes [B, C, H, W] to h x w as PyTorch's interpolate(mode="bicubic", antialias=True,
// align_corners=False).
func (x *Tensor) BicubicAntialiased(s *Scope, h, w int64) *Tensor {
	out := s.slot()
	s.dims[0], s.dims[1] = h, w
	libtch.Atg_UpsampleBicubic2dAa(&out.c, x.c, s.dims[:2], 2, 0, 0, 1, 0, 1)
	return out.done("_upsample_bicubic2d_aa", x)
}

func optional(t *Tensor) libtch.Ctensor {
	if t == nil {
		return nil
	}
	return t.c
}
