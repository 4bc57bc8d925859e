package export

import (
	"mvag-torch/internal/onnx"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
)

// dims are those of a value or constant.
func dims(n ...int64) []onnx.Dim { return onnx.Fixed(n...) }

// weight is a tensor as a constant of its shape.
func (g *graph) weight(name string, t *tensor.Tensor) *onnx.Value {
	return g.Weight(name, floats(g.scope, t), t.Shape()...)
}

// floats are the elements of t as float32.
func floats(s *tensor.Scope, t *tensor.Tensor) (values []float32) {
	s.Local(func(s *tensor.Scope) *tensor.Tensor {
		values = t.Detach(s).To(s, tensor.Float).Floats()
		return nil
	})
	return values
}

// linear maps x [..., in] to [..., out]. The weight is stored as [in, out].
func (g *graph) linear(name string, x *onnx.Value, l model.Linear) *onnx.Value {
	b := g.sub(name)
	shape := l.Weight.Shape()
	var w []float32
	g.scope.Local(func(s *tensor.Scope) *tensor.Tensor {
		w = floats(s, l.Weight.Detach(s).Transpose(s, 0, 1))
		return nil
	})
	y := b.MatMul(x, b.Weight("weight", w, shape[1], shape[0]))
	if l.Bias == nil {
		return y
	}
	return b.Add(y, b.weight("bias", l.Bias))
}

// norm maps x [..., C] to [..., C].
func (g *graph) norm(name string, x *onnx.Value, n model.LayerNorm) *onnx.Value {
	b := g.sub(name)
	return b.LayerNorm(x, b.weight("weight", n.Weight), b.weight("bias", n.Bias), n.Eps)
}

// mlp maps x [B, N, C] to [B, N, C] by two linear layers with the given activation between them.
func (g *graph) mlp(name string, x *onnx.Value, m model.MLP, activate func(b *graph, x *onnx.Value) *onnx.Value) *onnx.Value {
	b := g.sub(name)
	return b.linear("fc2", activate(b, b.linear("fc1", x, m.FC1)), m.FC2)
}

// gelu is the exact GELU.
func gelu(b *graph, x *onnx.Value) *onnx.Value { return b.GELU(x) }

// swiGLU maps [..., 2F] to [..., F]: the SiLU of the first half gates the second.
func swiGLU(b *graph, x *onnx.Value) *onnx.Value {
	parts := b.Split(x, -1, 2)
	return b.Mul(b.Mul(parts[0], b.Sigmoid(parts[0])), parts[1])
}

// quickGELU is x·sigmoid(1.702·x).
func quickGELU(b *graph, x *onnx.Value) *onnx.Value {
	return b.Mul(x, b.Sigmoid(b.Mul(x, b.Scalar(1.702))))
}
