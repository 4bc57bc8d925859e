package weights

import (
	"maps"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"mvag-torch/internal/safetensors"
)

func TestSafetensorsRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.safetensors")
	m := Map{
		"cls_token":   {[]int64{1, 1, 2}, []float32{1, -2}},
		"norm.bias":   {[]int64{2}, []float32{0.1, 0}},
		"temperature": {[]int64{}, []float32{3}}, // names are not judged here
	}
	if err := WriteSafetensors(path, m, map[string]string{"source": "test"}); err != nil {
		t.Fatal(err)
	}
	have, err := FromSafetensors(path)
	if err != nil || !reflect.DeepEqual(have, m) {
		t.Errorf("have %v, %v, want %v", have, err, m)
	}
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if have := f.Metadata()["source"]; have != "test" {
		t.Errorf("have metadata %q, want %q", have, "test")
	}
}

func TestFromSafetensorsRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.safetensors")
	if _, err := FromSafetensors(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("missing file: have %v, want an error that names it", err)
	}
	if err := safetensors.Write(path, []safetensors.Tensor{safetensors.Raw("steps", safetensors.I64, nil, make([]byte, 8))}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := FromSafetensors(path); err == nil || !strings.Contains(err.Error(), path+`: tensor "steps": have dtype "I64"`) {
		t.Errorf("integers: have %v, want an error that names file and tensor", err)
	}
}

