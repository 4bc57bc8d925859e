package tensor

import "testing"

// TestPatchesOnCUDA compares what is done before and after the product of an encoder's patches with LibTorch's
// operations on the CPU.
func TestPatchesOnCUDA(t *testing.T) {
	beside(t)
	on := func(d Device) (patches, tokens []float32) {
		must(t, func(s *Scope) {
			Seed(8)
			const b, rows, columns, side, prefix, c = 2, 3, 4, 14, 5, 24
			bytes := make([]byte, b*3*rows*side*columns*side)
			for i := range bytes {
				bytes[i] = byte(i * i / 7)
			}
			pixels := FromBytes(s, d, Uint8, bytes, b, 3, rows*side, columns*side)
			mean, std := FromFloats(s, d, []float32{0.4, 0.5, 0.6}, 3), FromFloats(s, d, []float32{0.2, 0.25, 0.3}, 3)
			patches = onHost(s, pixels.Patches(s, mean, std, side, d != CPU))
			x, table := drawn(s, d, BFloat16, b*rows*columns, c), drawn(s, d, Float, prefix+rows*columns, c)
			tokens = onHost(s, x.PlacePatches(s, table, b, d != CPU))
		})
		return patches, tokens
	}
	wantPatches, wantTokens := on(CPU)
	patches, tokens := on(0)
	if have, want := len(patches), 2*3*4*592; have != want {
		t.Fatalf("have %d numbers of patches, want %d", have, want)
	}
	compare(t, "patches", patches, wantPatches, 0.01)
	compare(t, "tokens", tokens, wantTokens, 1e-6)
}
