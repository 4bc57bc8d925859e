package model

import (
	"fmt"
	"slices"
	"strings"

	"mvag-torch/configs"
	"mvag-torch/internal/tensor"
	"mvag-torch/model/weights"
)

// Model is the whole of MVAG-FL on one device.
type Model struct {
	Device     tensor.Device
	Encoder    *Encoder
	Bottleneck Bottleneck
	Decoder    Decoder
	Params     Params // trainable, in checkpoint order
	Kernels    tensor.Kernels

	fuse      [][]int // positions in the list of layers, one group a target
	mean, std *tensor.Tensor
}

// Features are what the frozen encoder gives for a batch.
type Features struct {
	Mean    *tensor.Tensor   // mean over the layers, the bottleneck's input [B, N, C]
	Targets []*tensor.Tensor // one a group: mean over its layers, patches only [B, P, C]
}

// New builds the model: an encoder of the given architecture with the weights
// of backbone, and initial trainable weights from cfg.Seed. Its tensors live in
// s. Errors name every fault of the weights.
func New(s *tensor.Scope, d tensor.Device, cfg configs.Config, arch weights.Arch, backbone weights.Map) (*Model, error) {
	layers, fuse, err := Layers(cfg, arch)
	if err != nil {
		return nil, err
	}
	m := &Model{Device: d, fuse: fuse}
	compute := tensor.Float
	if cfg.Precision == "bf16" {
		compute = tensor.BFloat16
	}
	k := tensor.ChooseKernels(d, compute, tensor.ModelShape{Channels: int64(arch.Dim), Heads: int64(arch.Heads),
		Tokens: int64(arch.Prefix() + cfg.Data.Crop/arch.Patch*(cfg.Data.Crop/arch.Patch)), Layers: int64(len(layers))})
	m.Kernels = k
	if m.Encoder, err = NewEncoder(s, d, arch, backbone, layers, cfg.Data.Crop, cfg.Data.Crop, k); err != nil {
		return nil, err
	}
	mean, std := arch.Statistics()
	m.mean = tensor.FromFloats(s, d, mean[:], 1, 3, 1, 1)
	m.std = tensor.FromFloats(s, d, std[:], 1, 3, 1, 1)
	var near *tensor.Tensor
	if cfg.Model.NeighborMask > 0 {
		near = neighborMask(s, d, cfg.Model.NeighborMask, int64(arch.Prefix()), m.Encoder.Rows)
	}
	w, dim := trainable(s, d, cfg.Seed, k, &m.Params), int64(arch.Dim)
	bottleneck := newMLP(w.Sub("bottleneck"), dim)
	m.Bottleneck = Bottleneck{bottleneck.FC1, bottleneck.FC2, cfg.Model.Dropout}
	m.Decoder = newDecoder(w.Sub("decoder"), cfg.Model.DecoderDepth, dim, int64(arch.Heads), int64(cfg.Data.Views), AttentionOptions{
		Keep: cfg.Model.Keep, Select: cfg.Model.Select, NeighborMask: cfg.Model.NeighborMask, Eps: cfg.Model.Eps,
	}, near)
	return m, nil
}

// Layers returns the encoder layers and the groups that cfg and the defaults
// of the architecture give: two halves in order where cfg names no groups.
func Layers(cfg configs.Config, arch weights.Arch) (layers []int, fuse [][]int, err error) {
	layers, fuse = cfg.Backbone.Layers, cfg.Backbone.Fuse
	if len(layers) == 0 {
		layers = arch.DefaultLayers()
	}
	if last := layers[len(layers)-1]; last >= arch.Depth {
		return nil, nil, fmt.Errorf("backbone.layers: have block %d, want 0..%d for %s", last, arch.Depth-1, arch.Name)
	}
	if arch.Module != nil && len(layers) != cfg.Model.DecoderDepth {
		return nil, nil, fmt.Errorf("model.decoder_depth: have %d, want the number of layers of the archive (%d: %s)",
			cfg.Model.DecoderDepth, len(layers), strings.Join(arch.Module.Layers, ", "))
	}
	if len(layers) != cfg.Model.DecoderDepth {
		return nil, nil, fmt.Errorf("model.decoder_depth: have %d, want the number of backbone layers (%d)", cfg.Model.DecoderDepth, len(layers))
	}
	if len(fuse) == 0 {
		half := len(layers) / 2
		for i := range layers {
			if i == 0 || i == half {
				fuse = append(fuse, nil)
			}
			fuse[len(fuse)-1] = append(fuse[len(fuse)-1], i)
		}
	}
	return layers, fuse, nil
}

