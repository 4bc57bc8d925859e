package onnx

import (
	"fmt"
	"slices"
	"strings"
)

// Dim is a dimension of a value: N, or N times the number of objects, which is open until the model runs.
type Dim struct {
	N       int64
	Objects bool
}

// Objects is n times the number of objects.
func Objects(n int64) Dim { return Dim{n, true} }

// Shape is the dimensions of a value. A scalar has none.
type Shape []Dim

// Fixed is a shape without open dimensions.
func Fixed(dims ...int64) Shape {
	s := make(Shape, len(dims))
	for i, n := range dims {
		s[i].N = n
	}
	return s
}

// String is the name of an open dimension in a model file, or the number of a fixed one.
func (d Dim) String() string {
	switch {
	case !d.Objects:
		return fmt.Sprint(d.N)
	case d.N == 1:
		return "objects"
	}
	return fmt.Sprintf("%d*objects", d.N)
}

// String is the shape as "[objects, 5, 3, 224, 224]".
func (s Shape) String() string {
	parts := make([]string, len(s))
	for i, d := range s {
		parts[i] = d.String()
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// check reports a dimension that no value has.
func (s Shape) check() error {
	if len(s) > maxRank || slices.ContainsFunc(s, func(d Dim) bool { return d.N < 1 }) {
		return fmt.Errorf("have shape %v, want up to %d dimensions of 1 and more", s, maxRank)
	}
	return nil
}

// elements is the number of elements, as a Dim; not ok where it is a square of the number of objects.
func (s Shape) elements() (n Dim, ok bool) {
	n = Dim{1, false}
	for _, d := range s {
		if d.Objects && n.Objects {
			return n, false
		}
		n = Dim{n.N * d.N, n.Objects || d.Objects}
	}
	return n, true
}

// broadcast is the shape of an elementwise operation on two values, as NumPy's.
func broadcast(a, b Shape) (Shape, error) {
	long, short := a, b
	if len(b) > len(a) {
		long, short = b, a
	}
	out := slices.Clone(long)
	for i, d := range short {
		at := len(out) - len(short) + i
		switch one := (Dim{1, false}); {
		case out[at] == one:
			out[at] = d
		case d != one && d != out[at]:
			return nil, fmt.Errorf("have shapes %v and %v, want those that broadcast", a, b)
		}
	}
	return out, nil
}

// axis is the index of a dimension, where a negative one counts from the last.
func (s Shape) axis(i int) (int, error) {
	at := i
	if i < 0 {
		at += len(s)
	}
	if at < 0 || at >= len(s) {
		return 0, fmt.Errorf("have axis %d of %v, want one that it has", i, s)
	}
	return at, nil
}

// with is the shape with another dimension at an index.
func (s Shape) with(at int, d Dim) Shape {
	out := slices.Clone(s)
	out[at] = d
	return out
}

// Dim is a dimension of v, counted from the last where i is negative. Of what came after a fault it is 0.
func (v *Value) Dim(i int) Dim {
	at, err := v.Shape.axis(i)
	if err != nil {
		return Dim{}
	}
	return v.Shape[at]
}
