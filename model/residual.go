package model

import "mvag-torch/internal/tensor"

// Residual is the residual stream x [B, N, C] of a pre-norm transformer, float32. Each branch of a block reads it
// through a norm and adds to it:
//
//	x.Add(b.Attn.Forward(s, x.Norm(s, b.Norm1)))
//
// What a branch adds stays pending until the stream is read again, because how it is added best depends on the reader:
// for a norm, a CUDA kernel adds, normalises and rounds in one pass; on the CPU the addition is part of the matmul that
// ends the branch. All calls name the same scope s. The tensors of the stream live there and are freed as soon as
// nothing needs them.
type Residual struct {
	sum     *tensor.Tensor // [B, N, C] without the pending branch
	pending Branch
	normed  *tensor.Tensor // what Norm returned last; in use until the next read
	kernels *tensor.Kernels

	owned   bool // sum was made here
	keeping bool // the sum with the pending branch is an output
	outputs []*tensor.Tensor
}

// Branch is the result of a branch whose last layer has not been computed yet: Last applied to In [B, N, in].
type Branch struct {
	Last Linear
	In   *tensor.Tensor
}

// newResidual starts a stream at x [B, N, C], which stays the caller's.
func newResidual(x *tensor.Tensor, k *tensor.Kernels) *Residual { return &Residual{sum: x, kernels: k} }

// Add adds what a branch computed from the latest Norm.
func (r *Residual) Add(b Branch) { r.pending = b }

// Norm returns the normalised stream [B, N, C] for the next branch. It is freed by the next Norm or Value.
func (r *Residual) Norm(s *tensor.Scope, n LayerNorm) *tensor.Tensor {
	if !r.kernels.Norm {
		x := r.Value(s)
		r.normed = n.Forward(s, x)
		return r.normed
	}
	s.Free(r.normed)
	y, bias := r.pending.withoutBias(s)
	sum, normed := r.sum.AddNorm(s, y, bias, n.Weight, n.Bias, n.Eps)
	s.Free(y)
	r.settle(s, sum)
	r.normed = normed
	return normed
}

// Value returns the stream [B, N, C] with all branches added.
func (r *Residual) Value(s *tensor.Scope) *tensor.Tensor {
	s.Free(r.normed)
	if r.pending.In != nil {
		r.settle(s, r.pending.addTo(s, r.sum))
	}
	return r.sum
}

// Keep makes the stream as it is after the branches so far one of its Outputs.
func (r *Residual) Keep() { r.keeping = true }

// Outputs returns the streams [B, N, C] that Keep marked.
func (r *Residual) Outputs(s *tensor.Scope) []*tensor.Tensor {
	r.Value(s)
	return r.outputs
}

// settle replaces the stream and its pending branch by their sum.
func (r *Residual) settle(s *tensor.Scope, sum *tensor.Tensor) {
	s.Free(r.pending.In)
	if r.owned {
		s.Free(r.sum)
	}
	r.sum, r.pending, r.owned = sum, Branch{}, !r.keeping
	if r.keeping {
		r.outputs = append(r.outputs, sum)
	}
	r.keeping = false
}

// addTo returns sum + Last(In), as part of the matmul where the types allow.
func (b Branch) addTo(s *tensor.Scope, sum *tensor.Tensor) *tensor.Tensor {
	if b.Last.kernels.Compute == tensor.Float && b.Last.Bias != nil {
		return b.In.LinearAdd(s, sum, b.Last.Weight, b.Last.Bias)
	}
	y := b.Last.Forward(s, b.In)
	defer s.Free(y)
	return sum.Add(s, y)
}

// withoutBias returns the matmul of the last layer, nil where there is no branch, and the layer's bias.
func (b Branch) withoutBias(s *tensor.Scope) (y, bias *tensor.Tensor) {
	if b.In == nil {
		return nil, nil
	}
	return b.Last.withoutBias(s, b.In)
}