// Normalize maps pictures [B, 3, H, W] of uint8 on the model's device to float32 with the mean
// and standard deviation of the backbone's pretraining, on the model's device.
func (m *Model) Normalize(s *tensor.Scope, pixels *tensor.Tensor) *tensor.Tensor {
	x := pixels.To(s, tensor.Float).MulScalar(s, 1.0/255)
	return x.Sub(s, m.mean).Div(s, m.std)
}

// Encode maps normalised pictures [B, 3, H, W] to features; no gradient.
func (m *Model) Encode(s *tensor.Scope, pictures *tensor.Tensor) Features {
	return m.features(s, m.Encoder.Forward(s, pictures))
}

// EncodePixels is Encode for pictures of uint8 on the model's device.
func (m *Model) EncodePixels(s *tensor.Scope, pixels *tensor.Tensor) Features {
	e := m.Encoder
	if e.product == nil {
		return m.Encode(s, m.Normalize(s, pixels))
	}
	var f Features
	tensor.NoGrad(func() { f = m.features(s, e.outputs(s, e.product.forward(s, pixels))) })
	return f
}

// features are those of the outputs of the encoder's layers.
func (m *Model) features(s *tensor.Scope, outputs []*tensor.Tensor) (f Features) {
	tensor.NoGrad(func() {
		means := tensor.Means(s, m.Kernels.Losses, outputs, append(slices.Clone(m.fuse), places(len(outputs)))...)
		for _, x := range means[:len(m.fuse)] {
			f.Targets = append(f.Targets, m.patches(s, x))
		}
		f.Mean = means[len(m.fuse)]
	})
	return f
}

// Decode maps the bottleneck's output [B, N, C] to one reconstruction a
// target, patches only [B, P, C].
func (m *Model) Decode(s *tensor.Scope, x *tensor.Tensor, v *Views) []*tensor.Tensor {
	var out []*tensor.Tensor
	for _, r := range m.Reconstruct(s, x, v) {
		out = append(out, r.Patches(s))
	}
	return out
}

// Reconstruction is what the decoder gives for a target: the outputs [B, N, C] of
// a group of its blocks.
type Reconstruction struct {
	Outputs []*tensor.Tensor

	model *Model
}

// Patches is the mean over the outputs, patches only: [B, P, C].
func (r Reconstruction) Patches(s *tensor.Scope) *tensor.Tensor {
	return r.model.patches(s, mean(s, r.model.Kernels.Losses, r.Outputs))
}

// Reconstruct is Decode before the mean. The decoder's outputs are taken in
// reverse: its last block answers the encoder's first layer.
func (m *Model) Reconstruct(s *tensor.Scope, x *tensor.Tensor, v *Views) []Reconstruction {
	outputs := m.Decoder.Forward(s, x, v)
	slices.Reverse(outputs)
	all := make([]Reconstruction, len(m.fuse))
	for g, members := range m.fuse {
		all[g].model = m
		for _, at := range members {
			all[g].Outputs = append(all[g].Outputs, outputs[at])
		}
	}
	return all
}

// patches drops the class token and registers of x [B, N, C]: [B, P, C].
func (m *Model) patches(s *tensor.Scope, x *tensor.Tensor) *tensor.Tensor {
	prefix := int64(m.Encoder.Arch.Prefix())
	return x.Narrow(s, 1, prefix, x.Dim(1)-prefix)
}

// mean averages tensors of one shape.
func mean(s *tensor.Scope, fused bool, xs []*tensor.Tensor) *tensor.Tensor {
	return tensor.Means(s, fused, xs, places(len(xs)))[0]
}

// places are 0 to n-1.
func places(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
