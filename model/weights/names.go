package weights

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// scheme is how a publisher names the parameters of a vision transformer. A name's last part, weight or bias, stays
// where the tables hold it without one; "" drops the parameter; what no table holds keeps its name.
type scheme struct {
	title  string
	sign   string            // a name that only this scheme has
	blocks string            // what the index of a block follows
	whole  map[string]string // outside the blocks
	block  map[string]string // within a block
}

// schemes are tried in order; the last is timm's own, with the names of its ViTs. The names are those of the releases:
// facebookresearch/dinov2 and dinov3, transformers' Dinov2Model (with registers too) and DINOv3ViTModel, and timm's
// Eva, which holds DINOv3.
var schemes = []scheme{
	{
		title: "Hugging Face's Dinov2Model", sign: "embeddings.position_embeddings", blocks: "encoder.layer.",
		whole: map[string]string{
			"embeddings.cls_token": "cls_token", "embeddings.mask_token": "mask_token", "embeddings.register_tokens": "reg_token",
			"embeddings.position_embeddings": "pos_embed", "embeddings.patch_embeddings.projection": "patch_embed.proj", "layernorm": "norm",
		},
		block: map[string]string{
			"attention.attention.query": "attn.q", "attention.attention.key": "attn.k", "attention.attention.value": "attn.v",
			"attention.output.dense": "attn.proj", "layer_scale1.lambda1": "ls1.gamma", "layer_scale2.lambda1": "ls2.gamma",
			"mlp.weights_in": "mlp.fc1", "mlp.weights_out": "mlp.fc2",
		},
	},
	{
		title: "Hugging Face's DINOv3ViTModel", sign: "embeddings.patch_embeddings.weight", blocks: "layer.",
		whole: map[string]string{
			"embeddings.cls_token": "cls_token", "embeddings.mask_token": "mask_token", "embeddings.register_tokens": "reg_token",
			"embeddings.patch_embeddings": "patch_embed.proj", "rope_embeddings.inv_freq": "",
		},
		block: map[string]string{
			"attention.q_proj": "attn.q", "attention.k_proj": "attn.k", "attention.v_proj": "attn.v", "attention.o_proj": "attn.proj",
			"layer_scale1.lambda1": "ls1.gamma", "layer_scale2.lambda1": "ls2.gamma", "mlp.up_proj": "mlp.fc1", "mlp.down_proj": "mlp.fc2",
		},
	},
	{
		title: "Meta's DINOv3", sign: "storage_tokens", blocks: "blocks.",
		whole: map[string]string{"storage_tokens": "reg_token", "rope_embed.periods": ""},
		block: map[string]string{"attn.qkv.bias": "attn.masked.bias", "attn.qkv.bias_mask": ""},
	},
	{
		title: "timm's DINOv3", sign: "blocks.0.gamma_1", blocks: "blocks.",
		block: map[string]string{"gamma_1": "ls1.gamma", "gamma_2": "ls2.gamma", "attn.q_bias": "attn.q.bias", "attn.v_bias": "attn.v.bias"},
	},
	{
		title: "Meta's DINOv2", sign: "mask_token", blocks: "blocks.",
		whole: map[string]string{"register_tokens": "reg_token"},
		block: map[string]string{"mlp.w12": "mlp.fc1", "mlp.w3": "mlp.fc2"},
	},
	{title: "timm"},
}

// Rename returns the parameters of m under the names of this package, whoever published them, and says whose names they
// were. Where the model is a part of a larger one, its names with a prefix ("backbone.", "module."), the rest is left
// out. Query, key and value are joined; a key without a bias has zeros for it.
func Rename(m Map) (renamed Map, title string, err error) {
	m, err = within(m)
	if err != nil {
		return nil, "", err
	}
	s := schemes[slices.IndexFunc(schemes, func(s scheme) bool {
		_, ok := m[s.sign]
		return ok || s.sign == ""
	})]
	out := make(Map, len(m))
	for name, t := range m {
		to := s.rename(name)
		if to == "" {
			continue
		}
		if _, twice := out[to]; twice {
			return nil, "", fmt.Errorf("weights: have two tensors for %.80q, want one", to)
		}
		out[to] = t
	}
	if err := joinQKV(out); err != nil {
		return nil, "", err
	}
	return out, s.title, nil
}

