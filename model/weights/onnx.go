package weights

import (
	"fmt"
	"strconv"
	"strings"

	"mvag-torch/internal/onnx"
)

// FromONNX reads the weights of a DINOv2 encoder from an ONNX model that was exported from Hugging Face's Dinov2Model,
// alone or as a part of a larger one, and returns them under timm's names.
//
// Such an export keeps the names of the tokens, biases, norms and layer scales. The weight of a Linear layer is
// transposed under a name of the exporter's: it is the second factor of the matmul to which the named bias is added.
// The position table is cut into class and patches, [1, 1, C] and [1, P, C], found on the way to the sum with the
// tokens. Query, key and value are joined to qkv. The final norm, mask token and registers are there if the export has
// them.
func FromONNX(path string) (Map, error) {
	g, err := onnx.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m, err := fromGraph(g)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// dinov2 finds parameters in a graph. Faults are collected, so that one error names them all.
type dinov2 struct {
	prefix    string // of Dinov2Model within the larger model, e.g. "backbone."
	tensors   map[string]*onnx.Tensor
	producers map[string]*onnx.Node   // of a value
	consumers map[string][]*onnx.Node // of a value
	taken     map[string]bool
	out       Map
	faults    []string
}

func fromGraph(g *onnx.Graph) (Map, error) {
	r := &dinov2{
		tensors:   map[string]*onnx.Tensor{},
		producers: map[string]*onnx.Node{},
		consumers: map[string][]*onnx.Node{},
		taken:     map[string]bool{},
		out:       Map{},
	}
	for i := range g.Initializers {
		r.tensors[g.Initializers[i].Name] = &g.Initializers[i]
	}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		for _, value := range n.Inputs {
			r.consumers[value] = append(r.consumers[value], n)
		}
		for _, value := range n.Outputs {
			r.producers[value] = n
		}
	}
	if err := r.findPrefix(); err != nil {
		return nil, err
	}
	r.embeddings()
	blocks := 0
	for ; r.has(block(blocks) + "norm1.weight"); blocks++ {
		r.block(blocks)
	}
	if blocks == 0 {
		r.fault("have no %.200q, want at least one block", r.prefix+block(0)+"norm1.weight")
	}
	for _, name := range []string{"weight", "bias"} {
		r.optional("layernorm."+name, "norm."+name)
	}
	r.unread()
	if len(r.faults) > 0 {
		return nil, fmt.Errorf("have no whole Dinov2Model: %s", list("at fault", r.faults))
	}
	return r.out, nil
}

// findPrefix looks for the class token, the only name every export has.
func (r *dinov2) findPrefix() error {
	const token = "embeddings.cls_token"
	var found []string
	for name := range r.tensors {
		if prefix, ok := strings.CutSuffix(name, token); ok && (prefix == "" || strings.HasSuffix(prefix, ".")) {
			found = append(found, prefix)
		}
	}
	if len(found) != 1 {
		return fmt.Errorf("have %d initializers named %q, want one, as in an export of Hugging Face's Dinov2Model", len(found), token)
	}
	r.prefix = found[0]
	return nil
}

func (r *dinov2) embeddings() {
	r.copy("embeddings.cls_token", "cls_token")
	r.optional("embeddings.mask_token", "mask_token")
	r.optional("embeddings.register_tokens", "reg_token")
	r.copy("embeddings.patch_embeddings.projection.weight", "patch_embed.proj.weight")
	r.copy("embeddings.patch_embeddings.projection.bias", "patch_embed.proj.bias")
	if r.has("embeddings.position_embeddings") { // an export for one image size
		r.copy("embeddings.position_embeddings", "pos_embed")
	} else {
		r.positions()
	}
}

func block(i int) string { return "encoder.layer." + strconv.Itoa(i) + "." }

func (r *dinov2) block(i int) {
	from, to := block(i), "blocks."+strconv.Itoa(i)+"."
	for _, name := range [][2]string{
		{"norm1.weight", "norm1.weight"}, {"norm1.bias", "norm1.bias"},
		{"layer_scale1.lambda1", "ls1.gamma"},
		{"norm2.weight", "norm2.weight"}, {"norm2.bias", "norm2.bias"},
		{"layer_scale2.lambda1", "ls2.gamma"},
	} {
		r.copy(from+name[0], to+name[1])
	}
	r.join(to+"attn.qkv",
		r.linear(from+"attention.attention.query"),
		r.linear(from+"attention.attention.key"),
		r.linear(from+"attention.attention.value"))
	for _, name := range [][2]string{{"attention.output.dense", "attn.proj"}, {"mlp.fc1", "mlp.fc1"}, {"mlp.fc2", "mlp.fc2"}} {
		l := r.linear(from + name[0])
		r.out[to+name[1]+".weight"], r.out[to+name[1]+".bias"] = l.weight, l.bias
	}
}
