// Package onnxeval evaluates models that package onnx has read, so that tests can run what was written without another
// program. It knows the operators that onnx.Builder writes. It is made to be clear, not fast: plain loops, sums in
// float64, results in float32.
package onnxeval

import (
	"errors"
	"fmt"
	"slices"

	"mvag-torch/internal/onnx"
)

// Run evaluates a model and returns the named outputs, which may be any values of the graph. Without names it returns
// all outputs of the model. inputs has all inputs of the model; those with a default may be missing. Each result has the
// type and the shape that the file says. Errors name the node.
func Run(m *onnx.Model, inputs map[string]Tensor, outputs ...string) (map[string]Tensor, error) {
	r := &run{model: m, values: map[string]Tensor{}, described: map[string]onnx.ValueInfo{}}
	for _, v := range slices.Concat(m.Inputs, m.Outputs, m.Values) {
		r.described[v.Name] = v
	}
	if err := r.bind(inputs); err != nil {
		return nil, err
	}
	if len(outputs) == 0 {
		for _, v := range m.Outputs {
			outputs = append(outputs, v.Name)
		}
	}
	needed := r.needed(outputs)
	for _, n := range m.Nodes {
		if !slices.ContainsFunc(n.Outputs, func(name string) bool { return needed[name] }) {
			continue
		}
		if err := r.node(n); err != nil {
			return nil, fmt.Errorf("node %q (%s): %w", n.Name, n.OpType, err)
		}
	}
	results := map[string]Tensor{}
	for _, name := range outputs {
		v, ok := r.values[name]
		if !ok {
			return nil, fmt.Errorf("output: have no value %q", name)
		}
		results[name] = v
	}
	return results, nil
}

// run is the state of an evaluation.
type run struct {
	model     *onnx.Model
	objects   int64 // 0 until an input says how many
	values    map[string]Tensor
	described map[string]onnx.ValueInfo
}

// bind takes the initialisers and the inputs.
func (r *run) bind(inputs map[string]Tensor) error {
	for i := range r.model.Initializers {
		t, err := read(&r.model.Initializers[i])
		if err != nil {
			return err
		}
		r.values[r.model.Initializers[i].Name] = t
	}
	known := 0
	for _, v := range r.model.Inputs {
		t, ok := inputs[v.Name]
		if !ok {
			if _, ok := r.values[v.Name]; !ok {
				return fmt.Errorf("input %q: have none, want %s %v", v.Name, v.Type, v.Shape)
			}
			continue
		}
		known++
		if err := r.check(v, t); err != nil {
			return fmt.Errorf("input %w", err)
		}
		r.values[v.Name] = t
	}
	if known < len(inputs) {
		return fmt.Errorf("inputs: have %d, of which the model knows %d", len(inputs), known)
	}
	return nil
}

// check compares a value with what the file says of it. The first open dimension says how many objects there are.
func (r *run) check(v onnx.ValueInfo, t Tensor) error {
	same := t.Type == v.Type && len(t.Shape) == len(v.Shape) && t.len() == size(t.Shape)
	for i := 0; same && i < len(t.Shape); i++ {
		want := v.Shape[i].N
		if v.Shape[i].Objects {
			if r.objects == 0 {
				r.objects = t.Shape[i] / want
			}
			want *= r.objects
		}
		same = t.Shape[i] == want
	}
	if !same {
		return fmt.Errorf("%q: have %s %v with %d elements, want %s %v with %d objects",
			v.Name, t.Type, t.Shape, t.len(), v.Type, v.Shape, r.objects)
	}
	return nil
}

// needed are the names of the values on which outputs depend.
func (r *run) needed(outputs []string) map[string]bool {
	needed := map[string]bool{}
	for _, name := range outputs {
		needed[name] = true
	}
	for _, n := range slices.Backward(r.model.Nodes) {
		if slices.ContainsFunc(n.Outputs, func(name string) bool { return needed[name] }) {
			for _, name := range n.Inputs {
				needed[name] = true
			}
		}
	}
	return needed
}

// node evaluates a node.
func (r *run) node(n onnx.Node) error {
	op, ok := operators[n.OpType]
	if !ok {
		return errors.New("have an operator that is not known")
	}
	if len(n.Inputs) < op.least || len(n.Inputs) > op.most {
		return fmt.Errorf("have %d inputs, want %d to %d", len(n.Inputs), op.least, op.most)
	}
	c := &call{op: n.OpType, opset: r.model.Opset, attributes: map[string]any{}}
	for _, name := range n.Inputs {
		c.in = append(c.in, r.values[name])
	}
	for _, a := range n.Attributes {
		c.attributes[a.Name] = a.Value
	}
	out, err := op.eval(c)
	if err != nil {
		return err
	}
	for name := range c.attributes {
		return fmt.Errorf("attribute %q: have one that is not known", name)
	}
	if len(out) != len(n.Outputs) {
		return fmt.Errorf("have %d outputs, want %d", len(n.Outputs), len(out))
	}
	for i, name := range n.Outputs {
		if err := r.check(r.described[name], out[i]); err != nil {
			return err
		}
		r.values[name] = out[i]
	}
	return nil
}

// call is a node with the values of its inputs. Functions take its attributes out; one that is left is an error.
type call struct {
	op         string
	opset      int64
	in         []Tensor
	attributes map[string]any
}

// take returns an attribute, or what stands for one that is absent.
func take[T any](c *call, name string, absent T) T {
	v, ok := c.attributes[name].(T)
	if !ok {
		return absent
	}
	delete(c.attributes, name)
	return v
}

// axis returns the attribute axis as an index of a dimension of the first input.
func (c *call) axis(absent int64) (int64, error) {
	return c.dimension(take(c, "axis", absent))
}

// dimension returns the index of a dimension of the first input, where a negative one counts from the last.
func (c *call) dimension(axis int64) (int64, error) {
	rank := int64(len(c.in[0].Shape))
	if axis < -rank || axis >= rank {
		return 0, fmt.Errorf("have axis %d of %v, want one that it has", axis, c.in[0].Shape)
	}
	return (axis + rank) % rank, nil
}

// like is a tensor of the shape of t with other elements.
func (t Tensor) like(floats []float32) Tensor { return Floats(floats, t.Shape...) }

// list returns the elements of input i, which is a list of integers, or nil.
func (c *call) list(i int) []int64 { return c.in[i].Ints }
