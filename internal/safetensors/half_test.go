package safetensors

import (
	"math"
	"strings"
	"testing"
)

// value computes the value of a binary float with the given fraction bits from its definition (IEEE 754-2019, 3.4), in
// float64, where every half and every bfloat16 is exact.
func value(bits uint16, fractionBits, bias int) float64 {
	fraction := int(bits) & (1<<fractionBits - 1)
	exponent := int(bits&0x7fff) >> fractionBits
	v := math.Ldexp(float64(fraction), 1-bias-fractionBits)
	switch {
	case exponent == 1<<(15-fractionBits)-1 && fraction == 0:
		v = math.Inf(1)
	case exponent == 1<<(15-fractionBits)-1:
		return math.NaN()
	case exponent > 0:
		v = math.Ldexp(float64(fraction+1<<fractionBits), exponent-bias-fractionBits)
	}
	if bits&0x8000 != 0 {
		return math.Copysign(v, -1)
	}
	return v
}

func TestHalfAllValues(t *testing.T) {
	for name, h := range map[string]struct {
		fraction, bias int
		widen          func(uint16) float32
	}{"float16": {10, 15, Float16ToFloat32}, "bfloat16": {7, 127, BFloat16ToFloat32}} {
		t.Run(name, func(t *testing.T) {
			for i := range 1 << 16 {
				bits := uint16(i)
				have, want := h.widen(bits), value(bits, h.fraction, h.bias)
				if math.IsNaN(want) != (have != have) || have == have && math.Float64bits(float64(have)) != math.Float64bits(want) {
					t.Fatalf("%#04x: have %v, want %v", bits, have, want)
				}
				if back := Float32ToFloat16(have); name == "float16" && back != bits {
					t.Fatalf("%#04x: comes back as %#04x", bits, back)
				}
			}
		})
	}
}

// TestHalfRounding visits every gap between neighbouring values: its middle rounds to the even neighbour, everything
// else to the nearer one.
func TestHalfRounding(t *testing.T) {
	const fraction, bias, infinity = 10, 15, 0x7c00
	for lower := uint16(0); lower < infinity; lower++ {
		upper := lower + 1
		a := value(lower, fraction, bias)
		middle := float32(a + math.Ldexp(1, max(int(lower)>>fraction, 1)-bias-fraction)/2)
		for f, want := range map[float32]uint16{
			math.Nextafter32(middle, 0): lower, middle: lower + lower&1, math.Nextafter32(middle, math.MaxFloat32): upper,
		} {
			for sign, f := range map[uint16]float32{0: f, 0x8000: -f} {
				if have := Float32ToFloat16(f); have != want|sign {
					t.Fatalf("%v (%#08x): have %#04x, want %#04x", f, math.Float32bits(f), have, want|sign)
				}
			}
		}
	}
}

func TestHalfSpecials(t *testing.T) {
	inf, bits := float32(math.Inf(1)), math.Float32frombits
	for name, c := range map[string]struct {
		in   float32
		want uint16
	}{
		"zero":                  {0, 0},
		"minus zero":            {bits(0x80000000), 0x8000},
		"infinity":              {inf, 0x7c00},
		"minus infinity":        {-inf, 0xfc00},
		"largest float32":       {math.MaxFloat32, 0x7c00},
		"smallest float32":      {math.SmallestNonzeroFloat32, 0},
		"largest half":          {65504, 0x7bff},
		"quiet nan":             {bits(0x7fc00000), 0x7e00},
		"nan with the last bit": {bits(0x7f800001), 0x7e00},
		"negative nan":          {bits(0xffc00001), 0xfe00},
	} {
		t.Run(name, func(t *testing.T) {
			if have := Float32ToFloat16(c.in); have != c.want {
				t.Errorf("have %#04x, want %#04x", have, c.want)
			}
		})
	}
}

func TestAppendFloat32Refuses(t *testing.T) {
	tests := map[string]struct {
		d    DType
		n    int
		want string
	}{
		"integers":           {I64, 8, `have dtype "I64", want F32`},
		"unknown type":       {"F4", 8, `have dtype "F4"`},
		"part of an element": {F32, 7, "have 7 bytes, want a multiple of 4"},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := AppendFloat32(nil, c.d, make([]byte, c.n))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("have %v, want %q", err, c.want)
			}
		})
	}
}

// TestBFloat16Rounding is TestHalfRounding for bfloat16, with the values that are no numbers.
func TestBFloat16Rounding(t *testing.T) {
	for lower := uint16(0); lower < 0x7f80; lower++ {
		middle := math.Float32frombits(uint32(lower)<<16 | 1<<15)
		for f, want := range map[float32]uint16{
			math.Nextafter32(middle, 0): lower, middle: lower + lower&1, BFloat16ToFloat32(lower): lower,
			math.Float32frombits(uint32(lower)<<16 | 1<<15 | 1): lower + 1,
		} {
			for sign, f := range map[uint16]float32{0: f, 0x8000: -f} {
				if have := Float32ToBFloat16(f); have != want|sign {
					t.Fatalf("%v (%#08x): have %#04x, want %#04x", f, math.Float32bits(f), have, want|sign)
				}
			}
		}
	}
	for bits, want := range map[uint32]uint16{0x7f800000: 0x7f80, 0xff800000: 0xff80, 0x7f800001: 0x7fc0, 0xffffffff: 0xffff} {
		if have := Float32ToBFloat16(math.Float32frombits(bits)); have != want {
			t.Errorf("%#08x: have %#04x, want %#04x", bits, have, want)
		}
	}
}
