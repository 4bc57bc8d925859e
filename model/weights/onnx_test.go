package weights

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"mvag-torch/internal/onnx"
	"mvag-torch/internal/safetensors"
)

// model is an ONNX graph that a test can still change.
type model struct {
	nodes []onnx.Node
	inits map[string]Tensor
}

func (g *model) node(op, output string, inputs ...string) string {
	g.nodes = append(g.nodes, onnx.Node{OpType: op, Name: "/" + output, Inputs: inputs, Outputs: []string{output}})
	return output
}

// linear adds x*weight + bias with the weight transposed under an anonymous name, the two sides of the Add in the order
// that PyTorch's exporter uses.
func (g *model) linear(x, name string, weight, bias Tensor) string {
	out, in := int(weight.Shape[0]), int(weight.Shape[1])
	transposed := make([]float32, len(weight.Data))
	for o := range out {
		for i := range in {
			transposed[i*out+o] = weight.Data[o*in+i]
		}
	}
	anonymous := "onnx::MatMul_" + strconv.Itoa(1900+len(g.inits))
	g.inits[anonymous] = Tensor{[]int64{int64(in), int64(out)}, transposed}
	g.inits[name+".bias"] = bias
	return g.node("Add", name+"/Add_output_0", name+".bias", g.node("MatMul", name+"/MatMul_output_0", x, anonymous))
}

// rows returns rows from*n/3 to (from+1)*n/3 of a tensor.
func rows(t Tensor, from int) Tensor {
	n := len(t.Data) / 3
	shape := slices.Clone(t.Shape)
	shape[0] /= 3
	return Tensor{shape, t.Data[from*n : (from+1)*n]}
}

// export builds the graph of a Dinov2Model with the weights of m, in the style of the file described in FromONNX.
func export(m Map, prefix string, depth int) *model {
	g := &model{inits: map[string]Tensor{
		prefix + "embeddings.cls_token":                          m["cls_token"],
		prefix + "embeddings.patch_embeddings.projection.weight": m["patch_embed.proj.weight"],
		prefix + "embeddings.patch_embeddings.projection.bias":   m["patch_embed.proj.bias"],
		prefix + "layernorm.weight":                              m["norm.weight"],
		prefix + "layernorm.bias":                                m["norm.bias"],
		"decoder.bn1.weight":                                     {[]int64{1}, []float32{1}}, // of the larger model
	}}
	c := m["pos_embed"].Shape[2]
	g.inits["onnx::Concat_1957"] = Tensor{[]int64{1, 1, c}, m["pos_embed"].Data[:c]}
	g.inits["onnx::Reshape_1962"] = Tensor{[]int64{1, m["pos_embed"].Shape[1] - 1, c}, m["pos_embed"].Data[c:]}
	conv := g.node("Conv", "patches", "image", prefix+"embeddings.patch_embeddings.projection.weight", prefix+"embeddings.patch_embeddings.projection.bias")
	tokens := g.node("Concat", "tokens", g.node("Expand", "class", prefix+"embeddings.cls_token", "sizes"), g.node("Reshape", "rows", conv, "sizes"))
	g.node("Shape", "count", tokens)
	grid := g.node("Reshape", "grid", "onnx::Reshape_1962", "sizes")
	resized := g.node("Reshape", "resized_rows", g.node("Resize", "resized", g.node("Transpose", "channels", grid), "", "", "sizes"), "sizes")
	x := g.node("Add", "embedded", tokens, g.node("Concat", "positions", "onnx::Concat_1957", resized))
	for i := range depth {
		x = g.block(m, x, prefix+"encoder.layer."+strconv.Itoa(i)+".", "blocks."+strconv.Itoa(i)+".")
	}
	g.node("Mul", "normed", x, prefix+"layernorm.weight")
	return g
}

