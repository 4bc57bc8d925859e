package onnx

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// compare reports the first thing in which another model differs from this one.
func (m *Model) compare(other *Model) error {
	for _, part := range []struct {
		name       string
		have, want any
	}{
		{"name", other.Name, m.Name},
		{"doc", other.Doc, m.Doc},
		{"producer", other.Producer, m.Producer},
		{"version", other.Version, m.Version},
		{"opset", other.Opset, m.Opset},
		{"nodes", len(other.Nodes), len(m.Nodes)},
		{"initializers", len(other.Initializers), len(m.Initializers)},
	} {
		if part.have != part.want {
			return fmt.Errorf("%s: have %v, want %v", part.name, part.have, part.want)
		}
	}
	if !maps.Equal(other.Metadata, m.Metadata) {
		return fmt.Errorf("metadata: have %.200q, want %.200q", other.Metadata, m.Metadata)
	}
	for i, n := range m.Nodes {
		if have := other.Nodes[i]; !reflect.DeepEqual(have, n) {
			return fmt.Errorf("node: have %v, want %v", have, n)
		}
	}
	for _, list := range []struct {
		name       string
		have, want []ValueInfo
	}{{"inputs", other.Inputs, m.Inputs}, {"outputs", other.Outputs, m.Outputs}, {"values", other.Values, m.Values}} {
		if !slices.EqualFunc(list.have, list.want, func(a, b ValueInfo) bool { return reflect.DeepEqual(a, b) }) {
			return fmt.Errorf("%s: have %v, want %v", list.name, list.have, list.want)
		}
	}
	for i := range m.Initializers {
		if err := m.Initializers[i].compare(&other.Initializers[i]); err != nil {
			return err
		}
	}
	return nil
}

// compare reports how another tensor differs.
func (t *Tensor) compare(other *Tensor) error {
	if other.Name != t.Name || other.Doc != t.Doc || other.DataType != t.DataType || !slices.Equal(other.Dims, t.Dims) {
		return fmt.Errorf("initializer %q: have %q, %s %v, want %s %v",
			t.Name, other.Name, other.DataType, other.Dims, t.DataType, t.Dims)
	}
	have, err := other.Raw()
	if err != nil {
		return err
	}
	want, err := t.Raw()
	if err == nil && !bytes.Equal(have, want) {
		err = fmt.Errorf("initializer %q: have other elements, want the same", t.Name)
	}
	return err
}
