package onnx_test

import "math"

func sumTests() map[string]operatorTest {
	six := up(6, 1, 2, 3)
	norm := func(b *builder, x *value) *value {
		return b.LayerNorm(x, b.Floats("weight", []float32{1, 2}, 2), b.Floats("bias", []float32{0, 10}, 2), 0.25)
	}
	at := func(axis int, keep bool, op func(b *builder, x *value, axis int, keep bool) *value) func(*builder, []*value) []*value {
		return onOne(func(b *builder, x *value) *value { return op(b, x, axis, keep) })
	}
	conv := func(bias bool, stride int64) func(*builder, []*value) []*value {
		return onOne(func(b *builder, x *value) *value {
			var add *value
			if bias {
				add = b.Floats("bias", []float32{100}, 1)
			}
			return b.Conv(x, b.Floats("weight", []float32{1, 10, 0, 1000}, 1, 1, 2, 2), add, stride)
		})
	}
	return map[string]operatorTest{
		"MatMul": {
			tensors{six, up(6, 1, 3, 2)},
			0,
			onTwo((*builder).MatMul),
			"[2, 2]",
			tensors{floats([]float32{10, 13, 28, 40}, 2, 2)},
		},
		"MatMul open": {tensors{up(6, 1, 2, 1, 3)}, 1, onOne(func(b *builder, x *value) *value {
			return b.MatMul(x, b.Floats("matrix", []float32{1, 10, 100}, 3, 1))
		}), "[objects, 1, 1]", tensors{floats([]float32{210, 543}, 2, 1, 1)}},
		"MatMul broadcast": {tensors{up(2, 1, 2, 1, 1, 1), up(6, 1, 3, 1, 2)}, 0, onTwo((*builder).MatMul), "[2, 3, 1, 2]",
			tensors{floats([]float32{0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5}, 2, 3, 1, 2)}},
		"Conv patches": {tensors{up(16, 1, 1, 1, 4, 4)}, 1, conv(true, 2), "[objects, 1, 2, 2]",
			tensors{floats([]float32{5110, 7132, 13198, 15220}, 1, 1, 2, 2)}},
		"Conv": {tensors{up(9, 1, 1, 1, 3, 3)}, 0, conv(false, 1), "[1, 1, 2, 2]",
			tensors{floats([]float32{4010, 5021, 7043, 8054}, 1, 1, 2, 2)}},
		"Conv channels": {tensors{up(8, 1, 2, 2, 2, 1)}, 0, onOne(func(b *builder, x *value) *value {
			return b.Conv(x, b.Floats("weight", []float32{1, 10, 0, 1}, 2, 2, 1, 1), nil, 1)
		}), "[2, 2, 2, 1]", tensors{floats([]float32{20, 31, 2, 3, 64, 75, 6, 7}, 2, 2, 2, 1)}},
		"LayerNorm": {
			tensors{floats([]float32{0, 0, -1, 1, 0, math.Sqrt2 * 2}, 3, 2)},
			1,
			onOne(norm),
			"[objects, 2]",
			tensors{floats([]float32{0, 10, -0.8944271910, 11.788854382, -0.9428090416, 11.885618083}, 3, 2)},
		},
		"ReduceSum": {
			tensors{six},
			1,
			at(1, true, (*builder).ReduceSum),
			"[objects, 1]",
			tensors{floats([]float32{3, 12}, 2, 1)},
		},
		"ReduceSum away": {
			tensors{six},
			1,
			at(-1, false, (*builder).ReduceSum),
			"[objects]",
			tensors{floats([]float32{3, 12}, 2)},
		},
		"ReduceMean": {
			tensors{six},
			0,
			at(0, false, (*builder).ReduceMean),
			"[3]",
			tensors{floats([]float32{1.5, 2.5, 3.5}, 3)},
		},
		"ReduceMean keep": {
			tensors{six},
			0,
			at(1, true, (*builder).ReduceMean),
			"[2, 1]",
			tensors{floats([]float32{1, 4}, 2, 1)},
		},
		"ReduceMax": {
			tensors{floats([]float32{-3, -1, -inf, -inf}, 2, 2)},
			1,
			at(1, false, (*builder).ReduceMax),
			"[objects]",
			tensors{floats([]float32{-1, -inf}, 2)},
		},
		"ReduceMax keep": {
			tensors{up(8, -1, 2, 2, 2)},
			0,
			at(1, true, (*builder).ReduceMax),
			"[2, 1, 2]",
			tensors{floats([]float32{0, -1, -4, -5}, 2, 1, 2)},
		},
		"TopK": {
			tensors{floats([]float32{1, 3, 3, 2, -1, -1, -2, -3}, 2, 4)},
			1,
			func(b *builder, x []*value) []*value { v, i := b.TopK(x[0], 2, true); return []*value{v, i} },
			"[objects, 2]",
			tensors{floats([]float32{3, 3, -1, -1}, 2, 2), ints([]int64{1, 2, 0, 1}, 2, 2)},
		},
		"TopK smallest": {
			tensors{floats([]float32{1, 3, 0, 0}, 4)},
			0,
			func(b *builder, x []*value) []*value { v, i := b.TopK(x[0], 3, false); return []*value{v, i} },
			"[3]",
			tensors{floats([]float32{0, 0, 1}, 3), ints([]int64{2, 3, 0}, 3)},
		},
		"TopK only indices": {
			tensors{up(3, 1, 3)},
			0,
			onOne(func(b *builder, x *value) *value { _, i := b.TopK(x, 1, true); return i }),
			"[1]",
			tensors{ints([]int64{2}, 1)},
		},
	}
}
