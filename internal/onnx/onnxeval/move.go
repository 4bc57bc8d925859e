package onnxeval

import (
	"fmt"
	"slices"
)

func identity(c *call) ([]Tensor, error) { return c.in, nil }

func shapeOf(c *call) ([]Tensor, error) {
	return []Tensor{Ints(slices.Clone(c.in[0].Shape), int64(len(c.in[0].Shape)))}, nil
}

// expandTo broadcasts the first input to the shape in the second.
func expandTo(c *call) ([]Tensor, error) {
	shape, err := broadcast(c.in[0].Shape, c.list(1))
	if err != nil {
		return nil, err
	}
	return []Tensor{c.in[0].pick(expand(c.in[0].Shape, shape).positions(), shape)}, nil
}

// reshape gives the first input the shape in the second, where -1 stands for what is left over.
func reshape(c *call) ([]Tensor, error) {
	x, shape, n := c.in[0], slices.Clone(c.list(1)), int64(1)
	for _, d := range shape {
		if d > 0 {
			n *= d
		}
	}
	for i, d := range shape {
		if d == -1 {
			shape[i] = x.len() / n
			n = x.len()
		}
	}
	if size(shape) != x.len() {
		return nil, fmt.Errorf("have %v, want as many elements as %v", x.Shape, c.list(1))
	}
	x.Shape = shape
	return []Tensor{x}, nil
}

func transpose(c *call) ([]Tensor, error) {
	x, perm := c.in[0], take(c, "perm", []int64(nil))
	if len(perm) != len(x.Shape) {
		return nil, fmt.Errorf("have perm %v for %v, want each axis", perm, x.Shape)
	}
	v := view{make([]int64, len(perm)), make([]int64, len(perm)), 0}
	for i, stride := range perm {
		v.shape[i], v.strides[i] = x.Shape[stride], strides(x.Shape)[stride]
	}
	return []Tensor{x.pick(v.positions(), v.shape)}, nil
}

// cut returns n elements of an axis, from one on.
func (t Tensor) cut(axis, from, n int64) (Tensor, error) {
	if from < 0 || n < 1 || from+n > t.Shape[axis] {
		return t, fmt.Errorf("have %d elements from %d on of axis %d of %v, want fewer", n, from, axis, t.Shape)
	}
	v := view{slices.Clone(t.Shape), strides(t.Shape), from * strides(t.Shape)[axis]}
	v.shape[axis] = n
	return t.pick(v.positions(), v.shape), nil
}

// slice has one start, one end and one axis.
func slice(c *call) ([]Tensor, error) {
	start, end, axes := c.list(1), c.list(2), c.list(3)
	if len(start) != 1 || len(end) != 1 || len(axes) != 1 {
		return nil, fmt.Errorf("have starts %v, ends %v and axes %v, want one of each", start, end, axes)
	}
	axis, err := c.dimension(axes[0])
	if err != nil {
		return nil, err
	}
	out, err := c.in[0].cut(axis, start[0], end[0]-start[0])
	return []Tensor{out}, err
}

// split cuts the first input into parts of the lengths in the second.
func split(c *call) (out []Tensor, err error) {
	axis, err := c.axis(0)
	if err != nil {
		return nil, err
	}
	from := int64(0)
	for _, n := range c.list(1) {
		part, err := c.in[0].cut(axis, from, n)
		if err != nil {
			return nil, err
		}
		out, from = append(out, part), from+n
	}
	if from != c.in[0].Shape[axis] {
		return nil, fmt.Errorf("have parts %v of %v, want all of axis %d", c.list(1), c.in[0].Shape, axis)
	}
	return out, nil
}

func concat(c *call) ([]Tensor, error) {
	axis, err := c.axis(0)
	if err != nil {
		return nil, err
	}
	out := Tensor{Type: c.in[0].Type, Shape: slices.Clone(c.in[0].Shape)}
	out.Shape[axis] = 0
	for _, x := range c.in {
		if x.Type != out.Type || len(x.Shape) != len(out.Shape) {
			return nil, fmt.Errorf("have %s %v, want %s %v but for axis %d", x.Type, x.Shape, out.Type, c.in[0].Shape, axis)
		}
		out.Shape[axis] += x.Shape[axis]
	}
	for o := range size(out.Shape[:axis]) {
		for _, x := range c.in {
			n := size(x.Shape[axis:])
			if x.real() {
				out.Floats = append(out.Floats, x.Floats[o*n:][:n]...)
			} else {
				out.Ints = append(out.Ints, x.Ints[o*n:][:n]...)
			}
		}
	}
	return []Tensor{out}, nil
}

// gather takes the elements of an axis that the second input names. A negative index counts from the last.
func gather(c *call) ([]Tensor, error) {
	axis, err := c.axis(0)
	if err != nil {
		return nil, err
	}
	x, indices := c.in[0], c.in[1]
	outer, n, inner := around(x.Shape, axis)
	var positions []int64
	for o := range outer {
		for _, index := range indices.Ints {
			if index < -n || index >= n {
				return nil, fmt.Errorf("have index %d of %d, want one that is there", index, n)
			}
			for i := range inner {
				positions = append(positions, (o*n+(index+n)%n)*inner+i)
			}
		}
	}
	return []Tensor{x.pick(positions, slices.Concat(x.Shape[:axis], indices.Shape, x.Shape[axis+1:]))}, nil
}

// scatter is the first input with the elements of the third where the second says, along an axis.
func scatter(c *call) ([]Tensor, error) {
	axis, err := c.axis(0)
	if err != nil {
		return nil, err
	}
	x, indices, updates := c.in[0], c.in[1], c.in[2]
	if axis != int64(len(x.Shape))-1 || !slices.Equal(indices.Shape, updates.Shape) ||
		len(indices.Shape) != len(x.Shape) || !slices.Equal(indices.Shape[:axis], x.Shape[:axis]) {
		return nil, fmt.Errorf("have %v, indices %v and updates %v, want them equal but for the last axis of the first",
			x.Shape, indices.Shape, updates.Shape)
	}
	out := x.pick(expand(x.Shape, x.Shape).positions(), x.Shape)
	n, k := x.Shape[axis], indices.Shape[axis]
	for i, index := range indices.Ints {
		if index < 0 || index >= n {
			return nil, fmt.Errorf("have index %d of %d, want one that is there", index, n)
		}
		if at := int64(i)/k*n + index; x.real() {
			out.Floats[at] = updates.Floats[i]
		} else {
			out.Ints[at] = updates.Ints[i]
		}
	}
	return []Tensor{out}, nil
}
