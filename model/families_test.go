package model_test

import (
	"fmt"
	"math/bits"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"mvag-torch/internal/golden"
	"mvag-torch/internal/safetensors"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/modeltest"
	"mvag-torch/model/weights"
)

// The values expected below are timm's, computed in float64 by third_party/record_traces.py.

const familiesDir = "testdata/families"

func TestFamiliesAgainstTimm(t *testing.T) {
	trace, err := safetensors.Open(filepath.Join(familiesDir, "families.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer trace.Close()
	for name, arch := range modeltest.Families() {
		t.Run(name, func(t *testing.T) {
			backbone, _, err := model.LoadBackbone(filepath.Join(familiesDir, name+".pth"), "")
			if err != nil {
				t.Fatal(err)
			}
			for _, size := range [][2]int{{16, 16}, {12, 20}} {
				key := fmt.Sprintf("%s.%d.%d", name, size[0], size[1])
				input, err := trace.Float32(key)
				if err != nil {
					t.Fatal(err)
				}
				compareBlocks(t, trace, key, arch, backbone, []int{0, 1}, size, input)
			}
		})
	}
}

// TestFullSizeAgainstTimm runs models of full size whose weights both sides compute: fill and weight of the script are
// fill and hashedWeights here.
func TestFullSizeAgainstTimm(t *testing.T) {
	trace, err := safetensors.Open(filepath.Join(familiesDir, "families.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer trace.Close()
	for _, name := range []string{"vit_small_patch14_reg4_dinov2", "vit_small_patch16_dinov3"} {
		t.Run(name, func(t *testing.T) {
			arch, err := weights.ParseArch(name)
			if err != nil {
				t.Fatal(err)
			}
			backbone := hashedWeights(arch)
			for _, grid := range [][2]int{{4, 4}, {3, 5}} {
				size := [2]int{grid[0] * arch.Patch, grid[1] * arch.Patch}
				key := fmt.Sprintf("%s.%d.%d", name, size[0], size[1])
				compareBlocks(t, trace, key, arch, backbone, []int{9}, size, fill("picture", 3*size[0]*size[1]))
			}
		})
	}
}

// compareBlocks compares the outputs of blocks with the trace.
func compareBlocks(t *testing.T, trace *safetensors.File, key string, arch weights.Arch, backbone weights.Map, blocks []int, size [2]int, input []float32) {
	t.Helper()
	err := tensor.Run(func(s *tensor.Scope) error {
		kernels := tensor.ChooseKernels(tensor.CPU, tensor.Float, tensor.ModelShape{})
		e, err := model.NewEncoder(s, tensor.CPU, arch, backbone, blocks, size[0], size[1], &kernels)
		if err != nil {
			return err
		}
		for i, x := range e.Forward(s, tensor.FromFloats(s, tensor.CPU, input, 1, 3, int64(size[0]), int64(size[1]))) {
			name := key + "." + strconv.Itoa(blocks[i])
			want, err := trace.Float32(name)
			if err != nil {
				return err
			}
			got := x.Floats()
			largest := golden.MaxDiff(want, make([]float32, len(want)))
			t.Logf("%s: largest difference %.2g of values up to %.3g", name, golden.MaxDiff(got, want), largest)
			// The rounding of float32 grows with the largest value in a sum: CLIP's reach 15, and two implementations that
			// add in different orders (AVX-512 or not) differ by 1.1e-5 in elements near 0.
			if err := golden.Compare(got, want, max(1e-5, 2e-6*largest), 1e-5); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// hashedWeights fills blocks 0 to 9 and a position table of 37 x 37 patches.
func hashedWeights(arch weights.Arch) weights.Map {
	m := arch.Random(9, 37, 1)
	if _, ok := m["pos_embed"]; ok { // registers: no entry for the class token
		m["pos_embed"] = weights.Tensor{Shape: []int64{1, 37 * 37, int64(arch.Dim)}, Data: make([]float32, 37*37*arch.Dim)}
	}
	for name, t := range m {
		data := fill(name, len(t.Data))
		scale, offset := float32(0.25), float32(0)
		switch {
		case strings.HasSuffix(name, ".gamma"), strings.Contains(name, "norm") && strings.HasSuffix(name, ".weight"):
			offset = 1
		case strings.HasSuffix(name, ".weight"):
			inputs := len(t.Data) / int(t.Shape[0])
			scale = 1 / float32(int(1)<<(bits.Len(uint(inputs))/2))
		}
		for i := range data {
			data[i] = offset + data[i]*scale
		}
		if arch.Family == weights.DINOv3 && strings.HasSuffix(name, "qkv.bias") {
			delete(m, name) // the variant without
			continue
		}
		m[name] = weights.Tensor{Shape: t.Shape, Data: data}
	}
	return m
}

// fill returns n values in [-1, 1) that depend on name and position alone.
func fill(name string, n int) []float32 {
	seed := uint32(2166136261)
	for _, b := range []byte(name) {
		seed = (seed ^ uint32(b)) * 16777619
	}
	data := make([]float32, n)
	for i := range data {
		x := uint32(i) + seed
		x = (x ^ x>>16) * 0x7feb352d
		x = (x ^ x>>15) * 0x846ca68b
		x ^= x >> 16
		data[i] = float32(x>>8)/(1<<23) - 1
	}
	return data
}
