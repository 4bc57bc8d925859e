package modeltest

import (
	"bytes"
	"image"
	"image/png"
	"math/rand/v2"
	"mvag-torch/model/weights"
	"testing"
)

// RandomViT is a vit_small_patch14_dinov2 of random weights, blocks 0 to last, with a position table for grid x grid
// patches.
func RandomViT(last, grid int) weights.Map {
	small := weights.Arch{Name: "vit_small_patch14_dinov2", Patch: 14, Dim: 384, Depth: 12, Heads: 6}
	return small.Random(last, grid, 1)
}

// Noise is a PNG file of 60 x 50 pixels of noise, of a strength of its own.
func Noise(t testing.TB, rng *rand.Rand) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, 60, 50))
	strength := rng.Float64()
	for i := range img.Pix {
		img.Pix[i] = uint8(128 + 127*strength*(2*rng.Float64()-1))
		if i%4 == 3 {
			img.Pix[i] = 255
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
