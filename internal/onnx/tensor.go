package onnx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"mvag-torch/internal/regularfile"
	"mvag-torch/internal/safetensors"
)

// Tensor is an initialiser: a constant of the graph, usually a weight.
type Tensor struct {
	Name, Doc string
	DataType  DataType
	Dims      []int64

	raw      []byte    // little-endian elements; nil for a type that cannot be read, and where they are external
	external *location // of the elements; nil where they are raw
}

// location is a part of another file.
type location struct {
	path           string
	offset, length int64
}

// Raw returns the elements, little-endian. Those in another file are read from there; others are not copied.
func (t *Tensor) Raw() ([]byte, error) {
	raw, err := t.raw, error(nil)
	switch {
	case t.external != nil:
		raw, err = t.external.read()
	case dataTypes[t.DataType].dtype == "" || raw == nil:
		err = fmt.Errorf("have %s, want elements that can be read", t.DataType)
	}
	if err != nil {
		return nil, fmt.Errorf("initializer %.80q: %w", t.Name, err)
	}
	return raw, nil
}

// Float32 returns the elements of a tensor of type FLOAT, FLOAT16, BFLOAT16 (exact) or DOUBLE (rounded to nearest).
func (t *Tensor) Float32() ([]float32, error) {
	d := dataTypes[t.DataType].dtype
	if d == "" || t.DataType == Uint8 || t.DataType == Int64 || t.DataType == Bool {
		return nil, fmt.Errorf("initializer %.80q: have %s, want FLOAT, FLOAT16, BFLOAT16 or DOUBLE", t.Name, t.DataType)
	}
	raw, err := t.raw, error(nil)
	if t.external != nil {
		raw, err = t.Raw()
	}
	if err != nil {
		return nil, err
	}
	return safetensors.AppendFloat32(make([]float32, 0, int64(len(raw))/d.Size()), d, raw)
}

// bytes is the size of the elements.
func (t *Tensor) bytes() int64 {
	if t.external != nil {
		return t.external.length
	}
	return int64(len(t.raw))
}

func (l *location) read() ([]byte, error) {
	f, _, err := regularfile.Open(l.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw := make([]byte, l.length)
	if n, err := f.ReadAt(raw, l.offset); n < len(raw) {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("%s: %w", l.path, err)
	}
	return raw, nil
}

// maxRank is the maximum number of dimensions of a tensor, as in LibTorch.
const maxRank = 64

// values are the fields in which a TensorProto may have its elements. A repeated field may be packed, in parts, or
// element by element: its bytes are the same.
type values struct {
	raw, floats, doubles []byte // little-endian
	int32s               []byte // varints

	external bool              // as data_location says
	location map[string]string // the entries of external_data
}

// tensor parses a TensorProto. With an error it returns the name, too.
func (p *parser) tensor(f field) (Tensor, error) {
	var t Tensor
	var v values
	err := f.message("tensor", func(f field) (err error) {
		switch f.number {
		case 1:
			err = f.varints(&t.Dims, "dims", maxRank)
		case 2:
			var d int64
			d, err = f.varint("data_type")
			t.DataType = DataType(d)
		case 8:
			t.Name, err = p.text(f, "name")
		case 4, 5, 9, 10:
			err = v.add(f)
		case 13, 14:
			err = p.addLocation(&v, f)
		case 12:
			if p.strict {
				t.Doc, err = p.text(f, "doc_string")
			}
		default:
			err = p.unknown(f)
		}
		return err
	})
	if err == nil {
		err = p.elements(&t, &v)
	}
	return t, err
}

// addLocation reads a field of external data.
func (p *parser) addLocation(v *values, f field) error {
	if f.number == 14 {
		location, err := f.varint("data_location")
		v.external = location != 0
		if err == nil && location != 0 && p.folder == nil {
			err = errors.New("have data in an external file, want it in the model file")
		}
		return err
	}
	if p.folder == nil {
		return errors.New("have data in an external file, want it in the model file")
	}
	if v.location == nil {
		v.location = map[string]string{}
	}
	return p.entry(f, "external_data", v.location)
}

// elements gives t the elements of v.
func (p *parser) elements(t *Tensor, v *values) (err error) {
	switch {
	case p.strict && !t.DataType.written():
		return fmt.Errorf("have %s, want FLOAT, FLOAT16, INT64, UINT8 or BOOL", t.DataType)
	case v.external != (v.location != nil):
		return errors.New("have one of data_location and external_data, want both or none")
	case v.external && v.raw != nil:
		return errors.New("have raw_data and external data, want one of them")
	case v.external:
		t.external, err = p.locate(t, v.location)
		return err
	case p.strict && v.raw == nil:
		return errors.New("have no raw_data, want it")
	}
	t.raw, err = v.elements(t.DataType, t.Dims)
	if err == nil && p.strict && t.DataType == Bool {
		for _, b := range t.raw {
			if b > 1 {
				return fmt.Errorf("have a BOOL of %d, want 0 or 1", b)
			}
		}
	}
	return err
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
	}
	return f.gather(&v.doubles, "double_data", protowire.Fixed64Type)
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
