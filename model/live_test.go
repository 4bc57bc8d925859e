package model_test

import (
	"testing"

	"mvag-torch/internal/tensor"
	"mvag-torch/model/modeltest"
)

// TestEncodeKeepsFeaturesOnly: what the encoder computed on the way to the features is freed, since a training step
// holds the features until its end.
func TestEncodeKeepsFeaturesOnly(t *testing.T) {
	modeltest.Run(t, nil, func(m *modeltest.Tiny) {
		input := m.Load("input")
		m.Scope.Local(func(s *tensor.Scope) *tensor.Tensor {
			before := tensor.Live()
			f := m.Model.Encode(s, input)
			// The mean, and for each group the mean of its layers and its patches.
			if have, want := tensor.Live()-before, int64(1+2*len(f.Targets)); have != want {
				t.Errorf("have %d more live tensors after Encode, want %d", have, want)
			}
			return nil
		})
	})
}
