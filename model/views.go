package model

import (
	"slices"

	"mvag-torch/internal/tensor"
)

// Views says how the images of a batch belong together: S objects of V views, some of which may be absent
// (docs/model.md section 3). It is made once a batch.
type Views struct {
	Objects, Count int64 // S, V

	// Rows holds the indices of the present images, nil where all are.
	Rows []int64

	// For attention across views, by query view and key view:
	slot    *tensor.Tensor // [V·V], the key's index in view_logits; 0 on the diagonal
	invalid *tensor.Tensor // bool [1 or S, V, V]: the query itself, or an absent view
	valid   *tensor.Tensor // float32 [1 or S, V, V]: 1 - invalid

	self *tensor.Tensor // 1 [1, 1, 1], the weight of a view for itself

	// Ranks is set where this is one rank's part of a batch.
	Ranks Ranks
}

// Ranks says of what batch a rank has a part.
type Ranks struct {
	Group   *tensor.Group // nil alone
	Present int           // images of the whole batch that are present
}

// NewViews describes a batch of objects·count images; present is nil where none is absent, else one flag an image.
func NewViews(s *tensor.Scope, d tensor.Device, objects, count int, present []bool) *Views {
	v := &Views{Objects: int64(objects), Count: int64(count)}
	groups := 1
	if slices.Contains(present, false) {
		groups, v.Rows = objects, []int64{}
		for i, ok := range present {
			if ok {
				v.Rows = append(v.Rows, int64(i))
			}
		}
	}
	var slots []int64
	for query := range count {
		for key := range count {
			slots = append(slots, SlotOf(query, key))
		}
	}
	n := int64(count)
	invalid, valid := make([]byte, groups*count*count), make([]float32, groups*count*count)
	for i := range invalid {
		g, query, key := i/(count*count), i/count%count, i%count
		if query != key && (v.Rows == nil || present[g*count+query] && present[g*count+key]) {
			valid[i] = 1
		} else {
			invalid[i] = 1
		}
	}
	v.slot = tensor.FromInts(s, d, slots, n*n)
	v.valid = tensor.FromFloats(s, d, valid, int64(groups), n, n)
	v.invalid = tensor.FromBytes(s, d, tensor.Bool, invalid, int64(groups), n, n)
	v.self = tensor.FromFloats(s, d, []float32{1}, 1, 1, 1)
	return v
}

// SlotOf is the index of a key view among the views that the query view looks at: camera order without itself.
func SlotOf(query, key int) int64 {
	switch {
	case key > query:
		return int64(key - 1)
	case key == query:
		return 0
	}
	return int64(key)
}

// Present selects the rows of present images from x [B, ...].
func (v *Views) Present(s *tensor.Scope, x *tensor.Tensor) *tensor.Tensor {
	if v.Rows == nil {
		return x
	}
	return x.IndexSelect(s, 0, tensor.FromInts(s, x.Device(), v.Rows, int64(len(v.Rows))))
}

// PresentCount is the number of present images of the batch, on all ranks.
func (v *Views) PresentCount() int {
	if v.Ranks.Group != nil {
		return v.Ranks.Present
	}
	if v.Rows == nil {
		return int(v.Objects * v.Count)
	}
	return len(v.Rows)
}

// absent is the distance of the patches of absent images, which is below that of any other.
const absent = -1e30

// gather returns the distances of all ranks, given those of this rank's present images c [b, P]: c itself alone, else
// [ranks, B, P] with absent images.
func (v *Views) gather(s *tensor.Scope, c *tensor.Tensor) *tensor.Tensor {
	if v.Ranks.Group == nil {
		return c
	}
	all := tensor.Full(s, c.Device(), tensor.Float, absent, v.Objects*v.Count, c.Dim(1))
	all.Slice(s, 0, 0, c.Dim(0)).CopyFrom(c)
	return v.Ranks.Group.AllGather(s, all)
}

// weights spreads softmax(logits [V-1]) over the views that are there: entry [s, j, i] is the weight of key view i for
// query view j, [1 or S, V, V]. A query without other views has zeros only.
func (v *Views) weights(s *tensor.Scope, logits *tensor.Tensor) *tensor.Tensor {
	table := logits.IndexSelect(s, 0, v.slot).Reshape(s, 1, v.Count, v.Count)
	table = table.MaskedFill(s, v.invalid, -1e30) // [1 or S, V, V]; finite, so that a row without valid views gives no NaN
	return table.Softmax(s, -1).Mul(s, v.valid)
}
