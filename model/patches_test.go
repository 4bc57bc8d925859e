package model_test

import (
	"testing"

	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/modeltest"
)

// TestEmbedByProduct compares the embedding of patches by one product of bfloat16
// with the convolution in float32.
func TestEmbedByProduct(t *testing.T) {
	modeltest.Run(t, nil, func(m *modeltest.Tiny) {
		s, e := m.Scope, m.Model.Encoder
		side := int64(e.Arch.Patch)
		bytes := make([]byte, 2*3*e.Rows*e.Columns*side*side)
		for i := range bytes {
			bytes[i] = byte(i * i / 11)
		}
		pixels := tensor.FromBytes(s, tensor.CPU, tensor.Uint8, bytes, 2, 3, e.Rows*side, e.Columns*side)
		norm := func(x *tensor.Tensor) float64 { return x.Reshape(s, -1).Norm(s, 0).Item() }
		want := model.Embed(e, s, m.Model.Normalize(s, pixels))
		have := model.EmbedByProduct(e, s, pixels)
		if off := norm(have.Sub(s, want)) / norm(want); !(off < 0.005) {
			t.Errorf("have %.4f of the norm off, want at most 0.005", off)
		}
	})
}
