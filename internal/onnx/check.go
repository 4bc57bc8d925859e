package onnx

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// checker knows the values of a graph, as they come into being.
type checker struct {
	described map[string]ValueInfo // inputs, outputs and values
	made      map[string]bool      // inputs and initialisers, and what nodes have made so far
	nodes     map[string]bool      // names of nodes
}

// check reports what makes a model invalid: an operator set that is not written, names that are missing, there twice or
// used before they exist, and values without description.
func (m *Model) check() error {
	if m.Opset < MinOpset || m.Opset > MaxOpset {
		return fmt.Errorf("opset: have %d, want %d to %d", m.Opset, MinOpset, MaxOpset)
	}
	if m.Name == "" {
		return errors.New("graph: have no name, want one")
	}
	if len(m.Outputs) == 0 {
		return errors.New("graph: have no output, want one")
	}
	c := &checker{map[string]ValueInfo{}, map[string]bool{}, map[string]bool{}}
	for _, list := range []struct {
		name   string
		values []ValueInfo
	}{{"input", m.Inputs}, {"output", m.Outputs}, {"value_info", m.Values}} {
		for _, v := range list.values {
			if _, twice := c.described[v.Name]; twice || v.Name == "" {
				return fmt.Errorf("%s %.80q: have the name twice or empty, want it once", list.name, v.Name)
			}
			c.described[v.Name] = v
		}
	}
	if err := c.constants(m); err != nil {
		return err
	}
	for i, n := range m.Nodes {
		if err := c.node(n); err != nil {
			return fmt.Errorf("node %d %.80q: %w", i, n.Name, err)
		}
	}
	for _, v := range slices.Concat(m.Outputs, m.Values) {
		if !c.made[v.Name] {
			return fmt.Errorf("value %.80q: have no node that makes it, want one", v.Name)
		}
	}
	return nil
}

// constants checks initialisers. Those that are inputs have the type and the dimensions of the input.
func (c *checker) constants(m *Model) error {
	inputs := map[string]bool{}
	for _, v := range m.Inputs {
		inputs[v.Name], c.made[v.Name] = true, true
	}
	for i, t := range m.Initializers {
		v, described := c.described[t.Name]
		switch {
		case t.Name == "":
			return fmt.Errorf("initializer %d: have no name, want one", i)
		case described && !inputs[t.Name], !described && c.made[t.Name]:
			return fmt.Errorf("initializer %.80q: have the name twice, want it once", t.Name)
		case described && (v.Type != t.DataType || !slices.Equal(v.Shape, Fixed(t.Dims...))):
			return fmt.Errorf("initializer %.80q: have %s %v, want %s %v as of the input",
				t.Name, t.DataType, t.Dims, v.Type, v.Shape)
		}
		c.made[t.Name] = true
	}
	return nil
}

// node checks a node, whose outputs are made then.
func (c *checker) node(n Node) error {
	if n.Name == "" || c.nodes[n.Name] {
		return errors.New("have the name twice or empty, want it once")
	}
	c.nodes[n.Name] = true
	if n.OpType == "" || len(n.Outputs) == 0 {
		return fmt.Errorf("have operator %q with %d outputs, want an operator with one or more", n.OpType, len(n.Outputs))
	}
	attributes := map[string]bool{}
	for _, a := range n.Attributes {
		if a.Name == "" || attributes[a.Name] {
			return fmt.Errorf("attribute %.80q: have the name twice or empty, want it once", a.Name)
		}
		switch v := a.Value.(type) {
		case int64, []int64:
		case float32:
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return fmt.Errorf("attribute %.80q: have %v, want a finite value", a.Name, v)
			}
		default:
			return fmt.Errorf("attribute %.80q: have a %T, want an int64, float32 or []int64", a.Name, v)
		}
		attributes[a.Name] = true
	}
	for _, name := range n.Inputs {
		if name != "" && !c.made[name] {
			return fmt.Errorf("input %.80q: have no value of this name before the node, want one", name)
		}
	}
	for _, name := range n.Outputs {
		if _, ok := c.described[name]; !ok || c.made[name] {
			return fmt.Errorf("output %.80q: have no description or a second maker, want one of each", name)
		}
		c.made[name] = true
	}
	return nil
}
