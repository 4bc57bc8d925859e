package dataset

import (
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
)

// TrainOrder returns the plan of endless training: batch k holds the s objects from place (k mod n/s)*s on of the order
// of epoch k/(n/s), which depends on the seed and the epoch only. What n/s leaves over sits out that epoch. Plans are
// asked for by one goroutine. It is an error where the objects do not fill one batch.
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

// evalOrder returns the plan of one pass in order; the last batch may be smaller, and nil follows it.
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

// permutation shuffles 0..n-1 (Fisher and Yates). It draws from the generator itself, whose numbers are fixed for good,
// so that a run can be resumed by a program built with another Go.
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