// TestGoldenEncoder: the encoder of the trace "tiny" fits the architecture that its manifest describes.
func TestGoldenEncoder(t *testing.T) {
	m, err := FromSafetensors("../../internal/golden/testdata/tiny.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	shapes := map[string][]int64{}
	for name, shape := range m.Shapes() {
		if name, ok := strings.CutPrefix(name, "encoder."); ok {
			shapes[name] = shape
		}
	}
	tiny := Arch{Name: "tiny", Patch: 14, Dim: 32, Depth: 5, Heads: 2, Registers: 2}
	if err := tiny.Check(shapes, 4); err != nil {
		t.Error(err)
	}
	if err := m.CheckFinite(); err != nil {
		t.Error(err)
	}
}

func TestCheckFinite(t *testing.T) {
	bad := map[string]float32{"NaN": float32(math.NaN()), "+Inf": float32(math.Inf(1)), "-Inf": float32(math.Inf(-1))}
	for name, v := range bad {
		m := Map{"a": {[]int64{2}, []float32{1, math.MaxFloat32}}, "b": {[]int64{3}, []float32{0, 0, v}}, "c": {[]int64{1}, []float32{v}}}
		want := `weights: "b": have ` + name + ` at element 2, want finite values`
		if err := m.CheckFinite(); err == nil || err.Error() != want {
			t.Errorf("have %v, want %s", err, want)
		}
		delete(m, "b")
		delete(m, "c")
		if err := m.CheckFinite(); err != nil {
			t.Error(err)
		}
	}
}

func TestParseArch(t *testing.T) {
	tests := map[string]Arch{ // dimensions of timm's models of these names
		"vit_small_patch14_dinov2":               {Name: "vit_small_patch14_dinov2", Patch: 14, Dim: 384, Depth: 12, Heads: 6, Registers: 0},
		"vit_small_patch14_dinov2.lvd142m":       {Name: "vit_small_patch14_dinov2", Patch: 14, Dim: 384, Depth: 12, Heads: 6, Registers: 0},
		"vit_small_patch14_reg4_dinov2.lvd142m":  {Name: "vit_small_patch14_reg4_dinov2", Patch: 14, Dim: 384, Depth: 12, Heads: 6, Registers: 4},
		"vit_base_patch14_dinov2":                {Name: "vit_base_patch14_dinov2", Patch: 14, Dim: 768, Depth: 12, Heads: 12, Registers: 0},
		"vit_base_patch14_reg4_dinov2.lvd142m":   {Name: "vit_base_patch14_reg4_dinov2", Patch: 14, Dim: 768, Depth: 12, Heads: 12, Registers: 4},
		"vit_large_patch14_dinov2.lvd142m":       {Name: "vit_large_patch14_dinov2", Patch: 14, Dim: 1024, Depth: 24, Heads: 16, Registers: 0},
		"vit_large_patch14_reg4_dinov2.my.weird": {Name: "vit_large_patch14_reg4_dinov2", Patch: 14, Dim: 1024, Depth: 24, Heads: 16, Registers: 4},
	}
	for name, want := range tests {
		if have, err := ParseArch(name); err != nil || have != want {
			t.Errorf("%s: have %+v, %v, want %+v", name, have, err, want)
		}
	}
	for _, name := range []string{"", "resnet50", "vit_base_patch16_siglip_224",
		"vit_base_patch14_reg4_dinov2.", "VIT_base_patch14_dinov2", ".lvd142m"} {
		_, err := ParseArch(name)
		if err == nil || !strings.HasPrefix(err.Error(), `backbone: have "`+name+`", want a name that "mvag-torch backbone list" shows`) {
			t.Errorf("%q: have %v, want an error that lists what there is", name, err)
		}
	}
}

func TestDefaultLayers(t *testing.T) {
	for name, want := range map[string][]int{ // docs/model.md, section 1
		"vit_small_patch14_dinov2":      {2, 3, 4, 5, 6, 7, 8, 9},
		"vit_base_patch14_reg4_dinov2":  {2, 3, 4, 5, 6, 7, 8, 9},
		"vit_large_patch14_reg4_dinov2": {4, 6, 8, 10, 12, 14, 16, 18},
	} {
		a, err := ParseArch(name)
		if err != nil {
			t.Fatal(err)
		}
		if have := a.DefaultLayers(); !slices.Equal(have, want) {
			t.Errorf("%s: have %v, want %v", name, have, want)
		}
	}
}

// fitting returns the shapes that blocks 0 to last of a need.
func fitting(a Arch, last int) map[string][]int64 {
	shapes := map[string][]int64{"pos_embed": {1, 1370, int64(a.Dim)}}
	for _, w := range a.parameters(last) {
		shapes[w.name] = w.shape
	}
	return shapes
}

// TestParameters pins names and shapes of one block against those of timm's vit_small_patch14_reg4_dinov2.
func TestParameters(t *testing.T) {
	a, err := ParseArch("vit_small_patch14_reg4_dinov2")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]int64{
		"cls_token": {1, 1, 384}, "reg_token": {1, 4, 384}, "pos_embed": {1, 1370, 384},
		"patch_embed.proj.weight": {384, 3, 14, 14}, "patch_embed.proj.bias": {384},
		"blocks.0.norm1.weight": {384}, "blocks.0.norm1.bias": {384},
		"blocks.0.attn.qkv.weight": {1152, 384}, "blocks.0.attn.qkv.bias": {1152},
		"blocks.0.attn.proj.weight": {384, 384}, "blocks.0.attn.proj.bias": {384}, "blocks.0.ls1.gamma": {384},
		"blocks.0.norm2.weight": {384}, "blocks.0.norm2.bias": {384},
		"blocks.0.mlp.fc1.weight": {1536, 384}, "blocks.0.mlp.fc1.bias": {1536},
		"blocks.0.mlp.fc2.weight": {384, 1536}, "blocks.0.mlp.fc2.bias": {384}, "blocks.0.ls2.gamma": {384},
	}
	if have := fitting(a, 0); !maps.EqualFunc(have, want, slices.Equal) {
		t.Errorf("have %v\nwant %v", have, want)
	}
}

// set returns a change that adds or replaces one shape.
func set(name string, shape ...int64) func(map[string][]int64) {
	return func(m map[string][]int64) { m[name] = shape }
}

// remove returns a change that deletes shapes.
func remove(names ...string) func(map[string][]int64) {
	return func(m map[string][]int64) {
		for _, name := range names {
			delete(m, name)
		}
	}
}

