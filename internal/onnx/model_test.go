package onnx

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// serialised returns the bytes of a message.
func serialised(t testing.TB, m *message) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := m.writeTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// small is a model that is easy to change: y = x + c.
func small(t testing.TB) *Model {
	return build(t, 17, false, func(b *Builder) {
		x := b.Input("x", "the input", Float, Objects(1), Dim{N: 2})
		b.Output(b.Neg(b.Add(x, b.Floats("c", []float32{1, 2}, 2))), "y", "the output")
	})
}

// TestReadModelRefuses changes a valid model.
func TestReadModelRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(m *Model)
		want   string
	}{
		"no name":   {func(m *Model) { m.Name = "" }, "graph: have no name"},
		"opset 16":  {func(m *Model) { m.Opset = 16 }, "opset: have 16, want 17 to 20"},
		"opset 21":  {func(m *Model) { m.Opset = 21 }, "opset: have 21, want 17 to 20"},
		"no output": {func(m *Model) { m.Outputs = nil }, "graph: have no output"},
		"input twice": {
			func(m *Model) { m.Inputs = append(m.Inputs, m.Inputs[0]) },
			`input "x": have the name twice`,
		},
		"input and output": {func(m *Model) { m.Outputs[0].Name = "x" }, `output "x": have the name twice`},
		"value twice": {
			func(m *Model) { m.Values = append(m.Values, m.Values[0]) },
			`value_info "Add": have the name twice`,
		},
		"value without name": {
			func(m *Model) { m.Values[0].Name = "" },
			`value_info "": have the name twice or empty`,
		},
		"value without node": {
			func(m *Model) { m.Values = append(m.Values, ValueInfo{"z", "", Float, Fixed(1)}) },
			`value "z": have no node`,
		},
		"value not described": {func(m *Model) { m.Values = nil }, `node 0 "Add": output "Add": have no description`},
		"constant twice": {
			func(m *Model) { m.Initializers = append(m.Initializers, m.Initializers[0]) },
			`initializer 1 "c": have the name twice`,
		},
		"constant without name": {func(m *Model) { m.Initializers[0].Name = "" }, "initializer 0: have no name"},
		"constant as value": {
			func(m *Model) { m.Initializers[0].Name = "Add" },
			`initializer "Add": have the name twice`,
		},
		"default of other type": {
			func(m *Model) { m.Inputs = append(m.Inputs, ValueInfo{"c", "", Float, Fixed(3)}) },
			`initializer "c": have FLOAT [2], want FLOAT [3] as of the input`,
		},
		"node order": {
			func(m *Model) { slices.Reverse(m.Nodes) },
			`node 0 "y": input "Add": have no value of this name before the node`,
		},
		"node twice": {func(m *Model) { m.Nodes[1].Name = "Add" }, `node 1 "Add": have the name twice`},
		"made twice": {
			func(m *Model) { m.Nodes[1].Outputs[0] = "Add" },
			`node 1 "y": output "Add": have no description or a second maker`,
		},
		"no operator": {
			func(m *Model) { m.Nodes[0].OpType = "" },
			`node 0 "Add": have operator "" with 1 outputs`,
		},
		"no results": {
			func(m *Model) { m.Nodes[0].Outputs = nil },
			`node 0 "Add": have operator "Add" with 0 outputs`,
		},
		"attribute twice": {
			func(m *Model) { m.Nodes[0].Attributes = []Attribute{{"a", int64(1)}, {"a", float32(2)}} },
			`attribute "a": have the name twice`,
		},
		"attribute NaN": {
			func(m *Model) { m.Nodes[0].Attributes = []Attribute{{"a", float32(math.NaN())}} },
			`attribute "a": have NaN, want a finite value`,
		},
		"dimension 0": {
			func(m *Model) { m.Values[0].Shape[1].N = 0 },
			`value_info "Add": dim: have 0, want at least 1`,
		},
		"65 dimensions": {func(m *Model) { m.Values[0].Shape = make(Shape, 65) }, `value_info "Add": dim`},
		"type": {
			func(m *Model) { m.Inputs[0].Type = Double },
			`input "x": have DOUBLE [objects, 2], want a tensor of FLOAT`,
		},
		"constant of double": {
			func(m *Model) { m.Initializers[0].DataType = Double },
			`initializer 0 "c": have DOUBLE, want FLOAT`,
		},
		"constant of bool": {
			func(m *Model) { m.Initializers[0].DataType, m.Initializers[0].Dims = Bool, []int64{8} },
			`initializer 0 "c": have a BOOL of 128, want 0 or 1`,
		},
		"elements": {
			func(m *Model) { m.Initializers[0].Dims[0] = 3 },
			`initializer 0 "c": have 8 bytes, want 12 for FLOAT [3]`,
		},
		"text": {
			func(m *Model) { m.Nodes[0].Doc = "\xc3" },
			`node 0: doc_string: have "\xc3", want UTF-8`,
		},
		"metadata without key": {
			func(m *Model) { m.Metadata = map[string]string{"": "x"} },
			`metadata_props: have the key "" twice or empty`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := small(t)
			c.change(m)
			_, err := parseModel(serialised(t, m.encode(nil)), nil)
			checkRefused(t, err, "onnx: ", c.want)
		})
	}
}

