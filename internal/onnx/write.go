package onnx

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Model is a graph with what is said about it, ready to be written.
type Model struct {
	Name, Doc string
	Producer  string
	Version   string            // of the producer
	Metadata  map[string]string // free text by key

	graph *graph
}

// irVersion is that of the file format: 8 goes with operator set 17.
const irVersion = 8

// Model returns the model that b has built, or its first fault.
func (b *Builder) Model() (*Model, error) {
	g := b.graph
	if g.err == nil && len(g.outputs) == 0 {
		g.err = errors.New("have no output, want one")
	}
	if g.err != nil {
		return nil, fmt.Errorf("onnx: %w", g.err)
	}
	return &Model{graph: g}, nil
}

// Stage is a named value of a graph.
type Stage struct {
	Name, Doc string
	Type      DataType
	Shape     Shape
}

// Stages are the named values that operations make, in order of evaluation.
func (m *Model) Stages() (list []Stage) {
	for _, n := range m.graph.nodes {
		for _, v := range n.out {
			if v.named {
				list = append(list, Stage{v.name, v.doc, v.Type, v.Shape})
			}
		}
	}
	return list
}

// MakeOutput makes a stage an output of the graph, too.
func (m *Model) MakeOutput(stage string) error {
	for _, n := range m.graph.nodes {
		for _, v := range n.out {
			if v.named && v.name == stage {
				if !slices.Contains(m.graph.outputs, v) {
					m.graph.outputs = append(m.graph.outputs, v)
				}
				return nil
			}
		}
	}
	return fmt.Errorf("stage: have no %q", stage)
}

// ConstantBytes is the size of all initialisers.
func (m *Model) ConstantBytes() (n int64) {
	for _, c := range m.graph.constants {
		n += int64(len(c.raw))
	}
	return n
}

// message is a serialised protocol buffer in parts, so that large constants are not copied.
type message struct {
	parts [][]byte
	size  int
}

func (m *message) bytes(p []byte) {
	m.parts = append(m.parts, p)
	m.size += len(p)
}

func (m *message) head(n protowire.Number, t protowire.Type, v uint64) {
	m.bytes(protowire.AppendVarint(protowire.AppendTag(nil, n, t), v))
}

// varint, text, raw and message add a field.
func (m *message) varint(n protowire.Number, v int64) { m.head(n, protowire.VarintType, uint64(v)) }

func (m *message) text(n protowire.Number, s string) {
	if s != "" {
		m.raw(n, []byte(s))
	}
}

func (m *message) raw(n protowire.Number, p []byte) {
	m.head(n, protowire.BytesType, uint64(len(p)))
	m.bytes(p)
}

func (m *message) message(n protowire.Number, sub *message) {
	m.head(n, protowire.BytesType, uint64(sub.size))
	m.parts = append(m.parts, sub.parts...)
	m.size += sub.size
}

// writeTo writes the parts.
func (m *message) writeTo(w io.Writer) error {
	for _, p := range m.parts {
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// encode returns the ModelProto. Where external is not nil, it says which constants lie in another file, and where.
func (m *Model) encode(external func(*constant) *location) *message {
	out := &message{}
	out.varint(1, irVersion)
	out.text(2, m.Producer)
	out.text(3, m.Version)
	out.text(6, m.Doc)
	out.message(7, m.encodeGraph(external))
	opset := &message{}
	opset.varint(2, int64(m.graph.opset))
	out.message(8, opset)
	for _, key := range slices.Sorted(maps.Keys(m.Metadata)) {
		entry := &message{}
		entry.text(1, key)
		entry.text(2, m.Metadata[key])
		out.message(14, entry)
	}
	return out
}

// encodeGraph returns the GraphProto.
func (m *Model) encodeGraph(external func(*constant) *location) *message {
	out := &message{}
	for _, n := range m.graph.nodes {
		out.message(1, n.encode())
	}
	out.text(2, m.Name)
	for _, c := range m.graph.constants {
		out.message(5, c.encode(external))
	}
	out.text(10, m.Doc)
	for _, v := range m.graph.inputs {
		out.message(11, v.encode())
	}
	for _, v := range m.graph.outputs {
		out.message(12, v.encode())
	}
	for _, n := range m.graph.nodes {
		for _, v := range n.out {
			if !slices.Contains(m.graph.outputs, v) {
				out.message(13, v.encode())
			}
		}
	}
	return out
}

// encode returns the NodeProto.
func (n *operation) encode() *message {
	out := &message{}
	for _, v := range n.in {
		out.raw(1, []byte(v.name))
	}
	for _, v := range n.out {
		out.raw(2, []byte(v.name))
	}
	out.text(3, n.out[0].name)
	out.text(4, n.op)
	for _, a := range n.attributes {
		out.message(5, a.encode())
	}
	out.text(6, n.out[0].doc)
	return out
}

// encode returns the AttributeProto.
func (a Attribute) encode() *message {
	out := &message{}
	out.text(1, a.Name)
	kind := int64(0)
	switch v := a.Value.(type) {
	case float32:
		out.bytes(protowire.AppendFixed32(protowire.AppendTag(nil, 2, protowire.Fixed32Type), math.Float32bits(v)))
		kind = 1
	case int64:
		out.varint(3, v)
		kind = 2
	case string:
		out.raw(4, []byte(v))
		kind = 3
	case []int64:
		for _, i := range v {
			out.varint(8, i)
		}
		kind = 7
	}
	out.varint(20, kind)
	return out
}

// encode returns the ValueInfoProto.
func (v *Value) encode() *message {
	shape := &message{}
	for _, d := range v.Shape {
		dim := &message{}
		if d.Objects {
			dim.text(2, d.String())
		} else {
			dim.varint(1, d.N)
		}
		shape.message(1, dim)
	}
	tensor := &message{}
	tensor.varint(1, int64(v.Type))
	tensor.message(2, shape)
	kind := &message{}
	kind.message(1, tensor)
	out := &message{}
	out.text(1, v.name)
	out.message(2, kind)
	out.text(3, v.doc)
	return out
}

// location is where a constant lies in a file of external data.
type location struct {
	file           string
	offset, length int64
}

// encode returns the TensorProto.
func (c *constant) encode(external func(*constant) *location) *message {
	out := &message{}
	for _, n := range c.dims {
		out.varint(1, n)
	}
	out.varint(2, int64(c.value.Type))
	out.text(8, c.value.name)
	out.text(12, c.value.doc)
	var at *location
	if external != nil {
		at = external(c)
	}
	if at == nil {
		out.raw(9, c.raw)
		return out
	}
	for _, entry := range [][2]string{{"location", at.file}, {"offset", fmt.Sprint(at.offset)}, {"length", fmt.Sprint(at.length)}} {
		pair := &message{}
		pair.text(1, entry[0])
		pair.text(2, entry[1])
		out.message(13, pair)
	}
	out.varint(14, 1)
	return out
}
