package model_test

import (
	"fmt"
	"math"
	"testing"

	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/modeltest"
)

// TestLinearAttentionOnCUDA compares the kernels of linear attention with the
// composed operations on the CPU, forward and backward, from the same numbers of
// bfloat16. What stands for a card (make dry-cuda) runs the kernels and copies: what
// LibTorch sums of their results is compared on a card alone.
func TestLinearAttentionOnCUDA(t *testing.T) {
	computes := modeltest.Card(t)
	for _, test := range []struct {
		name    string
		opt     model.AttentionOptions
		present []bool
		share   float64 // of a norm; where tokens are selected, one at the limit may be taken for another
	}{
		{"own", model.AttentionOptions{}, nil, 0.01},
		{"all", model.AttentionOptions{Select: "all"}, nil, 0.01},
		{"lowest", model.AttentionOptions{Select: "lowest", Keep: 0.3}, nil, 0.06},
		{"highest", model.AttentionOptions{Select: "highest", Keep: 0.5}, nil, 0.06},
		{"none", model.AttentionOptions{Select: "lowest"}, nil, 0.01},
		{"absent", model.AttentionOptions{Select: "all"}, []bool{true, false, true, true, true, true}, 0.01},
	} {
		test.opt.Eps = 1e-6
		want, have := attentionOn(t, tensor.CPU, test.opt, test.present), attentionOn(t, 0, test.opt, test.present)
		for name := range have {
			if !computes && name != "out" && name != "qkv" {
				continue
			}
			share := test.share
			if name == "logits" {
				share = max(share, 0.06) // a difference of sums that are nearly equal
			}
			if off := distance(have[name], want[name]); !(off <= share) {
				t.Errorf("%s: %s is %.4f of its norm off", test.name, name, off)
			}
		}
	}
}

// distance is the norm of have - want by that of want.
func distance(have, want []float32) float64 {
	var off, norm float64
	for i := range want {
		off += math.Pow(float64(have[i]-want[i]), 2)
		norm += math.Pow(float64(want[i]), 2)
	}
	if norm == 0 && len(have) == len(want) {
		return math.Sqrt(off)
	}
	return math.Sqrt(off / norm)
}

// attentionOn gives the output of attention across views, or within each where opt
// selects nothing, and its gradients.
func attentionOn(t *testing.T, d tensor.Device, opt model.AttentionOptions, present []bool) map[string][]float32 {
	t.Helper()
	const objects, count, heads, tokens = 2, 3, 2, 70
	const b, c = objects * count, heads * 64
	out := map[string][]float32{}
	err := tensor.Run(func(s *tensor.Scope) error {
		tensor.Seed(3)
		draw := func(dtype tensor.DType, shape ...int64) *tensor.Tensor { // on the CPU, then copied
			x := tensor.Rand(s, tensor.CPU, shape...).AddScalar(s, -0.5).MulScalar(s, 4).To(s, dtype)
			return tensor.FromBytes(s, d, dtype, x.Bytes(), shape...).RequireGrad()
		}
		keep := func(name string, x *tensor.Tensor) {
			out[name] = tensor.FromBytes(s, tensor.CPU, x.DType(), x.Bytes(), x.Shape()...).To(s, tensor.Float).Floats()
		}
		logits := tensor.FromFloats(s, tensor.CPU, []float32{0.2, -0.3}, count-1).RequireGrad()
		qkv, bias := draw(tensor.BFloat16, b, tokens, 3*c), draw(tensor.Float, 3*c)
		y, g := draw(tensor.BFloat16, b, tokens, c), draw(tensor.BFloat16, b, tokens, c).Detach(s)
		rest := tensor.FromFloats(s, d, []float32{0.4}).RequireGrad()
		a := model.AttentionOf(heads, logits, opt,
			tensor.ChooseKernels(d, tensor.BFloat16, tensor.ModelShape{Channels: c, Heads: heads, Tokens: tokens}))
		views := model.NewViews(s, tensor.CPU, objects, count, present)
		switch {
		case opt.Select == "":
			y = model.Within(a, s, qkv, bias, model.NewViews(s, d, objects, count, present))
			y.To(s, tensor.BFloat16).BackwardFrom(g)
		case d == tensor.CPU:
			y = model.Mix(a, s, qkv, bias, y, rest, views)
			y.To(s, tensor.BFloat16).BackwardFrom(g)
		default:
			shares := model.Shares(views, s, logits)
			share := tensor.FromBytes(s, d, tensor.Float, shares.Detach(s).Bytes(), shares.Shape()...).RequireGrad()
			y = qkv.LinearAttention(s, bias, share, y, rest,
				tensor.LinearAttentionOptions{Select: opt.Select, Count: int64(opt.Keep * tokens), Eps: opt.Eps})
			y.BackwardFrom(g)
			shares.BackwardFrom(tensor.FromBytes(s, tensor.CPU, tensor.Float, share.Grad(s).Bytes(), shares.Shape()...))
		}
		keep("out", y.Detach(s))
		keep("qkv", qkv.Grad(s))
		keep("bias", bias.Grad(s))
		if opt.Select != "" {
			keep("rest", rest.Grad(s))
			keep("logits", logits.Grad(s))
		}
		return nil
	})
	if err != nil {
		t.Fatal(fmt.Errorf("%+v: %w", opt, err))
	}
	return out
}
