package model

import "mvag-torch/internal/tensor"

// PackedRows is the number of rows [C] that Pack makes of a picture: the class
// token and registers of the mean, then the patches of each target.
func (m *Model) PackedRows() int64 {
	return int64(m.Encoder.Arch.Prefix()) + int64(len(m.fuse))*m.Encoder.Rows*m.Encoder.Columns
}

// Pack lays features out to be kept: [B, PackedRows, C] of float16. Of the mean
// only the class token and registers are in it, since its patches are the mean
// of the targets, each by the number of its layers.
func (m *Model) Pack(s *tensor.Scope, f Features) *tensor.Tensor {
	rows := append([]*tensor.Tensor{f.Mean.Narrow(s, 1, 0, int64(m.Encoder.Arch.Prefix()))}, f.Targets...)
	return tensor.Cat(s, 1, rows...).To(s, tensor.Half)
}

// Unpack is the inverse of Pack, but for the rounding: packed [B, PackedRows, C]
// of float16, on the model's device, to features.
func (m *Model) Unpack(s *tensor.Scope, packed *tensor.Tensor) Features {
	var f Features
	tensor.NoGrad(func() {
		rows := packed.To(s, tensor.Float)
		at := int64(m.Encoder.Arch.Prefix())
		prefix, patches := rows.Narrow(s, 1, 0, at), m.Encoder.Rows*m.Encoder.Columns
		layers := 0
		var sum *tensor.Tensor // over layers [B, P, C]
		for _, group := range m.fuse {
			target := rows.Narrow(s, 1, at, patches)
			f.Targets = append(f.Targets, target)
			at, layers = at+patches, layers+len(group)
			part := target.MulScalar(s, float64(len(group)))
			if sum == nil {
				sum = part
			} else {
				sum = sum.Add(s, part)
			}
		}
		f.Mean = tensor.Cat(s, 1, prefix, sum.MulScalar(s, 1/float64(layers))) // [B, N, C]
	})
	return f
}
