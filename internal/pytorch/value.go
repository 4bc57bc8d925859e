package pytorch

import (
	"fmt"
	"math"
	"slices"

	"mvag-torch/internal/safetensors"
)

// The values of a pickle, besides int64, float64, bool, string and nil.
type (
	mark   struct{}
	global string // module and name, separated by a space
	tuple  []any
	list   struct{ items []any }
	dict   struct{ keys, values []any } // an OrderedDict too

	// storage is the memory of tensors, an entry of the archive.
	storage struct {
		key   string
		dtype safetensors.DType
		numel int64
	}

	// tensor is a view of a storage. Offset and strides are in elements.
	tensor struct {
		storage        *storage
		offset         int64
		shape, strides []int64
		numel, span    int64 // elements; elements from the first to the last in the storage
	}
)

// storages are the element types of tensors by torch's name.
var storages = map[global]safetensors.DType{
	"torch FloatStorage":    safetensors.F32,
	"torch HalfStorage":     safetensors.F16,
	"torch BFloat16Storage": safetensors.BF16,
	"torch DoubleStorage":   safetensors.F64,
	"torch LongStorage":     safetensors.I64,
	"torch IntStorage":      safetensors.I32,
	"torch ShortStorage":    safetensors.I16,
	"torch CharStorage":     safetensors.I8,
	"torch ByteStorage":     safetensors.U8,
	"torch BoolStorage":     safetensors.Bool,

	"torch ComplexFloatStorage":    safetensors.C64,
	"torch.storage UntypedStorage": safetensors.U8, // bytes of a type in untyped
}

// untyped are the element types that torch keeps in bytes, with a type beside them.
var untyped = map[global]safetensors.DType{
	"torch uint16":          safetensors.U16,
	"torch uint32":          safetensors.U32,
	"torch uint64":          safetensors.U64,
	"torch float8_e4m3fn":   safetensors.F8E4M3,
	"torch float8_e5m2":     safetensors.F8E5M2,
	"torch float8_e8m0fnu":  safetensors.F8E8M0,
	"torch float8_e4m3fnuz": safetensors.F8E4M3FNUZ,
	"torch float8_e5m2fnuz": safetensors.F8E5M2FNUZ,
}

const (
	orderedDict      global = "collections OrderedDict"
	rebuildTensor    global = "torch._utils _rebuild_tensor_v2"
	rebuildUntyped   global = "torch._utils _rebuild_tensor_v3"
	rebuildParameter global = "torch._utils _rebuild_parameter"
)

var constructors = []global{orderedDict, rebuildTensor, rebuildUntyped, rebuildParameter}

// newStorage converts a persistent id: ("storage", type, key, location, numel).
func newStorage(id any) (*storage, error) {
	t, ok := id.(tuple)
	if !ok || len(t) != 5 || t[0] != "storage" {
		return nil, fmt.Errorf("have a persistent %s, want a storage", kind(id))
	}
	class, ok1 := t[1].(global)
	key, ok2 := t[2].(string)
	numel, ok3 := t[4].(int64)
	dtype, ok4 := storages[class]
	if !ok1 || !ok2 || !ok3 || !ok4 || numel < 0 || numel > math.MaxInt64/8 {
		return nil, fmt.Errorf("have a storage of %s, %s and %s, want type, key and length", kind(t[1]), kind(t[2]), kind(t[4]))
	}
	return &storage{key, dtype, numel}, nil
}

