// Package weights knows the pretrained weights of the encoder (docs/model.md, section 1): their names, the shapes an
// architecture wants, and the files they come from. Names are those of timm's DINOv2 vision transformers:
//
//	cls_token             [1, 1, C]
//	reg_token             [1, R, C]       where there are registers
//	pos_embed             [1, P or 1+P, C]
//	patch_embed.proj      weight [C, 3, 14, 14], bias [C]
//	blocks.N.norm1        weight [C], bias [C]
//	blocks.N.attn.qkv     weight [3C, C], bias [3C]
//	blocks.N.attn.proj    weight [C, C], bias [C]
//	blocks.N.ls1.gamma    [C]
//	blocks.N.norm2        weight [C], bias [C]
//	blocks.N.mlp.fc1      weight [4C, C], bias [4C]
//	blocks.N.mlp.fc2      weight [C, 4C], bias [C]
//	blocks.N.ls2.gamma    [C]
//	norm                  weight [C], bias [C]
//
// C is the number of channels, R of registers, P of patches of the position table, a square. The package is pure Go and
// knows nothing of LibTorch.
package weights

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"mvag-torch/internal/safetensors"
)

// Tensor is one parameter in row-major order.
type Tensor struct {
	Shape []int64
	Data  []float32
}

// Map is a set of parameters by name.
type Map map[string]Tensor

// File is a file of tensors that knows them by name.
type File interface {
	Names() []string
	Info(name string) (safetensors.DType, []int64, bool)
	Float32(name string) ([]float32, error)
}

// Read returns the tensors of f that pick takes, under the names it gives them; all, as they are, where pick is nil.
// Float16, bfloat16 and float32 values are exact, float64 values rounded. A picked tensor of another type is an error.
func Read(f File, pick func(name string) (as string, ok bool)) (Map, error) {
	m := Map{}
	for _, name := range f.Names() {
		as, ok := name, true
		if pick != nil {
			as, ok = pick(name)
		}
		if !ok {
			continue
		}
		data, err := f.Float32(name)
		if err != nil {
			return nil, err
		}
		_, shape, _ := f.Info(name)
		m[as] = Tensor{shape, data}
	}
	return m, nil
}

// FromSafetensors returns every tensor of a safetensors file; a name that nobody needs is no error, see [Arch.Check].
func FromSafetensors(path string) (Map, error) {
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Read(f, nil)
}

// WriteSafetensors writes m as float32, whole or not at all.
func WriteSafetensors(path string, m Map, meta map[string]string) error {
	tensors := make([]safetensors.Tensor, 0, len(m))
	for name, t := range m {
		tensors = append(tensors, safetensors.Float32(name, t.Shape, t.Data))
	}
	return safetensors.Write(path, tensors, meta)
}

// Shapes returns the shape of every parameter, as [Arch.Check] takes them.
func (m Map) Shapes() map[string][]int64 {
	shapes := make(map[string][]int64, len(m))
	for name, t := range m {
		shapes[name] = t.Shape
	}
	return shapes
}

// CheckFinite returns an error that names the first parameter, by name, that holds a NaN or an infinity.
func (m Map) CheckFinite() error {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		for i, v := range m[name].Data {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return fmt.Errorf("weights: %.80q: have %v at element %d, want finite values", name, v, i)
			}
		}
	}
	return nil
}