func (g *model) block(m Map, x, to, from string) string {
	for a, b := range map[string]string{
		"norm1.weight": "norm1.weight", "norm1.bias": "norm1.bias", "layer_scale1.lambda1": "ls1.gamma",
		"norm2.weight": "norm2.weight", "norm2.bias": "norm2.bias", "layer_scale2.lambda1": "ls2.gamma",
	} {
		g.inits[to+a] = m[from+b]
	}
	norm := g.node("Mul", to+"norm1", x, to+"norm1.weight")
	for i, name := range []string{"query", "key", "value"} {
		g.linear(norm, to+"attention.attention."+name, rows(m[from+"attn.qkv.weight"], i), rows(m[from+"attn.qkv.bias"], i))
	}
	y := g.linear(norm, to+"attention.output.dense", m[from+"attn.proj.weight"], m[from+"attn.proj.bias"])
	y = g.linear(y, to+"mlp.fc1", m[from+"mlp.fc1.weight"], m[from+"mlp.fc1.bias"])
	return g.linear(y, to+"mlp.fc2", m[from+"mlp.fc2.weight"], m[from+"mlp.fc2.bias"])
}

// bytes serialises the graph by the field numbers of onnx.proto.
func (g *model) bytes() []byte {
	sub := func(b []byte, number protowire.Number, content []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), content)
	}
	var graph []byte
	for _, n := range g.nodes {
		var b []byte
		for _, s := range n.Inputs {
			b = sub(b, 1, []byte(s))
		}
		for _, s := range n.Outputs {
			b = sub(b, 2, []byte(s))
		}
		graph = sub(graph, 1, sub(sub(b, 3, []byte(n.Name)), 4, []byte(n.OpType)))
	}
	for _, name := range slices.Sorted(maps.Keys(g.inits)) {
		t := g.inits[name]
		var b, raw []byte
		for _, d := range t.Shape {
			b = protowire.AppendVarint(protowire.AppendTag(b, 1, protowire.VarintType), uint64(d))
		}
		b = protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), uint64(onnx.Float))
		for _, v := range t.Data {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
		}
		graph = sub(graph, 5, sub(sub(b, 8, []byte(name)), 9, raw))
	}
	return sub(nil, 7, graph)
}

// tiny returns weights of 2 blocks with 2 channels, patches of 1 pixel and 4 positions, all values different.
func tiny() Map {
	m, next := Map{}, float32(0)
	add := func(name string, shape []int64) {
		n := int64(1)
		for _, d := range shape {
			n *= d
		}
		data := make([]float32, n)
		for i := range data {
			next++
			data[i] = next
		}
		m[name] = Tensor{shape, data}
	}
	for _, w := range (Arch{Patch: 1, Dim: 2, Depth: 2}).parameters(1) {
		add(w.name, w.shape)
	}
	add("pos_embed", []int64{1, 5, 2})
	add("norm.weight", []int64{2})
	add("norm.bias", []int64{2})
	return m
}

func read(t *testing.T, g *model) (Map, error) {
	path := filepath.Join(t.TempDir(), "m.onnx")
	if err := os.WriteFile(path, g.bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	return FromONNX(path)
}

func TestFromONNX(t *testing.T) {
	tests := map[string]struct {
		prefix string
		change func(Map, *model)
	}{
		"part of a larger model": {"backbone.", func(Map, *model) {}},
		"model of its own":       {"", func(Map, *model) {}},
		"without the final norm": {"backbone.", func(m Map, g *model) {
			for _, name := range []string{"weight", "bias"} {
				delete(m, "norm."+name)
				delete(g.inits, "backbone.layernorm."+name)
			}
		}},
		"with mask token and registers": {"backbone.", func(m Map, g *model) {
			m["mask_token"] = Tensor{[]int64{1, 2}, []float32{-1, -2}}
			m["reg_token"] = Tensor{[]int64{1, 1, 2}, []float32{-3, -4}}
			g.inits["backbone.embeddings.mask_token"] = m["mask_token"]
			g.inits["backbone.embeddings.register_tokens"] = m["reg_token"]
		}},
		"position table in one": {"backbone.", func(m Map, g *model) {
			delete(g.inits, "onnx::Concat_1957")
			delete(g.inits, "onnx::Reshape_1962")
			g.inits["backbone.embeddings.position_embeddings"] = m["pos_embed"]
		}},
		"bias on the right": {"backbone.", func(_ Map, g *model) {
			for _, n := range g.nodes {
				if n.OpType == "Add" {
					slices.Reverse(n.Inputs)
				}
			}
		}},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			want := tiny()
			g := export(want, c.prefix, 2)
			c.change(want, g)
			have, err := read(t, g)
			if err != nil {
				t.Fatal(err)
			}
			for name := range want {
				if !reflect.DeepEqual(have[name], want[name]) {
					t.Errorf("%s: have %v, want %v", name, have[name], want[name])
				}
			}
			if len(have) != len(want) {
				t.Errorf("have %d tensors, want %d", len(have), len(want))
			}
		})
	}
}

