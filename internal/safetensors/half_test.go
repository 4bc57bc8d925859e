package safetensors

import (
	"math"
	"strings"
	"testing"
)

// value computes the value of a binary float with the given fraction bits from
// its definition (IEEE 754-2019, 3.4), in float64, where every half and every
// bfloat16 is exact.
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

var halves = map[string]struct {
	fraction, bias int
	widen          func(uint16) float32
	narrow         func(float32) uint16
	infinity       uint16
}{
	"float16":  {10, 15, Float16ToFloat32, Float32ToFloat16, 0x7c00},
	"bfloat16": {7, 127, BFloat16ToFloat32, Float32ToBFloat16, 0x7f80},
}

func TestHalfAllValues(t *testing.T) {
	for name, h := range halves {
		t.Run(name, func(t *testing.T) {
			for i := range 1 << 16 {
				bits := uint16(i)
				have, want := h.widen(bits), value(bits, h.fraction, h.bias)
				if math.IsNaN(want) != (have != have) || have == have && math.Float64bits(float64(have)) != math.Float64bits(want) {
					t.Fatalf("%#04x: have %v, want %v", bits, have, want)
				}
				if back := h.narrow(have); back != bits {
					t.Fatalf("%#04x: comes back as %#04x", bits, back)
				}
			}
		})
	}
}

// TestHalfRounding visits every gap between neighbouring values: its middle
// goes to the even neighbour, all else to the nearer one.
func TestHalfRounding(t *testing.T) {
	for name, h := range halves {
		t.Run(name, func(t *testing.T) {
			for lower := uint16(0); lower < h.infinity; lower++ {
				upper := lower + 1
				a := value(lower, h.fraction, h.bias)
				step := math.Ldexp(1, max(int(lower)>>h.fraction, 1)-h.bias-h.fraction)
				middle := float32(a + step/2)
				even := lower + lower&1
				for _, c := range []struct {
					f    float32
					want uint16
				}{
					{math.Nextafter32(middle, 0), lower},
					{middle, even},
					{math.Nextafter32(middle, math.MaxFloat32), upper},
				} {
					if float64(c.f) == a { // no float32 between the two
						c.want = lower
					}
					for sign, f := range map[uint16]float32{0: c.f, 0x8000: -c.f} {
						if have := h.narrow(f); have != c.want|sign {
							t.Fatalf("%v (%#08x): have %#04x, want %#04x", f, math.Float32bits(f), have, c.want|sign)
						}
					}
				}
			}
		})
	}
}

func TestHalfSpecials(t *testing.T) {
	inf, bits := float32(math.Inf(1)), math.Float32frombits
	tests := []struct {
		name    string
		in      float32
		f16, bf uint16
	}{
		{"zero", 0, 0, 0},
		{"minus zero", bits(0x80000000), 0x8000, 0x8000},
		{"infinity", inf, 0x7c00, 0x7f80},
		{"minus infinity", -inf, 0xfc00, 0xff80},
		{"largest float32", math.MaxFloat32, 0x7c00, 0x7f80},
		{"smallest float32", math.SmallestNonzeroFloat32, 0, 0},
		{"largest half", 65504, 0x7bff, 0x4780},
		{"quiet nan", bits(0x7fc00000), 0x7e00, 0x7fc0},
		{"nan with its payload in the last bit", bits(0x7f800001), 0x7e00, 0x7fc0},
		{"negative nan", bits(0xffc00001), 0xfe00, 0xffc0},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			if have := Float32ToFloat16(c.in); have != c.f16 {
				t.Errorf("float16: have %#04x, want %#04x", have, c.f16)
			}
			if have := Float32ToBFloat16(c.in); have != c.bf {
				t.Errorf("bfloat16: have %#04x, want %#04x", have, c.bf)
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

func BenchmarkAppendFloat32(b *testing.B) {
	for _, d := range []DType{F32, F16, BF16} {
		b.Run(string(d), func(b *testing.B) {
			src := make([]byte, 1<<20)
			dst := make([]float32, 0, len(src))
			b.SetBytes(int64(len(src)))
			for b.Loop() {
				if _, err := AppendFloat32(dst, d, src); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