func TestCheck(t *testing.T) {
	a := Arch{Name: "vit_base_patch14_reg4_dinov2", Patch: 14, Dim: 768, Depth: 12, Heads: 12, Registers: 4}
	small := Arch{Name: "vit_small_patch14_dinov2", Patch: 14, Dim: 384, Depth: 12, Heads: 6, Registers: 0}
	plain := a
	plain.Registers = 0
	tests := map[string]struct {
		shapes map[string][]int64
		change func(map[string][]int64)
		last   int
		want   string // "" for no error
	}{
		"fits":                    {fitting(a, 9), remove(), 9, ""},
		"whole model":             {fitting(a, 11), set("norm.weight", 768), 9, ""},
		"harmless keys":           {fitting(a, 9), func(m map[string][]int64) { m["mask_token"], m["head.weight"], m["fc_norm.bias"] = nil, nil, nil }, 9, ""},
		"positions without class": {fitting(a, 9), set("pos_embed", 1, 1369, 768), 9, ""},
		"two positions":           {fitting(a, 9), set("pos_embed", 1, 2, 768), 9, ""},
		"positions not a square":  {fitting(a, 9), set("pos_embed", 1, 1374, 768), 9, `1 misshapen: "pos_embed" (have [1 1374 768], want [1 P 768] or [1 1+P 768] with square P)`},
		"no position":             {fitting(a, 9), set("pos_embed", 1, 0, 768), 9, `1 misshapen: "pos_embed" (have [1 0 768]`},
		"positions of two ranks":  {fitting(a, 9), set("pos_embed", 1370, 768), 9, `1 misshapen: "pos_embed" (have [1370 768]`},
		"positions missing":       {fitting(a, 9), remove("pos_embed"), 9, `1 missing: "pos_embed"`},
		"one missing":             {fitting(a, 9), remove("blocks.9.ls2.gamma"), 9, `weights: have no fit for vit_base_patch14_reg4_dinov2: 1 missing: "blocks.9.ls2.gamma"`},
		"six missing":             {fitting(a, 9), remove("blocks.0.norm1.weight", "blocks.0.norm1.bias", "blocks.0.attn.qkv.weight", "blocks.0.attn.qkv.bias", "blocks.0.attn.proj.weight", "blocks.0.attn.proj.bias"), 9, `6 missing: "blocks.0.norm1.weight", "blocks.0.norm1.bias", "blocks.0.attn.qkv.weight", "blocks.0.attn.qkv.bias", "blocks.0.attn.proj.weight" and 1 more`},
		"unused":                  {fitting(a, 9), set("blocks.3.attn.q_norm.weight", 64), 9, `1 unused: "blocks.3.attn.q_norm.weight"`},
		"too many blocks":         {fitting(a, 9), set("blocks.12.norm1.weight", 768), 9, `1 unused: "blocks.12.norm1.weight"`},
		"block without number":    {fitting(a, 9), set("blocks.x.norm1.weight", 768), 9, `1 unused: "blocks.x.norm1.weight"`},
		"misshapen":               {fitting(a, 9), set("blocks.0.attn.qkv.weight", 768, 2304), 9, `1 misshapen: "blocks.0.attn.qkv.weight" (have [768 2304], want [2304 768])`},
		"patch 16":                {fitting(a, 9), set("patch_embed.proj.weight", 768, 3, 16, 16), 9, `"patch_embed.proj.weight" (have [768 3 16 16], want [768 3 14 14])`},
		"all three kinds": {fitting(a, 9), func(m map[string][]int64) {
			delete(m, "blocks.0.norm1.bias")
			m["cls_token"] = []int64{768}
			m["classifier"] = nil
		}, 9, `1 missing: "blocks.0.norm1.bias"; 1 misshapen: "cls_token" (have [768], want [1 1 768]); 1 unused: "classifier"`},
		"shallow file":     {fitting(a, 8), remove(), 9, `14 missing: "blocks.9.norm1.weight"`},
		"empty":            {map[string][]int64{}, remove(), 9, `145 missing: "cls_token", "reg_token"`},
		"other size":       {fitting(small, 9), remove(), 9, "weights: have what looks like vit_small_patch14_dinov2 (dim 384, 0 registers), want vit_base_patch14_reg4_dinov2 (dim 768, 4 registers)"},
		"no registers":     {fitting(plain, 9), remove(), 9, "weights: have what looks like vit_base_patch14_dinov2 (dim 768, 0 registers), want vit_base_patch14_reg4_dinov2"},
		"last too large":   {fitting(a, 11), remove(), 12, "weights: have last block 12, want one of the 12 blocks of vit_base_patch14_reg4_dinov2"},
		"last is negative": {fitting(a, 11), remove(), -1, "have last block -1"},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			c.change(c.shapes)
			err := a.Check(c.shapes, c.last)
			if c.want == "" && err != nil {
				t.Error(err)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("have %v\nwant %s", err, c.want)
			}
		})
	}
}
