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
		share float64
		a, b  int
	}{{0, 0, 0}, {0.1, 2, 0}, {0.125, 2, 1}, {0.5, 10, 4}, {0.99, 19, 8}} {
		rest, held := set.HoldOut(test.share, 1)
		if a, b := len(ids(held, "a")), len(ids(held, "b")); a != test.a || b != test.b {
			t.Errorf("share %v: have %d and %d objects, want %d and %d", test.share, a, b, test.a, test.b)
		}
		all := slices.Concat(ids(held, "a"), ids(rest.Train, "a"))
		slices.Sort(all)
		if len(slices.Compact(all)) != 20 {
			t.Errorf("share %v: held and kept objects are not the whole: %v", test.share, all)
		}
	}
	_, first := set.HoldOut(0.5, 1)
	_, again := set.HoldOut(0.5, 1)
	_, other := set.HoldOut(0.5, 2)
	if !slices.Equal(ids(first, "a"), ids(again, "a")) || slices.Equal(ids(first, "a"), ids(other, "a")) {
		t.Error("want the same objects for a seed and others for another")
	}
	one := &Set{Train: slices.DeleteFunc(slices.Clone(set.Train), func(o Object) bool { return o.Class == "b" })}
	if _, held := one.HoldOut(0.5, 1); !slices.Equal(ids(held, "a"), ids(first, "a")) {
		t.Error("the objects of a class depend on another class")
	}
	if len(set.Train) != 29 {
		t.Error("the set itself changed")
	}
}
