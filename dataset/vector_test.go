//go:build amd64

package dataset

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestVectorResize: the AVX2 passes equal those in Go, for sizes that leave remainders, enlarge, reduce and crop.
func TestVectorResize(t *testing.T) {
	if !useAVX2 {
		t.Skip("no AVX2")
	}
	rng := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		w, h, out := 1+rng.IntN(200), 1+rng.IntN(90), 1+rng.IntN(70)
		n, channels := 1+rng.IntN(out), 1+2*rng.IntN(2)
		off := rng.IntN(out - n + 1)
		pix := make([]uint8, w*h*channels, w*h*channels+rng.IntN(2)*vectorPad)
		for i := range pix {
			pix[i] = uint8(rng.Uint32() >> 24)
			if w%3 == 0 { // the largest sums
				pix[i] = 255
			}
		}
		r := bytesRaster(pix, w, h, channels)
		have, want := make([]uint8, channels*n*n), make([]uint8, channels*n*n)
		new(resizer).resize(r, out, off, n, have)
		useAVX2 = false
		new(resizer).resize(r, out, off, n, want)
		useAVX2 = true
		if !bytes.Equal(have, want) {
			t.Fatalf("%dx%dx%d to %d, %d from %d on: the pixels differ", w, h, channels, out, n, off)
		}
	}
}
