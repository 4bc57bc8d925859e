package onnx

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// The functions below write the fields that the tests need, by the numbers of onnx.proto.

func sub(b []byte, number protowire.Number, content []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), content)
}

func num(b []byte, number protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), v)
}

func varints(vs ...uint64) []byte {
	var b []byte
	for _, v := range vs {
		b = protowire.AppendVarint(b, v)
	}
	return b
}

// tensor writes name, type and unpacked dims, as ONNX's own writer does.
func tensor(name string, d DataType, dims ...uint64) []byte {
	var b []byte
	for _, dim := range dims {
		b = num(b, 1, dim)
	}
	return sub(num(b, 2, uint64(d)), 8, []byte(name))
}

// model wraps a graph of the given initialisers.
func model(tensors ...[]byte) []byte {
	var graph []byte
	for _, t := range tensors {
		graph = sub(graph, 5, t)
	}
	return sub(num(nil, 1, 8), 7, graph)
}

func fixed32(vs ...float32) []byte {
	var b []byte
	for _, v := range vs {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

func fixed64(v float64) []byte { return binary.LittleEndian.AppendUint64(nil, math.Float64bits(v)) }

func TestFloat32(t *testing.T) {
	element := func(b []byte, v float32) []byte { // one unpacked float
		return protowire.AppendFixed32(protowire.AppendTag(b, 4, protowire.Fixed32Type), math.Float32bits(v))
	}
	tests := map[string]struct {
		tensor []byte
		want   []float32
	}{
		"float raw":           {sub(tensor("w", Float, 2, 1), 9, fixed32(1, -2)), []float32{1, -2}},
		"float packed":        {sub(tensor("w", Float, 2), 4, fixed32(1, -2)), []float32{1, -2}},
		"float in parts":      {sub(sub(tensor("w", Float, 3), 4, fixed32(1)), 4, fixed32(2, 3)), []float32{1, 2, 3}},
		"float unpacked":      {element(element(tensor("w", Float, 2), 5), 6), []float32{5, 6}},
		"type behind data":    {num(num(sub(nil, 4, fixed32(7)), 1, 1), 2, 1), []float32{7}},
		"float16 raw":         {sub(tensor("w", Float16, 2), 9, []byte{0, 0x3c, 1, 0}), []float32{1, 0x1p-24}},
		"float16 in int32":    {sub(tensor("w", Float16, 2), 5, varints(0x3c00, 0xc000)), []float32{1, -2}},
		"float16 unpacked":    {num(num(tensor("w", Float16, 2), 5, 0x3c00), 5, 0xc000), []float32{1, -2}},
		"bfloat16 raw":        {sub(tensor("w", BFloat16, 1), 9, []byte{0xc0, 0x3f}), []float32{1.5}},
		"bfloat16 in int32":   {sub(tensor("w", BFloat16, 1), 5, varints(0x3fc0)), []float32{1.5}},
		"double raw":          {sub(tensor("w", Double, 1), 9, fixed64(1+0x1p-30)), []float32{1}},
		"double packed":       {sub(tensor("w", Double, 1), 10, fixed64(-0.5)), []float32{-0.5}},
		"scalar":              {sub(tensor("w", Float), 9, fixed32(3)), []float32{3}},
		"empty":               {tensor("w", Float, 4, 0), []float32{}},
		"packed dims":         {sub(sub(num(nil, 2, 1), 1, varints(1, 2)), 9, fixed32(1, 2)), []float32{1, 2}},
		"unknown field aside": {sub(sub(tensor("w", Float, 1), 12, []byte("doc")), 9, fixed32(1)), []float32{1}},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			data := model(c.tensor)
			before := bytes.Clone(data)
			g, err := Parse(data)
			if err != nil {
				t.Fatal(err)
			}
			have, err := g.Initializers[0].Float32()
			if err != nil || !slices.Equal(have, c.want) {
				t.Errorf("have %v, %v, want %v", have, err, c.want)
			}
			if !bytes.Equal(data, before) {
				t.Error("the input was written to")
			}
		})
	}
}

// TestOtherTypes: a tensor of a type that cannot be read is an error only if its values are wanted.
func TestOtherTypes(t *testing.T) {
	g, err := Parse(model(sub(tensor("s", 8, 1), 6, []byte("text")), sub(tensor("n", 7, 1), 7, varints(5))))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{`initializer "s": have data type 8, want FLOAT`, `initializer "n": have INT64, want FLOAT`} {
		if _, err := g.Initializers[i].Float32(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("have %v, want %s", err, want)
		}
	}
}

func TestNodes(t *testing.T) {
	node := sub(sub(sub(sub(sub(sub(nil, 1, []byte("x")), 1, nil), 2, []byte("y")), 3, []byte("/mul")), 4, []byte("MatMul")), 5, []byte("skipped"))
	g, err := Parse(sub(nil, 7, sub(nil, 1, node)))
	if err != nil {
		t.Fatal(err)
	}
	n := g.Nodes[0]
	if n.OpType != "MatMul" || n.Name != "/mul" || !slices.Equal(n.Inputs, []string{"x", ""}) || !slices.Equal(n.Outputs, []string{"y"}) {
		t.Errorf("have %+v", n)
	}
}

