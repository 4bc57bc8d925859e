package model

import "mvag-torch/internal/tensor"

// For tests of the parts that the recorded traces show.
var (
	Own              = (*Attention).own
	Across           = (*Attention).across
	SplitViews       = (*Attention).splitViews
	Similarity       = similarity
	Kept             = (*Attention).kept
	Smooth           = (*Mapper).smooth
	ResamplePosition = resamplePosition
	SlotOf           = slotOf
	Embed            = (*Encoder).embed
)

// EmbedByProduct is the embedding of pixels that CUDA has in bfloat16.
func EmbedByProduct(e *Encoder, s *tensor.Scope, pixels *tensor.Tensor) *tensor.Tensor {
	return newPatches(s, e).forward(s, pixels)
}
