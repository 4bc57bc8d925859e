package modeltest

import "mvag-torch/model/weights"

// Families are small encoders of all families by name: 4 x 4 pixels a patch, 32 channels, 2 blocks, 2 heads. They are
// SMALL of third_party/record_traces.py.
func Families() map[string]weights.Arch {
	all := map[string]weights.Arch{
		"dinov2":         {Family: weights.DINOv2},
		"dinov2_reg4":    {Family: weights.DINOv2, Registers: 4},
		"dinov2_swiglu":  {Family: weights.DINOv2, Gated: true},
		"dinov3":         {Family: weights.DINOv3, Registers: 4},
		"dinov3_qkvb":    {Family: weights.DINOv3, Registers: 4},
		"vit":            {Family: weights.ViT},
		"clip":           {Family: weights.CLIP},
		"clip_quickgelu": {Family: weights.CLIP, QuickGELU: true},
	}
	for name, arch := range all {
		arch.Name, arch.Patch, arch.Dim, arch.Depth, arch.Heads = name, 4, 32, 2, 2
		all[name] = arch
	}
	return all
}
