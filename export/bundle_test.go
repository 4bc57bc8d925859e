package export

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/internal/safetensors"
	"mvag-torch/model"
	"mvag-torch/model/checkpoint"
	"mvag-torch/model/weights"
)

// source writes a checkpoint of a ViT-Ti whose last layer is 1, with tensors of every kind, and returns it with an encoder
// of three blocks.
func source(t *testing.T, change func(*configs.Config)) (*checkpoint.File, *model.Backbone) {
	t.Helper()
	cfg := configs.Default()
	cfg.Backbone.Name, cfg.Backbone.Weights, cfg.Backbone.Layers, cfg.Model.DecoderDepth = "vit_tiny_patch16_224", "/secret/vit.safetensors", []int{0, 1}, 2
	cfg.Data.Resize, cfg.Data.Crop = configs.Square(256), configs.Square(224)
	cfg.Output, cfg.Data.Cache, cfg.Data.Root = "/secret/runs", "/secret/cache", "parts"
	if change != nil {
		change(&cfg)
	}
	path := filepath.Join(t.TempDir(), "checkpoint.safetensors")
	raw := func(name string) safetensors.Tensor {
		return safetensors.Raw(name, safetensors.U8, []int64{2}, []byte{1, 2})
	}
	err := checkpoint.Write(path, checkpoint.Info{Config: cfg, Iteration: 3, BackboneSHA256: "abc"}, []safetensors.Tensor{
		safetensors.Float32("decoder.x", []int64{2}, []float32{3, 4}), raw(checkpoint.Optimizer + "m.decoder.x"), raw(checkpoint.RNG + "cpu"), raw(checkpoint.Memory + "nut.C1.codes"),
	})
	if err != nil {
		t.Fatal(err)
	}
	f, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	arch, err := weights.ParseArch("vit_tiny_patch16_224")
	if err != nil {
		t.Fatal(err)
	}
	return f, &model.Backbone{Path: "/secret/vit.safetensors", Tensors: arch.Random(2, 2, 1)}
}

// TestBundleHas compares tensors and metadata of a bundle with those it was made from; two of them are equal.
func TestBundleHas(t *testing.T) {
	f, backbone := source(t, nil)
	opt := BundleOptions{Type: safetensors.F32, Program: "v1", Thumbnails: []byte("png"), Shown: &checkpoint.Thumbnail{Classes: []string{"nut"}, Width: 4, Height: 2}}
	path := filepath.Join(t.TempDir(), "a.mvag")
	made, err := Bundle(t.Context(), path, f, f.Info.Config, backbone, opt)
	if err != nil {
		t.Fatal(err)
	}
	b, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	stored, err := b.StoredBackbone()
	if err != nil || len(stored) != 1+3+2*12 { // cls_token, pos_embed, patch_embed.proj; 12 in each of 2 blocks
		t.Errorf("have %d tensors of the backbone, error %v", len(stored), err)
	}
	for name := range stored {
		if have, want := stored[name].Data, backbone.Tensors[name].Data; len(have) != len(want) || have[0] != want[0] || have[len(have)-1] != want[len(want)-1] {
			t.Errorf("%s: differs", name)
		}
	}
	if n := len(b.Names()); n != len(stored)+3 {
		t.Errorf("have %d tensors, want the backbone, the decoder, the memory and thumbnails: %q", n, b.Names())
	}
	trained, err := b.Weights()
	if err != nil || len(trained) != 1 || trained["decoder.x"].Data[1] != 4 {
		t.Errorf("have weights %v, error %v", trained, err)
	}
	if strings.Contains(b.Metadata()["config"], "secret") || b.Info.Config.Data.Root != "parts" || b.Info.Iteration != 3 || b.BackboneHash() != "abc" {
		t.Errorf("have %s", b.Metadata()["config"])
	}
	if made.Backbone != b.Bundle.Backbone || b.Bundle.Program != "v1" || b.Bundle.Backbone.Source != "vit.safetensors" || b.Bundle.Thumbnails.Classes[0] != "nut" {
		t.Errorf("have %+v", b.Bundle)
	}
	again := path + "2"
	if _, err := Bundle(t.Context(), again, f, f.Info.Config, backbone, opt); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(path)
	if second, err2 := os.ReadFile(again); err != nil || err2 != nil || !bytes.Equal(first, second) {
		t.Errorf("two bundles of one checkpoint differ (errors %v, %v)", err, err2)
	}
}

