package onnx

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// graph parses a GraphProto.
func (p *parser) graph(f field, m *Model) error {
	seen := map[string]bool{}
	return f.message("graph", func(f field) (err error) {
		switch f.number {
		case 1:
			var n Node
			if n, err = p.node(f); err != nil {
				return fmt.Errorf("node %d: %w", len(m.Nodes), err)
			}
			m.Nodes = append(m.Nodes, n)
			return p.count()
		case 5:
			t, err := p.tensor(f)
			if err == nil && seen[t.Name] {
				err = errors.New("have the name twice, want it once")
			}
			if err != nil {
				return fmt.Errorf("initializer %d %.80q: %w", len(m.Initializers), t.Name, err)
			}
			seen[t.Name] = true
			m.Initializers = append(m.Initializers, t)
			return p.count()
		}
		if !p.strict {
			return nil
		}
		switch f.number {
		case 2:
			m.Name, err = p.text(f, "name")
		case 11:
			err = p.valueInfo(f, "input", &m.Inputs)
		case 12:
			err = p.valueInfo(f, "output", &m.Outputs)
		case 13:
			err = p.valueInfo(f, "value_info", &m.Values)
		default:
			err = p.unknown(f)
		}
		return err
	})
}

// node parses a NodeProto.
func (p *parser) node(f field) (Node, error) {
	var n Node
	err := f.message("node", func(f field) (err error) {
		switch f.number {
		case 1:
			return p.list(f, "input", &n.Inputs)
		case 2:
			return p.list(f, "output", &n.Outputs)
		case 3:
			n.Name, err = p.text(f, "name")
			return err
		case 4:
			n.OpType, err = p.text(f, "op_type")
			return err
		}
		if !p.strict {
			return nil
		}
		switch f.number {
		case 5:
			var a Attribute
			if a, err = p.attribute(f); err != nil {
				return fmt.Errorf("attribute %.80q: %w", a.Name, err)
			}
			n.Attributes = append(n.Attributes, a)
			err = p.count()
		case 6:
			n.Doc, err = p.text(f, "doc_string")
		default:
			err = p.unknown(f)
		}
		return err
	})
	return n, err
}

// The types of AttributeProto that are written.
const (
	attributeFloat = 1
	attributeInt   = 2
	attributeInts  = 7
)

// attribute parses an AttributeProto. With an error it returns the name, too.
func (p *parser) attribute(f field) (Attribute, error) {
	var a Attribute
	var kind, number int64
	var float float32
	ints := []int64{}
	var has []int64 // the types whose fields are there
	err := f.message("attribute", func(f field) (err error) {
		switch f.number {
		case 1:
			a.Name, err = p.text(f, "name")
		case 2:
			float, err = f.float("f")
			has = append(has, attributeFloat)
		case 3:
			number, err = f.varint("i")
			has = append(has, attributeInt)
		case 8:
			err = f.varints(&ints, "ints", maxItems)
			has = append(has, attributeInts)
		case 20:
			kind, err = f.varint("type")
		default:
			err = p.unknown(f)
		}
		if err == nil {
			err = p.count()
		}
		return err
	})
	if err != nil {
		return a, err
	}
	for _, h := range has {
		if h != kind {
			return a, fmt.Errorf("have type %d and a value of type %d, want the same", kind, h)
		}
	}
	switch kind {
	case attributeFloat:
		a.Value = float
	case attributeInt:
		a.Value = number
	case attributeInts:
		a.Value = ints
	default:
		return a, fmt.Errorf("have type %d, want FLOAT, INT or INTS", kind)
	}
	return a, nil
}

// valueInfo appends a ValueInfoProto to a list.
func (p *parser) valueInfo(f field, list string, to *[]ValueInfo) error {
	var v ValueInfo
	typed := false
	err := f.message(list, func(f field) (err error) {
		switch f.number {
		case 1:
			v.Name, err = p.text(f, "name")
		case 2:
			typed = true
			err = f.message("type", func(f field) error {
				if f.number != 1 {
					return p.unknown(f)
				}
				return p.tensorType(f, &v)
			})
		case 3:
			v.Doc, err = p.text(f, "doc_string")
		default:
			err = p.unknown(f)
		}
		return err
	})
	if err == nil && !(typed && v.Type.written() && v.Shape != nil) {
		err = fmt.Errorf("have %s %v, want a tensor of FLOAT, FLOAT16, INT64, UINT8 or BOOL with a shape", v.Type, v.Shape)
	}
	if err != nil {
		return fmt.Errorf("%s %.80q: %w", list, v.Name, err)
	}
	*to = append(*to, v)
	return p.count()
}

// tensorType parses a TypeProto.Tensor.
func (p *parser) tensorType(f field, v *ValueInfo) error {
	return f.message("tensor_type", func(f field) error {
		switch f.number {
		case 1:
			t, err := f.varint("elem_type")
			v.Type = DataType(t)
			return err
		case 2:
			v.Shape = Shape{}
			return f.message("shape", func(f field) error {
				if f.number != 1 {
					return p.unknown(f)
				}
				d, err := p.dim(f)
				if err == nil && len(v.Shape) == maxRank {
					err = fmt.Errorf("have more than %d dimensions, want fewer", maxRank)
				}
				v.Shape = append(v.Shape, d)
				return err
			})
		}
		return p.unknown(f)
	})
}

// dim parses a TensorShapeProto.Dimension: a number, or the name of a multiple of the number of objects.
func (p *parser) dim(f field) (d Dim, err error) {
	err = f.message("dim", func(f field) (err error) {
		switch f.number {
		case 1:
			d.N, err = f.varint("dim_value")
		case 2:
			var name string
			if name, err = p.text(f, "dim_param"); err == nil {
				d, err = parseDim(name)
			}
		default:
			err = p.unknown(f)
		}
		return err
	})
	if err == nil && d.N < 1 {
		err = fmt.Errorf("dim: have %d, want at least 1", d.N)
	}
	return d, err
}

// parseDim is the inverse of [Dim.String] for open dimensions.
func parseDim(name string) (Dim, error) {
	d := Objects(1)
	if factor, ok := strings.CutSuffix(name, "*objects"); ok {
		d.N, _ = strconv.ParseInt(factor, 10, 64)
	}
	if d.String() != name {
		return d, fmt.Errorf("dim_param: have %.80q, want \"objects\" or a multiple as in \"2*objects\"", name)
	}
	return d, nil
}
