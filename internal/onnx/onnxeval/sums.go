package onnxeval

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"mvag-torch/internal/onnx"
)

// matMul multiplies the matrices of the last two dimensions; those before broadcast.
func matMul(c *call) ([]Tensor, error) {
	x, y := c.in[0], c.in[1]
	m, n := len(x.Shape)-2, len(y.Shape)-2
	if m < 0 || n < 0 || x.Shape[m+1] != y.Shape[n] {
		return nil, fmt.Errorf("have %v and %v, want matrices that multiply", x.Shape, y.Shape)
	}
	batch, err := broadcast(x.Shape[:m], y.Shape[:n])
	if err != nil {
		return nil, err
	}
	rows, k, columns := x.Shape[m], x.Shape[m+1], y.Shape[n+1]
	right := expand(y.Shape[:n], batch).positions()
	out := make([]float32, 0, size(batch)*rows*columns)
	sums := make([]float64, columns)
	for b, left := range expand(x.Shape[:m], batch).positions() {
		matrix := y.Floats[right[b]*k*columns:][:k*columns]
		for row := range rows {
			clear(sums)
			for i, v := range x.Floats[(left*rows+row)*k:][:k] {
				for j, w := range matrix[int64(i)*columns:][:columns] {
					sums[j] += float64(v) * float64(w)
				}
			}
			for _, sum := range sums {
				out = append(out, float32(sum))
			}
		}
	}
	return []Tensor{Floats(out, append(batch, rows, columns)...)}, nil
}

// conv is a convolution without padding of x [B, C, H, W] by w [D, C, k, k].
func conv(c *call) ([]Tensor, error) {
	x, w := c.in[0], c.in[1]
	if len(x.Shape) != 4 || len(w.Shape) != 4 || x.Shape[1] != w.Shape[1] ||
		!slices.Equal(take(c, "kernel_shape", w.Shape[2:]), w.Shape[2:]) {
		return nil, fmt.Errorf("have %v and weight %v, want [B, C, H, W] and [D, C, k, k]", x.Shape, w.Shape)
	}
	step := take(c, "strides", []int64{1, 1})
	bias := make([]float32, w.Shape[0])
	if len(c.in) == 3 {
		copy(bias, c.in[2].Floats)
	}
	kh, kw, channels := w.Shape[2], w.Shape[3], x.Shape[1]
	height, width := (x.Shape[2]-kh)/step[0]+1, (x.Shape[3]-kw)/step[1]+1
	out := make([]float32, 0, x.Shape[0]*w.Shape[0]*height*width)
	for b := range x.Shape[0] {
		for d, first := range bias {
			for top := range height {
				for left := range width {
					sum := float64(first)
					for from := range channels * kh { // a row of the kernel
						channel, i := from/kh, from%kh
						pixels := x.Floats[((b*channels+channel)*x.Shape[2]+top*step[0]+i)*x.Shape[3]+left*step[1]:]
						for j, v := range w.Floats[(int64(d)*channels*kh+from)*kw:][:kw] {
							sum += float64(v) * float64(pixels[j])
						}
					}
					out = append(out, float32(sum))
				}
			}
		}
	}
	return []Tensor{Floats(out, x.Shape[0], w.Shape[0], height, width)}, nil
}

// reduce reduces one axis, which is an input or, for ReduceMean and ReduceMax before operator set 18, an attribute.
func reduce(c *call) ([]Tensor, error) {
	var axes []int64
	if c.op == "ReduceSum" || c.opset >= 18 {
		if len(c.in) == 2 {
			axes = c.list(1)
		}
	} else {
		axes = take(c, "axes", []int64(nil))
	}
	if len(axes) != 1 {
		return nil, fmt.Errorf("have axes %v, want one", axes)
	}
	axis, err := c.dimension(axes[0])
	if err != nil {
		return nil, err
	}
	x := c.in[0]
	outer, n, inner := around(x.Shape, axis)
	out := make([]float32, 0, outer*inner)
	for o := range outer {
		for i := range inner {
			sum, largest := 0.0, math.Inf(-1)
			for k := range n {
				v := float64(x.Floats[(o*n+k)*inner+i])
				sum, largest = sum+v, max(largest, v)
			}
			switch c.op {
			case "ReduceMean":
				sum /= float64(n)
			case "ReduceMax":
				sum = largest
			}
			out = append(out, float32(sum))
		}
	}
	shape := slices.Clone(x.Shape)
	if shape[axis] = 1; take(c, "keepdims", int64(1)) == 0 {
		shape = slices.Delete(shape, int(axis), int(axis)+1)
	}
	return []Tensor{Floats(out, shape...)}, nil
}

// topK finds the k largest or smallest elements of an axis, in order. Of equal ones the first comes first.
func topK(c *call) ([]Tensor, error) {
	axis, err := c.axis(-1)
	if err != nil {
		return nil, err
	}
	x, largest := c.in[0], take(c, "largest", int64(1)) == 1
	outer, n, inner := around(x.Shape, axis)
	if take(c, "sorted", int64(1)) != 1 || len(c.list(1)) != 1 || c.list(1)[0] < 1 || c.list(1)[0] > n {
		return nil, fmt.Errorf("have k %v of %d, want a number of elements in order", c.list(1), n)
	}
	k := c.list(1)[0]
	shape := slices.Clone(x.Shape)
	shape[axis] = k
	values, indices := make([]float32, size(shape)), make([]int64, size(shape))
	order := make([]int64, n)
	for o := range outer {
		for i := range inner {
			for at := range order {
				order[at] = int64(at)
			}
			slices.SortStableFunc(order, func(a, b int64) int {
				va, vb := x.Floats[(o*n+a)*inner+i], x.Floats[(o*n+b)*inner+i]
				if largest {
					va, vb = vb, va
				}
				return cmp.Compare(va, vb)
			})
			for at, from := range order[:k] {
				to := (o*k+int64(at))*inner + i
				values[to], indices[to] = x.Floats[(o*n+from)*inner+i], from
			}
		}
	}
	return []Tensor{Floats(values, shape...), {Type: onnx.Int64, Shape: shape, Ints: indices}}, nil
}
