package tensor

import (
	"math"
	"testing"

	"mvag-torch/internal/golden"
)

// The sizes of the trace mva64: S objects of V views, N tokens of C channels in H heads of 64.
const (
	traceObjects, traceViews, traceTokens = 2, 5, 28
	traceChannels, traceHeads             = 128, 2
	tracePrefix, traceGrid                = 3, 5 // class token and registers, then the patches
)

// traceCase is a case of the trace and what is allowed of the norm of each result. Tokens are selected by a similarity
// that bfloat16 rounds, so that one at the limit may be taken for another.
type traceCase struct {
	name    string
	selects string
	views   int64
	absent  bool // object 1 lacks views 1 and 3
	near    int64
	limit   float64
}

var traceCases = []traceCase{
	{"all", "all", traceViews, false, 0, 0.01},
	{"lowest", "lowest", traceViews, false, 0, 0.12},
	{"highest", "highest", traceViews, false, 0, 0.12},
	{"missing", "lowest", traceViews, true, 0, 0.12},
	{"near3", "lowest", traceViews, false, 3, 0.06},
	{"single", "all", 1, false, 0, 0.01},
}

// TestAttentionTraceOnCUDA holds the fused attention, in bfloat16, to an independent float64 run: output and gradients of
// six cases. Where there is no GPU (make dry-cuda) our kernels alone compute: matmuls are those of the CPU, and the
// gradients that LibTorch sums, of view_logits and gate, are left out.
func TestAttentionTraceOnCUDA(t *testing.T) {
	gpu := beside(t)
	trace := golden.Open(t, "mva64")
	for _, c := range traceCases {
		c.run(t, trace, gpu != "stub")
	}
}

func (c traceCase) run(t *testing.T, trace *golden.Trace, computes bool) {
	t.Helper()
	must(t, func(s *Scope) {
		r := traceRun{s: s, c: c, trace: trace}
		have := r.results(computes)
		for name, x := range have {
			want, _ := trace.Tensor(c.name + "." + name)
			limit := c.limit
			if off := r.distance(x, want); !(off <= limit) {
				t.Errorf("%s: %s is %.4f of its norm off, want at most %v", c.name, name, off, limit)
			}
		}
	})
}

// traceRun is one case: matmuls and their gradients on the CPU, attention by kernels.
type traceRun struct {
	s     *Scope
	c     traceCase
	trace *golden.Trace
}

// bf16 is a tensor of the trace as bfloat16, in which it is exact.
func (r *traceRun) bf16(name string) *Tensor {
	values, shape := r.trace.Tensor(name)
	return FromFloats(r.s, CPU, values, shape...).To(r.s, BFloat16)
}

// to copies x to another device.
func (r *traceRun) to(d Device, x *Tensor) *Tensor {
	return FromBytes(r.s, d, x.DType(), x.Bytes(), x.Shape()...)
}

func (r *traceRun) float(x *Tensor) *Tensor { return x.To(r.s, Float) }

// present says whether view v of object o is there.
func (r *traceRun) present(o, v int64) bool { return !r.c.absent || o == 0 || v%2 == 0 }

// weights are softmax(view_logits) over the views that are there [S, V, V], from logits that require a gradient.
func (r *traceRun) weights(logits *Tensor) *Tensor {
	v := r.c.views
	slots, mask, keep := []int64{}, []byte{}, []float32{}
	for o := range int64(traceObjects) {
		for j := range v {
			for i := range v {
				slot := i
				if i > j {
					slot--
				}
				slots = append(slots, min(slot, v-2))
				ok := i != j && r.present(o, i) && r.present(o, j)
				mask, keep = append(mask, byte(toInt(!ok))), append(keep, float32(toInt(ok)))
			}
		}
	}
	s := r.s
	x := logits.IndexSelect(s, 0, FromInts(s, CPU, slots, int64(len(slots)))).Reshape(s, traceObjects, v, v)
	x = x.MaskedFill(s, FromBytes(s, CPU, Bool, mask, traceObjects, v, v), -1e30)
	return x.Softmax(s, -1).Mul(s, FromFloats(s, CPU, keep, traceObjects, v, v))
}

// near is attention within views with the neighbours masked, which has no kernel: on the CPU, in float32.
func (r *traceRun) near(qkv, bias *Tensor) *Tensor {
	s := r.s
	q, k, v := r.float(qkv).SplitLinearHeads(s, bias, 1, traceHeads, true)
	n := int64(traceTokens)
	mask := make([]byte, n*n)
	for a := range int64(traceGrid * traceGrid) {
		for b := range int64(traceGrid * traceGrid) {
			row, column := a/traceGrid-b/traceGrid, a%traceGrid-b%traceGrid
			reach := (r.c.near - 1) / 2
			mask[(tracePrefix+a)*n+tracePrefix+b] = byte(toInt(max(row, -row) <= reach && max(column, -column) <= reach))
		}
	}
	pairs := q.Matmul(s, k.Transpose(s, -2, -1)).MaskedFill(s, FromBytes(s, CPU, Bool, mask, n, n), 0)
	return pairs.Matmul(s, v).MergeLinearHeads(s, 1e-6, true)
}

