package model

import "mvag-torch/internal/tensor"

// PackedRows is the number of rows [C] that Pack makes of an image: the class token and registers of the mean, then the
// patches of each target.
func (m *Model) PackedRows() int64 {
	return int64(m.Encoder.Arch.Prefix()) + int64(len(m.Fuse))*m.Encoder.Rows*m.Encoder.Columns
}

// PackedBytes is the size of what Pack makes of an image.
func (m *Model) PackedBytes() int { return int(m.PackedRows()) * m.Encoder.Arch.Dim * 2 }

// Pack lays features out for storage: [B, PackedRows, C] of float16. Of the mean it holds only the class token and
// registers: its patches are the mean of the targets, each weighted by the number of its layers.
func (m *Model) Pack(s *tensor.Scope, f Features) *tensor.Tensor {
	rows := append([]*tensor.Tensor{f.Mean.Slice(s, 1, 0, int64(m.Encoder.Arch.Prefix()))}, f.Targets...)
	return tensor.Cat(s, 1, rows...).To(s, tensor.Half)
}

// PackImages encodes n images, uint8 [n, 3, H, W], and returns what Pack makes of them, on the host.
func (m *Model) PackImages(s *tensor.Scope, pixels []uint8, n int) (packed []byte) {
	patch := int64(m.Encoder.Arch.Patch)
	s.Local(func(s *tensor.Scope) *tensor.Tensor {
		images := tensor.Upload(s, m.Device, tensor.Uint8, pixels, int64(n), 3, patch*m.Encoder.Rows, patch*m.Encoder.Columns)
		packed = m.Pack(s, m.Encode(s, images)).Bytes()
		return nil
	})
	return packed
}

// Unpack is the inverse of Pack except for the rounding: packed [B, PackedRows, C] of float16 to features.
func (m *Model) Unpack(s *tensor.Scope, packed *tensor.Tensor) (f Features) {
	tensor.NoGrad(func() {
		rows := packed.To(s, tensor.Float)
		at, patches := int64(m.Encoder.Arch.Prefix()), m.Encoder.Rows*m.Encoder.Columns
		prefix, layers := rows.Slice(s, 1, 0, at), 0 // [B, 1+R, C]
		var sum *tensor.Tensor                       // over layers [B, P, C]
		for _, group := range m.Fuse {
			target := rows.Slice(s, 1, at, patches) // [B, P, C]
			f.Targets = append(f.Targets, target)
			at, layers = at+patches, layers+len(group)
			if weighted := target.MulScalar(s, float64(len(group))); sum == nil {
				sum = weighted
			} else {
				sum = sum.Add(s, weighted)
			}
		}
		f.Mean = tensor.Cat(s, 1, prefix, sum.MulScalar(s, 1/float64(layers))) // [B, N, C]
	})
	return f
}