// TestBundleRefuses has what cannot be bundled: nothing is written.
func TestBundleRefuses(t *testing.T) {
	set := func(name string, v float32) func(weights.Map) {
		return func(m weights.Map) { m[name].Data[1] = v }
	}
	for name, c := range map[string]struct {
		config  func(*configs.Config)
		weights func(weights.Map)
		to      safetensors.DType
		want    string
	}{
		"a program":             {func(c *configs.Config) { c.Backbone.Mode, c.Backbone.Layers = "module", nil }, nil, safetensors.F32, "backbone.mode: have module, want native"},
		"too large for float16": {nil, set("blocks.1.mlp.fc1.bias", 65520), safetensors.F16, `"blocks.1.mlp.fc1.bias": have 65520 at element 1, which is too large for float16`},
		"too large for any":     {nil, set("cls_token", math.MaxFloat32), safetensors.BF16, `"cls_token": have 3.4028235e+38 at element 1, which is too large for bfloat16`},
		"not finite":            {nil, set("cls_token", float32(math.NaN())), safetensors.F32, `"cls_token": have NaN`},
		"another architecture":  {nil, func(m weights.Map) { delete(m, "blocks.1.norm2.bias") }, safetensors.F32, "blocks.1.norm2.bias"},
		"an unknown type":       {nil, nil, safetensors.U8, `have element type "U8"`},
	} {
		t.Run(name, func(t *testing.T) {
			f, backbone := source(t, c.config)
			if c.weights != nil {
				c.weights(backbone.Tensors)
			}
			path := filepath.Join(t.TempDir(), "a.mvag")
			_, err := Bundle(t.Context(), path, f, f.Info.Config, backbone, BundleOptions{Type: c.to})
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("have %v, want one line with %q", err, c.want)
			}
			if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 0 {
				t.Errorf("have %v, error %v, want an empty folder", entries, err)
			}
		})
	}
	f, backbone := source(t, nil)
	stopped, stop := context.WithCancel(t.Context())
	stop()
	path := filepath.Join(t.TempDir(), "a.mvag")
	if _, err := Bundle(stopped, path, f, f.Info.Config, backbone, BundleOptions{Type: safetensors.F32}); err == nil || err.Error() != "interrupted; nothing is written" {
		t.Errorf("stopped: have %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("stopped: have %v, want no file", err)
	}
	backbone.Tensors["blocks.2.mlp.fc1.bias"].Data[0] = 1e9 // of a block that is not used
	if _, err := Bundle(t.Context(), filepath.Join(t.TempDir(), "a"), f, f.Info.Config, backbone, BundleOptions{Type: safetensors.F16}); err != nil {
		t.Errorf("a large value of an unused block: %v", err)
	}
}

// TestRound has values by hand: 1 + 2^-11 is halfway between two float16, and 1e-9 below half of the smallest.
func TestRound(t *testing.T) {
	m := weights.Map{"a": {Shape: []int64{3}, Data: []float32{2, 1 + 0x1p-11, 1e-9}}, "b": {Shape: []int64{1}, Data: []float32{0.5}}}
	list, values, change, err := round(m, safetensors.F16)
	if err != nil || len(list) != 2 || change != 0x1p-12 || values["a"].Data[0] != 2 || values["a"].Data[1] != 1 || values["a"].Data[2] != 0 || values["b"].Data[0] != 0.5 {
		t.Errorf("have %v, change %v, error %v", values, change, err)
	}
	if _, _, change, err = round(m, safetensors.F32); change != 0 || err != nil {
		t.Errorf("float32: have change %v, error %v", change, err)
	}
}