func TestFromONNXRefuses(t *testing.T) {
	const layer = "backbone.encoder.layer.1."
	find := func(g *model, output string) *onnx.Node {
		i := slices.IndexFunc(g.nodes, func(n onnx.Node) bool { return n.Outputs[0] == output })
		return &g.nodes[i]
	}
	tests := map[string]struct {
		change func(*model)
		want   []string
	}{
		"no class token":    {func(g *model) { delete(g.inits, "backbone.embeddings.cls_token") }, []string{`have 0 initializers named "embeddings.cls_token"`}},
		"two class tokens":  {func(g *model) { g.inits["b.embeddings.cls_token"] = Tensor{[]int64{0}, nil} }, []string{`have 2 initializers named "embeddings.cls_token"`}},
		"no block":          {func(g *model) { delete(g.inits, "backbone.encoder.layer.0.norm1.weight") }, []string{"want at least one block"}},
		"two names missing": {func(g *model) { delete(g.inits, layer+"norm2.bias"); delete(g.inits, layer+"mlp.fc1.bias") }, []string{"2 at fault: ", `"` + layer + `norm2.bias" is missing`, `"` + layer + `mlp.fc1.bias" is missing`}},
		"query missing":     {func(g *model) { delete(g.inits, layer+"attention.attention.query.bias") }, []string{`1 at fault: "` + layer + `attention.attention.query.bias" is missing`}},
		"block left out":    {func(g *model) { delete(g.inits, layer+"norm1.weight") }, []string{`"` + layer + `attention.attention.key.bias" is not known`}},
		"another mlp":       {func(g *model) { g.inits[layer+"mlp.weights_in.bias"] = Tensor{[]int64{0}, nil} }, []string{`"` + layer + `mlp.weights_in.bias" is not known`}},
		"gemm":              {func(g *model) { find(g, layer+"mlp.fc1/MatMul_output_0").OpType = "Gemm" }, []string{`"` + layer + `mlp.fc1.bias": have no MatMul in front of its Add`}},
		"bias used twice":   {func(g *model) { g.node("Add", "again", layer+"mlp.fc1.bias", "x") }, []string{`mlp.fc1.bias": have no single Add that takes it`}},
		"bias not added":    {func(g *model) { find(g, layer+"mlp.fc1/Add_output_0").OpType = "Mul" }, []string{`mlp.fc1.bias": have no single Add`}},
		"weight computed":   {func(g *model) { find(g, layer+"mlp.fc1/MatMul_output_0").Inputs[1] = "embedded" }, []string{`"embedded" is missing`}},
		"weight used twice": {func(g *model) {
			find(g, layer+"mlp.fc1/MatMul_output_0").Inputs[1] = find(g, "backbone.encoder.layer.0.mlp.fc1/MatMul_output_0").Inputs[1]
		}, []string{`1 at fault: "onnx::MatMul_`, `" is used twice`}},
		"weight of another":    {func(g *model) { find(g, layer+"mlp.fc1/MatMul_output_0").Inputs[1] = "decoder.bn1.weight" }, []string{`mlp.fc1.bias": have weights [1] for 8 outputs, want [inputs 8]`}},
		"key of other shape":   {func(g *model) { g.resize(layer+"attention.attention.key", 3, 2) }, []string{`"blocks.1.attn.qkv": have query [2 2], key [2 3] and value [2 2]`}},
		"tokens not added":     {func(g *model) { find(g, "embedded").OpType = "Mul" }, []string{"position table: have no "}},
		"tokens in a ring":     {func(g *model) { find(g, "class").Outputs[0] = "backbone.embeddings.cls_token" }, []string{"position table: have no Add behind the class token"}},
		"positions computed":   {func(g *model) { find(g, "positions").OpType = "Mul" }, []string{"position table: have no Concat"}},
		"positions in a ring":  {func(g *model) { find(g, "grid").Inputs[0] = "resized" }, []string{"position table: have no initializer behind the patch positions"}},
		"positions from input": {func(g *model) { find(g, "grid").Inputs[0] = "image" }, []string{"position table: have no initializer behind the patch positions"}},
		"class position":       {func(g *model) { delete(g.inits, "onnx::Concat_1957") }, []string{`"onnx::Concat_1957" is missing`}},
		"positions too wide":   {func(g *model) { g.inits["onnx::Reshape_1962"] = Tensor{[]int64{1, 1, 3}, make([]float32, 3)} }, []string{"position table: have parts [1 1 2] and [1 1 3], want [1 1 C] and [1 P C]"}},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			g := export(tiny(), "backbone.", 2)
			c.change(g)
			_, err := read(t, g)
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "m.onnx: ") {
					t.Errorf("have %v\nwant %s", err, want)
				}
			}
		})
	}
}

