// Package onnx builds, writes and reads ONNX model files. [Builder] makes the graph of a [Model] from checked
// operations, [WriteFile] writes it, and [ReadModel] reads what WriteFile has written, strictly: what it does not know
// is an error. [ReadFile] reads the weights of any model file and skips what is only needed to run it.
//
// The file is a protocol buffer. Package protowire, the lowest layer of google.golang.org/protobuf, splits it into
// fields. Generated code would have the hundred messages of onnx.proto, of which ten are used. The field numbers in
// this package are those of onnx.proto, which never change.
package onnx

import (
	"cmp"
	"fmt"
	"slices"

	"mvag-torch/internal/safetensors"
)

// Model is a graph with what is said about it.
type Model struct {
	Name, Doc string
	Producer  string
	Version   string            // of the producer
	Metadata  map[string]string // free text by key
	Opset     int64             // of the default operators

	Graph
}

// Graph is the main graph of a model.
type Graph struct {
	Nodes        []Node // in an order of evaluation
	Initializers []Tensor
	Inputs       []ValueInfo // an initialiser among them is a default, which whoever runs the model may replace
	Outputs      []ValueInfo
	Values       []ValueInfo // of nodes, outputs excepted
}

// Node is an operator. Inputs and Outputs are names of values. An input is the output of another node, an initialiser,
// an input of the graph, or "" for an optional one that is absent.
type Node struct {
	OpType, Name, Doc string
	Inputs, Outputs   []string
	Attributes        []Attribute
}

// Attribute is a constant of a node: an int64, float32 or []int64.
type Attribute struct {
	Name  string
	Value any
}

// ValueInfo is what is known of a value before the model runs.
type ValueInfo struct {
	Name, Doc string
	Type      DataType
	Shape     Shape
}

// Stages are the values that nodes make and that have a sentence of documentation, in order of evaluation: people find
// them in a viewer.
func (m *Model) Stages() (list []ValueInfo) {
	known := make(map[string]ValueInfo, len(m.Values)+len(m.Outputs))
	for _, v := range slices.Concat(m.Values, m.Outputs) {
		known[v.Name] = v
	}
	for _, n := range m.Nodes {
		for _, name := range n.Outputs {
			if v := known[name]; v.Doc != "" {
				list = append(list, v)
			}
		}
	}
	return list
}

// ConstantBytes is the size of all initialisers.
func (m *Model) ConstantBytes() (n int64) {
	for _, t := range m.Initializers {
		n += t.bytes()
	}
	return n
}

// DataType is an element type of TensorProto.
type DataType int32

// The element types whose values can be read.
const (
	Float    DataType = 1
	Uint8    DataType = 2
	Int64    DataType = 7
	Bool     DataType = 9
	Float16  DataType = 10
	Double   DataType = 11
	BFloat16 DataType = 16
)

// dataTypes has their names in onnx.proto, and the types with the same elements in a safetensors file.
var dataTypes = map[DataType]struct {
	name  string
	dtype safetensors.DType
}{
	Float:    {"FLOAT", safetensors.F32},
	Uint8:    {"UINT8", safetensors.U8},
	Int64:    {"INT64", safetensors.I64},
	Bool:     {"BOOL", safetensors.Bool},
	Float16:  {"FLOAT16", safetensors.F16},
	Double:   {"DOUBLE", safetensors.F64},
	BFloat16: {"BFLOAT16", safetensors.BF16},
}

// String returns the name of the type in onnx.proto if it can be read.
func (d DataType) String() string {
	return cmp.Or(dataTypes[d].name, fmt.Sprintf("data type %d", int32(d)))
}

// written says whether WriteFile writes values of this type.
func (d DataType) written() bool {
	return d == Float || d == Uint8 || d == Int64 || d == Bool || d == Float16
}

// DataFiles are the paths of the files that hold external data, sorted.
func (m *Model) DataFiles() (paths []string) {
	for _, t := range m.Initializers {
		if t.external != nil && !slices.Contains(paths, t.external.path) {
			paths = append(paths, t.external.path)
		}
	}
	slices.Sort(paths)
	return paths
}
