package model_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/internal/safetensors"
	"mvag-torch/internal/testenv"
	"mvag-torch/model"
	"mvag-torch/model/weights"
)

// TestFamiliesAgainstPython has timm itself compute, in float64, what the encoder computes: a model of full size of
// each family with random weights at two sizes, one not square.
func TestFamiliesAgainstPython(t *testing.T) {
	python := testenv.Python(t)
	for name, sizes := range map[string][][2]int{
		"vit_base_patch14_reg4_dinov2":        {{392, 392}, {112, 168}},
		"vit_small_patch14_dinov2":            {{224, 224}, {112, 168}},
		"vit_small_patch16_dinov3_qkvb":       {{224, 224}, {112, 160}},
		"vit_tiny_patch16_224":                {{224, 224}, {112, 160}},
		"vit_base_patch32_clip_quickgelu_224": {{224, 224}, {160, 96}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, args := t.TempDir(), []string(nil)
			for _, size := range sizes {
				args = append(args, fmt.Sprintf("%dx%d", size[0], size[1]))
			}
			trace := parity(t, python, name, dir, args...)
			arch, err := weights.ParseArch(name)
			if err != nil {
				t.Fatal(err)
			}
			backbone, _, err := model.LoadBackbone(filepath.Join(dir, "weights.safetensors"), "")
			if err != nil {
				t.Fatal(err)
			}
			for i, size := range sizes {
				input, err := trace.Float32(args[i])
				if err != nil {
					t.Fatal(err)
				}
				compareBlocks(t, trace, args[i], arch, backbone, []int{9}, size, input)
			}
		})
	}
}

// TestModulesAgainstPython exports models that the program does not know, and runs them.
func TestModulesAgainstPython(t *testing.T) {
	python := testenv.Python(t)
	for name, modules := range map[string]string{
		"test_convnext": "stages.2.blocks.0,stages.2.blocks.1",
		"test_vit3":     "2,3,4",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			trace := parity(t, python, name+":"+modules, dir, "96x96")
			arch, err := weights.OfConfig(configs.Backbone{Mode: "module", Name: name, Weights: filepath.Join(dir, "module.pt")})
			if err != nil {
				t.Fatal(err)
			}
			input, err := trace.Float32("96x96")
			if err != nil {
				t.Fatal(err)
			}
			compareBlocks(t, trace, "96x96", arch, nil, arch.DefaultLayers(), [2]int{96, 96}, input)
		})
	}
}

// parity runs third_party/parity.py, which leaves weights in dir.
func parity(t *testing.T, python, name, dir string, sizes ...string) *safetensors.File {
	t.Helper()
	out, err := exec.Command(python, append([]string{"../third_party/parity.py", name, dir}, sizes...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	trace, err := safetensors.Open(filepath.Join(dir, "trace.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { trace.Close() })
	return trace
}
