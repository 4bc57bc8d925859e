package model

import "mvag-torch/internal/tensor"

// For tests of the parts that the recorded traces show.
var (
	Within           = (*Attention).within
	Mix              = (*Attention).mix
	Shares           = (*Views).weights
	Similarity       = similarity
	Kept             = (*Attention).kept
	Smooth           = (*Mapper).smooth
	ResamplePosition = resamplePosition
	SlotOf           = slotOf
	Embed            = (*Encoder).embed
)

// Product is that of queries, keys and values of x [B, N, C], with its bias.
func (a *Attention) Product(s *tensor.Scope, x *tensor.Tensor) (qkv, bias *tensor.Tensor) {
	return a.QKV.product(s, x)
}

// SplitViews is what attention across views begins with.
func SplitViews(a *Attention, s *tensor.Scope, y *tensor.Tensor, v *Views) (q, sums *tensor.Tensor) {
	qkv, bias := a.QKV.product(s, y)
	return a.splitViews(s, qkv, bias, v)
}

// AttentionOf is attention without linear layers.
func AttentionOf(heads int64, logits *tensor.Tensor, opt AttentionOptions, k tensor.Kernels) *Attention {
	return &Attention{QKV: Linear{Compute: k.Compute, Fused: k}, ViewLogits: logits, heads: heads, opt: opt}
}

// EmbedByProduct is the embedding of pixels that CUDA has in bfloat16.
func EmbedByProduct(e *Encoder, s *tensor.Scope, pixels *tensor.Tensor) *tensor.Tensor {
	return newPatches(s, e, tensor.Kernels{}).forward(s, pixels)
}

// SetRecord replaces what captures the work of a predictor.
func SetRecord(p *Predictor, record func(*tensor.Scope, tensor.Device, tensor.Recording, func()) (tensor.Recording, error)) {
	p.replay.Record = record
}
