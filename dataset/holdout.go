package dataset

import "hash/fnv"

// HoldOut parts the training objects: of the n objects of each class, int(share*n) are drawn at random and returned, in
// index order; the set returned beside them is s without them. Which ones depends on the class, its objects, share and
// seed alone, so that a resumed run holds out the same, and so does a run on other classes.
func (s *Set) HoldOut(share float64, seed int64) (rest *Set, held []Object) {
	places := map[string][]int{} // in Train, by class
	for i := range s.Train {
		places[s.Train[i].Class] = append(places[s.Train[i].Class], i)
	}
	out := make([]bool, len(s.Train))
	for class, of := range places {
		name := fnv.New64a()
		name.Write([]byte("holdout " + class)) // never fails
		order := permutation(len(of), uint64(seed), name.Sum64())
		for _, k := range order[:int(share*float64(len(of)))] {
			out[of[k]] = true
		}
	}
	part := *s
	part.Train = nil
	for i, object := range s.Train {
		if out[i] {
			held = append(held, object)
		} else {
			part.Train = append(part.Train, object)
		}
	}
	return &part, held
}
