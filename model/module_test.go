package model_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/internal/golden"
	"mvag-torch/internal/safetensors"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/modeltest"
	"mvag-torch/model/weights"
)

// module is the archive that third_party/record_traces.py wrote, beside what timm computes with the same weights in
// float64.
const module = familiesDir + "/module.pt"

func moduleArch(t *testing.T) weights.Arch {
	t.Helper()
	arch, err := weights.OfConfig(configs.Backbone{Mode: "module", Name: "small_dinov2_reg4", Weights: module})
	if err != nil {
		t.Fatal(err)
	}
	return arch
}

// TestModuleAgainstTimm runs the archive, and reads its weights for the encoder that the program computes: both give
// what timm gives.
func TestModuleAgainstTimm(t *testing.T) {
	trace, err := safetensors.Open(familiesDir + "/module.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer trace.Close()
	input, err := trace.Float32("input")
	if err != nil {
		t.Fatal(err)
	}
	run := moduleArch(t)
	for name, arch := range map[string]weights.Arch{"module": run, "native": modeltest.Families()["dinov2_reg4"]} {
		t.Run(name, func(t *testing.T) {
			backbone, _, err := model.LoadBackbone(module, "")
			if err != nil {
				t.Fatal(err)
			}
			err = tensor.Run(func(s *tensor.Scope) error {
				kernels := tensor.ChooseKernels(tensor.CPU, tensor.Float, tensor.ModelShape{})
				e, err := model.NewEncoder(s, tensor.CPU, arch, backbone, []int{0, 1}, 16, 16, &kernels)
				if err != nil {
					return err
				}
				x := tensor.FromFloats(s, tensor.CPU, input, 2, 3, 16, 16)
				again := e.Forward(s, x)
				for i, y := range e.Forward(s, x) {
					want, err := trace.Float32(strconv.Itoa(i))
					if err != nil {
						return err
					}
					t.Logf("layer %d: largest difference %.2g", i, golden.MaxDiff(y.Floats(), want))
					if err := golden.Compare(y.Floats(), want, 1e-5, 1e-5); err != nil {
						t.Errorf("layer %d: %v", i, err)
					}
					if d := golden.MaxDiff(y.Floats(), again[i].Floats()); d != 0 {
						t.Errorf("layer %d: have another result in the second call, by %v", i, d)
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestModuleInTheModel takes the archive through the configuration to features and maps, and frees it.
func TestModuleInTheModel(t *testing.T) {
	cfg := configs.Default()
	cfg.Backbone = configs.Backbone{Mode: "module", Name: "small_dinov2_reg4.test", Weights: module}
	cfg.Model.DecoderDepth, cfg.Data.Resize, cfg.Data.Crop, cfg.Data.Views = 2, configs.Square(16), configs.Square(16), 1
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	arch, before := moduleArch(t), tensor.Live()
	for range 2 {
		err := tensor.Run(func(s *tensor.Scope) error {
			m, err := model.New(s, tensor.CPU, cfg, arch, nil)
			if err != nil {
				return err
			}
			pixels := tensor.FromBytes(s, tensor.CPU, tensor.Uint8, []byte(strings.Repeat("\xff\x7f\x00", 256)), 1, 3, 16, 16)
			f := m.Encode(s, pixels)
			x := m.Decode(s, m.Bottleneck.Forward(s, f.Mean, nil), model.NewViews(s, tensor.CPU, 1, 1, nil))
			for i := range f.Targets {
				if have, want := x[i].Patches(s, false).Shape(), f.Targets[i].Shape(); len(have) != 3 || have[1] != 16 || have[2] != 32 || want[1] != 16 {
					t.Errorf("have reconstruction %v of %v, want [1 16 32]", have, want)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if after := tensor.Live(); after != before {
		t.Errorf("have %d live tensors, want %d", after, before)
	}
	for name, test := range map[string]struct {
		change func(*configs.Config, *weights.Module)
		want   string
	}{
		"another number of layers": {func(c *configs.Config, _ *weights.Module) { c.Model.DecoderDepth = 8 }, "model.decoder_depth: have 8, want the number of layers of the archive (2: 0, 1)"},
		"another size":             {func(c *configs.Config, _ *weights.Module) { c.Data.Crop = configs.Square(12) }, "data.crop: have 12 x 12 pixels, want those that the archive was exported for (16 x 16)"},
		"untrue channels":          {func(_ *configs.Config, m *weights.Module) { m.Channels = 64 }, "want float32 [1 21 64] as the archive says"},
		"untrue layers":            {func(c *configs.Config, m *weights.Module) { m.Layers, c.Model.DecoderDepth = []string{"0"}, 1 }, "have 2 outputs, want the 1 layers"},
	} {
		cfg, m := cfg, *arch.Module
		test.change(&cfg, &m)
		arch := arch
		arch.Module, arch.Dim, arch.Depth = &m, m.Channels, len(m.Layers)
		err := tensor.Run(func(s *tensor.Scope) error {
			_, err := model.New(s, tensor.CPU, cfg, arch, nil)
			return err
		})
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: have %v, want one line with %q", name, err, test.want)
		}
	}
}

// TestModuleOfNoArchive: other files are refused in one line, without a crash.
func TestModuleOfNoArchive(t *testing.T) {
	cut := filepath.Join(t.TempDir(), "cut.pt")
	text, err := os.ReadFile(module)
	if err == nil {
		err = os.WriteFile(cut, text[:len(text)/2], 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{cut, familiesDir + "/vit.pth", familiesDir + "/families.safetensors", cut + "x"} {
		if _, err := weights.ReadModule(path); err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: have %v, want one line that names it", path, err)
		}
		err := tensor.Run(func(s *tensor.Scope) error {
			tensor.LoadModule(s, path, tensor.CPU)
			return nil
		})
		if err == nil {
			t.Errorf("%s: loaded", path)
		}
	}
	_, err = weights.OfConfig(configs.Backbone{Mode: "module", Name: "vit_base_patch16_224", Weights: module})
	if err == nil || !strings.Contains(err.Error(), `have "vit_base_patch16_224", want "small_dinov2_reg4.test"`) {
		t.Errorf("have %v", err)
	}
}

// TestWeightsHaveTheirSHA256: the exporter's digest and ours are the same.
func TestWeightsHaveTheirSHA256(t *testing.T) {
	b, err := model.ReadBackbone(module, "")
	if err != nil {
		t.Fatal(err)
	}
	arch := moduleArch(t)
	if have := b.Archive.SHA256(); have != arch.Module.SHA256 {
		text, _ := json.Marshal(arch.Module)
		t.Errorf("have %s, want that of %s", have, text)
	}
}
