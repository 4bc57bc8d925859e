package tensor

import (
	"strings"
	"testing"
)

// TestOperationsRefuseTensorsThatDoNotFit gives every operation that reads memory by pointer one tensor of another
// type, shape or layout. The last demand of kernels is a CUDA device, which the CPU is not.
func TestOperationsRefuseTensorsThatDoNotFit(t *testing.T) {
	refusals(t, CPU, "have the CPU, want a CUDA device")
}

// TestOperationsRefuseOnCUDA has besides one tensor on another device.
func TestOperationsRefuseOnCUDA(t *testing.T) {
	beside(t)
	refusals(t, 0, "")
}

// An operation of a test takes its tensors by number.
type operation struct {
	name    string
	kernels bool      // it has none but kernels
	of      []operand // what it takes
	call    func(s *Scope, of []*Tensor)
}

type operand struct {
	name  string
	dtype DType
	shape []int64
	free  bool // its last size may be any
}

func operations() []operation {
	free := func(x operand) operand { x.free = true; return x }
	x := func(name string, dtype DType, shape ...int64) operand {
		return operand{name: name, dtype: dtype, shape: shape}
	}
	opt := LinearAttentionOptions{Select: "lowest", Count: 2, Eps: 1e-6}
	return []operation{
		{"attend", true, []operand{x("qkv", BFloat16, 6, 5, 3*128), x("bias", Float, 3*128), x("weights", Float, 2, 3, 3), x("base", BFloat16, 6, 5, 128), x("factor", Float)},
			func(s *Scope, of []*Tensor) { of[0].LinearAttention(s, of[1], of[2], of[3], of[4], opt) }},
		{"add_norm", true, []operand{x("x", Float, 2, 3, 256), x("y", BFloat16, 2, 3, 256), x("bias", Float, 256), x("gamma", Float, 256), x("beta", Float, 256)},
			func(s *Scope, of []*Tensor) { of[0].AddNorm(s, of[1], of[2], of[3], of[4], 1e-6) }},
		{"linear_bfloat16", true, []operand{x("x", BFloat16, 3, 16), x("weight", Float, 8, 16), x("bias", Float, 8)},
			func(s *Scope, of []*Tensor) { of[0].LinearBFloat16(s, of[1], of[2], false) }},
		{"patches", true, []operand{x("pixels", Uint8, 2, 3, 28, 42), x("mean", Float, 3), x("std", Float, 3)},
			func(s *Scope, of []*Tensor) { of[0].Patches(s, of[1], of[2], 14, true) }},
		{"place_patches", true, []operand{x("x", BFloat16, 12, 8), x("table", Float, 7, 8)},
			func(s *Scope, of []*Tensor) { of[0].PlacePatches(s, of[1], 2, true) }},
		{"means", true, []operand{x("member", Float, 2, 3, 4), x("member", Float, 2, 3, 4)},
			func(s *Scope, of []*Tensor) { Means(s, true, of, []int{0, 1}, []int{1}) }},
		{"group_losses", true, []operand{x("target", Float, 2, 5, 8), x("member", Float, 2, 6, 8), x("member", Float, 2, 6, 8)},
			func(s *Scope, of []*Tensor) { GroupLosses(s, of[0], of[1:], 3, 0.1, 2, nil) }},
		{"split_linear_heads", false, []operand{x("qkv", Float, 6, 5, 3*16), x("bias", Float, 3*16)},
			func(s *Scope, of []*Tensor) { of[0].SplitLinearHeads(s, of[1], 3, 2, true) }},
		{"merge_linear_heads", false, []operand{free(x("sums", Float, 2, 2, 3, 5, 9))},
			func(s *Scope, of []*Tensor) { of[0].MergeLinearHeads(s, 1, true) }},
		{"spread", false, []operand{free(x("q", Float, 2, 5, 9)), free(x("scale", Float, 2, 5, 3))},
			func(s *Scope, of []*Tensor) { of[0].Spread(s, of[1], true) }},
		{"stable_adamw", false, []operand{x("parameter", Float, 4, 6), x("m", Float, 4, 6), x("v", Float, 4, 6), x("vmax", Float, 4, 6), x("rates", Float, 3), x("loss", Float)},
			func(s *Scope, of []*Tensor) {
				p := of[0].Detach(s).RequireGrad()
				p.Sum(s, false, 0, 1).Backward()
				StableAdamW(s, []*Tensor{p}, of[1:2], of[2:3], of[3:4], of[4], of[5], AdamW{Beta1: 0.9, Beta2: 0.999, Eps: 1e-10, Clip: 1, Fused: true})
			}},
	}
}

func refusals(t *testing.T, d Device, last string) {
	for _, op := range operations() {
		call := func(change func(s *Scope, of []*Tensor)) (text string) {
			err := Run(func(s *Scope) error {
				of := make([]*Tensor, len(op.of))
				for i, x := range op.of {
					of[i] = Full(s, d, x.dtype, 1, x.shape...)
				}
				change(s, of)
				op.call(s, of)
				return nil
			})
			if err != nil {
				text = err.Error()
			}
			return text
		}
		want := ""
		if op.kernels {
			want = last
		}
		if have := call(func(*Scope, []*Tensor) {}); (have == "") != (want == "") || !strings.Contains(have, want) {
			t.Errorf("%s: have %q, want %q", op.name, have, want)
		}
		for i, x := range op.of {
			refused := func(kind, want string, change func(s *Scope, of []*Tensor)) {
				t.Helper()
				if have := call(change); !strings.Contains(have, want) || !strings.Contains(have, "want ") || want == "" && strings.Contains(have, last) && last != "" {
					t.Errorf("%s: %s of another %s: have %q", op.name, x.name, kind, have)
				}
			}
			refused("type", x.name+": have float64", func(s *Scope, of []*Tensor) { of[i] = of[i].To(s, Double) })
			if len(x.shape) == 0 {
				continue
			}
			if !x.free {
				refused("shape", "", func(s *Scope, of []*Tensor) {
					shape := append([]int64{}, x.shape...)
					shape[len(shape)-1]++
					of[i] = Full(s, d, x.dtype, 1, shape...)
				})
			}
			refused("layout", x.name+": have strides", func(s *Scope, of []*Tensor) {
				shape := append([]int64{}, x.shape...)
				shape[len(shape)-1] *= 2
				wide := Full(s, d, x.dtype, 1, append(shape, 1)...)
				wide = wide.Reshape(s, append(append([]int64{}, x.shape...), 2)...)
				of[i] = wide.Select(s, int64(len(x.shape)), 0) // every other element
			})
			if d != CPU && len(op.of) > 1 {
				refused("device", "", func(s *Scope, of []*Tensor) { of[i] = Full(s, CPU, x.dtype, 1, x.shape...) })
			}
		}
	}
}
