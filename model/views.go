package model

import (
	"slices"

	"mvag-torch/internal/tensor"
)

// Views says how the pictures of a batch belong together: S objects of V
// views, some of which may be absent (model.md sections 3.4 and 7). It is made
// once a batch.
type Views struct {
	Objects, Count int64 // S, V

	// Rows holds the indices of the present pictures, nil where all are.
	Rows []int64

	// For attention across views, [1 or S, V, V] by (query view, key view):
	slot    *tensor.Tensor // [V·V] the key's slot in view_logits; 0 on the diagonal
	invalid *tensor.Tensor // bool: the query itself, or an absent view
	valid   *tensor.Tensor // float32: 1 - invalid

	self *tensor.Tensor // 1 [1, 1, 1], the share of a view for itself
}

// NewViews describes a batch of objects·count pictures; present is nil where
// none is missing, else one flag a picture.
func NewViews(s *tensor.Scope, d tensor.Device, objects, count int, present []bool) *Views {
	v := &Views{Objects: int64(objects), Count: int64(count)}
	groups := 1
	if slices.Contains(present, false) {
		v.Rows = presentRows(present)
		groups = objects
	}
	slots := make([]int64, 0, count*count)
	for j := range count {
		for i := range count {
			slots = append(slots, slotOf(j, i))
		}
	}
	valid, invalid := make([]float32, 0, groups*count*count), make([]byte, 0, groups*count*count)
	for g := range groups {
		for j := range count {
			for i := range count {
				ok := i != j && (v.Rows == nil || present[g*count+i] && present[g*count+j])
				valid, invalid = append(valid, flag[float32](ok)), append(invalid, flag[byte](!ok))
			}
		}
	}
	n := int64(count)
	v.slot = tensor.FromInts(s, d, slots, n*n)
	v.valid = tensor.FromFloats(s, d, valid, int64(groups), n, n)
	v.invalid = tensor.FromBytes(s, d, tensor.Bool, invalid, int64(groups), n, n)
	v.self = tensor.FromFloats(s, d, []float32{1}, 1, 1, 1)
	return v
}

// slotOf is the place of key view i in the list of views that view j looks at,
// in camera order without itself.
func slotOf(j, i int) int64 {
	if i > j {
		return int64(i - 1)
	}
	if i == j {
		return 0
	}
	return int64(i)
}

func presentRows(present []bool) []int64 {
	var rows []int64
	for i, ok := range present {
		if ok {
			rows = append(rows, int64(i))
		}
	}
	return rows
}

func flag[T float32 | byte](b bool) T {
	if b {
		return 1
	}
	return 0
}

// Present selects the rows of present pictures from x [B, ...].
func (v *Views) Present(s *tensor.Scope, x *tensor.Tensor) *tensor.Tensor {
	if v.Rows == nil {
		return x
	}
	return x.IndexSelect(s, 0, tensor.FromInts(s, x.Device(), v.Rows, int64(len(v.Rows))))
}

// weights spreads softmax(logits [V-1]) over the views that are there: entry
// [s, j, i] is the share of key view i for query view j, [1 or S, V, V]. A
// query with no other view has zeros only.
func (v *Views) weights(s *tensor.Scope, logits *tensor.Tensor) *tensor.Tensor {
	table := logits.IndexSelect(s, 0, v.slot).Reshape(s, 1, v.Count, v.Count)
	table = table.MaskedFill(s, v.invalid, -1e30) // [1 or S, V, V]; finite: a row without valid views gives no NaN
	return table.Softmax(s, -1).Mul(s, v.valid)
}
