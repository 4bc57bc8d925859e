package dataset

import (
	"fmt"
	"slices"
	"testing"
)

func TestHoldOut(t *testing.T) {
	set := &Set{Classes: []string{"a", "b"}}
	for class, n := range map[string]int{"a": 20, "b": 9} {
		for i := range n {
			set.Train = append(set.Train, Object{Class: class, ID: fmt.Sprint(class, i)})
		}
	}
	ids := func(objects []Object, class string) (list []string) {
		for _, o := range objects {
			if o.Class == class {
				list = append(list, o.ID)
			}
		}
		return list
	}
	for _, test := range []struct {
		fraction float64
		a, b     int
	}{{0, 0, 0}, {0.1, 2, 0}, {0.125, 2, 1}, {0.5, 10, 4}, {0.99, 19, 8}} {
		rest, heldOut := set.HoldOut(test.fraction, 1)
		if a, b := len(ids(heldOut, "a")), len(ids(heldOut, "b")); a != test.a || b != test.b {
			t.Errorf("fraction %v: have %d and %d objects, want %d and %d", test.fraction, a, b, test.a, test.b)
		}
		all := slices.Concat(ids(heldOut, "a"), ids(rest.Train, "a"))
		slices.Sort(all)
		if len(slices.Compact(all)) != 20 {
			t.Errorf("fraction %v: held-out and kept objects are not the whole: %v", test.fraction, all)
		}
	}
	_, first := set.HoldOut(0.5, 1)
	_, again := set.HoldOut(0.5, 1)
	_, other := set.HoldOut(0.5, 2)
	if !slices.Equal(ids(first, "a"), ids(again, "a")) || slices.Equal(ids(first, "a"), ids(other, "a")) {
		t.Error("want the same objects for a seed and others for another")
	}
	one := &Set{Train: slices.DeleteFunc(slices.Clone(set.Train), func(o Object) bool { return o.Class == "b" })}
	if _, heldOut := one.HoldOut(0.5, 1); !slices.Equal(ids(heldOut, "a"), ids(first, "a")) {
		t.Error("the objects of a class depend on another class")
	}
	if len(set.Train) != 29 {
		t.Error("the set itself changed")
	}
}
