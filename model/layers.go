package model

import "mvag-torch/internal/tensor"

// Linear is x·Wᵀ + b over the last dimension, computed in the type Compute.
type Linear struct {
	Weight, Bias *tensor.Tensor
	Compute      tensor.DType
	Fused        tensor.Kernels
}

func newLinear(w binder, in, out int64) Linear {
	return Linear{
		Weight:  w.Tensor("weight", truncNormal(initStd), out, in),
		Bias:    w.Tensor("bias", constant(0), out),
		Compute: w.kernels.Compute,
		Fused:   w.kernels,
	}
}

// Forward maps [..., in] to [..., out] of type Compute.
func (l Linear) Forward(s *tensor.Scope, x *tensor.Tensor) *tensor.Tensor {
	if l.Compute == tensor.Float {
		return x.Linear(s, l.Weight, l.Bias)
	}
	if l.Fused.Linear {
		return x.To(s, l.Compute).LinearBFloat16(s, l.Weight, l.Bias, false)
	}
	bias := l.Bias
	if bias != nil {
		bias = bias.To(s, l.Compute)
	}
	return x.To(s, l.Compute).Linear(s, l.Weight.To(s, l.Compute), bias)
}

// gelu is the exact GELU of Forward.
func (l Linear) gelu(s *tensor.Scope, x *tensor.Tensor) *tensor.Tensor {
	if l.Fused.Linear {
		return x.To(s, l.Compute).LinearBFloat16(s, l.Weight, l.Bias, true)
	}
	return l.Forward(s, x).Gelu(s)
}

// Onto is the end of a branch: sum = base + Forward(x) and, for the next branch,
// sum normalised, nil where next is; in fewer passes where the types allow.
func (l Linear) Onto(s *tensor.Scope, base, x *tensor.Tensor, next *LayerNorm) (sum, normed *tensor.Tensor) {
	if next != nil && l.Fused.Norm {
		y, bias := l.product(s, x)
		return base.AddNorm(s, y, bias, next.Weight, next.Bias, next.Eps)
	}
	if l.Compute == tensor.Float && l.Bias != nil {
		sum = x.LinearOnto(s, base, l.Weight, l.Bias)
	} else {
		sum = base.Add(s, l.Forward(s, x))
	}
	if next != nil {
		normed = next.Forward(s, sum)
	}
	return sum, normed
}

// product is Forward without the bias, which is returned beside it.
func (l Linear) product(s *tensor.Scope, x *tensor.Tensor) (y, bias *tensor.Tensor) {
	bias, l.Bias = l.Bias, nil
	return l.Forward(s, x), bias
}

// stored returns l with its parameters kept in the type Compute, for weights
// that do not change: then no product casts them.
func (l Linear) stored(s *tensor.Scope) Linear {
	if l.Compute == tensor.Float {
		return l
	}
	l.Weight = l.Weight.To(s, l.Compute)
	if l.Bias != nil {
		l.Bias = l.Bias.To(s, l.Compute)
	}
	return l
}

// LayerNorm normalises the last dimension.
type LayerNorm struct {
	Weight, Bias *tensor.Tensor
	Eps          float64
}

func newLayerNorm(w binder, dim int64, eps float64) LayerNorm {
	return LayerNorm{w.Tensor("weight", constant(1), dim), w.Tensor("bias", constant(0), dim), eps}
}

// Forward maps [..., C] to [..., C].
func (n LayerNorm) Forward(s *tensor.Scope, x *tensor.Tensor) *tensor.Tensor {
	return x.LayerNorm(s, n.Weight, n.Bias, n.Eps)
}

// first is x, for the branches to go onto, and x normalised for the first of them.
func (n LayerNorm) first(s *tensor.Scope, x *tensor.Tensor, k tensor.Kernels) (base, normed *tensor.Tensor) {
	if k.Norm {
		return x.AddNorm(s, nil, nil, n.Weight, n.Bias, n.Eps)
	}
	return x, n.Forward(s, x)
}

// MLP is two linear layers with an exact GELU between them, hidden width 4C.
type MLP struct{ FC1, FC2 Linear }

func newMLP(w binder, dim int64) MLP {
	return MLP{newLinear(w.Sub("fc1"), dim, 4*dim), newLinear(w.Sub("fc2"), 4*dim, dim)}
}

// Onto adds the output for x [..., C] to base [..., C], as [Linear.Onto].
func (m MLP) Onto(s *tensor.Scope, base, x *tensor.Tensor, next *LayerNorm) (sum, normed *tensor.Tensor) {
	return m.FC2.Onto(s, base, m.FC1.gelu(s, x), next)
}
