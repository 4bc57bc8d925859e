package model_test

import (
	"fmt"
	"testing"

	"mvag-torch/internal/golden"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/modeltest"
)

// TestLossOnCUDA compares the kernels for the losses of a group with what is composed on the CPU: values, and gradients
// of both losses and of one of them.
func TestLossOnCUDA(t *testing.T) {
	modeltest.CUDA(t)
	for _, c := range []struct{ members, channels, hard int64 }{{1, 20, 75}, {3, 132, 52}, {4, 768, 14}, {16, 8, 14}} {
		for _, both := range []bool{true, false} {
			onCPU := lossOn(t, tensor.CPU, c.members, c.channels, c.hard, both)
			onCUDA := lossOn(t, 0, c.members, c.channels, c.hard, both)
			for name, want := range onCPU {
				if err := golden.Near(onCUDA[name], want, 1e-5); err != nil {
					t.Fatalf("%v both: %v %s: %v", c, both, name, err)
				}
			}
		}
	}
}

// lossOn computes the loss of a group on device d, and the gradients of its members.
func lossOn(t *testing.T, d tensor.Device, members, channels, hard int64, both bool) map[string][]float32 {
	const images, patches, prefix, easyScale = 3, 25, 2, 0.1
	out := map[string][]float32{}
	err := tensor.Run(func(s *tensor.Scope) error {
		tensor.Seed(11)
		random := func(size float64) *tensor.Tensor { // on the CPU
			return tensor.Rand(s, tensor.CPU, images, prefix+patches, channels).AddScalar(s, -0.5).MulScalar(s, size)
		}
		copied := func(x *tensor.Tensor) *tensor.Tensor { return tensor.FromFloats(s, d, x.Floats(), x.Shape()...) }
		x := random(1)
		target := copied(x).Slice(s, 1, prefix, patches)
		var group []*tensor.Tensor
		var all []int
		for i := range members {
			group = append(group, copied(x.Add(s, random(float64(i+1)))).RequireGrad())
			all = append(all, int(i))
		}
		var l model.GroupLoss
		if d == tensor.CPU {
			rec := tensor.Means(s, false, group, all)[0].Slice(s, 1, prefix, patches)
			l = model.ComposedLoss(s, target, rec, model.NewViews(s, d, images, 1, nil), hard, easyScale)
		} else {
			l.Global, l.Regional, l.Tau = tensor.GroupLosses(s, target, group, hard, easyScale, images, nil)
		}
		out["global"], out["regional"], out["tau"] = l.Global.Floats(), l.Regional.Floats(), l.Tau.Floats()
		if both {
			tensor.Stack(s, 0, l.Global, l.Regional).BackwardFrom(tensor.FromFloats(s, d, []float32{2, 3}, 2))
		} else {
			l.Global.BackwardFrom(tensor.FromFloats(s, d, []float32{0.5}))
		}
		for i, x := range group {
			out[fmt.Sprint("gradient ", i)] = x.Grad(s).Floats()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
