package tensor

import "github.com/sugarme/gotch/libtch"

// The methods below are LibTorch's operations of the same name; each result belongs to the scope s. Sizes follow
// LibTorch: negative dimensions count from the end, -1 in Reshape is inferred.

// sizes copies dims to the scope's scratch memory; libtch keeps no reference.
func (s *Scope) sizes(dims []int64) ([]int64, int) {
	return s.dims[:], copy(s.dims[:], dims)
}

func scalar(v float64, f func(libtch.Cscalar)) {
	c := libtch.AtsFloat(v)
	f(c)
	libtch.AtsFree(c)
}

// Zeros returns a tensor of zeros.
func Zeros(s *Scope, d Device, dtype DType, shape ...int64) *Tensor {
	out := s.slot()
	dims, n := s.sizes(shape)
	libtch.AtgZeros(&out.c, dims, n, int32(dtype), int32(d))
	return out.done("zeros")
}

// Full returns a tensor filled with v.
func Full(s *Scope, d Device, dtype DType, v float64, shape ...int64) *Tensor {
	out := s.slot()
	dims, n := s.sizes(shape)
	scalar(v, func(c libtch.Cscalar) { libtch.AtgFull(&out.c, dims, n, c, int32(dtype), int32(d)) })
	return out.done("full")
}

// Rand returns float32 values uniform in [0, 1).
func Rand(s *Scope, d Device, shape ...int64) *Tensor {
	out := s.slot()
	dims, n := s.sizes(shape)
	libtch.AtgRand(&out.c, dims, n, int32(Float), int32(d))
	return out.done("rand")
}

// RandnLike returns standard normal values of x's shape, type and device.
func (x *Tensor) RandnLike(s *Scope) *Tensor {
	out := s.slot()
	libtch.AtgRandnLike(&out.c, x.c)
	return out.done("randn_like", x)
}

func (x *Tensor) Detach(s *Scope) *Tensor {
	out := s.slot()
	libtch.AtgDetach(&out.c, x.c)
	return out.done("detach", x)
}

// To returns x as dtype; x itself where it already is.
func (x *Tensor) To(s *Scope, dtype DType) *Tensor {
	out := s.slot()
	libtch.AtgToDtype(&out.c, x.c, int32(dtype), 0, 0)
	return out.done("to", x)
}

// CopyFrom overwrites x with src.
func (x *Tensor) CopyFrom(src *Tensor) {
	libtch.AtCopy_(x.c, src.c)
	if msg := takeErrorIfAny(); msg != "" {
		fail("copy_", msg, []*Tensor{x, src})
	}
}

// Arithmetic, element by element with broadcasting.

func (x *Tensor) Add(s *Scope, y *Tensor) *Tensor {
	out := s.slot()
	libtch.AtgAdd(&out.c, x.c, y.c)
	return out.done("add", x, y)
}

func (x *Tensor) Sub(s *Scope, y *Tensor) *Tensor {
	out := s.slot()
	libtch.AtgSub(&out.c, x.c, y.c)
	return out.done("sub", x, y)
}

func (x *Tensor) Mul(s *Scope, y *Tensor) *Tensor {
	out := s.slot()
	libtch.AtgMul(&out.c, x.c, y.c)
	return out.done("mul", x, y)
}

func (x *Tensor) Div(s *Scope, y *Tensor) *Tensor {
	out := s.slot()
	libtch.AtgDiv(&out.c, x.c, y.c)
	return out.done("div", x, y)
}

func (x *Tensor) Minimum(s *Scope, y *Tensor) *Tensor {
	out := s.slot()
	libtch.AtgMinimum(&out.c, x.c, y.c)
	return out.done("minimum", x, y)
}

func (x *Tensor) AddScalar(s *Scope, v float64) *Tensor {
	out := s.slot()
	scalar(v, func(c libtch.Cscalar) { libtch.AtgAddScalar(&out.c, x.c, c) })
	return out.done("add", x)
}

func (x *Tensor) MulScalar(s *Scope, v float64) *Tensor {
	out := s.slot()
	scalar(v, func(c libtch.Cscalar) { libtch.AtgMulScalar(&out.c, x.c, c) })
	return out.done("mul", x)
}

func (x *Tensor) DivScalar(s *Scope, v float64) *Tensor {
	out := s.slot()
	scalar(v, func(c libtch.Cscalar) { libtch.AtgDivScalar(&out.c, x.c, c) })
	return out.done("div", x)
}

func (x *Tensor) Neg(s *Scope) *Tensor {
	out := s.slot()
	libtch.AtgNeg(&out.c, x.c)
	return out.done("neg", x)
}

func (x *Tensor) Square(s *Scope) *Tensor {
	out := s.slot()
	libtch.AtgSquare(&out.c, x.c)
	return out.done("square", x)
}

// Comparison and choice.

// Lt is true where x < y.
func (x *Tensor) Lt(s *Scope, y *Tensor) *Tensor {
	out := s.slot()
	libtch.AtgLtTensor(&out.c, x.c, y.c)
	return out.done("lt", x, y)
}

// LeScalar is true where x <= v.
func (x *Tensor) LeScalar(s *Scope, v float64) *Tensor {
	out := s.slot()
	scalar(v, func(c libtch.Cscalar) { libtch.AtgLe(&out.c, x.c, c) })
	return out.done("le", x)
}

// MaskedFill puts v where the boolean mask is true.
func (x *Tensor) MaskedFill(s *Scope, mask *Tensor, v float64) *Tensor {
	out := s.slot()
	scalar(v, func(c libtch.Cscalar) { libtch.AtgMaskedFill(&out.c, x.c, mask.c, c) })
	return out.done("masked_fill", x, mask)
}

