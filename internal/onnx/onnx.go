// Package onnx reads the weights of an ONNX model file: the initialisers, and the nodes of the graph, which identify
// tensors that have no name of their own. It ignores attributes, subgraphs, types and all else that is needed only to
// run a model.
//
// The file is a protocol buffer. Package protowire, the lowest layer of google.golang.org/protobuf, splits it into
// fields. Generated code would have the hundred messages of onnx.proto, of which four are used. The field numbers below
// are those of onnx.proto, which never change.
package onnx

import (
	"errors"
	"fmt"
	"math"
	"os"

	"google.golang.org/protobuf/encoding/protowire"
)

// maxNodes bounds the memory that a malicious file of empty nodes can take. Large models have about ten thousand.
const maxNodes = 1 << 20

// Graph is the main graph of a model.
type Graph struct {
	Nodes        []Node
	Initializers []Tensor
}

// Node is an operator. Inputs and Outputs are names of values. An input is the output of another node, an initialiser,
// an input of the graph, or "" for an optional one that is absent.
type Node struct {
	OpType, Name    string
	Inputs, Outputs []string
}

// ReadFile reads a model file without external data.
func ReadFile(path string) (*Graph, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: have a folder or special file, want a regular file", path)
	}
	if info.Size() > math.MaxInt32 { // the limit of protocol buffers
		return nil, fmt.Errorf("%s: have %d bytes, want at most %d", path, info.Size(), math.MaxInt32)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	g, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return g, nil
}

// Parse parses a serialised ModelProto. The tensors of the result may share memory with data, which must not change.
func Parse(data []byte) (*Graph, error) {
	var graph *Graph
	err := fields(data, func(f field) (err error) {
		if f.number != 7 {
			return nil
		}
		if graph != nil {
			return errors.New("have two graphs, want one")
		}
		graph, err = parseGraph(f)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("onnx: %w", err)
	}
	if graph == nil {
		return nil, errors.New("onnx: have no graph, want an ONNX model")
	}
	return graph, nil
}

// parseGraph parses a GraphProto.
func parseGraph(f field) (*Graph, error) {
	g := &Graph{}
	seen := map[string]bool{}
	err := f.message("graph", func(f field) error {
		switch f.number {
		case 1:
			if len(g.Nodes) == maxNodes {
				return fmt.Errorf("have more than %d nodes, want fewer", maxNodes)
			}
			n, err := parseNode(f)
			if err != nil {
				return fmt.Errorf("node %d: %w", len(g.Nodes), err)
			}
			g.Nodes = append(g.Nodes, n)
		case 5:
			t, err := parseTensor(f)
			if err != nil {
				return fmt.Errorf("initializer %d %.80q: %w", len(g.Initializers), t.Name, err)
			}
			if seen[t.Name] {
				return fmt.Errorf("initializer %d %.80q: have the name twice, want it once", len(g.Initializers), t.Name)
			}
			seen[t.Name] = true
			g.Initializers = append(g.Initializers, t)
		}
		return nil
	})
	return g, err
}

// parseNode parses a NodeProto.
func parseNode(f field) (Node, error) {
	var n Node
	err := f.message("node", func(f field) (err error) {
		var s string
		switch f.number {
		case 1:
			s, err = f.text("input")
			n.Inputs = append(n.Inputs, s)
		case 2:
			s, err = f.text("output")
			n.Outputs = append(n.Outputs, s)
		case 3:
			n.Name, err = f.text("name")
		case 4:
			n.OpType, err = f.text("op_type")
		}
		return err
	})
	return n, err
}

// field is a field of a message: number, wire type, and content without length prefix.
type field struct {
	number  protowire.Number
	wire    protowire.Type
	content []byte
}

// fields calls use for every field of a serialised message.
func fields(b []byte, use func(field) error) error {
	for len(b) > 0 {
		number, wire, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("have an invalid protocol buffer: %w", protowire.ParseError(n))
		}
		b = b[n:]
		n = protowire.ConsumeFieldValue(number, wire, b)
		if n < 0 {
			return fmt.Errorf("have an invalid protocol buffer: %w", protowire.ParseError(n))
		}
		content := b[:n:n]
		if wire == protowire.BytesType {
			content, _ = protowire.ConsumeBytes(content)
		}
		if err := use(field{number, wire, content}); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// is returns an error if the wire type is another.
func (f field) is(name string, wire protowire.Type) error {
	if f.wire != wire {
		return fmt.Errorf("%s: have wire type %d, want %d", name, f.wire, wire)
	}
	return nil
}

func (f field) message(name string, use func(field) error) error {
	if err := f.is(name, protowire.BytesType); err != nil {
		return err
	}
	return fields(f.content, use)
}

func (f field) text(name string) (string, error) {
	return string(f.content), f.is(name, protowire.BytesType)
}

func (f field) varint(name string) (int64, error) {
	v, _ := protowire.ConsumeVarint(f.content)
	return int64(v), f.is(name, protowire.VarintType)
}