func checkRefused(t *testing.T, err error, prefix, want string) {
	t.Helper()
	if err == nil || !strings.HasPrefix(err.Error(), prefix) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("have %v, want %s…%s", err, prefix, want)
	}
}

// TestReadModelRefusesFields: what WriteFile does not write is refused, in every message.
func TestReadModelRefusesFields(t *testing.T) {
	inGraph := func(n protowire.Number, content []byte) []byte { return sub(nil, 7, sub(nil, n, content)) }
	attribute := func(b []byte) []byte { return inGraph(1, sub(nil, 5, b)) }
	value := func(b []byte) []byte { return inGraph(11, sub(nil, 2, b)) }
	dim := func(b []byte) []byte { return value(sub(nil, 1, sub(nil, 2, sub(nil, 1, b)))) }
	typed := num(sub(nil, 1, []byte("v")), 20, attributeInt)
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"model":             {sub(nil, 25, nil), "have field 25"},
		"graph":             {inGraph(15, nil), "have field 15"},
		"graph text":        {inGraph(10, []byte("doc")), "have field 10"},
		"node":              {inGraph(1, sub(nil, 7, []byte("domain"))), "node 0: have field 7"},
		"attribute":         {attribute(sub(typed, 6, nil)), `node 0: attribute "v": have field 6`},
		"attribute of text": {attribute(num(sub(nil, 4, []byte("text")), 20, 3)), "have field 4"},
		"attribute type":    {attribute(num(nil, 20, 6)), "have type 6, want FLOAT, INT or INTS"},
		"attribute two": {
			attribute(sub(typed, 8, varints(1))),
			`attribute "v": have type 2 and a value of type 7`,
		},
		"attribute wire": {attribute(num(nil, 2, 1)), "f: have wire type 0, want 5"},
		"ints cut":       {attribute(sub(nil, 8, []byte{0x80})), "ints: "},
		"tensor":         {inGraph(5, sub(nil, 6, nil)), `initializer 0 "": have field 6`},
		"tensor of floats": {
			inGraph(5, sub(tensor("w", Float, 1), 4, fixed32(1))),
			`initializer 0 "w": have no raw_data`,
		},
		"tensor of ints": {
			inGraph(5, sub(tensor("w", Int64, 1), 7, varints(1))),
			`initializer 0 "w": have field 7`,
		},
		"value": {inGraph(11, sub(nil, 4, nil)), `input "": have field 4`},
		"no type": {
			inGraph(12, sub(nil, 1, []byte("v"))),
			`output "v": have data type 0 [], want a tensor`,
		},
		"no shape": {
			inGraph(13, sub(sub(nil, 1, []byte("v")), 2, sub(nil, 1, num(nil, 1, 1)))),
			`value_info "v": have FLOAT [], want a tensor`,
		},
		"sequence":    {value(sub(nil, 4, nil)), `input "": have field 4`},
		"tensor type": {value(sub(nil, 1, sub(nil, 3, nil))), "have field 3"},
		"shape":       {value(sub(nil, 1, sub(nil, 2, num(nil, 2, 1)))), "have field 2"},
		"open dimension": {
			dim(sub(nil, 2, []byte("batch"))),
			`dim_param: have "batch", want "objects" or a multiple`,
		},
		"one times":          {dim(sub(nil, 2, []byte("1*objects"))), `dim_param: have "1*objects"`},
		"factor":             {dim(sub(nil, 2, []byte("+2*objects"))), `dim_param: have "+2*objects"`},
		"negative factor":    {dim(sub(nil, 2, []byte("-2*objects"))), "dim: have -2, want at least 1"},
		"denotation":         {dim(sub(num(nil, 1, 1), 3, []byte("N"))), "have field 3"},
		"negative dimension": {dim(num(nil, 1, 1<<63)), "dim: have -9223372036854775808"},
		"IR version": {
			append(num(num(nil, 1, 7), 2, 0)[:2], append(sub(nil, 7, nil), sub(nil, 8, num(nil, 2, 17))...)...),
			"ir_version: have 7, want 8 with opset 17",
		},
		"two operator sets": {
			append(sub(nil, 8, num(nil, 2, 17)), sub(nil, 8, num(nil, 2, 17))...),
			"have two operator sets",
		},
		"foreign operators": {sub(nil, 8, sub(nil, 1, []byte("com.microsoft"))), "have field 1"},
		"metadata":          {sub(nil, 14, sub(nil, 3, nil)), "metadata_props: have field 3"},
		"metadata twice": {
			append(sub(nil, 14, sub(nil, 1, []byte("k"))), sub(nil, 14, sub(nil, 1, []byte("k")))...),
			`metadata_props: have the key "k" twice`,
		},
		"external": {
			inGraph(5, num(tensor("w", Float, 1), 14, 1)),
			`initializer 0 "w": have data in an external file`,
		},
		"too many attributes": {
			inGraph(1, bytes.Repeat(sub(nil, 5, num(nil, 20, 2)), maxItems/2+1)),
			"have more than 1048576",
		},
		"too many texts": {inGraph(1, bytes.Repeat([]byte{0x0a, 0}, maxItems+1)), "have more than 1048576"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseModel(c.data, nil)
			checkRefused(t, err, "onnx: ", c.want)
		})
	}
}

