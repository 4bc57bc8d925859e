package dataset

import (
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
)

// TrainOrder returns the order of endless training with s objects per batch, for use by one goroutine. With n objects,
// an epoch has n/s batches. Batch k is in epoch e = k/(n/s) and contains objects (k mod n/s)*s to (k mod n/s)*s+s-1 of
// the permutation of that epoch, which depends only on the seed and e. The remaining n mod s objects are left out of
// the epoch. Fewer than s objects are an error.
func TrainOrder(objects []Object, s int, seed int64) (func(k int) []*Object, error) {
	if len(objects) == 0 {
		return nil, errors.New("no training images: have 0 training objects, want at least one batch")
	}
	if len(objects) < s {
		return nil, fmt.Errorf("train.objects: have a batch of %d, want at most the %d training objects", s, len(objects))
	}
	perEpoch := len(objects) / s
	epoch, order := -1, []int(nil)
	return func(k int) []*Object {
		if e := k / perEpoch; e != epoch {
			epoch, order = e, permutation(len(objects), uint64(seed), uint64(e))
		}
		batch := make([]*Object, s)
		for i := range batch {
			batch[i] = &objects[order[k%perEpoch*s+i]]
		}
		return batch
	}, nil
}

// Part is one of several equal parts of each batch of an endless order, which processes read at the same time. The zero
// value is all of a batch.
type Part struct{ Index, Count int }

func (p Part) partial() bool { return p.Count > 1 }

// Objects is the number of objects in a part of a batch of s objects, a multiple of the parts.
func (p Part) Objects(s int) int { return s / max(1, p.Count) }

// Of returns the order of parts of the batches of order.
func (p Part) Of(order func(k int) []*Object) func(k int) []*Object {
	if !p.partial() {
		return order
	}
	return func(k int) []*Object {
		batch := order(k)
		n := p.Objects(len(batch))
		return batch[p.Index*n:][:n:n]
	}
}

// evalOrder returns the order of one pass. The last batch may be smaller; after it, batches are nil.
func evalOrder(objects []Object, s int) func(k int) []*Object {
	return func(k int) []*Object {
		if k > (len(objects)-1)/s {
			return nil
		}
		rest := objects[k*s:]
		batch := make([]*Object, min(s, len(rest)))
		for i := range batch {
			batch[i] = &rest[i]
		}
		return batch
	}
}

// permutation shuffles 0..n-1 (Fisher-Yates). It uses the generator directly, whose sequence is specified, so that a
// run can be resumed by a program built with another version of Go.
func permutation(n int, seed, stream uint64) []int {
	random := rand.NewPCG(seed, stream)
	order := make([]int, n)
	for i := range order {
		j, _ := bits.Mul64(random.Uint64(), uint64(i+1)) // 0..i
		order[i] = order[j]
		order[j] = i
	}
	return order
}
