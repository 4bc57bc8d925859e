package model

import (
	"image"

	"mvag-torch/dataset"
	"mvag-torch/internal/tensor"
	"mvag-torch/model/weights"
)

// For tests of the parts that the traces show.
var (
	Within           = (*Attention).within
	Mix              = (*Attention).mix
	ViewWeights      = (*Views).weights
	Similarity       = similarity
	Kept             = (*Attention).kept
	ResamplePosition = resamplePosition
	Stitched         = (*Mapper).stitched
	NeighborMask     = neighborMask
	ComposedLoss     = groupLoss
)

// Matmul is that of queries, keys and values of x [B, N, C], with its bias.
func (a *Attention) Matmul(s *tensor.Scope, x *tensor.Tensor) (qkv, bias *tensor.Tensor) {
	return a.QKV.withoutBias(s, x)
}

// SplitViews is what attention across views begins with.
func SplitViews(a *Attention, s *tensor.Scope, y *tensor.Tensor, v *Views) (q, sums *tensor.Tensor) {
	qkv, bias := a.QKV.withoutBias(s, y)
	return a.splitViews(s, qkv, bias, v)
}

// Value computes what the branch adds to its stream.
func (b Branch) Value(s *tensor.Scope) *tensor.Tensor { return b.Last.Forward(s, b.In) }

// TrainableAttention is attention with the given weights, and its parameters by name. The neighbour mask is that of
// grid x grid patches behind prefix other tokens.
func TrainableAttention(s *tensor.Scope, source weights.Map, heads, views, prefix, grid int64, opt AttentionOptions, k *tensor.Kernels) (*Attention, Params, error) {
	var params Params
	var near *tensor.Tensor
	if opt.NeighborMask > 0 {
		near = neighborMask(s, tensor.CPU, opt.NeighborMask, prefix, grid, grid)
	}
	a := newAttention(trainable(s, tensor.CPU, 1, k, &params), source["proj.bias"].Shape[0], heads, views, opt, near)
	return &a, params, params.Load(source)
}

// AttentionOf is attention without linear layers.
func AttentionOf(heads int64, logits *tensor.Tensor, opt AttentionOptions, k *tensor.Kernels) *Attention {
	return &Attention{QKV: Linear{kernels: k}, ViewLogits: logits, Heads: heads, Options: opt, kernels: k}
}

// Embed and EmbedFused are the embeddings of images: as everywhere, and as on CUDA in bfloat16, of operations of
// LibTorch.
func Embed(e *Encoder, s *tensor.Scope, images *tensor.Tensor) *tensor.Tensor {
	return e.Embedding.Forward(s, images)
}

func EmbedFused(e *Encoder, s *tensor.Scope, images *tensor.Tensor) *tensor.Tensor {
	return newFusedEmbedding(s, &e.Embedding, e.Rows*e.Columns, &tensor.Kernels{Compute: tensor.BFloat16}).Forward(s, images)
}

// SetRecord replaces what captures the work of a predictor.
func SetRecord(p *Predictor, record func(*tensor.Scope, tensor.Device, tensor.Recording, func()) (tensor.Recording, error)) {
	p.replay.Record = record
}

// Corners are the upper left corners of the tiles of a mapper.
func Corners(m *Mapper) (corners []image.Point) {
	for _, y := range m.down.starts {
		for _, x := range m.across.starts {
			corners = append(corners, image.Pt(x, y))
		}
	}
	return corners
}

// Kernel is that of the blur.
func Kernel(m *Mapper) *tensor.Tensor { return m.kernel }

// AxisMatrix is that of an axis with tiles of so many patches.
func AxisMatrix(starts []int, tile, patches, from, to, size int) []float32 {
	return axis{starts, tile, patches}.matrix(from, to, size)
}

// Distances are those of a predictor: of each tile of each image [P] one target after the other.
type Distances struct {
	Reconstructed, Remembered [][]float32
	Rows                      []int
}

// DistancesOf runs p on a batch.
func DistancesOf(p *Predictor, s *tensor.Scope, batch *dataset.Batch) Distances {
	d := p.distances(s, batch)
	each := func(of []*tensor.Tensor) (out [][]float32) {
		for _, x := range of {
			values, patches := x.Floats(), int(x.Dim(2))
			for i := range int(x.Dim(0) * x.Dim(1)) {
				if len(out) <= i {
					out = append(out, nil)
				}
				out[i] = append(out[i], values[i*patches:(i+1)*patches]...)
			}
		}
		return out
	}
	return Distances{each(d.reconstructed), each(d.remembered), d.rows}
}