// resize replaces the weight of a layer by zeros of another shape.
func (g *model) resize(name string, in, out int64) {
	for _, n := range g.nodes {
		if n.Outputs[0] == name+"/MatMul_output_0" {
			g.inits[n.Inputs[1]] = Tensor{[]int64{in, out}, make([]float32, in*out)}
		}
	}
}

func TestTranspose(t *testing.T) {
	for _, c := range []struct{ rows, columns int }{{1, 1}, {3, 70}, {64, 32}, {65, 33}, {0, 5}} {
		in := Tensor{[]int64{int64(c.rows), int64(c.columns)}, make([]float32, c.rows*c.columns)}
		for i := range in.Data {
			in.Data[i] = float32(i)
		}
		out := transpose(in)
		for i := range c.rows {
			for j := range c.columns {
				if have, want := out.Data[j*c.rows+i], in.Data[i*c.columns+j]; have != want {
					t.Fatalf("%v: element %d, %d: have %v, want %v", c, j, i, have, want)
				}
			}
		}
	}
}

// TestRealONNX reads the file that third_party/quickstart_backbone.sh fetches; MVAG_ONNX is its path.
func TestRealONNX(t *testing.T) {
	path := os.Getenv("MVAG_ONNX")
	if path == "" {
		t.Skip("MVAG_ONNX is not set")
	}
	m, err := FromONNX(path)
	if err != nil {
		t.Fatal(err)
	}
	a, err := ParseArch("vit_small_patch14_dinov2")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Check(m.Shapes(), 11); err != nil {
		t.Error(err)
	}
	if err := m.CheckFinite(); err != nil {
		t.Error(err)
	}
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(h, "%s %v\n", name, m[name].Shape)
		var b []byte
		for _, v := range m[name].Data {
			b = binary.LittleEndian.AppendUint16(b, safetensors.Float32ToFloat16(v))
		}
		h.Write(b)
	}
	// The same sum over the 174 float16 parameters of backbones/dinov2_vits14.pt, computed in Python from the archive.
	const want = "c1d24fc83317d2f99d011638d8ae04306a4744f911794237a429fd680988d693"
	if have := fmt.Sprintf("%x", h.Sum(nil)); have != want {
		t.Errorf("have sum %s, want %s", have, want)
	}
}

func FuzzFromGraph(f *testing.F) {
	f.Add(export(tiny(), "backbone.", 2).bytes())
	f.Add(export(tiny(), "", 1).bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := onnx.Parse(data)
		if err != nil {
			return
		}
		m, err := fromGraph(g)
		if err != nil {
			return
		}
		for name, p := range m {
			n := int64(1)
			for _, d := range p.Shape {
				n *= d
			}
			if n != int64(len(p.Data)) {
				t.Fatalf("%q: have %d values for %v", name, len(p.Data), p.Shape)
			}
		}
	})
}
