package metric

import (
	"math"
	"testing"
)

func TestKeysKeepTheOrder(t *testing.T) {
	ordered := []float32{-inf, -math.MaxFloat32, -1, -math.SmallestNonzeroFloat32, 0,
		math.SmallestNonzeroFloat32, 1, math.MaxFloat32, inf}
	for i, v := range ordered {
		if have := value(key(v)); have != v {
			t.Errorf("value(key(%v)) = %v", v, have)
		}
		if i > 0 && key(ordered[i-1]) >= key(v) {
			t.Errorf("key(%v) >= key(%v)", ordered[i-1], v)
		}
	}
	if key(minus0) != key(0) {
		t.Error("key(-0) != key(0)")
	}
}

func TestSumKeepsSmallTerms(t *testing.T) {
	for _, terms := range [][]float64{{1, 1e100, 1, -1e100}, {1e16, 1, 1, -1e16}} {
		var s sum
		for _, x := range terms {
			s.add(x)
		}
		if s.value() != 2 {
			t.Errorf("%v: have %v, want 2", terms, s.value())
		}
	}
}
