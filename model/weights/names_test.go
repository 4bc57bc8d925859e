package weights

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// published turns parameters named as here into those of a release: each pattern by its replacement, in order, and
// query, key and value apart.
func published(m Map, split bool, patterns ...string) Map {
	out := Map{}
	for name, t := range m {
		parts := map[string]Tensor{name: t}
		if split && strings.Contains(name, ".qkv.") {
			parts = map[string]Tensor{}
			n := len(t.Data) / 3
			for i, part := range []string{".q.", ".k.", ".v."} {
				shape := slices.Clone(t.Shape)
				shape[0] /= 3
				parts[strings.Replace(name, ".qkv.", part, 1)] = Tensor{shape, t.Data[i*n : (i+1)*n]}
			}
		}
		for name, t := range parts {
			for i := 0; i < len(patterns); i += 2 {
				name = regexp.MustCompile(patterns[i]).ReplaceAllString(name, patterns[i+1])
			}
			out[name] = t
		}
	}
	return out
}

// TestRename: the names of each release, spelled out in the cases, give the parameters of the architecture.
func TestRename(t *testing.T) {
	plain := Arch{Name: "t", Patch: 2, Dim: 8, Depth: 2, Heads: 2}
	registers, gated, rotary := plain, plain, plain
	registers.Registers, gated.Gated = 4, true
	rotary.Family, rotary.Registers = DINOv3, 4
	noBias := func(m Map) Map {
		maps.DeleteFunc(m, func(name string, _ Tensor) bool { return strings.HasSuffix(name, "qkv.bias") })
		return m
	}
	zeroKey := func(m Map) Map {
		for name, t := range m {
			if strings.HasSuffix(name, "qkv.bias") {
				clear(t.Data[8:16])
			}
		}
		return m
	}
	hugging := []string{
		`^cls_token`, "embeddings.cls_token", `^reg_token`, "embeddings.register_tokens", `^pos_embed`, "embeddings.position_embeddings",
		`^patch_embed.proj`, "embeddings.patch_embeddings.projection", `^blocks`, "encoder.layer",
		`attn.q\.`, "attention.attention.query.", `attn.k\.`, "attention.attention.key.", `attn.v\.`, "attention.attention.value.",
		`attn.proj`, "attention.output.dense", `ls(\d).gamma`, "layer_scale$1.lambda1",
	}
	hugging3 := []string{
		`^cls_token`, "embeddings.cls_token", `^reg_token`, "embeddings.register_tokens", `^patch_embed.proj`, "embeddings.patch_embeddings",
		`^blocks`, "layer", `attn.(q|k|v)\.`, "attention.${1}_proj.", `attn.proj`, "attention.o_proj",
		`ls(\d).gamma`, "layer_scale$1.lambda1", `mlp.fc1`, "mlp.up_proj", `mlp.fc2`, "mlp.down_proj",
	}
	one := Tensor{[]int64{1}, []float32{1}}
	tests := map[string]struct {
		arch   Arch
		want   Map
		file   func(Map) Map
		source string
	}{
		"timm": {plain, plain.Random(1, 2, 1), func(m Map) Map { return m }, "timm"},
		"Meta": {plain, plain.Random(1, 2, 1), func(m Map) Map { m = published(m, false); m["mask_token"] = one; return m }, "Meta's DINOv2"},
		"Meta with registers": {registers, registers.Random(1, 2, 1), func(m Map) Map {
			m = published(m, false, "^reg_token", "register_tokens")
			m["mask_token"] = one
			return m
		}, "Meta's DINOv2"},
		"Meta's giant": {gated, gated.Random(1, 2, 1), func(m Map) Map {
			m = published(m, false, "mlp.fc1", "mlp.w12", "mlp.fc2", "mlp.w3")
			m["mask_token"] = one
			return m
		}, "Meta's DINOv2"},
		"Hugging Face": {plain, plain.Random(1, 2, 1), func(m Map) Map { return published(m, true, hugging...) }, "Hugging Face's Dinov2Model"},
		"Hugging Face, a classifier's part": {registers, registers.Random(1, 2, 1), func(m Map) Map {
			m = published(published(m, true, hugging...), false, "^", "dinov2_with_registers.")
			m["classifier.weight"] = one
			return m
		}, "Hugging Face's Dinov2Model"},
		"Hugging Face's giant": {gated, gated.Random(1, 2, 1), func(m Map) Map {
			return published(m, true, append(hugging, "mlp.fc1", "mlp.weights_in", "mlp.fc2", "mlp.weights_out")...)
		}, "Hugging Face's Dinov2Model"},
		"Hugging Face's DINOv3": {rotary, zeroKey(rotary.Random(1, 2, 1)), func(m Map) Map {
			m = published(m, true, hugging3...)
			maps.DeleteFunc(m, func(name string, _ Tensor) bool { return strings.HasSuffix(name, "k_proj.bias") })
			return m
		}, "Hugging Face's DINOv3ViTModel"},
		"timm's DINOv3": {rotary, noBias(rotary.Random(1, 2, 1)), func(m Map) Map {
			return published(m, false, `ls(\d).gamma`, "gamma_$1")
		}, "timm's DINOv3"},
		"timm's DINOv3 with bias": {rotary, zeroKey(rotary.Random(1, 2, 1)), func(m Map) Map {
			out := published(m, false, `ls(\d).gamma`, "gamma_$1")
			for name, t := range m {
				if at, ok := strings.CutSuffix(name, "qkv.bias"); ok {
					delete(out, name)
					out[at+"q_bias"], out[at+"v_bias"] = Tensor{[]int64{8}, t.Data[:8]}, Tensor{[]int64{8}, t.Data[16:]}
				}
			}
			return out
		}, "timm's DINOv3"},
		"Meta's DINOv3": {rotary, zeroKey(rotary.Random(1, 2, 1)), func(m Map) Map {
			m = published(m, false, "^reg_token", "storage_tokens")
			m["rope_embed.periods"] = one
			for name, t := range m {
				if strings.HasSuffix(name, "qkv.bias") {
					bias := slices.Clone(t.Data)
					bias[8] = 3 // what the mask takes out
					m[name] = Tensor{t.Shape, bias}
				}
			}
			m["blocks.0.attn.qkv.bias_mask"] = one
			return m
		}, "Meta's DINOv3"},
		"data-parallel": {plain, plain.Random(1, 2, 1), func(m Map) Map { return published(m, false, "^", "module.") }, "timm"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			want := maps.Clone(test.want)
			have, names, _, err := Rename(test.file(test.want), "")
			if err != nil {
				t.Fatal(err)
			}
			delete(have, "mask_token")
			if source := names.Title(); source != test.source {
				t.Errorf("have names of %q, want %q", source, test.source)
			}
			if err := test.arch.Check(have.Shapes(), 1); err != nil {
				t.Error(err)
			}
			if !reflect.DeepEqual(have, want) {
				t.Errorf("have %v\nwant %v", slices.Sorted(maps.Keys(have)), slices.Sorted(maps.Keys(want)))
			}
		})
	}
}

