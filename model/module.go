package model

import (
	"fmt"
	"slices"

	"mvag-torch/internal/tensor"
	"mvag-torch/model/weights"
)

// newModuleEncoder is NewEncoder for a TorchScript archive that is run as it is, in float32. The archive fixes the
// layers and the size of the images. It is run once, so that one that does not do what it says is refused here.
func newModuleEncoder(s *tensor.Scope, d tensor.Device, arch weights.Arch,
	layers []int, height, width int) (*Encoder, error) {
	m := arch.Module
	if height != m.Height || width != m.Width {
		return nil, fmt.Errorf("data.crop: have %d x %d pixels, want those that the archive was exported for (%d x %d)",
			height, width, m.Height, m.Width)
	}
	if len(layers) != len(m.Layers) {
		return nil, fmt.Errorf("backbone.layers: have %v, want none: the archive has its layers (%d)",
			layers, len(m.Layers))
	}
	e := &Encoder{Arch: arch, Layers: layers, Rows: int64(height / m.Patch), Columns: int64(width / m.Patch),
		Embedding: newStatistics(s, d, arch), module: tensor.LoadModule(s, m.Path, d)}
	var err error
	s.Local(func(s *tensor.Scope) *tensor.Tensor {
		black := tensor.FromFloats(s, d, make([]float32, 3*height*width), 1, 3, int64(height), int64(width))
		outputs := e.Forward(s, black)
		if len(outputs) != len(layers) {
			err = fmt.Errorf("forward: have %d outputs, want the %d layers that the archive names",
				len(outputs), len(layers))
		}
		want := []int64{1, int64(m.Tokens()), int64(m.Channels)}
		for i, x := range outputs {
			if !slices.Equal(x.Shape(), want) || x.DType() != tensor.Float {
				err = fmt.Errorf("forward: output %d: have %s %v, want float32 %v as the archive says",
					i, x.DType(), x.Shape(), want)
			}
		}
		return nil
	})
	return e, err
}
