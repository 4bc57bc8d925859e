package onnx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"mvag-torch/internal/safetensors"
)

// Builder makes a graph. Each operation is a method that checks the types and shapes of its operands as it is added and
// returns a value whose type and shape are known. The first fault stays, later operations do nothing, and Model returns
// it: callers write a graph like a formula.
//
// Names begin with the prefix of the builder: "encoder.blocks.0.". Sub goes down.
type Builder struct {
	graph  *graph
	prefix string
}

// Value is what an operation returns, an initialiser, or an input of the graph.
type Value struct {
	Type  DataType
	Shape Shape

	name, doc string
	free      bool // made by an operation and not named yet
}

// graph is what the builders of a model have in common.
type graph struct {
	opset     int
	half      bool // large weights are stored as float16
	nodes     []*operation
	constants []*constant
	inputs    []*Value
	outputs   []*Value
	names     map[string]bool
	shared    map[string]*Value // small constants, by content
	err       error
}

// operation is a node of the graph.
type operation struct {
	op         string
	in, out    []*Value
	attributes []Attribute
}

// constant is an initialiser: little-endian elements.
type constant struct {
	*Value
	dims []int64
	raw  []byte
}

// The operator sets that are written: 17 is the first with LayerNormalization, 20 with Gelu.
const (
	MinOpset = 17
	MaxOpset = 20
)

// NewBuilder begins a graph of an operator set. Where half is true, weights are stored as float16 and computed with in
// float32.
func NewBuilder(opset int, half bool) *Builder {
	g := &graph{opset: opset, half: half, names: map[string]bool{}, shared: map[string]*Value{}}
	if opset < MinOpset || opset > MaxOpset {
		g.err = fmt.Errorf("opset: have %d, want %d to %d", opset, MinOpset, MaxOpset)
	}
	return &Builder{graph: g}
}

// Sub returns a builder of the same graph whose names begin with name, too.
func (b *Builder) Sub(name string) *Builder { return &Builder{b.graph, b.prefix + name + "."} }

// fail keeps the first fault.
func (b *Builder) fail(op string, err error) *Value {
	if b.graph.err == nil {
		b.graph.err = fmt.Errorf("%s%s: %w", b.prefix, op, err)
	}
	return &Value{}
}

// unique is a name that nothing has yet: prefix and name, and a number where there are several.
func (b *Builder) unique(name string) string {
	full := b.prefix + name
	for i := 2; b.graph.names[full]; i++ {
		full = fmt.Sprintf("%s%s_%d", b.prefix, name, i)
	}
	b.graph.names[full] = true
	return full
}

// add adds an operation of one output.
func (b *Builder) add(op string, t DataType, shape Shape, in []*Value, attributes ...Attribute) *Value {
	return b.addAll(op, []*Value{{Type: t, Shape: shape}}, in, attributes...)[0]
}

func (b *Builder) addAll(op string, out, in []*Value, attributes ...Attribute) []*Value {
	if b.graph.err != nil {
		return out
	}
	for _, v := range out {
		if err := v.Shape.check(); err != nil {
			b.fail(op, err)
			return out
		}
		v.name, v.free = b.unique(op), true
	}
	b.graph.nodes = append(b.graph.nodes, &operation{op, slices.Clone(in), slices.Clone(out), attributes})
	return out
}

// Name gives v a name of its own below the prefix and a sentence of documentation, and returns it. A value that has a
// name already keeps it, and Name returns another that is equal. Named values are the stages of a model: people find
// them in a viewer.
func (b *Builder) Name(v *Value, name, doc string) *Value {
	if b.graph.err != nil {
		return v
	}
	if !v.free {
		v = b.add("Identity", v.Type, v.Shape, []*Value{v})
	}
	delete(b.graph.names, v.name)
	return b.declare(v, name, doc)
}