// within returns what m holds below the prefix of its class token.
func within(m Map) (Map, error) {
	var found []string
	for name := range m {
		prefix, ok := strings.CutSuffix(name, "cls_token")
		prefix, _ = strings.CutSuffix(prefix, "embeddings.")
		if ok && (prefix == "" || strings.HasSuffix(prefix, ".")) {
			found = append(found, prefix)
		}
	}
	if len(found) > 1 {
		slices.Sort(found)
		return nil, fmt.Errorf("weights: have %d class tokens, below %.200q, want one model", len(found), found)
	}
	if len(found) == 0 || found[0] == "" {
		return m, nil
	}
	inner := Map{}
	for name, t := range m {
		if rest, ok := strings.CutPrefix(name, found[0]); ok {
			inner[rest] = t
		}
	}
	return inner, nil
}

// rename returns the name here for a name of the scheme.
func (s scheme) rename(name string) string {
	if rest, ok := strings.CutPrefix(name, s.blocks); ok && s.blocks != "" {
		number, field, _ := strings.Cut(rest, ".")
		if _, err := strconv.Atoi(number); err == nil {
			if to := lookup(s.block, field); to != "" {
				return "blocks." + number + "." + to
			}
			return ""
		}
	}
	return lookup(s.whole, name)
}

func lookup(table map[string]string, name string) string {
	if to, ok := table[name]; ok {
		return to
	}
	if dot := strings.LastIndexByte(name, '.'); dot >= 0 {
		if to, ok := table[name[:dot]]; ok && to != "" {
			return to + name[dot:]
		}
	}
	return name
}

// joinQKV joins attn.q, attn.k and attn.v of each block to attn.qkv, and zeroes the key's part of a masked bias (Meta's
// DINOv3).
func joinQKV(m Map) error {
	for i := 0; ; i++ {
		attn := "blocks." + strconv.Itoa(i) + ".attn."
		if _, ok := m["blocks."+strconv.Itoa(i)+".norm1.weight"]; !ok {
			return nil
		}
		if bias, ok := m[attn+"masked.bias"]; ok {
			delete(m, attn+"masked.bias")
			n := len(bias.Data) / 3
			data := slices.Clone(bias.Data)
			clear(data[n : 2*n])
			m[attn+"qkv.bias"] = Tensor{bias.Shape, data}
		}
		if q, ok := m[attn+"q.bias"]; ok {
			if _, ok := m[attn+"k.bias"]; !ok {
				m[attn+"k.bias"] = Tensor{q.Shape, make([]float32, len(q.Data))}
			}
		}
		for _, kind := range []string{"weight", "bias"} {
			if err := joinThree(m, attn, kind); err != nil {
				return err
			}
		}
	}
}

// joinThree stores query, key and value one below the other, where m has them.
func joinThree(m Map, attn, kind string) error {
	var joined Tensor
	for i, part := range []string{"q.", "k.", "v."} {
		t, ok := m[attn+part+kind]
		switch {
		case !ok && i == 0:
			return nil
		case !ok:
			return fmt.Errorf("weights: have no %q, want it beside the query's", attn+part+kind)
		case i == 0:
			joined.Shape = slices.Clone(t.Shape)
		case len(t.Shape) != len(joined.Shape) || len(t.Data)*i != len(joined.Data):
			return fmt.Errorf("weights: %q: have shape %v, want that of the query", attn+part+kind, t.Shape)
		}
		joined.Data = append(joined.Data, t.Data...)
		delete(m, attn+part+kind)
	}
	if len(joined.Shape) == 0 {
		return fmt.Errorf("weights: %q: have a scalar, want a matrix or vector", attn+"q."+kind)
	}
	joined.Shape[0] *= 3
	m[attn+"qkv."+kind] = joined
	return nil
}
