package weights

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mvag-torch/internal/safetensors"
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

// Names is how a file names the parameters of an encoder.
type Names struct {
	Prefix string // of the encoder's names
	scheme scheme
	chunks bool // blocks.C.N for block N, as DINOv2's training saves them
	token  bool // there is a class token
}

// Title says whose names they are.
func (n Names) Title() string {
	if n.chunks {
		return n.scheme.title + " in chunks"
	}
	return n.scheme.title
}

// FindNames finds out how a file of tensors with these names has named its encoder. In a larger model, or within the
// wrappers of a training, the encoder's names have a prefix ("teacher.backbone.", "module."), which is found by the
// class token. If there are several encoders, want is a whole part of the prefix of the wanted one: "teacher",
// "teacher.backbone."; "." is that without a prefix.
func FindNames(names []string, want string) (Names, error) {
	prefix, err := encoder(names, want)
	if err != nil {
		return Names{}, err
	}
	inner := map[string]bool{}
	n := Names{Prefix: prefix}
	for _, name := range names {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			inner[rest] = true
			n.chunks = n.chunks || chunked.MatchString(rest)
			n.token = n.token || strings.HasSuffix(rest, "cls_token")
		}
	}
	n.scheme = schemes[slices.IndexFunc(schemes, func(s scheme) bool {
		return s.sign == "" || inner[s.sign] || n.chunks && s.sign == "blocks.0.gamma_1" && inner["blocks.0.0.gamma_1"]
	})]
	return n, nil
}

// encoder returns the prefix of the class token, the one with want in it if there are several.
func encoder(names []string, want string) (string, error) {
	var found, wanted []string
	for _, name := range names {
		prefix, ok := strings.CutSuffix(name, "cls_token")
		prefix, _ = strings.CutSuffix(prefix, "embeddings.")
		if !ok || prefix != "" && !strings.HasSuffix(prefix, ".") {
			continue
		}
		found = append(found, prefix)
		if strings.Contains("."+prefix, "."+strings.TrimSuffix(want, ".")+".") && want != "." || want == "." && prefix == "" {
			wanted = append(wanted, prefix)
		}
	}
	slices.Sort(found)
	switch {
	case want == "" && len(found) == 0:
		return "", nil
	case want == "" && len(found) == 1:
		return found[0], nil
	case want == "":
		return "", fmt.Errorf("weights: have %d encoders, with the prefixes %.400q, want the name of one as backbone.prefix or --prefix, "+
			"such as %q (after self-distillation the teacher is customary)", len(found), found, slices.MaxFunc(found, teacherFirst))
	case len(wanted) == 1:
		return wanted[0], nil
	}
	return "", fmt.Errorf("weights: have encoders with the prefixes %.400q, want one with %.80q in it", found, want)
}

// teacherFirst orders prefixes so that the teacher, or its moving average, is the maximum.
func teacherFirst(a, b string) int {
	rank := func(prefix string) int {
		switch {
		case strings.Contains(prefix, "teacher"):
			return 2
		case strings.Contains(prefix, "ema"):
			return 1
		}
		return 0
	}
	return rank(a) - rank(b)
}

var chunked = regexp.MustCompile(`^blocks\.\d+\.(\d+)\.`)

// name returns the name here of a tensor of the file; ok is false for one that is of no use.
func (n Names) name(file string) (name string, ok bool) {
	name, ok = strings.CutPrefix(file, n.Prefix)
	if n.chunks {
		name = chunked.ReplaceAllString(name, "blocks.$1.")
	}
	name = n.scheme.rename(name)
	return name, ok && name != ""
}

// parameter matches the names here of what an encoder computes with, and their parts before joinQKV.
var parameter = regexp.MustCompile(`^(cls_token|reg_token|pos_embed|(patch_embed\.proj|norm_pre|blocks\.\d+\.(norm[12]|attn\.(qkv|proj|q|k|v|masked)|mlp\.fc[12]))\.(weight|bias)|blocks\.\d+\.ls[12]\.gamma)$`)

// related matches the names here of what may belong to an encoder: its parameters, and what would make it another one.
var related = regexp.MustCompile(`^((blocks|patch_embed|norm_pre|norm)\.|(cls|reg|mask|dist)_token$|pos_embed)`)

// Encoder reads the encoder in f, under the names of this package. Ignored lists the tensors that do not belong to it:
// those of other parts of a model or training, such as heads, and those that are neither parameters nor floats, such as
// counters. Query, key and value are joined; a key without a bias has zeros for it.
func (n Names) Encoder(f File) (m Map, ignored []string, err error) {
	m = Map{}
	for _, file := range f.Names() {
		dtype, shape, _ := f.Info(file)
		name, ok := n.name(file)
		if !ok || n.token && !related.MatchString(name) || !slices.Contains(floats, dtype) && !parameter.MatchString(name) {
			ignored = append(ignored, file)
			continue
		}
		if _, twice := m[name]; twice {
			return nil, nil, fmt.Errorf("weights: have two tensors for %.80q, want one", name)
		}
		data, err := f.Float32(file)
		if err != nil {
			return nil, nil, err
		}
		m[name] = Tensor{shape, data}
	}
	return m, ignored, joinQKV(m)
}

// floats are the types that are read.
var floats = []safetensors.DType{safetensors.F32, safetensors.F16, safetensors.BF16, safetensors.F64}

// Rename is FindNames and Encoder for tensors in memory.
func Rename(m Map, want string) (renamed Map, n Names, ignored []string, err error) {
	if n, err = FindNames(slices.Collect(maps.Keys(m)), want); err != nil {
		return nil, n, nil, err
	}
	renamed, ignored, err = n.Encoder(memory(m))
	return renamed, n, ignored, err
}

// memory is a File of tensors in memory.
type memory Map

func (m memory) Names() []string { return slices.Sorted(maps.Keys(m)) }

func (m memory) Info(name string) (safetensors.DType, []int64, bool) {
	t, ok := m[name]
	return safetensors.F32, t.Shape, ok
}

func (m memory) Float32(name string) ([]float32, error) { return m[name].Data, nil }

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