// declare names v.
func (b *Builder) declare(v *Value, name, doc string) *Value {
	switch full := b.prefix + name; {
	case b.graph.err != nil:
	case name == "" || doc == "":
		b.fail(name, fmt.Errorf("have documentation %q, want name and documentation", doc))
	case b.graph.names[full]:
		b.fail(name, errors.New("have the name twice, want it once"))
	default:
		b.graph.names[full] = true
		v.name, v.doc, v.free = full, doc, false
	}
	return v
}

// Input declares an input of the graph.
func (b *Builder) Input(name, doc string, t DataType, shape ...Dim) *Value {
	v := &Value{Type: t, Shape: shape}
	if err := v.Shape.check(); err != nil {
		return b.fail(name, err)
	}
	if !t.written() {
		return b.fail(name, fmt.Errorf("have %s, want FLOAT, FLOAT16, INT64, UINT8 or BOOL", t))
	}
	b.declare(v, name, doc)
	b.graph.inputs = append(b.graph.inputs, v)
	return v
}

// Output makes v an output of the graph, under a name of its own as by Name, and returns it.
func (b *Builder) Output(v *Value, name, doc string) *Value {
	v = b.Name(v, name, doc)
	b.graph.outputs = append(b.graph.outputs, v)
	return v
}

// Setting is a constant that is also an optional input: whoever runs the model may give other values.
func (b *Builder) Setting(name, doc string, values []float32, dims ...int64) *Value {
	v := b.floats(name, values, false, dims)
	if v.name != b.prefix+name {
		return b.fail(name, errors.New("have the name twice, want it once"))
	}
	delete(b.graph.names, v.name)
	b.declare(v, name, doc)
	b.graph.inputs = append(b.graph.inputs, v)
	return v
}

// Weight is a constant of float32, stored as float16 if the builder says so and it has more than one dimension. values
// are not copied.
func (b *Builder) Weight(name string, values []float32, dims ...int64) *Value {
	return b.floats(name, values, b.graph.half && len(dims) > 1, dims)
}

// Floats is a constant of float32 that is stored as it is. values are not copied.
func (b *Builder) Floats(name string, values []float32, dims ...int64) *Value {
	return b.floats(name, values, false, dims)
}

func (b *Builder) floats(name string, values []float32, half bool, dims []int64) *Value {
	width := 4
	if half {
		width = 2
	}
	raw := make([]byte, 0, width*len(values))
	for _, v := range values {
		if math.IsInf(float64(v), 0) || math.IsNaN(float64(v)) {
			return b.fail(name, fmt.Errorf("have %v, want finite values", v))
		}
		if !half {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
			continue
		}
		bits := safetensors.Float32ToFloat16(v)
		if bits&0x7c00 == 0x7c00 {
			return b.fail(name, fmt.Errorf("have %v, want values that float16 holds", v))
		}
		raw = binary.LittleEndian.AppendUint16(raw, bits)
	}
	if half {
		return b.Cast(b.constant(name, Float16, raw, dims), Float)
	}
	return b.constant(name, Float, raw, dims)
}

// Half is a constant of float16, given as little-endian elements, which are not copied. Only Cast computes with it.
func (b *Builder) Half(name string, raw []byte, dims ...int64) *Value {
	if i := safetensors.NotFinite16(raw); i >= 0 {
		return b.fail(name, fmt.Errorf("have element %d not finite, want finite values", i))
	}
	return b.constant(name, Float16, raw, dims)
}

// Scalar is a constant of float32 without dimensions. It may be infinite or NaN.
func (b *Builder) Scalar(v float32) *Value {
	return b.share(Float, binary.LittleEndian.AppendUint32(nil, math.Float32bits(v)), nil, fmt.Sprint("float_", v))
}

// Int is a constant of int64 without dimensions.
func (b *Builder) Int(v int64) *Value {
	return b.share(Int64, binary.LittleEndian.AppendUint64(nil, uint64(v)), nil, fmt.Sprint("int_", v))
}

