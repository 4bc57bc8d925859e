package safetensors

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Float16ToFloat32 returns the value of an IEEE 754 half-precision number, exactly. The payload of a NaN is kept.
func Float16ToFloat32(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exponent, fraction := uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch exponent {
	case 0: // zero and subnormals, multiples of 2^-24
		return math.Float32frombits(sign | math.Float32bits(float32(fraction)*0x1p-24))
	case 0x1f: // infinities and NaN
		return math.Float32frombits(sign | 0x7f800000 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
}

// NotFinite16 is the index of the first little-endian float16 that is infinite or NaN, all bits of whose exponent are set;
// -1 where there is none.
func NotFinite16(data []byte) int {
	for i := 1; i < len(data); i += 2 {
		if data[i]&0x7c == 0x7c {
			return i / 2
		}
	}
	return -1
}

// Float32ToFloat16 rounds f to half precision, ties to even. Values from 65520 up become infinite. A NaN keeps the
// upper bits of its payload and stays a NaN.
func Float32ToFloat16(f float32) uint16 {
	bits := math.Float32bits(f)
	sign, abs := uint16(bits>>16&0x8000), bits&0x7fffffff
	switch {
	case abs > 0x7f800000:
		h := sign | 0x7c00 | uint16(abs>>13&0x3ff)
		if h&0x3ff == 0 { // the payload was below the bits kept
			h |= 0x200
		}
		return h
	case abs >= 0x477ff000: // 65520, halfway between the largest half and 2^16
		return sign | 0x7c00
	case abs < 0x38800000: // below 2^-14: count multiples of 2^-24
		// The sum has an exponent at which one unit in the last place is 2^-24, so that the addition itself rounds to
		// even.
		return sign | uint16(math.Float32bits(math.Float32frombits(abs)+0.5)-0x3f000000)
	}
	// Rounding to even is an addition before the truncation; its carry into the exponent is right.
	even := abs + 1<<12 - 1 + abs>>13&1
	return sign | uint16((even-(127-15)<<23)>>13)
}

// BFloat16ToFloat32 returns the value of a bfloat16 number, the upper half of a float32.
func BFloat16ToFloat32(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }

// Float32ToBFloat16 rounds f to bfloat16, ties to even. Values that are too large become infinite. A NaN keeps the upper
// bits of its payload and stays a NaN.
func Float32ToBFloat16(f float32) uint16 {
	bits := math.Float32bits(f)
	if f != f {
		return uint16(bits>>16) | 0x40
	}
	return uint16((bits + 1<<15 - 1 + bits>>16&1) >> 16)
}

// AppendFloat32 appends the little-endian elements of type d in src to dst. F32, F16 and BF16 are exact, F64 is rounded
// to nearest. Other types, and part of an element, are errors.
func AppendFloat32(dst []float32, d DType, src []byte) ([]float32, error) {
	le := binary.LittleEndian
	if size := d.Size(); size > 0 && int64(len(src))%size != 0 {
		return dst, fmt.Errorf("have %d bytes, want a multiple of %d", len(src), size)
	}
	switch d {
	case F32:
		for ; len(src) > 0; src = src[4:] {
			dst = append(dst, math.Float32frombits(le.Uint32(src)))
		}
	case F16:
		for ; len(src) > 0; src = src[2:] {
			dst = append(dst, Float16ToFloat32(le.Uint16(src)))
		}
	case BF16:
		for ; len(src) > 0; src = src[2:] {
			dst = append(dst, BFloat16ToFloat32(le.Uint16(src)))
		}
	case F64:
		for ; len(src) > 0; src = src[8:] {
			dst = append(dst, float32(math.Float64frombits(le.Uint64(src))))
		}
	default:
		return dst, fmt.Errorf("have dtype %.40q, want F32, F16, BF16 or F64", string(d))
	}
	return dst, nil
}
