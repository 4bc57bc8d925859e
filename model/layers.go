package model

import "mvag-torch/internal/tensor"

// Linear is x·Wᵀ + b over the last dimension, computed in the type of the kernels. Bias may be nil.
type Linear struct {
	Weight, Bias *tensor.Tensor
	kernels      *tensor.Kernels
}

func newLinear(w binder, in, out int64) Linear {
	return Linear{
		Weight:  w.Tensor("weight", truncNormal(initStd), out, in),
		Bias:    w.Tensor("bias", constant(0), out),
		kernels: w.kernels,
	}
}

// Forward maps x [..., in] to [..., out] of the compute type.
func (l Linear) Forward(s *tensor.Scope, x *tensor.Tensor) *tensor.Tensor {
	compute := l.kernels.Compute
	if compute == tensor.Float {
		return x.Linear(s, l.Weight, l.Bias)
	}
	x = x.To(s, compute)
	if l.kernels.Linear {
		return x.LinearBFloat16(s, l.Weight, l.Bias, false)
	}
	bias := l.Bias
	if bias != nil {
		bias = bias.To(s, compute)
	}
	return x.Linear(s, l.Weight.To(s, compute), bias)
}

// GELU is the exact GELU of Forward.
func (l Linear) GELU(s *tensor.Scope, x *tensor.Tensor) *tensor.Tensor {
	if l.kernels.Linear {
		return x.To(s, l.kernels.Compute).LinearBFloat16(s, l.Weight, l.Bias, true)
	}
	return l.Forward(s, x).Gelu(s)
}

// withoutBias returns Forward without the bias, and the bias beside it for a later operation to add.
func (l Linear) withoutBias(s *tensor.Scope, x *tensor.Tensor) (y, bias *tensor.Tensor) {
	bias, l.Bias = l.Bias, nil
	return l.Forward(s, x), bias
}

// LayerNorm normalises the last dimension.
type LayerNorm struct {
	Weight, Bias *tensor.Tensor
	Eps          float64
}

func newLayerNorm(w binder, dim int64, eps float64) LayerNorm {
	return LayerNorm{w.Tensor("weight", constant(1), dim), w.Tensor("bias", constant(0), dim), eps}
}

// Forward maps x [..., C] to [..., C].
func (n LayerNorm) Forward(s *tensor.Scope, x *tensor.Tensor) *tensor.Tensor {
	return x.LayerNorm(s, n.Weight, n.Bias, n.Eps)
}

// MLP is two linear layers with an activation between them; its hidden width is 4C.
type MLP struct {
	FC1, FC2  Linear
	activated func(fc1 Linear, s *tensor.Scope, x *tensor.Tensor) *tensor.Tensor // fc1 and the activation
}

func newMLP(w binder, dim int64) MLP {
	return MLP{newLinear(w.Sub("fc1"), dim, 4*dim), newLinear(w.Sub("fc2"), 4*dim, dim), Linear.GELU}
}

// Forward maps the normalised stream x [B, N, C] to the branch [B, N, C].
func (m MLP) Forward(s *tensor.Scope, x *tensor.Tensor) Branch {
	hidden := s.Local(func(s *tensor.Scope) *tensor.Tensor { return m.activated(m.FC1, s, x) }) // [B, N, 4C]
	return Branch{m.FC2, hidden}
}