// Ints is a constant of int64 with one dimension.
func (b *Builder) Ints(values ...int64) *Value {
	raw := []byte{}
	name := "ints"
	for i, v := range values {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(v))
		if i < maxNamed {
			name += fmt.Sprint("_", v)
		}
	}
	return b.share(Int64, raw, []int64{int64(len(values))}, name)
}

// maxNamed is the number of elements in the name of a constant.
const maxNamed = 8

// share returns a small constant that all uses in the graph have in common. Its name is made of its elements.
func (b *Builder) share(t DataType, raw []byte, dims []int64, name string) *Value {
	key := fmt.Sprint(t, dims, raw)
	v, ok := b.graph.shared[key]
	if !ok {
		root := &Builder{graph: b.graph}
		v = root.constant(name, t, raw, dims)
		b.graph.shared[key] = v
	}
	return v
}

// Bools is a constant of bool.
func (b *Builder) Bools(name string, values []bool, dims ...int64) *Value {
	raw := make([]byte, len(values))
	for i, v := range values {
		if v {
			raw[i] = 1
		}
	}
	return b.constant(name, Bool, raw, dims)
}

func (b *Builder) constant(name string, t DataType, raw []byte, dims []int64) *Value {
	v := &Value{Type: t, Shape: Fixed(dims...)}
	if b.graph.err != nil {
		return v
	}
	want, err := safetensors.ByteLen(dataTypes[t].dtype, dims)
	if err == nil && int64(len(raw)) != want {
		err = fmt.Errorf("have %d bytes, want %d for %s %v", len(raw), want, t, dims)
	}
	if err != nil {
		return b.fail(name, err)
	}
	v.name = b.unique(name)
	b.graph.constants = append(b.graph.constants, &constant{v, slices.Clone(dims), raw})
	return v
}

// Model returns the model that b has built, without a name yet, or its first fault. What neither an output nor a stage
// needs is left out.
func (b *Builder) Model() (*Model, error) {
	g := b.graph
	if g.err == nil && len(g.outputs) == 0 {
		g.err = errors.New("have no output, want one")
	}
	if g.err != nil {
		return nil, fmt.Errorf("onnx: %w", g.err)
	}
	m := &Model{Opset: int64(g.opset)}
	needed := g.needed()
	for _, n := range g.nodes {
		if !needed[n.out[0]] {
			continue
		}
		node := Node{OpType: n.op, Name: n.out[0].name, Doc: n.out[0].doc, Attributes: n.attributes}
		for _, v := range n.in {
			node.Inputs = append(node.Inputs, v.name)
		}
		for _, v := range n.out {
			node.Outputs = append(node.Outputs, v.name)
			if !slices.Contains(g.outputs, v) {
				m.Values = append(m.Values, v.info())
			}
		}
		m.Nodes = append(m.Nodes, node)
	}
	for _, c := range g.constants {
		if needed[c.Value] {
			m.Initializers = append(m.Initializers, Tensor{Name: c.name, Doc: c.doc, DataType: c.Type, Dims: c.dims, raw: c.raw})
		}
	}
	for _, v := range g.inputs {
		m.Inputs = append(m.Inputs, v.info())
	}
	for _, v := range g.outputs {
		m.Outputs = append(m.Outputs, v.info())
	}
	return m, nil
}

// needed are the inputs, the stages, and what they are computed from; all outputs of an operation or none.
func (g *graph) needed() map[*Value]bool {
	needed := map[*Value]bool{}
	for _, v := range g.inputs {
		needed[v] = true
	}
	for _, n := range slices.Backward(g.nodes) {
		if !slices.ContainsFunc(n.out, func(v *Value) bool { return needed[v] || v.doc != "" }) {
			continue
		}
		for _, v := range slices.Concat(n.in, n.out) {
			needed[v] = true
		}
	}
	return needed
}

func (v *Value) info() ValueInfo {
	return ValueInfo{v.name, v.doc, v.Type, append(Shape{}, v.Shape...)}
}
