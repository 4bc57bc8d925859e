package model_test

import (
	"testing"

	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/modeltest"
)

// TestFusedEmbedding compares the embedding of patches by one matmul in bfloat16 with the convolution in float32.
func TestFusedEmbedding(t *testing.T) {
	modeltest.Run(t, nil, func(m *modeltest.Tiny) {
		s, e := m.Scope, m.Model.Encoder
		side := int64(e.Arch.Patch)
		bytes := make([]byte, 2*3*e.Rows*e.Columns*side*side)
		for i := range bytes {
			bytes[i] = byte(i * i / 11)
		}
		images := tensor.FromBytes(s, tensor.CPU, tensor.Uint8, bytes, 2, 3, e.Rows*side, e.Columns*side)
		norm := func(x *tensor.Tensor) float64 { return x.Reshape(s, -1).Norm(s, 0).Item() }
		want := model.Embed(e, s, images)
		have := model.EmbedFused(e, s, images)
		if off := norm(have.Sub(s, want)) / norm(want); !(off < 0.005) {
			t.Errorf("have %.4f of the norm off, want at most 0.005", off)
		}
	})
}