// newTensor converts the arguments of _rebuild_tensor_v2: storage, offset, shape, strides, and some that matter only
// for training.
func newTensor(args tuple) (*tensor, error) {
	if len(args) < 4 {
		return nil, fmt.Errorf("have a tensor of %d arguments, want 4 or more", len(args))
	}
	t := &tensor{span: 1}
	var ok1, ok2 bool
	t.storage, ok1 = args[0].(*storage)
	t.offset, ok2 = args[1].(int64)
	shape, err := sizes(args[2])
	if err != nil {
		return nil, err
	}
	strides, err := sizes(args[3])
	if err != nil {
		return nil, err
	}
	if !ok1 || !ok2 || t.offset < 0 || len(shape) != len(strides) {
		return nil, fmt.Errorf("have a tensor of %s, %s, shape %.20v, strides %.20v, want storage, offset and as many sizes as strides",
			kind(args[0]), kind(args[1]), shape, strides)
	}
	t.shape, t.strides = shape, strides
	if slices.Contains(shape, 0) {
		t.span = 0
		return t, nil
	}
	size, err := safetensors.ByteLen(t.storage.dtype, shape)
	if err != nil {
		return nil, err
	}
	t.numel = size / t.storage.dtype.Size()
	for i, n := range shape {
		if n > 1 && strides[i] > (t.storage.numel-t.span)/(n-1) {
			return nil, fmt.Errorf("have a tensor of shape %.20v and strides %.20v in a storage of %d elements, want one inside it",
				shape, strides, t.storage.numel)
		}
		t.span += (n - 1) * strides[i]
	}
	if t.offset > t.storage.numel-t.span {
		return nil, fmt.Errorf("have a tensor of shape %.20v at element %d of a storage of %d, want one inside it", shape, t.offset, t.storage.numel)
	}
	return t, nil
}

// newUntyped converts the arguments of _rebuild_tensor_v3: storage of bytes, offset, shape, strides, two that matter only
// for training, and the type. Offset, shape and strides are in elements.
func newUntyped(args tuple) (*tensor, error) {
	if len(args) < 7 {
		return nil, fmt.Errorf("have a tensor of %d arguments, want 7 or more", len(args))
	}
	bytes, ok1 := args[0].(*storage)
	class, _ := args[6].(global)
	dtype, ok2 := untyped[class]
	if !ok1 || !ok2 || bytes.dtype != safetensors.U8 || bytes.numel%dtype.Size() != 0 {
		return nil, fmt.Errorf("have a tensor of %s and %s, want bytes and a type", kind(args[0]), kind(args[6]))
	}
	typed := append(tuple{&storage{bytes.key, dtype, bytes.numel / dtype.Size()}}, args[1:]...)
	return newTensor(typed)
}

// sizes returns the elements of a tuple of sizes or strides.
func sizes(v any) ([]int64, error) {
	t, ok := v.(tuple)
	if !ok {
		return nil, fmt.Errorf("have a %s, want a tuple of sizes", kind(v))
	}
	sizes := make([]int64, len(t))
	for i := range t {
		n, ok := t[i].(int64)
		if !ok || n < 0 {
			return nil, fmt.Errorf("have a %s as size %d, want a number from 0", kind(t[i]), i)
		}
		sizes[i] = n
	}
	return sizes, nil
}

// contiguous reports whether the elements are in row-major order without gaps.
func (t *tensor) contiguous() bool {
	want := int64(1)
	for i := len(t.shape) - 1; i >= 0; i-- {
		if t.shape[i] != 1 && t.strides[i] != want {
			return false
		}
		want *= t.shape[i]
	}
	return t.numel == t.span
}

// gather returns the elements of the tensor in row-major order, from those of its span.
func (t *tensor) gather(span []float32) []float32 {
	out := make([]float32, t.numel)
	at, index := int64(0), make([]int64, len(t.shape))
	for i := range out {
		out[i] = span[at]
		for d := len(index) - 1; d >= 0; d-- {
			index[d]++
			at += t.strides[d]
			if index[d] < t.shape[d] {
				break
			}
			at -= t.shape[d] * t.strides[d]
			index[d] = 0
		}
	}
	return out
}

// kind names the type of v for messages. The value itself may be of any size.
func kind(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case mark:
		return "mark"
	case global:
		return fmt.Sprintf("%.80q", string(v))
	case tuple:
		return "tuple"
	case *list:
		return "list"
	case *dict:
		return "dict"
	case *storage:
		return "storage"
	case *tensor:
		return "tensor"
	case string:
		return "string"
	case bool:
		return "bool"
	}
	return "number"
}