// entries writes external_data and data_location.
func entries(b []byte, pairs ...string) []byte {
	for i := 0; i < len(pairs); i += 2 {
		b = sub(b, 13, sub(sub(nil, 1, []byte(pairs[i])), 2, []byte(pairs[i+1])))
	}
	return num(b, 14, 1)
}

// TestExternalRefuses: external data are a part of a regular file in the folder of the model.
func TestExternalRefuses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "folder")
	mkdir(t, dir)
	mkdir(t, filepath.Join(dir, "sub"))
	for _, name := range []string{"../outside", "data", "sub/inside"} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, 12), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("data", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "m.onnx")
	at := func(name, offset, length string) []byte {
		return entries(tensor("w", Float, 2), "location", name, "offset", offset, "length", length)
	}
	for name, c := range map[string]struct {
		tensor []byte
		want   string
	}{
		"parent":      {at("../outside", "0", "8"), `have "../outside", want a file in the folder of the model`},
		"absolute":    {at(filepath.Join(dir, "data"), "0", "8"), "want a file in the folder of the model"},
		"below":       {at("sub/inside", "0", "8"), `have "sub/inside", want a file in the folder`},
		"not clean":   {at("./data", "0", "8"), `have "./data", want a file in the folder`},
		"itself":      {at(".", "0", "8"), `have ".", want a file in the folder`},
		"its parent":  {at("..", "0", "8"), `have "..", want a file in the folder`},
		"no name":     {at("", "0", "8"), `have "", want a file in the folder`},
		"link":        {at("link", "0", "8"), "link: have a folder, link or special file, want a regular file"},
		"folder":      {at("sub", "0", "8"), "sub: have a folder, link or special file"},
		"missing":     {at("gone", "0", "8"), "gone: no such file"},
		"NUL":         {at("data\x00", "0", "8"), "external_data: "},
		"behind":      {at("data", "8", "8"), "have 8 bytes from 8 on, want them within the 12"},
		"far behind":  {at("data", "9223372036854775807", "8"), "from 9223372036854775807 on"},
		"negative":    {at("data", "-1", "8"), "have 8 bytes from -1 on"},
		"short":       {at("data", "0", "4"), "have 4 bytes, want 8 for FLOAT [2]"},
		"not numbers": {at("data", "0x0", "8"), `external_data: strconv.ParseInt: parsing "0x0"`},
		"no offset":   {entries(tensor("w", Float, 2), "location", "data", "length", "8"), "external_data: "},
		"checksum": {
			entries(tensor("w", Float, 2), "location", "data", "checksum", "x"),
			`external_data: have key "checksum"`,
		},
		"key twice": {
			entries(tensor("w", Float, 2), "offset", "0", "offset", "0"),
			`external_data: have the key "offset" twice`,
		},
		"no entries": {entries(tensor("w", Float, 2)), "have one of data_location and external_data"},
		"both":       {sub(at("data", "0", "8"), 9, fixed32(1, 2)), "have raw_data and external data"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, model(c.tensor), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := ReadModel(path)
			checkRefused(t, err, path+`: onnx: initializer 0 "w": `, c.want)
		})
	}
}