// results are out and its gradients by their names in the trace.
func (r *traceRun) results(computes bool) map[string][]float32 {
	s, c := r.s, r.c
	x, up := r.rows(r.bf16("x")).RequireGrad(), r.rows(r.bf16("up"))
	qkvWeight, qkvBias := r.bf16("weight.qkv.weight").RequireGrad(), r.float(r.bf16("weight.qkv.bias"))
	projWeight, projBias := r.bf16("weight.proj.weight").RequireGrad(), r.bf16("weight.proj.bias").RequireGrad()
	biases := []*Tensor{r.to(0, qkvBias).RequireGrad(), r.to(0, qkvBias).RequireGrad()} // of the two steps
	one := r.to(0, FromFloats(s, CPU, []float32{1}, 1, 1, 1))

	// First step. Each tensor that a kernel reads is a leaf on the device; its gradient goes back to the CPU's graph.
	qkv := x.Linear(s, qkvWeight, nil)
	qkv0 := r.to(0, qkv.Detach(s)).RequireGrad()
	var y, yHost *Tensor // on the device; on the CPU, a leaf
	if c.near == 0 {
		y = qkv0.LinearAttention(s, biases[0], one, nil, nil, LinearAttentionOptions{Select: "all", Eps: 1e-6})
		yHost = r.to(CPU, y.Detach(s)).RequireGrad()
	} else {
		biases[0] = qkvBias.RequireGrad()
		y = r.near(qkv, biases[0]).To(s, BFloat16)
		yHost = y.Detach(s).RequireGrad()
	}
	out, outHost := y, yHost
	var logits, gate, weights, factor, base, qkv1, second, rest *Tensor
	if c.views > 1 {
		second = yHost.Linear(s, qkvWeight, nil)
		qkv1 = r.to(0, second.Detach(s)).RequireGrad()
		logits = r.float(r.bf16("weight.view_logits")).RequireGrad()
		gate = r.float(r.bf16("weight.gate")).RequireGrad()
		rest = gate.Neg(s).Sigmoid(s)
		weights, factor = r.to(0, r.weights(logits).Detach(s)).RequireGrad(), r.to(0, rest.Detach(s)).RequireGrad()
		base = r.to(0, yHost.Detach(s)).RequireGrad()
		count := int64(math.Floor(0.3 * traceTokens))
		out = qkv1.LinearAttention(s, biases[1], weights, base, factor, LinearAttentionOptions{Select: c.selects, Count: count, Eps: 1e-6})
		outHost = r.to(CPU, out.Detach(s)).RequireGrad()
	}
	result := outHost.Linear(s, projWeight, projBias)

	result.BackwardFrom(up)
	gradOfY := outHost.Grad(s)
	if c.views > 1 {
		out.BackwardFrom(r.to(0, outHost.Grad(s)))
		second.BackwardFrom(r.to(CPU, qkv1.Grad(s))) // adds to the gradient of yHost
		gradOfY = yHost.Grad(s).Add(s, r.to(CPU, base.Grad(s)))
		if computes {
			r.weights(logits).BackwardFrom(r.to(CPU, weights.Grad(s)))
			rest.BackwardFrom(r.to(CPU, factor.Grad(s)))
		}
	}
	if c.near == 0 {
		y.BackwardFrom(r.to(0, gradOfY))
		qkv.BackwardFrom(r.to(CPU, qkv0.Grad(s)))
	} else {
		y.BackwardFrom(gradOfY)
	}
	return r.named(computes, map[string]*Tensor{"out": result, "grad.x": x.Grad(s), "grad.qkv.weight": qkvWeight.Grad(s),
		"grad.proj.weight": projWeight.Grad(s), "grad.proj.bias": projBias.Grad(s)}, biases, logits, gate)
}

// named turns results to values. The two steps share one bias; their gradients are added here.
func (r *traceRun) named(computes bool, of map[string]*Tensor, biases []*Tensor, logits, gate *Tensor) map[string][]float32 {
	s := r.s
	out := map[string][]float32{}
	for name, x := range of {
		out[name] = r.float(x.Detach(s)).Floats()
	}
	sum := biases[0].Grad(s).Floats()
	if r.c.views > 1 {
		for i, v := range biases[1].Grad(s).Floats() {
			sum[i] += v
		}
		if computes {
			out["grad.view_logits"], out["grad.gate"] = logits.Grad(s).Floats(), gate.Grad(s).Floats()
		}
	}
	out["grad.qkv.bias"] = sum
	return out
}

// rows is x with the rows of absent images zero.
func (r *traceRun) rows(x *Tensor) *Tensor {
	mask := make([]float32, traceObjects*traceViews)
	for i := range mask {
		mask[i] = float32(toInt(r.present(int64(i)/traceViews, int64(i)%traceViews)))
	}
	return x.Mul(r.s, FromFloats(r.s, CPU, mask, int64(len(mask)), 1, 1)).To(r.s, BFloat16)
}

// distance is the norm of have - want by that of want; rows of absent images are not counted.
func (r *traceRun) distance(have, want []float32) float64 {
	if len(have) != len(want) {
		return math.Inf(1)
	}
	const row = traceTokens * traceChannels
	var off, norm float64
	for i := range want {
		if n := int64(i / row); len(want) == traceObjects*traceViews*row && !r.present(n/traceViews, n%traceViews) {
			continue
		}
		off += math.Pow(float64(have[i]-want[i]), 2)
		norm += math.Pow(float64(want[i]), 2)
	}
	return math.Sqrt(off / norm)
}
