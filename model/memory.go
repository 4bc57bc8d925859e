package model

import (
	"mvag-torch/dataset"
	"mvag-torch/internal/tensor"
	"mvag-torch/model/memory"
)

// Memory compares patches with those that are remembered of good parts (docs/model.md section 8). Of a class, it brings
// to the device what it is asked about.
type Memory struct {
	*memory.Memory

	model *Model
	scope *tensor.Scope
	banks map[memory.Camera][]bank // one a target
}

// bank is what is remembered of a target of a camera.
type bank struct {
	mean, basis *tensor.Tensor // [C], [D, C]
	codes, half *tensor.Tensor // [D, K], and half of their squared norms [K]
}

// NewMemory prepares remembered for the model; what it needs lives in s.
func NewMemory(s *tensor.Scope, m *Model, remembered *memory.Memory) *Memory {
	return &Memory{remembered, m, s, map[memory.Camera][]bank{}}
}

// bankOf returns the banks of a camera, one a target.
func (m *Memory) bankOf(class string, camera int) []bank {
	key := memory.Camera{Class: class, Index: camera}
	if found, ok := m.banks[key]; ok {
		return found
	}
	stored := m.Of(class).Cameras[camera]
	t, c, d, k := int64(stored.Targets), int64(stored.Channels), int64(stored.Dims), int64(stored.Codes)
	banks := make([]bank, t)
	m.scope.Local(func(s *tensor.Scope) *tensor.Tensor {
		basis := tensor.FromBytes(s, m.model.Device, tensor.Half, stored.Basis, t, 1+d, c).To(s, tensor.Float)
		codes := tensor.FromBytes(s, m.model.Device, tensor.Half, stored.Coordinates, t, k, d).To(s, tensor.Float)
		for i := range banks {
			b, z := basis.Select(s, 0, int64(i)), codes.Select(s, 0, int64(i))
			banks[i] = bank{
				mean: b.Select(m.scope, 0, 0), basis: b.Slice(m.scope, 0, 1, d), codes: z.Transpose(m.scope, 0, 1),
				half: z.Square(s).Sum(s, false, 1).MulScalar(m.scope, 0.5),
			}
		}
		return nil
	})
	m.banks[key] = banks
	return banks
}

// distances of x [n, C], vectors of length 1, to what is remembered: [n]. It is half the squared distance to the nearest
// code, where x may leave the subspace freely: between points of the sphere, 1 - cos.
func (b bank) distances(s *tensor.Scope, x *tensor.Tensor) *tensor.Tensor {
	x = x.Sub(s, b.mean)
	p := x.Linear(s, b.basis, nil)                                       // [n, D]
	outside := x.Sub(s, p.Matmul(s, b.basis)).Square(s).Sum(s, false, 1) // [n]
	near, _ := p.Matmul(s, b.codes).Sub(s, b.half).Topk(s, 1, 1, true)   // p·c - |c|²/2 [n, 1]
	inside := p.Square(s).Sum(s, true, 1).MulScalar(s, 0.5).Sub(s, near) // |p - c|²/2 [n, 1]
	return inside.Reshape(s, -1).Add(s, outside.MulScalar(s, 0.5))
}

// Distances compares the targets [B, P, C] of a batch. It returns the rows of the images whose class is remembered, and
// their distances [rows, P], one a target. A single image of a model of several cameras may be of any of them: the
// nearest counts.
func (m *Memory) Distances(s *tensor.Scope, targets []*tensor.Tensor, batch *dataset.Batch) (rows []int64, distances []*tensor.Tensor) {
	groups := m.group(batch)
	for t, all := range targets {
		var found []*tensor.Tensor
		rows = rows[:0]
		for _, g := range groups {
			rows = append(rows, g.rows...)
			found = append(found, s.Local(func(s *tensor.Scope) *tensor.Tensor { return g.distances(s, m, all, t) }))
		}
		if found != nil {
			distances = append(distances, tensor.Cat(s, 0, found...)) // [rows, P]
		}
	}
	return rows, distances
}

// group is the images of a batch that are compared with the same banks.
type group struct {
	memory.Camera // index -1: any
	rows          []int64
}

// group groups images in the order in which their banks are first met.
func (m *Memory) group(batch *dataset.Batch) (groups []*group) {
	if m.Empty() {
		return nil
	}
	by := map[memory.Camera]*group{}
	for i, present := range batch.Present {
		object := batch.Objects[i/batch.Views]
		class := m.Of(object.Class)
		if !present || class == nil {
			continue
		}
		key := memory.Camera{Class: object.Class, Index: object.Views[i%batch.Views].Camera}
		if _, ok := class.Cameras[key.Index]; !ok || batch.Views == 1 {
			key.Index = -1 // also of a camera that nothing is remembered of
		}
		if by[key] == nil {
			by[key] = &group{Camera: key}
			groups = append(groups, by[key])
		}
		by[key].rows = append(by[key].rows, int64(i))
	}
	return groups
}

// distances of the images of the group to a target [B, P, C]: [rows, P].
func (g *group) distances(s *tensor.Scope, m *Memory, all *tensor.Tensor, target int) *tensor.Tensor {
	n, patches, channels := int64(len(g.rows)), all.Dim(1), all.Dim(2)
	x := all.IndexSelect(s, 0, tensor.FromInts(s, all.Device(), g.rows, n)).To(s, tensor.Float)
	x = x.Div(s, x.Norm(s, -1).AddScalar(s, 1e-8)).Reshape(s, n*patches, channels)
	var nearest *tensor.Tensor
	for camera := range m.Of(g.Class).Cameras {
		if g.Index >= 0 && camera != g.Index {
			continue
		}
		d := m.bankOf(g.Class, camera)[target].distances(s, x)
		if nearest != nil {
			d = nearest.Minimum(s, d)
		}
		nearest = d
	}
	return nearest.Reshape(s, n, patches)
}

// Algebra computes the large part of fitting a memory on the model's device.
type Algebra struct{ *Model }

// Moments implements [memory.Algebra].
func (a Algebra) Moments(x []float32, channels int) (mean, covariance []float32, err error) {
	err = tensor.Run(func(s *tensor.Scope) error {
		v := a.upload(s, x, channels)
		m := v.Mean(s, 0) // [C]
		v = v.Sub(s, m)
		mean, covariance = m.Floats(), v.Transpose(s, 0, 1).Matmul(s, v).Floats() // [C, C]
		return nil
	})
	return mean, covariance, err
}

// Project implements [memory.Algebra].
func (a Algebra) Project(x, basis []float32, channels int) (points []float32, err error) {
	err = tensor.Run(func(s *tensor.Scope) error {
		b := a.upload(s, basis, channels)
		v := a.upload(s, x, channels).Sub(s, b.Select(s, 0, 0))
		points = v.Linear(s, b.Slice(s, 0, 1, b.Dim(0)-1), nil).Floats() // [n, D]
		return nil
	})
	return points, err
}

func (a Algebra) upload(s *tensor.Scope, x []float32, channels int) *tensor.Tensor {
	return tensor.FromFloats(s, a.Device, x, int64(len(x)/channels), int64(channels))
}