// TestDataFileChanges: external data that shrink or vanish after the model was read are an error that names the file.
func TestDataFileChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.onnx")
	if err := WriteFile(path, everything(t, 17), true); err != nil {
		t.Fatal(err)
	}
	m, err := ReadModel(path)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(m.Initializers, func(c Tensor) bool { return c.external != nil })
	w := m.Initializers[i]
	if v, err := w.Float32(); err != nil || len(v) != 600 {
		t.Fatalf("have %d values, %v, want 600", len(v), err)
	}
	if err := os.Truncate(DataPath(path), 100); err != nil {
		t.Fatal(err)
	}
	_, err = w.Float32()
	checkRefused(t, err, `initializer "layer.0.weight": `+DataPath(path), "unexpected EOF")
	_, err = ReadModel(path)
	checkRefused(t, err, path+": onnx: ", "want them within the 100 of "+DataPath(path))
	if err := os.Remove(DataPath(path)); err != nil {
		t.Fatal(err)
	}
	_, err = w.Raw()
	checkRefused(t, err, `initializer "layer.0.weight": `, DataPath(path)+": no such file")
}

// FuzzReadModel: bytes are refused, or a model that is written and read to be the same.
func FuzzReadModel(f *testing.F) {
	data := filepath.Join(f.TempDir(), "m.onnx.data")
	if err := os.WriteFile(data, make([]byte, 1<<14), 0o600); err != nil {
		f.Fatal(err)
	}
	folder := func(name string) (string, int64, error) {
		path, size, err := dataFiles(filepath.Dir(data))(name)
		if err == nil && path != data {
			f.Errorf("have %q", path)
		}
		return path, size, err
	}
	places := func(m *Model) map[string]location {
		external := map[string]location{}
		for _, t := range m.Initializers {
			if t.external != nil {
				external[t.Name] = *t.external
			}
		}
		return external
	}
	f.Add(serialised(f, small(f).encode(nil)))
	f.Add(serialised(f, everything(f, 20).encode(nil)))
	f.Add(serialised(f, everything(f, 17).encode(map[string]location{"layer.0.weight": {data, 4096, 1200}})))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseModel(b, folder)
		if err != nil {
			return
		}
		again, err := parseModel(serialised(t, m.encode(places(m))), folder)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.compare(again); err != nil {
			t.Fatal(err)
		}
	})
}
