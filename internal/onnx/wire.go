package onnx

import (
	"fmt"
	"io"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// field is a field of a message that is read: number, wire type, and content without length prefix.
type field struct {
	number  protowire.Number
	wire    protowire.Type
	content []byte
}

// fields calls use for every field of a serialised message.
func fields(b []byte, use func(field) error) error {
	for len(b) > 0 {
		number, wire, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("have an invalid protocol buffer: %w", protowire.ParseError(n))
		}
		b = b[n:]
		n = protowire.ConsumeFieldValue(number, wire, b)
		if n < 0 {
			return fmt.Errorf("have an invalid protocol buffer: %w", protowire.ParseError(n))
		}
		content := b[:n:n]
		if wire == protowire.BytesType {
			content, _ = protowire.ConsumeBytes(content)
		}
		if err := use(field{number, wire, content}); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// is returns an error if the wire type is another.
func (f field) is(name string, wire protowire.Type) error {
	if f.wire != wire {
		return fmt.Errorf("%s: have wire type %d, want %d", name, f.wire, wire)
	}
	return nil
}

func (f field) message(name string, use func(field) error) error {
	if err := f.is(name, protowire.BytesType); err != nil {
		return err
	}
	return fields(f.content, use)
}

func (f field) text(name string) (string, error) {
	return string(f.content), f.is(name, protowire.BytesType)
}

func (f field) varint(name string) (int64, error) {
	v, _ := protowire.ConsumeVarint(f.content)
	return int64(v), f.is(name, protowire.VarintType)
}

func (f field) float(name string) (float32, error) {
	v, _ := protowire.ConsumeFixed32(f.content)
	return math.Float32frombits(v), f.is(name, protowire.Fixed32Type)
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

// varints appends the elements of a repeated field of integers, packed or not, of which there may be limit.
func (f field) varints(to *[]int64, name string, limit int) error {
	var content []byte
	if err := f.gather(&content, name, protowire.VarintType); err != nil {
		return err
	}
	for len(content) > 0 {
		v, n := protowire.ConsumeVarint(content)
		if n < 0 {
			return fmt.Errorf("%s: %w", name, protowire.ParseError(n))
		}
		if len(*to) == limit {
			return fmt.Errorf("%s: have more than %d, want fewer", name, limit)
		}
		*to = append(*to, int64(v))
		content = content[n:]
	}
	return nil
}

// message is a message that is written, in parts, so that large constants are not copied.
type message struct {
	parts [][]byte
	size  int64
}

func (m *message) bytes(p []byte) {
	m.parts = append(m.parts, p)
	m.size += int64(len(p))
}

func (m *message) head(n protowire.Number, t protowire.Type, v uint64) {
	m.bytes(protowire.AppendVarint(protowire.AppendTag(nil, n, t), v))
}

// varint, float, text, raw and message add a field.
func (m *message) varint(n protowire.Number, v int64) { m.head(n, protowire.VarintType, uint64(v)) }

func (m *message) float(n protowire.Number, v float32) {
	m.bytes(protowire.AppendFixed32(protowire.AppendTag(nil, n, protowire.Fixed32Type), math.Float32bits(v)))
}

// text adds a field that is absent if it is empty.
func (m *message) text(n protowire.Number, s string) {
	if s != "" {
		m.raw(n, []byte(s))
	}
}

func (m *message) raw(n protowire.Number, p []byte) {
	m.head(n, protowire.BytesType, uint64(len(p)))
	m.bytes(p)
}

func (m *message) message(n protowire.Number, sub *message) {
	m.head(n, protowire.BytesType, uint64(sub.size))
	m.parts = append(m.parts, sub.parts...)
	m.size += sub.size
}

// writeTo writes the parts.
func (m *message) writeTo(w io.Writer) error {
	for _, p := range m.parts {
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return nil
}
