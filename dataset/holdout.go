package dataset

import "hash/fnv"

// HoldOut splits the training objects: of the n objects of each class, int(fraction*n) are drawn at random and returned
// as heldOut, in index order; rest is the set without them. The draw depends only on the class, its objects, fraction
// and seed, so a resumed run and a run on other classes hold out the same objects.
func (s *Set) HoldOut(fraction float64, seed int64) (rest *Set, heldOut []Object) {
	indices := map[string][]int{} // indices in Train, by class
	for i := range s.Train {
		indices[s.Train[i].Class] = append(indices[s.Train[i].Class], i)
	}
	out := make([]bool, len(s.Train))
	for class, of := range indices {
		name := fnv.New64a()
		name.Write([]byte("holdout " + class)) // never fails
		order := permutation(len(of), uint64(seed), name.Sum64())
		for _, k := range order[:int(fraction*float64(len(of)))] {
			out[of[k]] = true
		}
	}
	part := *s
	part.Train = nil
	for i, object := range s.Train {
		if out[i] {
			heldOut = append(heldOut, object)
		} else {
			part.Train = append(part.Train, object)
		}
	}
	return &part, heldOut
}
