package train

import (
	"fmt"
	"testing"

	"mvag-torch/internal/golden"
	"mvag-torch/internal/tensor"
	"mvag-torch/model/modeltest"
	"mvag-torch/train/schedule"
)

// TestLossOnCUDA compares the kernels for the losses of a group with what is
// composed on the CPU: values, and gradients of both losses and of one of them.
func TestLossOnCUDA(t *testing.T) {
	modeltest.Card(t)
	for _, c := range []struct {
		members, channels int64
		easy              float64
	}{{1, 20, 0}, {3, 132, 0.3}, {4, 768, 0.8}, {16, 8, 0.8}} {
		for _, both := range []bool{true, false} {
			onCPU := lossOn(t, tensor.CPU, c.members, c.channels, c.easy, both)
			onCUDA := lossOn(t, 0, c.members, c.channels, c.easy, both)
			for name, want := range onCPU {
				if err := golden.Near(onCUDA[name], want, 1e-5); err != nil {
					t.Fatalf("%v both: %v %s: %v", c, both, name, err)
				}
			}
		}
	}
}

// lossOn computes the loss of a group on device d, and the gradients of its members.
func lossOn(t *testing.T, d tensor.Device, members, channels int64, easy float64, both bool) map[string][]float32 {
	const pictures, patches, prefix, scale = 3, 25, 2, 0.1
	out := map[string][]float32{}
	err := tensor.Run(func(s *tensor.Scope) error {
		tensor.Seed(11)
		random := func(size float64) *tensor.Tensor { // on the CPU
			return tensor.Rand(s, tensor.CPU, pictures, prefix+patches, channels).AddScalar(s, -0.5).MulScalar(s, size)
		}
		copied := func(x *tensor.Tensor) *tensor.Tensor { return tensor.FromFloats(s, d, x.Floats(), x.Shape()...) }
		x := random(1)
		target := copied(x).Narrow(s, 1, prefix, patches)
		var group []*tensor.Tensor
		var all []int
		for i := range members {
			group = append(group, copied(x.Add(s, random(float64(i+1)))).RequireGrad())
			all = append(all, int(i))
		}
		var l groupLoss
		if d == tensor.CPU {
			rec := tensor.Means(s, false, group, all)[0].Narrow(s, 1, prefix, patches)
			l = composed(s, target, rec, easy, scale)
		} else {
			hard := int64(schedule.HardCount(pictures*patches, easy))
			l.global, l.regional, l.tau = tensor.GroupLosses(s, target, group, hard, scale)
		}
		out["global"], out["regional"], out["tau"] = l.global.Floats(), l.regional.Floats(), l.tau.Floats()
		if both {
			tensor.Stack(s, 0, l.global, l.regional).BackwardFrom(tensor.FromFloats(s, d, []float32{2, 3}, 2))
		} else {
			l.global.BackwardFrom(tensor.FromFloats(s, d, []float32{0.5}))
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
