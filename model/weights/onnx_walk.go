package weights

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"mvag-torch/internal/onnx"
)

// maxSteps bounds a walk along the graph, which in a hostile file may be a ring.
const maxSteps = 32

func (r *dinov2) fault(format string, args ...any) {
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

func (r *dinov2) has(name string) bool { return r.tensors[r.prefix+name] != nil }

// read returns the values of an initialiser by its full name; a fault gives the zero Tensor. None is read twice: a
// hostile file could otherwise multiply a large one by naming it as the weight of every layer.
func (r *dinov2) read(name string) Tensor {
	t := r.tensors[name]
	if t == nil {
		r.fault("%.200q is missing", name)
		return Tensor{}
	}
	if r.taken[name] {
		r.fault("%.200q is used twice", name)
		return Tensor{}
	}
	r.taken[name] = true
	data, err := t.Float32()
	if err != nil {
		r.fault("%v", err)
		return Tensor{}
	}
	return Tensor{t.Dims, data}
}

// copy gives an initialiser timm's name.
func (r *dinov2) copy(from, to string) { r.out[to] = r.read(r.prefix + from) }

func (r *dinov2) optional(from, to string) {
	if r.has(from) {
		r.copy(from, to)
	}
}

// unread makes a fault of every parameter of the model that was not used.
func (r *dinov2) unread() {
	for _, name := range slices.Sorted(maps.Keys(r.tensors)) {
		rest, inside := strings.CutPrefix(name, r.prefix)
		if inside && !r.taken[name] && (strings.HasPrefix(rest, "embeddings.") ||
			strings.HasPrefix(rest, "encoder.") || strings.HasPrefix(rest, "layernorm.")) {
			r.fault("%.200q is not known", name)
		}
	}
}

// linear is a Linear layer: weight [out, in], bias [out].
type linear struct{ weight, bias Tensor }

// linear returns the layer whose bias has the name; a fault gives zero tensors.
func (r *dinov2) linear(name string) linear {
	name = r.prefix + name + ".bias"
	bias := r.read(name)
	if bias.Data == nil {
		return linear{}
	}
	factor, err := r.factor(name)
	if err != nil {
		r.fault("%.200q: %v", name, err)
		return linear{}
	}
	weight := r.read(factor)
	if weight.Data == nil {
		return linear{}
	}
	if len(weight.Shape) != 2 || weight.Shape[1] != int64(len(bias.Data)) {
		r.fault("%.200q: have weights %v for %d outputs, want [inputs %d]", name, weight.Shape, len(bias.Data), len(bias.Data))
		return linear{}
	}
	return linear{transpose(weight), bias}
}

// factor returns the name of the matrix in x*matrix + bias.
func (r *dinov2) factor(bias string) (string, error) {
	users := r.consumers[bias]
	if len(users) != 1 || users[0].OpType != "Add" || len(users[0].Inputs) != 2 {
		return "", errors.New("have no single Add that takes it, want one")
	}
	matmul := r.producers[other(users[0], bias)]
	if matmul == nil || matmul.OpType != "MatMul" || len(matmul.Inputs) != 2 {
		return "", errors.New("have no MatMul in front of its Add, want one")
	}
	return matmul.Inputs[1], nil
}

// other returns the input of a node of two that is not value.
func other(n *onnx.Node, value string) string {
	if n.Inputs[0] == value {
		return n.Inputs[1]
	}
	return n.Inputs[0]
}

// transpose turns [in, out] into [out, in], in tiles that stay in the cache.
func transpose(t Tensor) Tensor {
	const tile = 32
	rows, columns := int(t.Shape[0]), int(t.Shape[1])
	data := make([]float32, len(t.Data))
	if len(data) == 0 { // [huge, 0] would loop for long over nothing
		rows, columns = 0, 0
	}
	for top := 0; top < rows; top += tile {
		for left := 0; left < columns; left += tile {
			for j := left; j < min(left+tile, columns); j++ {
				for i := top; i < min(top+tile, rows); i++ {
					data[j*rows+i] = t.Data[i*columns+j]
				}
			}
		}
	}
	return Tensor{[]int64{t.Shape[1], t.Shape[0]}, data}
}

// join stores query, key and value one below the other.
func (r *dinov2) join(to string, q, k, v linear) {
	if q.weight.Data == nil || k.weight.Data == nil || v.weight.Data == nil {
		return // a fault already
	}
	if !slices.Equal(q.weight.Shape, k.weight.Shape) || !slices.Equal(q.weight.Shape, v.weight.Shape) {
		r.fault("%.200q: have query %v, key %v and value %v, want the same shape", to, q.weight.Shape, k.weight.Shape, v.weight.Shape)
		return
	}
	out, in := q.weight.Shape[0], q.weight.Shape[1]
	r.out[to+".weight"] = Tensor{[]int64{3 * out, in}, slices.Concat(q.weight.Data, k.weight.Data, v.weight.Data)}
	r.out[to+".bias"] = Tensor{[]int64{3 * out}, slices.Concat(q.bias.Data, k.bias.Data, v.bias.Data)}
}

// positions joins the two parts of the position table.
func (r *dinov2) positions() {
	className, patchName, err := r.findPositions()
	if err != nil {
		r.fault("position table: %v", err)
		return
	}
	class, patch := r.read(className), r.read(patchName)
	if class.Data == nil || patch.Data == nil {
		return
	}
	if len(class.Shape) != 3 || len(patch.Shape) != 3 || class.Shape[0] != 1 || class.Shape[1] != 1 ||
		patch.Shape[0] != 1 || patch.Shape[2] != class.Shape[2] {
		r.fault("position table: have parts %v and %v, want [1 1 C] and [1 P C]", class.Shape, patch.Shape)
		return
	}
	r.out["pos_embed"] = Tensor{
		[]int64{1, 1 + patch.Shape[1], patch.Shape[2]},
		slices.Concat(class.Data, patch.Data),
	}
}

// findPositions walks from the class token to the Add that takes the tokens and the positions, and from there back to
// the two initialisers: the class position goes straight into a Concat, the patches' through a resize.
func (r *dinov2) findPositions() (class, patches string, err error) {
	sum, tokens := r.sumOfTokens()
	if sum == nil {
		return "", "", errors.New("have no Add behind the class token, want the sum with the positions")
	}
	concat := r.producers[other(sum, tokens)]
	if concat == nil || concat.OpType != "Concat" || len(concat.Inputs) != 2 {
		return "", "", errors.New("have no Concat of class and patch positions, want one")
	}
	patches = concat.Inputs[1]
	for range maxSteps {
		if r.tensors[patches] != nil {
			return concat.Inputs[0], patches, nil
		}
		from := r.producers[patches]
		if from == nil || len(from.Inputs) == 0 {
			break
		}
		patches = from.Inputs[0] // the data; what follows are sizes
	}
	return "", "", errors.New("have no initializer behind the patch positions, want one")
}

// sumOfTokens returns the first Add behind the class token and the input of it that comes from there.
func (r *dinov2) sumOfTokens() (*onnx.Node, string) {
	value := r.prefix + "embeddings.cls_token"
	for range maxSteps {
		users := r.consumers[value]
		i := slices.IndexFunc(users, func(n *onnx.Node) bool { return n.OpType != "Shape" })
		if i < 0 {
			return nil, ""
		}
		if n := users[i]; n.OpType == "Add" && len(n.Inputs) == 2 {
			return n, value
		} else if len(n.Outputs) == 0 {
			return nil, ""
		}
		value = users[i].Outputs[0]
	}
	return nil, ""
}