func TestParseRefuses(t *testing.T) {
	good := sub(tensor("w", Float, 1), 9, fixed32(1))
	tests := map[string]struct {
		data []byte
		want string
	}{
		"empty":               {nil, "have no graph, want an ONNX model"},
		"no graph":            {num(nil, 1, 8), "have no graph"},
		"text":                {[]byte("hello, world, this is no model"), "onnx: "},
		"truncated":           {model(good)[:10], "have an invalid protocol buffer: "},
		"graph is a number":   {num(nil, 7, 1), "graph: have wire type 0, want 2"},
		"two graphs":          {append(model(good), model(good)...), "have two graphs"},
		"node is a number":    {sub(nil, 7, num(nil, 1, 1)), "node 0: node: have wire type 0"},
		"op_type is a number": {sub(nil, 7, sub(nil, 1, num(nil, 4, 1))), "node 0: op_type: have wire type 0"},
		"tensor is a number":  {sub(nil, 7, num(nil, 5, 1)), `initializer 0 "": tensor: have wire type 0`},
		"name is a number":    {model(num(nil, 8, 1)), `name: have wire type 0`},
		"name twice":          {model(good, good), `initializer 1 "w": have the name twice`},
		"external location": {
			model(num(tensor("w", Float, 1), 14, 1)),
			`initializer 0 "w": have data in an external file`,
		},
		"external data": {
			model(sub(tensor("w", Float, 1), 13, []byte{})),
			`initializer 0 "w": have data in an external file`,
		},
		"too few bytes": {
			model(sub(tensor("w", Float, 2), 9, fixed32(1))),
			`initializer 0 "w": have 4 bytes, want 8 for FLOAT [2]`,
		},
		"too many bytes": {
			model(sub(tensor("w", Float16, 1), 9, fixed32(1))),
			`have 4 bytes, want 2 for FLOAT16 [1]`,
		},
		"no data": {model(tensor("w", Float, 3)), `have 0 bytes, want 12 for FLOAT [3]`},
		"data of other type": {
			model(sub(tensor("w", Double, 1), 4, fixed32(1, 2))),
			`have 0 bytes, want 8 for DOUBLE [1]`,
		},
		"negative dimension": {model(tensor("w", Float, math.MaxUint64)), "want no negative dimension"},
		"65 dimensions":      {model(tensor("w", Float, make([]uint64, 65)...)), "dims: have more than 64"},
		"product overflows":  {model(tensor("w", Float, 1<<32, 1<<32)), "fits 63 bits"},
		"bytes overflow":     {model(tensor("w", Float, 1<<62)), "fits 63 bits"},
		"float_data varint":  {model(num(tensor("w", Float, 1), 4, 1)), "float_data: have wire type 0, want 5"},
		"raw_data varint":    {model(num(tensor("w", Float, 1), 9, 1)), "raw_data: have wire type 0, want 2"},
		"data_type text":     {model(sub(nil, 2, []byte("x"))), "data_type: have wire type 2, want 0"},
		"cut varint":         {model(sub(tensor("w", Float16, 1), 5, []byte{0x80})), "int32_data: "},
		"cut dims":           {model(sub(nil, 1, []byte{0x80})), "dims: "},
		"half of 17 bits": {
			model(sub(tensor("w", Float16, 1), 5, varints(1<<16))),
			"int32_data: have 65536, want at most 65535",
		},
		"too many nodes": {
			sub(nil, 7, bytes.Repeat([]byte{0x0a, 0}, maxItems+1)),
			"have more than 1048576 nodes, values and other items",
		},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(c.data)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("have %v, want %q", err, c.want)
			}
		})
	}
}

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	if err := os.WriteFile(path, []byte("\x00"), 0o666); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		path:                     path + ": onnx: have an invalid protocol buffer",
		dir:                      dir + ": have a folder or special file",
		filepath.Join(dir, "no"): "no such file",
	} {
		if _, err := ReadFile(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("have %v, want %q", err, want)
		}
	}
	if err := os.WriteFile(path, model(sub(tensor("w", Float, 1), 9, fixed32(1))), 0o666); err != nil {
		t.Fatal(err)
	}
	if g, err := ReadFile(path); err != nil || len(g.Initializers) != 1 {
		t.Errorf("have %v, %v, want one initialiser", g, err)
	}
	// A sparse file above 2 GiB is refused before a byte of it is read.
	if err := os.Truncate(path, 1<<31); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(path); err == nil || !strings.Contains(err.Error(), "have 2147483648 bytes, want at most 2147483647") {
		t.Errorf("have %v, want an error", err)
	}
}

func FuzzParse(f *testing.F) {
	node := sub(sub(sub(nil, 1, []byte("x")), 2, []byte("y")), 4, []byte("Add"))
	f.Add(sub(nil, 7, sub(sub(nil, 1, node), 5, sub(tensor("w", Float, 1), 9, fixed32(1)))))
	f.Add(model(sub(tensor("w", Float16, 2), 5, varints(0x3c00, 0xc000)), sub(tensor("n", 7, 2), 7, varints(5, 6))))
	f.Add(model(sub(tensor("w", Double, 1), 10, fixed64(1)), num(tensor("e", Float, 1<<40), 14, 1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		g, err := Parse(data)
		if !bytes.Equal(data, before) {
			t.Fatal("the input was written to")
		}
		if err != nil {
			return
		}
		for _, init := range g.Initializers {
			count := int64(1)
			for _, d := range init.Dims {
				count *= d
			}
			if values, err := init.Float32(); err == nil && int64(len(values)) != count {
				t.Fatalf("have %d values for %v", len(values), init.Dims)
			}
		}
	})
}
