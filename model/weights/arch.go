package weights

import (
	"fmt"
	"slices"
	"strings"

	"mvag-torch/dataset"
)

// Family is what architectures have in common apart from their size.
type Family int

// The families. All are pre-norm vision transformers with a class token.
const (
	DINOv2 Family = iota // LayerScale, a table of positions
	DINOv3               // LayerScale, rotary positions; the bias of qkv may be missing
	ViT                  // a table of positions
	CLIP                 // a table of positions, a norm before the blocks, patches without bias
)

// String names the family.
func (f Family) String() string { return [...]string{"DINOv2", "DINOv3", "ViT", "CLIP"}[f] }

// Arch is the architecture of an encoder.
type Arch struct {
	Name      string // timm's, without the pretraining tag
	Family    Family
	Patch     int // side of a patch in pixels
	Dim       int // channels
	Depth     int // blocks
	Heads     int
	Registers int
	Gated     bool // the MLP is a SwiGLU
	QuickGELU bool // the MLP's GELU is x·sigmoid(1.702x)

	// Mean and Std of the images that the weights were trained on, in [0, 1], red, green, blue; zero means ImageNet's.
	Mean, Std [3]float32

	// Module is the TorchScript archive whose code computes the encoder; nil where the program does. Depth is then the
	// number of its layers; Family, Registers, Gated and QuickGELU mean nothing.
	Module *Module
}

// Prefix is the number of tokens in front of the patches.
func (a Arch) Prefix() int {
	if a.Module != nil {
		return a.Module.Prefix
	}
	return 1 + a.Registers
}

// Eps is what the encoder's LayerNorms add to the variance.
func (a Arch) Eps() float64 {
	if a.Family == DINOv3 || a.Family == CLIP {
		return 1e-5
	}
	return 1e-6
}

// LayerScale reports whether each branch of a block is scaled by channel.
func (a Arch) LayerScale() bool { return a.Family == DINOv2 || a.Family == DINOv3 }

// Hidden is the width of the MLP: 4C, of a SwiGLU two thirds of it, rounded up to a multiple of 8.
func (a Arch) Hidden() int {
	if a.Gated {
		return (4*a.Dim*2/3 + 7) / 8 * 8
	}
	return 4 * a.Dim
}

// Statistics returns mean and standard deviation of the input.
func (a Arch) Statistics() (mean, std [3]float32) {
	if a.Std == [3]float32{} {
		return dataset.Mean, dataset.Std
	}
	return a.Mean, a.Std
}

// DefaultLayers returns the 0-based blocks whose outputs are reconstructed: 2 to 9 of 12 blocks, 4, 6, ..., 18 of 24
// (docs/model.md section 1), and, of the 40 of the giant models, which the paper does not use, 8, 11, ..., 29: the same
// part of the depth. Of an archive all layers, counted from 0.
func (a Arch) DefaultLayers() []int {
	switch {
	case a.Module != nil:
		layers := make([]int, a.Depth)
		for i := range layers {
			layers[i] = i
		}
		return layers
	case a.Depth == 24:
		return []int{4, 6, 8, 10, 12, 14, 16, 18}
	case a.Depth == 40:
		return []int{8, 11, 14, 17, 20, 23, 26, 29}
	}
	return []int{2, 3, 4, 5, 6, 7, 8, 9}
}

// sizes are channels, blocks and heads by the word of a name that says so.
var sizes = map[string][3]int{
	"tiny":  {192, 12, 3},
	"small": {384, 12, 6},
	"base":  {768, 12, 12},
	"large": {1024, 24, 16},
	"giant": {1536, 40, 24},
}