// Kthvalue returns the k-th smallest value along dim, k from 1.
func (x *Tensor) Kthvalue(s *Scope, k, dim int64) *Tensor {
	values, indices := s.pair()
	defer allowAny()() // of equal values any has that index, which is not returned
	libtch.AtgKthvalue(&values.c, x.c, k, dim, 0)
	indices.done("kthvalue", x)
	return values.done("kthvalue", x)
}

// Topk returns the k largest (or smallest) values along dim and their indices, in no particular order.
func (x *Tensor) Topk(s *Scope, k, dim int64, largest bool) (values, indices *Tensor) {
	values, indices = s.pair()
	libtch.AtgTopk(&values.c, x.c, k, dim, toInt(largest), 0)
	return values.done("topk", x), indices.done("topk", x)
}

// ScatterValue returns x with v at the indices along dim.
func (x *Tensor) ScatterValue(s *Scope, dim int64, index *Tensor, v float64) *Tensor {
	out := s.slot()
	scalar(v, func(c libtch.Cscalar) { libtch.AtgScatterValue(&out.c, x.c, dim, index.c, c) })
	return out.done("scatter", x, index)
}

func (x *Tensor) IndexSelect(s *Scope, dim int64, index *Tensor) *Tensor {
	out := s.slot()
	libtch.AtgIndexSelect(&out.c, x.c, dim, index.c)
	return out.done("index_select", x, index)
}

// Shape.

func (x *Tensor) Reshape(s *Scope, shape ...int64) *Tensor {
	out := s.slot()
	dims, n := s.sizes(shape)
	libtch.AtgReshape(&out.c, x.c, dims, n)
	return out.done("reshape", x)
}

func (x *Tensor) Permute(s *Scope, order ...int64) *Tensor {
	out := s.slot()
	dims, n := s.sizes(order)
	libtch.AtgPermute(&out.c, x.c, dims, n)
	return out.done("permute", x)
}

func (x *Tensor) Transpose(s *Scope, a, b int64) *Tensor {
	out := s.slot()
	libtch.AtgTranspose(&out.c, x.c, a, b)
	return out.done("transpose", x)
}

func (x *Tensor) Expand(s *Scope, shape ...int64) *Tensor {
	out := s.slot()
	dims, n := s.sizes(shape)
	libtch.AtgExpand(&out.c, x.c, dims, n, 0)
	return out.done("expand", x)
}

func (x *Tensor) Unsqueeze(s *Scope, dim int64) *Tensor {
	out := s.slot()
	libtch.AtgUnsqueeze(&out.c, x.c, dim)
	return out.done("unsqueeze", x)
}

// Select takes index i of dim and drops dim.
func (x *Tensor) Select(s *Scope, dim, i int64) *Tensor {
	out := s.slot()
	libtch.AtgSelect(&out.c, x.c, dim, i)
	return out.done("select", x)
}

// Slice takes length indices of dim from start on.
func (x *Tensor) Slice(s *Scope, dim, start, length int64) *Tensor {
	out := s.slot()
	libtch.AtgNarrow(&out.c, x.c, dim, start, length)
	return out.done("narrow", x)
}

// Cat joins tensors along dim.
func Cat(s *Scope, dim int64, xs ...*Tensor) *Tensor {
	out := s.slot()
	libtch.AtgCat(&out.c, ctensors(xs), len(xs), dim)
	return out.done("cat", xs...)
}

// Stack joins tensors along a new dim.
func Stack(s *Scope, dim int64, xs ...*Tensor) *Tensor {
	out := s.slot()
	libtch.AtgStack(&out.c, ctensors(xs), len(xs), dim)
	return out.done("stack", xs...)
}

// Reductions.

// Sum adds up dims and keeps them as 1 if keep is set.
func (x *Tensor) Sum(s *Scope, keep bool, over ...int64) *Tensor {
	out := s.slot()
	dims, n := s.sizes(over)
	libtch.AtgSumDimIntlist(&out.c, x.c, dims, n, toInt(keep), int32(x.DType()))
	return out.done("sum", x)
}

// Mean averages over dims; over all where none are named.
func (x *Tensor) Mean(s *Scope, over ...int64) *Tensor {
	out := s.slot()
	if len(over) == 0 {
		libtch.AtgMean(&out.c, x.c, int32(x.DType()))
		return out.done("mean", x)
	}
	dims, n := s.sizes(over)
	libtch.AtgMeanDim(&out.c, x.c, dims, n, 0, int32(x.DType()))
	return out.done("mean", x)
}

// Norm is the Euclidean norm over dim, which stays as 1.
func (x *Tensor) Norm(s *Scope, dim int64) *Tensor {
	out := s.slot()
	dims, n := s.sizes([]int64{dim})
	scalar(2, func(p libtch.Cscalar) { libtch.AtgNormScalaroptDim(&out.c, x.c, p, dims, n, 1) })
	return out.done("norm", x)
}

// pair returns two slots whose handles are adjacent, as libtch wants them for an operation of two results.
func (s *Scope) pair() (*Tensor, *Tensor) {
	if s.n%chunkTensors == chunkTensors-1 {
		s.slot() // stays undefined
	}
	return s.slot(), s.slot()
}

func ctensors(xs []*Tensor) []libtch.Ctensor {
	c := make([]libtch.Ctensor, len(xs))
	for i, x := range xs {
		c[i] = x.c
	}
	return c
}

func toInt(b bool) int32 {
	if b {
		return 1
	}
	return 0
}
