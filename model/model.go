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
	Precision  string         // fp32, tf32 or bf16
	Kernels    tensor.Kernels // what computes it, decided once
	Encoder    *Encoder
	Bottleneck Bottleneck
	Decoder    Decoder
	Params     Params // trainable, in checkpoint order

	Fuse [][]int // indices into the list of layers, one group a target
}

// Features are what the frozen encoder gives for a batch.
type Features struct {
	Mean    *tensor.Tensor   // over the layers, the bottleneck's input [B, N, C]
	Targets []*tensor.Tensor // one a group: the mean over its layers, patches only [B, P, C]
}

// Reconstruction is what the decoder answers to a target: the outputs [B, N, C] of a group of its blocks, whose mean
// counts, patches only.
type Reconstruction struct {
	Outputs []*tensor.Tensor

	model *Model
}

// New builds the model: an encoder of the given architecture with the weights of backbone, and initial trainable
// weights from cfg.Seed. Its tensors live in s. Errors name every fault of the weights.
func New(s *tensor.Scope, d tensor.Device, cfg configs.Config, arch weights.Arch, backbone weights.Map) (*Model, error) {
	layers, fuse, err := Layers(cfg, arch)
	if err != nil {
		return nil, err
	}
	compute := tensor.Float
	if cfg.Precision == "bf16" {
		compute = tensor.BFloat16
	}
	height, width := cfg.Data.Crop.Height(), cfg.Data.Crop.Width()
	dim, heads, patches := int64(arch.Dim), int64(arch.Heads), (height/arch.Patch)*(width/arch.Patch)
	m := &Model{Device: d, Precision: cfg.Precision, Fuse: fuse, Kernels: tensor.ChooseKernels(d, compute, tensor.ModelShape{
		Channels: dim, Heads: heads, Tokens: int64(arch.Prefix() + patches), Layers: int64(len(layers)),
	})}
	if m.Encoder, err = NewEncoder(s, d, arch, backbone, layers, height, width, &m.Kernels); err != nil {
		return nil, err
	}
	var near *tensor.Tensor
	if cfg.Model.NeighborMask > 0 {
		near = neighborMask(s, d, cfg.Model.NeighborMask, int64(arch.Prefix()), m.Encoder.Rows, m.Encoder.Columns)
	}
	w := trainable(s, d, cfg.Seed, &m.Kernels, &m.Params)
	m.Bottleneck = newBottleneck(w.Sub("bottleneck"), dim, cfg.Model.Dropout)
	m.Decoder = newDecoder(w.Sub("decoder"), cfg.Model.DecoderDepth, dim, heads, int64(cfg.Data.Views), AttentionOptions{
		Keep: cfg.Model.Keep, Select: cfg.Model.Select, NeighborMask: cfg.Model.NeighborMask, Eps: cfg.Model.Eps,
	}, near)
	return m, nil
}

// Layers returns the encoder layers and the groups of indices into them that cfg and the defaults of the architecture
// give: two halves in order where cfg names no groups.
func Layers(cfg configs.Config, arch weights.Arch) (layers []int, fuse [][]int, err error) {
	layers, fuse = cfg.Backbone.Layers, cfg.Backbone.Fuse
	if len(layers) == 0 {
		layers = arch.DefaultLayers()
	}
	if last := layers[len(layers)-1]; last >= arch.Depth {
		return nil, nil, fmt.Errorf("backbone.layers: have block %d, want 0..%d for %s", last, arch.Depth-1, arch.Name)
	}
	if n := len(layers); n != cfg.Model.DecoderDepth {
		of := fmt.Sprintf("backbone layers (%d)", n)
		if arch.Module != nil {
			of = fmt.Sprintf("layers of the archive (%d: %s)", n, strings.Join(arch.Module.Layers, ", "))
		}
		return nil, nil, fmt.Errorf("model.decoder_depth: have %d, want the number of %s", cfg.Model.DecoderDepth, of)
	}
	if len(fuse) == 0 {
		all := indices(len(layers))
		half := len(all) / 2
		for _, group := range [][]int{all[:half], all[half:]} {
			if len(group) > 0 {
				fuse = append(fuse, group)
			}
		}
	}
	return layers, fuse, nil
}

// Encode maps images [B, 3, H, W], uint8 as decoded or float32 already normalised, to features. No gradient is
// recorded, and of the encoder's tensors only the features stay in s.
func (m *Model) Encode(s *tensor.Scope, images *tensor.Tensor) (f Features) {
	tensor.NoGrad(func() {
		s.Local(func(inner *tensor.Scope) *tensor.Tensor {
			outputs := m.Encoder.Forward(inner, images) // [B, N, C] each
			groups := append(slices.Clone(m.Fuse), indices(len(outputs)))
			means := tensor.Means(s, m.Kernels.Losses, outputs, groups...) // [B, N, C] each
			for _, x := range means[:len(m.Fuse)] {
				f.Targets = append(f.Targets, m.patches(s, x)) // [B, P, C]
			}
			f.Mean = means[len(m.Fuse)]
			return nil
		})
	})
	return f
}

// Decode maps the bottleneck's output x [B, N, C] to one reconstruction a target. The decoder's last block answers the
// encoder's first layer.
func (m *Model) Decode(s *tensor.Scope, x *tensor.Tensor, v *Views) []Reconstruction {
	outputs := m.Decoder.Forward(s, x, v) // [B, N, C] each
	slices.Reverse(outputs)
	all := make([]Reconstruction, len(m.Fuse))
	for g, group := range m.Fuse {
		all[g].model = m
		for _, i := range group {
			all[g].Outputs = append(all[g].Outputs, outputs[i])
		}
	}
	return all
}

// BlockOutputs returns the outputs [B, N, C] of the decoder's blocks that Decode has grouped, in order of evaluation.
func (m *Model) BlockOutputs(all []Reconstruction) []*tensor.Tensor {
	outputs := make([]*tensor.Tensor, len(m.Decoder.Blocks))
	for g, group := range m.Fuse {
		for k, i := range group {
			outputs[i] = all[g].Outputs[k]
		}
	}
	slices.Reverse(outputs)
	return outputs
}

// Patches is the mean over the outputs, patches only: [B, P, C]. Fused, it has no gradient.
func (r Reconstruction) Patches(s *tensor.Scope, fused bool) *tensor.Tensor {
	return r.model.patches(s, mean(s, fused, r.Outputs))
}

// patches drops the class token and registers of x [B, N, C]: [B, P, C].
func (m *Model) patches(s *tensor.Scope, x *tensor.Tensor) *tensor.Tensor {
	prefix := int64(m.Encoder.Arch.Prefix())
	return x.Slice(s, 1, prefix, x.Dim(1)-prefix)
}

// mean averages tensors of one shape.
func mean(s *tensor.Scope, fused bool, xs []*tensor.Tensor) *tensor.Tensor {
	return tensor.Means(s, fused, xs, indices(len(xs)))[0]
}

// indices are 0 to n-1.
func indices(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