// supported are timm's names. DINOv2: Oquab et al. 2023, table 17, with the registers of Darcet et al. 2024. DINOv3:
// Siméoni et al. 2025. The others: Dosovitskiy et al. 2020, Touvron et al. 2020 (DeiT), Radford et al. 2021 (CLIP).
var supported = []Arch{
	arch("vit_small_patch14_dinov2", DINOv2, 14, 0),
	arch("vit_small_patch14_reg4_dinov2", DINOv2, 14, 4),
	arch("vit_base_patch14_dinov2", DINOv2, 14, 0),
	arch("vit_base_patch14_reg4_dinov2", DINOv2, 14, 4),
	arch("vit_large_patch14_dinov2", DINOv2, 14, 0),
	arch("vit_large_patch14_reg4_dinov2", DINOv2, 14, 4),
	arch("vit_giant_patch14_dinov2", DINOv2, 14, 0),
	arch("vit_giant_patch14_reg4_dinov2", DINOv2, 14, 4),
	arch("vit_small_patch16_dinov3", DINOv3, 16, 4),
	arch("vit_small_patch16_dinov3_qkvb", DINOv3, 16, 4),
	arch("vit_base_patch16_dinov3", DINOv3, 16, 4),
	arch("vit_base_patch16_dinov3_qkvb", DINOv3, 16, 4),
	arch("vit_large_patch16_dinov3", DINOv3, 16, 4),
	arch("vit_large_patch16_dinov3_qkvb", DINOv3, 16, 4),
	arch("vit_tiny_patch16_224", ViT, 16, 0),
	arch("vit_tiny_patch16_384", ViT, 16, 0),
	arch("vit_small_patch8_224", ViT, 8, 0),
	arch("vit_small_patch16_224", ViT, 16, 0),
	arch("vit_small_patch16_384", ViT, 16, 0),
	arch("vit_small_patch32_224", ViT, 32, 0),
	arch("vit_small_patch32_384", ViT, 32, 0),
	arch("vit_base_patch8_224", ViT, 8, 0),
	arch("vit_base_patch16_224", ViT, 16, 0),
	arch("vit_base_patch16_384", ViT, 16, 0),
	arch("vit_base_patch32_224", ViT, 32, 0),
	arch("vit_base_patch32_384", ViT, 32, 0),
	arch("vit_large_patch16_224", ViT, 16, 0),
	arch("vit_large_patch16_384", ViT, 16, 0),
	arch("vit_large_patch32_224", ViT, 32, 0),
	arch("vit_large_patch32_384", ViT, 32, 0),
	arch("deit_tiny_patch16_224", ViT, 16, 0),
	arch("deit_small_patch16_224", ViT, 16, 0),
	arch("deit_base_patch16_224", ViT, 16, 0),
	arch("deit_base_patch16_384", ViT, 16, 0),
	arch("vit_base_patch32_clip_224", CLIP, 32, 0),
	arch("vit_base_patch32_clip_quickgelu_224", CLIP, 32, 0),
	arch("vit_base_patch32_clip_384", CLIP, 32, 0),
	arch("vit_base_patch16_clip_224", CLIP, 16, 0),
	arch("vit_base_patch16_clip_quickgelu_224", CLIP, 16, 0),
	arch("vit_base_patch16_clip_384", CLIP, 16, 0),
	arch("vit_large_patch14_clip_224", CLIP, 14, 0),
	arch("vit_large_patch14_clip_quickgelu_224", CLIP, 14, 0),
	arch("vit_large_patch14_clip_336", CLIP, 14, 0),
	arch("vit_large_patch14_clip_quickgelu_336", CLIP, 14, 0),
}

func arch(name string, family Family, patch, registers int) Arch {
	word := strings.Split(name, "_")[1]
	size := sizes[word]
	return Arch{
		Name: name, Family: family, Patch: patch, Dim: size[0], Depth: size[1], Heads: size[2], Registers: registers,
		Gated: family == DINOv2 && word == "giant", QuickGELU: strings.Contains(name, "_quickgelu_"),
	}
}

// Supported lists the architectures, without statistics of a pretraining.
func Supported() []Arch { return slices.Clone(supported) }

// ParseArch returns the architecture with timm's name, with or without the tag of its pretraining:
// vit_base_patch14_reg4_dinov2.lvd142m. The statistics of the input are those that timm has for the tag.
func ParseArch(name string) (Arch, error) {
	base, tag, tagged := strings.Cut(name, ".")
	for _, a := range supported {
		if a.Name == base && (!tagged || tag != "") {
			a.setStatistics(tag)
			return a, nil
		}
	}
	return Arch{}, fmt.Errorf(`backbone: have %.80q, want a name that "mvag-torch backbone list" shows, or one with a tag such as %s.lvd142m`,
		name, supported[0].Name)
}

// setStatistics follows timm's pretrained configurations. DINOv2, DINOv3, DINO, MAE and DeiT have ImageNet's.
func (a *Arch) setStatistics(tag string) {
	half := [3]float32{0.5, 0.5, 0.5}
	clipMean, clipStd := [3]float32{0.48145466, 0.4578275, 0.40821073}, [3]float32{0.26862954, 0.26130258, 0.27577711}
	switch {
	case tag == "sat493m": // DINOv3 on satellite images
		a.Mean, a.Std = [3]float32{0.430, 0.411, 0.296}, [3]float32{0.213, 0.156, 0.143}
	case a.Family == CLIP && strings.Contains(a.Name, "_large_") && strings.HasPrefix(tag, "laion2b"):
		a.Mean, a.Std = half, half
	case a.Family == CLIP, tag == "bamboo":
		a.Mean, a.Std = clipMean, clipStd
	case a.Family == ViT && tag != "dino" && tag != "mae" && !strings.HasPrefix(a.Name, "deit_"):
		a.Mean, a.Std = half, half
	}
}
