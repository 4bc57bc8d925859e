package model

import (
	"math/rand/v2"
	"strconv"

	"mvag-torch/internal/tensor"
	"mvag-torch/model/weights"
)

// binder finds or makes tensors by name, so that a constructor spells the path of each tensor in a checkpoint:
// w.Sub("blocks").At(i).Sub("attn").Tensor("qkv.weight", …).
type binder struct {
	scope   *tensor.Scope
	device  tensor.Device
	kernels *tensor.Kernels // of the layers
	prefix  string
	has     func(name string) bool
	get     func(s *tensor.Scope, name string, initial initializer, shape []int64) *tensor.Tensor
}

// initializer fills new weights.
type initializer func(rng *rand.Rand, data []float32)

// Sub goes down to name.
func (w binder) Sub(name string) binder {
	w.prefix += name + "."
	return w
}

// At goes down to element i of a list.
func (w binder) At(i int) binder { return w.Sub(strconv.Itoa(i)) }

// Has tells whether the source has a tensor of this name.
func (w binder) Has(name string) bool { return w.has(w.prefix + name) }

// Tensor returns the tensor of this name; shape and initial values are those of new ones.
func (w binder) Tensor(name string, initial initializer, shape ...int64) *tensor.Tensor {
	return w.get(w.scope, w.prefix+name, initial, shape)
}

// Optional is Tensor, or nil where the source has none of this name.
func (w binder) Optional(name string) *tensor.Tensor {
	if !w.Has(name) {
		return nil
	}
	return w.Tensor(name, nil)
}

// frozen binds the tensors of a file, whose names and shapes have been checked.
func frozen(s *tensor.Scope, d tensor.Device, source weights.Map, k *tensor.Kernels) binder {
	return binder{
		scope: s, device: d, kernels: k,
		has: func(name string) bool { _, ok := source[name]; return ok },
		get: func(s *tensor.Scope, name string, _ initializer, _ []int64) *tensor.Tensor {
			t := source[name]
			return tensor.FromFloats(s, d, t.Data, t.Shape...)
		},
	}
}

// trainable makes new parameters with their initial values and lists them.
func trainable(s *tensor.Scope, d tensor.Device, seed int64, k *tensor.Kernels, list *Params) binder {
	rng := rand.New(rand.NewPCG(uint64(seed), 0))
	get := func(s *tensor.Scope, name string, initial initializer, shape []int64) *tensor.Tensor {
		n := int64(1)
		for _, size := range shape {
			n *= size
		}
		data := make([]float32, n)
		initial(rng, data)
		t := tensor.FromFloats(s, d, data, shape...).RequireGrad()
		*list = append(*list, Param{name, t})
		return t
	}
	return binder{scope: s, device: d, kernels: k, get: get}
}

// frozenLinear binds the linear layer called name, whose parameters never change: they are stored in the type that it
// computes in. Where the source has LayerScale factors [C] of its output, called scale.gamma, they are multiplied in.
func frozenLinear(w binder, name, scale string) Linear {
	load := func(part string, factors ...int64) *tensor.Tensor {
		if !w.Has(name + part) {
			return nil
		}
		return w.scope.Local(func(s *tensor.Scope) *tensor.Tensor {
			w := w
			w.scope = s
			t := w.Tensor(name+part, nil)
			if gamma := w.Optional(scale + ".gamma"); gamma != nil {
				t = t.Mul(s, gamma.Reshape(s, factors...))
			}
			return t.To(s, w.kernels.Compute)
		})
	}
	return Linear{load(".weight", -1, 1), load(".bias", -1), w.kernels}
}

// constant fills with v.
func constant(v float32) initializer {
	return func(_ *rand.Rand, data []float32) {
		for i := range data {
			data[i] = v
		}
	}
}

// truncNormal draws from a normal distribution of the given standard deviation, cut at three times that (docs/model.md
// section 3: 0.01, cut at 0.03).
func truncNormal(std float64) initializer {
	return func(rng *rand.Rand, data []float32) {
		for i := range data {
			x := rng.NormFloat64()
			for x < -3 || x > 3 {
				x = rng.NormFloat64()
			}
			data[i] = float32(std * x)
		}
	}
}

const initStd = 0.01
