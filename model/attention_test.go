package model_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"mvag-torch/internal/golden"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/modeltest"
)

// TestLinearAttentionOnCUDA compares the kernels of linear attention with the composed operations on the CPU, forward
// and backward, from the same values in bfloat16. The stub of make dry-cuda runs the kernels and copies: what LibTorch
// sums of their results is compared on a GPU alone.
func TestLinearAttentionOnCUDA(t *testing.T) {
	computes := modeltest.CUDA(t)
	for _, test := range []struct {
		name    string
		opt     model.AttentionOptions
		present []bool
		most    float64 // difference as a fraction of the norm; where tokens are selected, one at the limit may be taken for another
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
			most := test.most
			if name == "logits" {
				most = max(most, 0.06) // a difference of sums that are nearly equal
			}
			if off := distance(have[name], want[name]); !(off <= most) {
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

// attentionOn gives the output of attention across views, or within each where opt selects nothing, and its gradients.
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
		kernels := tensor.ChooseKernels(d, tensor.BFloat16, tensor.ModelShape{Channels: c, Heads: heads, Tokens: tokens})
		a := model.AttentionOf(heads, logits, opt, &kernels)
		views := model.NewViews(s, tensor.CPU, objects, count, present)
		switch {
		case opt.Select == "":
			y = model.Within(a, s, qkv, bias, model.NewViews(s, d, objects, count, present))
			y.To(s, tensor.BFloat16).BackwardFrom(g)
		case d == tensor.CPU:
			y = model.Mix(a, s, qkv, bias, y, rest, views)
			y.To(s, tensor.BFloat16).BackwardFrom(g)
		default:
			onHost := model.ViewWeights(views, s, logits)
			weights := tensor.FromBytes(s, d, tensor.Float, onHost.Detach(s).Bytes(), onHost.Shape()...).RequireGrad()
			y = qkv.LinearAttention(s, bias, weights, y, rest,
				tensor.LinearAttentionOptions{Select: opt.Select, Count: int64(opt.Keep * tokens), Eps: opt.Eps})
			y.BackwardFrom(g)
			onHost.BackwardFrom(tensor.FromBytes(s, tensor.CPU, tensor.Float, weights.Grad(s).Bytes(), onHost.Shape()...))
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

// TestAttentionAgainstTrace holds attention in float32 on the CPU, forward and backward, against the trace "mva64".
func TestAttentionAgainstTrace(t *testing.T) {
	trace := golden.Open(t, "mva64")
	source := modeltest.Weights(trace, "weight.")
	for _, test := range []struct {
		name    string
		opt     model.AttentionOptions
		single  bool
		present []bool
	}{
		{name: "lowest", opt: model.AttentionOptions{Select: "lowest"}},
		{name: "highest", opt: model.AttentionOptions{Select: "highest"}},
		{name: "all", opt: model.AttentionOptions{Select: "all"}},
		{name: "near3", opt: model.AttentionOptions{Select: "lowest", NeighborMask: 3}},
		{name: "single", opt: model.AttentionOptions{Select: "lowest"}, single: true},
		{name: "missing", opt: model.AttentionOptions{Select: "lowest"},
			present: []bool{true, true, true, true, true, true, false, true, false, true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.opt.Keep, test.opt.Eps = 0.3, 1e-6
			err := tensor.Run(func(s *tensor.Scope) error {
				load := func(name string) *tensor.Tensor { // absent rows are zeros
					data, shape := trace.Tensor(name)
					data = slices.Clone(data)
					width := len(data) / int(shape[0])
					for i, present := range test.present {
						if !present {
							clear(data[i*width : (i+1)*width])
						}
					}
					return tensor.FromFloats(s, tensor.CPU, data, shape...)
				}
				kernels := tensor.ChooseKernels(tensor.CPU, tensor.Float, tensor.ModelShape{})
				a, params, err := model.TrainableAttention(s, source, 2, 5, 3, 5, test.opt, &kernels)
				if err != nil {
					return err
				}
				views := model.NewViews(s, tensor.CPU, 2, 5, test.present)
				if test.single {
					views = model.NewViews(s, tensor.CPU, 10, 1, nil)
				}
				x := load("x").RequireGrad()
				out := a.Forward(s, x, views).Value(s)
				out.BackwardFrom(load("up"))
				rows := views.Rows
				if rows == nil {
					rows = []int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
				}
				trace.CheckRows(test.name+".out", out.Floats(), rows)
				trace.CheckRows(test.name+".grad.x", x.Grad(s).Floats(), rows)
				for _, p := range params {
					grad := p.Value.Grad(s)
					if across := p.Name == "view_logits" || p.Name == "gate"; test.single && across {
						if grad != nil {
							t.Errorf("%s: have a gradient with one view", p.Name)
						}
						continue
					}
					trace.Check(test.name+".grad."+p.Name, grad.Floats())
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}
