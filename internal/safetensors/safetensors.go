// Package safetensors reads and writes the safetensors format: the length of the header in eight little-endian bytes, a
// JSON header that describes the tensors, and their elements in one contiguous block. It is compatible with the Python
// package of that name. docs/format/weights.md says what is checked and refused.
package safetensors

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// maxHeader is the maximum length of the header in bytes, as in the reference implementation.
const maxHeader = 100_000_000

// maxRank is the maximum number of dimensions of a tensor, as in LibTorch.
const maxRank = 64

// metadataKey is the header entry with text instead of a tensor.
const metadataKey = "__metadata__"

// DType is the element type of a tensor, spelled as in the header.
type DType string

// The element types that are read and written.
const (
	Bool DType = "BOOL"
	U8   DType = "U8"
	I8   DType = "I8"
	I16  DType = "I16"
	U16  DType = "U16"
	F16  DType = "F16"
	BF16 DType = "BF16"
	I32  DType = "I32"
	U32  DType = "U32"
	F32  DType = "F32"
	F64  DType = "F64"
	I64  DType = "I64"
	U64  DType = "U64"

	// Types that are only carried.
	C64        DType = "C64"
	F8E4M3     DType = "F8_E4M3"
	F8E5M2     DType = "F8_E5M2"
	F8E8M0     DType = "F8_E8M0"
	F8E4M3FNUZ DType = "F8_E4M3FNUZ"
	F8E5M2FNUZ DType = "F8_E5M2FNUZ"
)

// dtypes are all types in the order of the reference implementation, that of alignment. Write stores the last of them
// first.
var dtypes = []DType{Bool, U8, I8, F8E5M2, F8E5M2FNUZ, F8E4M3, F8E4M3FNUZ, F8E8M0, I16, U16, F16, BF16, I32, U32, F32, C64, F64, I64, U64}

// Size returns the number of bytes of one element, 0 for an unknown type.
func (d DType) Size() int64 {
	switch d {
	case Bool, U8, I8, F8E4M3, F8E5M2, F8E8M0, F8E4M3FNUZ, F8E5M2FNUZ:
		return 1
	case I16, U16, F16, BF16:
		return 2
	case I32, U32, F32:
		return 4
	case F64, I64, U64, C64:
		return 8
	}
	return 0
}

// entry describes one tensor in the header. Offsets are relative to the end of the header.
type entry struct {
	name       string
	dtype      DType
	shape      []int64
	begin, end int64
}

// ByteLen returns the size of a tensor in bytes. An unknown type, too many or negative dimensions, and a size above
// 2^63-1 are errors.
func ByteLen(d DType, shape []int64) (int64, error) {
	n := d.Size()
	if n == 0 {
		return 0, fmt.Errorf("have dtype %.40q, want one of %s", string(d), known())
	}
	if len(shape) > maxRank {
		return 0, fmt.Errorf("have %d dimensions, want at most %d", len(shape), maxRank)
	}
	for _, dim := range shape {
		if dim < 0 {
			return 0, fmt.Errorf("have shape %v, want no negative dimension", shape)
		}
		if dim > 0 && n > math.MaxInt64/dim {
			return 0, fmt.Errorf("have shape %v, want a size that fits 63 bits", shape)
		}
		n *= dim
	}
	return n, nil
}

func known() string {
	names := make([]string, len(dtypes))
	for i, d := range dtypes {
		names[i] = string(d)
	}
	return strings.Join(names, ", ")
}

// rank returns the index of d in dtypes.
func (d DType) rank() int { return slices.Index(dtypes, d) }
