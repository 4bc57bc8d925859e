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
	named     bool // by Name: it keeps its place in the lists of people
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
	shapes    map[string]*Value // constants of int64, by content
	err       error
}

// operation is a node of the graph.
type operation struct {
	op         string
	in, out    []*Value // nil for an optional input that is absent
	attributes []Attribute
}

// constant is an initialiser: little-endian elements.
type constant struct {
	value *Value
	dims  []int64
	raw   []byte
}

// The operator sets that are written: 17 is the first with LayerNormalization, 20 with Gelu.
const (
	MinOpset = 17
	MaxOpset = 20
)

// NewBuilder begins a graph of an operator set. Where half is true, weights are stored as float16 and computed with in
// float32.
func NewBuilder(opset int, half bool) *Builder {
	g := &graph{opset: opset, half: half, names: map[string]bool{}, shapes: map[string]*Value{}}
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
		v.name = b.unique(op)
	}
	b.graph.nodes = append(b.graph.nodes, &operation{op, in, out, attributes})
	return out
}

// Name gives v a name of its own below the prefix and a sentence of documentation, and returns v. Named values are the
// stages of a model: people find them in a viewer, and they can be made outputs.
func (b *Builder) Name(v *Value, name, doc string) *Value {
	switch full := b.prefix + name; {
	case b.graph.err != nil:
	case b.graph.names[full]:
		b.fail(name, errors.New("have the name twice, want it once"))
	default:
		delete(b.graph.names, v.name)
		b.graph.names[full] = true
		v.name, v.doc, v.named = full, doc, true
	}
	return v
}

// Input declares an input of the graph.
func (b *Builder) Input(name, doc string, t DataType, shape ...Dim) *Value {
	v := b.Name(&Value{Type: t, Shape: shape}, name, doc)
	b.graph.inputs = append(b.graph.inputs, v)
	return v
}

// Output makes v an output of the graph, under a name of its own.
func (b *Builder) Output(v *Value, name, doc string) *Value {
	b.Name(v, name, doc)
	b.graph.outputs = append(b.graph.outputs, v)
	return v
}

// Setting is a constant that is also an optional input: whoever runs the model may give other values.
func (b *Builder) Setting(name, doc string, values []float32, dims ...int64) *Value {
	v := b.Name(b.floats(name, values, false, dims), name, doc)
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

// Half is a constant of float16, given as little-endian elements, which are not copied, and computed with in float32.
func (b *Builder) Half(name string, raw []byte, dims ...int64) *Value {
	return b.constant(name, Float16, raw, dims)
}

// Scalar is a constant of float32 without dimensions.
func (b *Builder) Scalar(v float32) *Value {
	return b.shared(Float, binary.LittleEndian.AppendUint32(nil, math.Float32bits(v)), nil, fmt.Sprint(v))
}

// Int is a constant of int64 without dimensions.
func (b *Builder) Int(v int64) *Value {
	return b.shared(Int64, binary.LittleEndian.AppendUint64(nil, uint64(v)), nil, fmt.Sprint(v))
}

// Ints is a constant of int64 with one dimension.
func (b *Builder) Ints(values ...int64) *Value {
	var raw []byte
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(v))
	}
	return b.shared(Int64, raw, []int64{int64(len(values))}, fmt.Sprint(values))
}

// shared is a small constant that all uses of the graph share, named by what it is.
func (b *Builder) shared(t DataType, raw []byte, dims []int64, name string) *Value {
	key := fmt.Sprint(t, " ", name)
	v, ok := b.graph.shapes[key]
	if !ok {
		root := &Builder{graph: b.graph}
		v = root.constant(key, t, raw, dims)
		b.graph.shapes[key] = v
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
