package tensor

import (
	"fmt"
	"strings"
)

// Kernels says which operations of a model are computed by kernels of our own instead of LibTorch's operations, on one
// device and for one compute type and shape. [ChooseKernels] decides once; operations take the decision from their
// caller, check their tensors and refuse what does not fit.
//
// On the CPU, Heads, Optimizer and Random stand for loops of our own over float32; the others are false.
type Kernels struct {
	Compute DType // of linear layers and attention: Float or BFloat16

	Attention bool // linear attention as one operation ([Tensor.LinearAttention])
	Heads     bool // its element-wise parts, where Attention is off ([Tensor.SplitLinearHeads] …)
	Norm      bool // the end of a residual branch with LayerNorm ([Tensor.AddNorm])
	Linear    bool // linear layers in bfloat16, gradients summed in float32 ([Tensor.LinearBFloat16])
	Patches   bool // before and after the matmul of a patch embedding ([Tensor.Patches])
	Losses    bool // means over layers and the losses of a group ([Means], [GroupLosses])
	Optimizer bool // [StableAdamW]
	Random    bool // dropout and noise ([Draws])

	device     Device
	capability string   // "sm_90"
	reasons    []string // why something is off
}

// ModelShape is what [ChooseKernels] has to know of a model.
type ModelShape struct {
	Channels, Heads, Tokens int64 // C; H; N, class token and registers included
	Layers                  int64 // that a mean is taken over, at most
}

// ChooseKernels decides which kernels serve a model of the given shape on device d whose linear layers and attention
// compute in the given type. On a CUDA device it compiles and loads them, or takes them from the cache; where that
// fails, none serve and String says why.
func ChooseKernels(d Device, compute DType, shape ModelShape) Kernels {
	k := Kernels{Compute: compute, device: d}
	if d == CPU {
		k.Heads, k.Optimizer, k.Random = true, true, true
		return k
	}
	capability := 0
	_, major, minor, err := describe(d)
	if err == nil {
		capability = 10*major + minor
		l := loadKernels(d, capability)
		for _, why := range l.kept {
			k.reasons = append(k.reasons, "not cached: "+why.Error())
		}
		err = l.err
	}
	if err != nil {
		k.reasons = []string{err.Error()}
		return k
	}
	k.capability = fmt.Sprintf("sm_%d", capability)
	k.choose(capability, shape)
	return k
}

// choose decides for a GPU whose kernels have been loaded.
func (k *Kernels) choose(capability int, shape ModelShape) {
	k.Heads, k.Optimizer, k.Random = true, true, true
	c, bf16 := shape.Channels, k.Compute == BFloat16
	choose := func(on *bool, fits bool, reason string, args ...any) {
		if *on = fits; !fits {
			k.reasons = append(k.reasons, fmt.Sprintf(reason, args...))
		}
	}
	choose(&k.Losses, c%4 == 0 && shape.Layers <= 16, "losses of %d channels and %d layers, kernels need a multiple of 4 and at most 16", c, shape.Layers)
	if bf16 {
		choose(&k.Linear, c%8 == 0, "layers of %d channels, kernels need a multiple of 8", c)
		k.Patches = k.Linear
		choose(&k.Norm, k.Linear && c%128 == 0 && c <= 1536, "norms of %d channels, kernels need a multiple of 128 up to 1536", c)
		switch least := modules[1].minimum; {
		case capability < least:
			choose(&k.Attention, false, "attention needs sm_%d", least)
		case c != 64*shape.Heads:
			choose(&k.Attention, false, "heads of %d channels, kernels need 64", c/max(shape.Heads, 1))
		default:
			choose(&k.Attention, shape.Tokens <= 4096, "%d tokens, attention kernels take 4096", shape.Tokens)
		}
	}
}

// unsupported is the message for a compute capability that is too low.
func unsupported(capability int) string {
	least := modules[0].minimum
	return fmt.Sprintf("compute capability: have %d.%d, want at least %d.%d", capability/10, capability%10, least/10, least%10)
}

// String is one line for people: what runs fused and where, and why the rest does not.
func (k Kernels) String() string {
	if k.device == CPU {
		return "LibTorch's operations on the CPU"
	}
	var fused []string
	for _, part := range []struct {
		on   bool
		name string
	}{
		{k.Attention, "attention"}, {k.Norm, "norms"}, {k.Linear, "linear layers"}, {k.Patches, "patch embedding"},
		{k.Heads && !k.Attention, "heads"}, {k.Losses, "losses"}, {k.Optimizer, "optimiser"},
		{k.Random, "random numbers"},
	} {
		if part.on {
			fused = append(fused, part.name)
		}
	}
	why := strings.Join(k.reasons, "; ")
	if fused == nil {
		return "LibTorch's operations (" + why + ")"
	}
	compute := "float32"
	if k.Compute == BFloat16 {
		compute = "bf16"
	}
	text := fmt.Sprintf("fused %s: %s, %s", strings.Join(fused, ", "), k.capability, compute)
	if why != "" {
		text += " (" + why + ")"
	}
	return text
}