func TestRenameRefuses(t *testing.T) {
	one := Tensor{[]int64{1}, []float32{1}}
	for name, test := range map[string]struct {
		m    Map
		want string
	}{
		"two models":    {Map{"student.cls_token": one, "teacher.cls_token": one}, `have 2 encoders, with the prefixes ["student." "teacher."]`},
		"one name":      {Map{"mask_token": one, "register_tokens": one, "reg_token": one}, `have two tensors for "reg_token"`},
		"no key":        {Map{"blocks.0.norm1.weight": one, "blocks.0.attn.q.weight": one, "blocks.0.attn.v.weight": one}, `have no "blocks.0.attn.k.weight"`},
		"other shape":   {Map{"blocks.0.norm1.weight": one, "blocks.0.attn.q.weight": one, "blocks.0.attn.k.weight": {[]int64{2}, []float32{1, 2}}}, `"blocks.0.attn.k.weight": have shape [2]`},
		"scalar query":  {Map{"blocks.0.norm1.weight": one, "blocks.0.attn.q.weight": {nil, []float32{1}}, "blocks.0.attn.k.weight": {nil, []float32{1}}, "blocks.0.attn.v.weight": {nil, []float32{1}}}, "have a scalar"},
		"only a masked": {Map{"storage_tokens": one, "blocks.0.norm1.weight": one, "blocks.0.attn.qkv.bias": one}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, _, err := Rename(test.m, "")
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("have %v, want %s", err, test.want)
			}
		})
	}
}

// TestStatistics: timm 1.0.31's pretrained configurations.
func TestStatistics(t *testing.T) {
	for name, want := range map[string]float32{
		"vit_base_patch14_reg4_dinov2.lvd142m":             0.485,
		"vit_giant_patch14_dinov2":                         0.485,
		"vit_large_patch16_dinov3.lvd1689m":                0.485,
		"vit_large_patch16_dinov3.sat493m":                 0.430,
		"vit_base_patch16_224.augreg2_in21k_ft_in1k":       0.5,
		"vit_base_patch16_224":                             0.5,
		"vit_base_patch16_224.dino":                        0.485,
		"vit_base_patch16_224.mae":                         0.485,
		"vit_base_patch16_224.bamboo":                      0.48145466,
		"deit_base_patch16_224.fb_in1k":                    0.485,
		"vit_base_patch16_clip_224.openai":                 0.48145466,
		"vit_base_patch16_clip_224.laion2b":                0.48145466,
		"vit_large_patch14_clip_224.laion2b_ft_in12k_in1k": 0.5,
		"vit_large_patch14_clip_336.openai":                0.48145466,
	} {
		a, err := ParseArch(name)
		if mean, std := a.Statistics(); err != nil || mean[0] != want || std[0] <= 0 {
			t.Errorf("%s: have %v, %v, %v, want %v", name, mean, std, err, want)
		}
	}
}

// TestGuess finds each architecture, or one of the same parameters, by its shapes.
func TestGuess(t *testing.T) {
	for _, a := range Supported() {
		shapes := map[string][]int64{"pos_embed": {1, 197, int64(a.Dim)}}
		for _, w := range a.parameters(0) {
			shapes[w.name] = w.shape
		}
		if a.Family == DINOv3 {
			delete(shapes, "pos_embed")
		}
		if have, ok := Guess(shapes); !ok || !have.like(a) || have.Gated != a.Gated {
			t.Errorf("%s: have %s", a.Name, have.Name)
		}
		if err := a.Check(shapes, 0); err != nil {
			t.Error(err)
		}
		layers := a.DefaultLayers()
		if len(layers) != 8 || layers[7] >= a.Depth || !slices.IsSorted(layers) {
			t.Errorf("%s: have default layers %v", a.Name, layers)
		}
	}
}
