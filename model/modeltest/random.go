package modeltest

import "mvag-torch/model/weights"

// RandomViT is a vit_small_patch14_dinov2 of random weights, blocks 0 to last, with a position table for grid x grid
// patches.
func RandomViT(last, grid int) weights.Map {
	small := weights.Arch{Name: "vit_small_patch14_dinov2", Patch: 14, Dim: 384, Depth: 12, Heads: 6}
	return small.Random(last, grid, 1)
}
