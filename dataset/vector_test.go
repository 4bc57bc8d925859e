//go:build amd64

package dataset

import (
	"bytes"
	"image"
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
		w, h, channels := 1+rng.IntN(200), 1+rng.IntN(90), 1+2*rng.IntN(2)
		out := image.Pt(1+rng.IntN(70), 1+rng.IntN(70))
		n := image.Pt(1+rng.IntN(out.X), 1+rng.IntN(out.Y))
		window := image.Rectangle{Max: n}.Add(image.Pt(rng.IntN(out.X-n.X+1), rng.IntN(out.Y-n.Y+1)))
		at := image.Pt(rng.IntN(20), rng.IntN(5))
		size := n.Add(at).Add(image.Pt(rng.IntN(20), rng.IntN(5)))
		pix := make([]uint8, w*h*channels, w*h*channels+rng.IntN(2)*vectorPad)
		for i := range pix {
			pix[i] = uint8(rng.Uint32() >> 24)
			if w%3 == 0 { // the largest sums
				pix[i] = 255
			}
		}
		r := bytesRaster(pix, w, h, channels)
		have, want := make([]uint8, channels*size.X*size.Y), make([]uint8, channels*size.X*size.Y)
		new(resizer).resize(r, out, window, canvas{have, size}, at)
		useAVX2 = false
		new(resizer).resize(r, out, window, canvas{want, size}, at)
		useAVX2 = true
		if !bytes.Equal(have, want) {
			t.Fatalf("%dx%dx%d to %v, of that %v at %v of %v: the pixels differ", w, h, channels, out, window, at, size)
		}
	}
}
