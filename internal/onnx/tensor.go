package onnx

import (
	"cmp"
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
	Float16  DataType = 10
	Double   DataType = 11
	BFloat16 DataType = 16
	Uint8    DataType = 2
	Int64    DataType = 7
	Bool     DataType = 9
)

// dataTypes has their names in onnx.proto, and the types with the same elements in a safetensors file.
var dataTypes = map[DataType]struct {
	name  string
	dtype safetensors.DType
}{
	Float:    {"FLOAT", safetensors.F32},
	Float16:  {"FLOAT16", safetensors.F16},
	Double:   {"DOUBLE", safetensors.F64},
	BFloat16: {"BFLOAT16", safetensors.BF16},
	Uint8:    {"UINT8", safetensors.U8},
	Int64:    {"INT64", safetensors.I64},
	Bool:     {"BOOL", safetensors.Bool},
}

// String returns the name of the type in onnx.proto if it can be read.
func (d DataType) String() string {
	return cmp.Or(dataTypes[d].name, fmt.Sprintf("data type %d", int32(d)))
}

// Tensor is an initialiser: a constant of the graph, usually a weight.
type Tensor struct {
	Name     string
	DataType DataType
	Dims     []int64
	raw      []byte // little-endian elements; nil for a type that cannot be read
}

// Float32 returns the elements of a tensor of type FLOAT, FLOAT16, BFLOAT16 (exact) or DOUBLE (rounded to nearest).
func (t *Tensor) Float32() ([]float32, error) {
	d := dataTypes[t.DataType].dtype
	if d == "" || t.DataType == Uint8 || t.DataType == Int64 || t.DataType == Bool {
		return nil, fmt.Errorf("initializer %.80q: have %s, want FLOAT, FLOAT16, BFLOAT16 or DOUBLE", t.Name, t.DataType)
	}
	return safetensors.AppendFloat32(make([]float32, 0, int64(len(t.raw))/d.Size()), d, t.raw)
}

// maxRank is the maximum number of dimensions of a tensor, as in LibTorch.
const maxRank = 64

// values are the fields in which a TensorProto may have its elements. A repeated field may be packed, in parts, or
// element by element: its bytes are the same.
type values struct {
	raw, floats, doubles []byte // little-endian
	int32s               []byte // varints
}

// parseTensor parses a TensorProto. With an error it returns the name, too.
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
				err = errors.New("have data in an external file, want it in the model file")
			}
			return err
		case 13:
			return errors.New("have data in an external file, want it in the model file")
		}
		return v.add(f)
	})
	if err != nil {
		return t, err
	}
	t.raw, err = v.elements(t.DataType, t.Dims)
	return t, err
}

// add reads a field with elements.
func (v *values) add(f field) error {
	switch f.number {
	case 4:
		return f.gather(&v.floats, "float_data", protowire.Fixed32Type)
	case 5:
		return f.gather(&v.int32s, "int32_data", protowire.VarintType)
	case 9:
		v.raw = f.content
		return f.is("raw_data", protowire.BytesType)
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
		if len(*to) == maxRank {
			return fmt.Errorf("dims: have more than %d, want fewer", maxRank)
		}
		*to = append(*to, int64(v))
		varints = varints[n:]
	}
	return nil
}

// elements returns the elements of a tensor as little-endian bytes, as many as its dimensions require.
func (v *values) elements(d DataType, dims []int64) (raw []byte, err error) {
	known, ok := dataTypes[d]
	if !ok {
		return nil, nil
	}
	want, err := safetensors.ByteLen(known.dtype, dims)
	if err != nil {
		return nil, err
	}
	switch {
	case v.raw != nil:
		raw = v.raw
	case d == Uint8 || d == Int64 || d == Bool:
		return nil, nil
	case d == Float:
		raw = v.floats
	case d == Double:
		raw = v.doubles
	default: // the 16-bit types have their bit patterns in int32_data
		raw, err = unpack16(v.int32s)
	}
	if err == nil && int64(len(raw)) != want {
		err = fmt.Errorf("have %d bytes, want %d for %s %v", len(raw), want, d, dims)
	}
	return raw, err
}

// unpack16 converts varints to 16-bit elements.
func unpack16(varints []byte) ([]byte, error) {
	var out []byte
	for len(varints) > 0 {
		v, n := protowire.ConsumeVarint(varints)
		if n < 0 {
			return nil, fmt.Errorf("int32_data: %w", protowire.ParseError(n))
		}
		if v > math.MaxUint16 {
			return nil, fmt.Errorf("int32_data: have %d, want at most %d", v, math.MaxUint16)
		}
		out, varints = binary.LittleEndian.AppendUint16(out, uint16(v)), varints[n:]
	}
	return out, nil
}
