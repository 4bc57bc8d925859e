package model

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
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

// Load overwrites every parameter with the tensor of its name. Its error names
// every missing, unused and misshapen key; nothing is changed then.
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
	for name := range source {
		if !known[name] {
			unused = append(unused, name)
		}
	}
	slices.Sort(unused)
	var faults []string
	for _, kind := range []struct {
		name string
		keys []string
	}{{"missing", missing}, {"misshapen", misshapen}, {"unused", unused}} {
		if len(kind.keys) > 0 {
			faults = append(faults, kind.name+": "+strings.Join(kind.keys, ", "))
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

// binder makes or finds tensors by name; a constructor spells the checkpoint
// path of each: w.Sub("blocks").At(i).Sub("attn").
type binder struct {
	prefix  string
	kernels tensor.Kernels
	get     func(name string, initial initializer, shape []int64) *tensor.Tensor
}

// Sub goes down to name.
func (w binder) Sub(name string) binder { return binder{w.prefix + name + ".", w.kernels, w.get} }

// At goes down to element i of a list.
func (w binder) At(i int) binder { return w.Sub(strconv.Itoa(i)) }

// Tensor is the tensor name of the given shape.
func (w binder) Tensor(name string, initial initializer, shape ...int64) *tensor.Tensor {
	return w.get(w.prefix+name, initial, shape)
}

// initializer fills new weights.
type initializer func(rng *rand.Rand, data []float32)

func constant(v float32) initializer {
	return func(_ *rand.Rand, data []float32) {
		for i := range data {
			data[i] = v
		}
	}
}

// truncNormal draws from a normal distribution of the given standard deviation,
// cut at three times that (model.md section 3: 0.01, cut at 0.03).
func truncNormal(std float64) initializer {
	return func(rng *rand.Rand, data []float32) {
		for i := range data {
			x := rng.NormFloat64()
			for x < -3 || x > 3 {
				x = rng.NormFloat64()
			}
			data[i] = float32(std * x)
		}
	}
}

const initStd = 0.01

// frozen binds tensors of a file, whose names and shapes have been checked.
func frozen(s *tensor.Scope, d tensor.Device, source weights.Map, k tensor.Kernels) binder {
	return binder{kernels: k, get: func(name string, _ initializer, _ []int64) *tensor.Tensor {
		t := source[name]
		return tensor.FromFloats(s, d, t.Data, t.Shape...)
	}}
}

// trainable makes new parameters with their initial values and lists them.
func trainable(s *tensor.Scope, d tensor.Device, seed int64, k tensor.Kernels, list *Params) binder {
	rng := rand.New(rand.NewPCG(uint64(seed), 0))
	return binder{kernels: k, get: func(name string, initial initializer, shape []int64) *tensor.Tensor {
		n := int64(1)
		for _, size := range shape {
			n *= size
		}
		data := make([]float32, n)
		initial(rng, data)
		t := tensor.FromFloats(s, d, data, shape...).RequireGrad()
		*list = append(*list, Param{name, t})
		return t
	}}
}
