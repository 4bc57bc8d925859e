package model_test

import (
	"math"
	"testing"

	"mvag-torch/internal/tensor"
	"mvag-torch/model/modeltest"
)

// TestPartsOfABatchDropTheSame: images get the same dropout alone as in the whole batch, up to the order of sums.
func TestPartsOfABatchDropTheSame(t *testing.T) {
	modeltest.Run(t, nil, func(m *modeltest.Tiny) {
		m.Model.Bottleneck.Dropout = 0.4
		s, x := m.Scope, m.Model.Encode(m.Scope, m.Load("input")).Mean // [B, N, C]
		forward := func(first, images int64) []float32 {
			draws := tensor.NewDraws(tensor.FromInts(s, tensor.CPU, []int64{42}, 1), first, true)
			return m.Model.Bottleneck.Forward(s, x.Slice(s, 0, first, images), draws).Floats()
		}
		whole, parts := forward(0, x.Dim(0)), append(forward(0, 1), forward(1, x.Dim(0)-1)...)
		dropped := 0
		for i, want := range whole {
			if math.Abs(float64(parts[i]-want)) > 1e-5*(1+math.Abs(float64(want))) {
				t.Fatalf("element %d: have %v, want %v", i, parts[i], want)
			}
			if want == 0 {
				dropped++
			}
		}
		if have := float64(dropped) / float64(len(whole)); math.Abs(have-0.4) > 0.05 {
			t.Errorf("have a fraction of %.2f dropped, want 0.4", have)
		}
	})
}
