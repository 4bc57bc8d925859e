package onnx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"mvag-torch/internal/safetensors"
)

// DataType is an element type of TensorProto.
type DataType int32

// The element types whose values can be read.
const (
	Float    DataType = 1
	Int64    DataType = 7
	Float16  DataType = 10
	Double   DataType = 11
	BFloat16 DataType = 16
)

// String returns the name of the type in onnx.proto, for those that can be read.
func (d DataType) String() string {
	switch d {
	case Float:
		return "FLOAT"
	case Int64:
		return "INT64"
	case Float16:
		return "FLOAT16"
	case Double:
		return "DOUBLE"
	case BFloat16:
		return "BFLOAT16"
	}
	return fmt.Sprintf("data type %d", int32(d))
}

// elements returns the same type in a safetensors file, whose elements have
// the same bytes; "" for a type that cannot be read.
func (d DataType) elements() safetensors.DType {
	switch d {
	case Float:
		return safetensors.F32
	case Int64:
		return safetensors.I64
	case Float16:
		return safetensors.F16
	case Double:
		return safetensors.F64
	case BFloat16:
		return safetensors.BF16
	}
	return ""
}

// Tensor is an initialiser: a constant of the graph, most often a weight.
type Tensor struct {
	Name     string
	DataType DataType
	Dims     []int64
	raw      []byte // little-endian elements; nil for a type that cannot be read
}

// Float32 returns the values of a tensor of type FLOAT, FLOAT16 or BFLOAT16,
// which are exact, or DOUBLE, rounded to nearest.
func (t *Tensor) Float32() ([]float32, error) {
	d := t.DataType.elements()
	if d == "" || d == safetensors.I64 {
		return nil, fmt.Errorf("initializer %.80q: have %s, want FLOAT, FLOAT16, BFLOAT16 or DOUBLE", t.Name, t.DataType)
	}
	return safetensors.AppendFloat32(make([]float32, 0, int64(len(t.raw))/d.Size()), d, t.raw)
}

// Int64 returns the values of a tensor of type INT64.
func (t *Tensor) Int64() ([]int64, error) {
	if t.DataType != Int64 {
		return nil, fmt.Errorf("initializer %.80q: have %s, want INT64", t.Name, t.DataType)
	}
	values := make([]int64, len(t.raw)/8)
	for i := range values {
		values[i] = int64(binary.LittleEndian.Uint64(t.raw[8*i:]))
	}
	return values, nil
}

// maxRank is the largest number of dimensions of a tensor, that of LibTorch.
const maxRank = 64

// values are the places where a TensorProto may keep its elements. A repeated
// field may come packed, in parts, or element by element: its bytes are the same.
type values struct {
	raw, floats, doubles []byte // little-endian
	int32s, int64s       []byte // varints
}

// parseTensor reads a TensorProto; the name is returned with an error as well.
func parseTensor(f field) (Tensor, error) {
	var t Tensor
	var v values
	err := f.message("tensor", func(f field) error {
		switch f.number {
		case 1:
			return f.dims(&t.Dims)
		case 2:
			d, err := f.varint("data_type")
			t.DataType = DataType(d)
			return err
		case 8:
			name, err := f.text("name")
			t.Name = name
			return err
		case 14:
			location, err := f.varint("data_location")
			if err == nil && location != 0 {
				err = errors.New("have data in an external file, want them in the model file")
			}
			return err
		case 13:
			return errors.New("have data in an external file, want them in the model file")
		}
		return v.add(f)
	})
	if err != nil {
		return t, err
	}
	t.raw, err = v.elements(t.DataType, t.Dims)
	return t, err
}

// add takes the content of a field with elements.
func (v *values) add(f field) error {
	switch f.number {
	case 4:
		return f.gather(&v.floats, "float_data", protowire.Fixed32Type)
	case 5:
		return f.gather(&v.int32s, "int32_data", protowire.VarintType)
	case 7:
		return f.gather(&v.int64s, "int64_data", protowire.VarintType)
	case 9:
		if f.wire != protowire.BytesType {
			return fmt.Errorf("raw_data: have wire type %d, want %d", f.wire, protowire.BytesType)
		}
		v.raw = f.content
	case 10:
		return f.gather(&v.doubles, "double_data", protowire.Fixed64Type)
	}
	return nil
}

// gather appends the elements of a repeated field of scalars, packed or not.
func (f field) gather(to *[]byte, name string, element protowire.Type) error {
	if f.wire != protowire.BytesType && f.wire != element {
		return fmt.Errorf("%s: have wire type %d, want %d", name, f.wire, element)
	}
	if *to == nil {
		*to = f.content // without spare capacity, so that append copies
	} else {
		*to = append(*to, f.content...)
	}
	return nil
}

// dims appends dimensions, packed or not.
func (f field) dims(to *[]int64) error {
	var varints []byte
	if err := f.gather(&varints, "dims", protowire.VarintType); err != nil {
		return err
	}
	for len(varints) > 0 {
		v, n := protowire.ConsumeVarint(varints)
		if n < 0 {
			return fmt.Errorf("dims: %w", protowire.ParseError(n))
		}
		if int64(v) < 0 || len(*to) == maxRank {
			return fmt.Errorf("dims: have %v and %d, want at most %d dimensions from 0 up", *to, int64(v), maxRank)
		}
		*to = append(*to, int64(v))
		varints = varints[n:]
	}
	return nil
}

// elements returns the elements of a tensor as little-endian bytes and checks
// that they are as many as the dimensions say.
func (v *values) elements(d DataType, dims []int64) ([]byte, error) {
	size := d.elements().Size()
	if size == 0 {
		return nil, nil
	}
	want := size
	for _, dim := range dims {
		if dim > 0 && want > math.MaxInt64/dim {
			return nil, fmt.Errorf("have dims %v, want a size that fits 63 bits", dims)
		}
		want *= dim
	}
	raw := v.raw
	if raw == nil {
		var err error
		if raw, err = v.typed(d); err != nil {
			return nil, err
		}
	}
	if int64(len(raw)) != want {
		return nil, fmt.Errorf("have %d bytes, want %d for %s %v", len(raw), want, d, dims)
	}
	return raw, nil
}

// typed returns the elements of the field that belongs to the type.
func (v *values) typed(d DataType) ([]byte, error) {
	le := binary.LittleEndian
	switch d {
	case Float:
		return v.floats, nil
	case Double:
		return v.doubles, nil
	case Int64:
		return unpack(v.int64s, math.MaxUint64, le.AppendUint64)
	}
	// Both 16-bit types keep their bit patterns in int32_data.
	return unpack(v.int32s, math.MaxUint16, func(b []byte, bits uint64) []byte {
		return le.AppendUint16(b, uint16(bits))
	})
}

// unpack turns varints, none above limit, into elements of fixed width.
func unpack(varints []byte, limit uint64, put func([]byte, uint64) []byte) ([]byte, error) {
	var out []byte
	for len(varints) > 0 {
		v, n := protowire.ConsumeVarint(varints)
		if n < 0 {
			return nil, fmt.Errorf("integer data: %w", protowire.ParseError(n))
		}
		if v > limit {
			return nil, fmt.Errorf("integer data: have %d, want at most %d", v, limit)
		}
		out, varints = put(out, v), varints[n:]
	}
	return out, nil
}
