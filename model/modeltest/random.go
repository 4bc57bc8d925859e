package modeltest

import (
	"math/rand/v2"
	"strconv"

	"mvag-torch/model/weights"
)

// RandomViT has the names and shapes of vit_small_patch14_dinov2 up to block
// last, with random weights and a position table of grid² + 1 entries.
func RandomViT(last int, grid int64) weights.Map {
	rng := rand.New(rand.NewPCG(1, 2))
	m := weights.Map{}
	add := func(name string, scale, offset float32, shape ...int64) {
		n := int64(1)
		for _, d := range shape {
			n *= d
		}
		data := make([]float32, n)
		for i := range data {
			data[i] = offset + scale*float32(rng.NormFloat64())
		}
		m[name] = weights.Tensor{Shape: shape, Data: data}
	}
	linear := func(name string, in, out int64) {
		add(name+".weight", 0.05, 0, out, in)
		add(name+".bias", 0.1, 0, out)
	}
	const c = 384
	add("cls_token", 1, 0, 1, 1, c)
	add("pos_embed", 0.1, 0, 1, 1+grid*grid, c)
	add("patch_embed.proj.weight", 0.05, 0, c, 3, 14, 14)
	add("patch_embed.proj.bias", 0.1, 0, c)
	for i := range last + 1 {
		b := "blocks." + strconv.Itoa(i) + "."
		for _, norm := range []string{"norm1", "norm2"} {
			add(b+norm+".weight", 0.1, 1, c)
			add(b+norm+".bias", 0.1, 0, c)
		}
		linear(b+"attn.qkv", c, 3*c)
		linear(b+"attn.proj", c, c)
		linear(b+"mlp.fc1", c, 4*c)
		linear(b+"mlp.fc2", 4*c, c)
		add(b+"ls1.gamma", 0.1, 1, c)
		add(b+"ls2.gamma", 0.1, 1, c)
	}
	return m
}
