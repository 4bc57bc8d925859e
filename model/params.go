package model

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"mvag-torch/internal/tensor"
	"mvag-torch/model/weights"
)

// Param is a trainable tensor and its name in checkpoints.
type Param struct {
	Name  string
	Value *tensor.Tensor
}

// Params are the trainable tensors in order of construction.
type Params []Param

// Values returns the tensors.
func (p Params) Values() []*tensor.Tensor {
	values := make([]*tensor.Tensor, len(p))
	for i := range p {
		values[i] = p[i].Value
	}
	return values
}

// Count is the number of elements of all.
func (p Params) Count() (n int64) {
	for i := range p {
		n += p[i].Value.Numel()
	}
	return n
}

// Load overwrites every parameter with the tensor of its name. Its error names every missing, unused and misshapen key;
// nothing is changed then.
func (p Params) Load(source weights.Map) error {
	var missing, misshapen, unused []string
	known := make(map[string]bool, len(p))
	for _, param := range p {
		known[param.Name] = true
		have, ok := source[param.Name]
		if want := param.Value.Shape(); !ok {
			missing = append(missing, param.Name)
		} else if !slices.Equal(have.Shape, want) {
			misshapen = append(misshapen, fmt.Sprintf("%s (have %v, want %v)", param.Name, have.Shape, want))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(source)) {
		if !known[name] {
			unused = append(unused, name)
		}
	}
	var faults []string
	for i, names := range [][]string{missing, misshapen, unused} {
		if len(names) > 0 {
			faults = append(faults, [...]string{"missing: ", "misshapen: ", "unused: "}[i]+strings.Join(names, ", "))
		}
	}
	if faults != nil {
		return fmt.Errorf("trainable weights: %s", strings.Join(faults, "; "))
	}
	return tensor.Run(func(s *tensor.Scope) error {
		tensor.NoGrad(func() {
			for _, param := range p {
				have := source[param.Name]
				param.Value.CopyFrom(tensor.FromFloats(s, tensor.CPU, have.Data, have.Shape...))
			}
		})
		return nil
	})
}
