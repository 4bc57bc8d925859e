package onnx

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
)

// irVersion is the version of the file format that goes with an operator set.
func irVersion(opset int64) int64 {
	if opset < 19 {
		return 8
	}
	return 9
}

// encode returns the ModelProto. Where external has the name of a constant, it says where in another file that lies.
func (m *Model) encode(external map[string]location) *message {
	out := &message{}
	out.varint(1, irVersion(m.Opset))
	out.text(2, m.Producer)
	out.text(3, m.Version)
	out.text(6, m.Doc)
	out.message(7, m.encodeGraph(external))
	opset := &message{}
	opset.varint(2, m.Opset)
	out.message(8, opset)
	for _, key := range slices.Sorted(maps.Keys(m.Metadata)) {
		out.message(14, encodeEntry(key, m.Metadata[key]))
	}
	return out
}

// encodeEntry returns the StringStringEntryProto.
func encodeEntry(key, value string) *message {
	out := &message{}
	out.text(1, key)
	out.text(2, value)
	return out
}

// encodeGraph returns the GraphProto.
func (m *Model) encodeGraph(external map[string]location) *message {
	out := &message{}
	for _, n := range m.Nodes {
		out.message(1, n.encode())
	}
	out.text(2, m.Name)
	for _, t := range m.Initializers {
		out.message(5, t.encode(external))
	}
	for _, v := range m.Inputs {
		out.message(11, v.encode())
	}
	for _, v := range m.Outputs {
		out.message(12, v.encode())
	}
	for _, v := range m.Values {
		out.message(13, v.encode())
	}
	return out
}

// encode returns the NodeProto.
func (n *Node) encode() *message {
	out := &message{}
	for _, name := range n.Inputs {
		out.raw(1, []byte(name))
	}
	for _, name := range n.Outputs {
		out.raw(2, []byte(name))
	}
	out.text(3, n.Name)
	out.text(4, n.OpType)
	for _, a := range n.Attributes {
		out.message(5, a.encode())
	}
	out.text(6, n.Doc)
	return out
}

// encode returns the AttributeProto.
func (a *Attribute) encode() *message {
	out := &message{}
	out.text(1, a.Name)
	switch v := a.Value.(type) {
	case float32:
		out.float(2, v)
		out.varint(20, attributeFloat)
	case int64:
		out.varint(3, v)
		out.varint(20, attributeInt)
	case []int64:
		for _, i := range v {
			out.varint(8, i)
		}
		out.varint(20, attributeInts)
	}
	return out
}

// encode returns the ValueInfoProto.
func (v *ValueInfo) encode() *message {
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
	out.text(1, v.Name)
	out.message(2, kind)
	out.text(3, v.Doc)
	return out
}

// encode returns the TensorProto.
func (t *Tensor) encode(external map[string]location) *message {
	out := &message{}
	for _, n := range t.Dims {
		out.varint(1, n)
	}
	out.varint(2, int64(t.DataType))
	out.text(8, t.Name)
	at, elsewhere := external[t.Name]
	if !elsewhere {
		out.raw(9, t.raw)
	}
	out.text(12, t.Doc)
	if elsewhere {
		out.message(13, encodeEntry("location", filepath.Base(at.path)))
		out.message(13, encodeEntry("offset", fmt.Sprint(at.offset)))
		out.message(13, encodeEntry("length", fmt.Sprint(at.length)))
		out.varint(14, 1)
	}
	return out
}
