package onnx

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"mvag-torch/internal/testenv"
)

// build makes a model and checks that it is valid.
func build(t testing.TB, opset int, half bool, with func(b *Builder)) *Model {
	t.Helper()
	b := NewBuilder(opset, half)
	with(b)
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	m.Name = "test"
	return m
}

// everything uses all that a file can hold: types, attributes, open dimensions, settings, stages, documentation.
func everything(t testing.TB, opset int) *Model {
	m := build(t, opset, true, func(b *Builder) {
		images := b.Input("images", "pixels", Uint8, Objects(1), Dim{N: 2}, Dim{N: 3})
		class := b.Input("class", "row of the table", Int64, Objects(1))
		scale := b.Setting("scale", "of the output", []float32{1, 2, 3}, 3)
		sub := b.Sub("layer.0")
		x := sub.Reshape(sub.Cast(images, Float), Objects(2), Dim{N: 3})
		x = sub.MatMul(x, sub.Weight("weight", slices.Repeat([]float32{0.1}, 600), 3, 200))
		x = sub.LayerNorm(x, sub.Floats("ones", slices.Repeat([]float32{1}, 200), 200), sub.Weight("zeros", make([]float32, 200), 200), 1e-6)
		x = sub.Name(sub.GELU(x), "output", "what the layer gives: größer")
		x = b.ReduceMax(b.Reshape(x, Objects(1), Dim{N: 400}), -1, false)
		x = b.Where(b.Bools("never", []bool{false}, 1), b.Scalar(0), b.Mul(x, b.Gather(scale, 0, class)))
		b.Output(x, "score", "of each object")
	})
	m.Doc, m.Producer, m.Version, m.Metadata = "what it does", "tester", "v1", map[string]string{"a": "{}", "b": "ü"}
	return m
}

// folder returns the names of the files in a folder.
func folder(t *testing.T, dir string) (names []string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		names = append(names, f.Name())
	}
	return names
}

func TestWriteRead(t *testing.T) {
	for name, c := range map[string]struct {
		opset    int
		external bool
		limit    int64
		want     []string
	}{
		"one file":          {17, false, maxFile, []string{"m.onnx"}},
		"opset 20":          {20, false, maxFile, []string{"m.onnx"}},
		"external":          {17, true, maxFile, []string{"m.onnx", "m.onnx.data"}},
		"above the limit":   {17, false, everything(t, 17).encode(nil).size - 1, []string{"m.onnx", "m.onnx.data"}},
		"just at the limit": {17, false, everything(t, 17).encode(nil).size, []string{"m.onnx"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "m.onnx")
			m := everything(t, c.opset)
			if err := writeFile(path, m, c.external, c.limit); err != nil {
				t.Fatal(err)
			}
			if have := folder(t, dir); !slices.Equal(have, c.want) {
				t.Errorf("have files %q, want %q", have, c.want)
			}
			again, err := ReadModel(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := m.compare(again); err != nil {
				t.Error(err)
			}
			if have, want := again.Stages(), m.Stages(); len(have) != 2 || !reflect.DeepEqual(have, want) {
				t.Errorf("have stages %v, want %v", have, want)
			}
			if m.ConstantBytes() != again.ConstantBytes() {
				t.Errorf("have %d bytes of constants, want %d", again.ConstantBytes(), m.ConstantBytes())
			}
		})
	}
}

// TestExternalLayout: constants of 1 KiB and more begin at pages; between them are zeros.
func TestExternalLayout(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.onnx")
	values := make([]float32, 256) // 1 KiB
	for i := range values {
		values[i] = float32(i + 1)
	}
	m := build(t, 17, false, func(b *Builder) {
		x := b.Input("x", "x", Float, Dim{N: 256})
		small := b.Floats("small", values[:255], 255)
		x = b.Add(b.Add(x, b.Floats("a", values, 256)), b.Floats("b", values, 256))
		b.Output(b.Concat(0, x, small), "y", "y")
	})
	if err := WriteFile(path, m, true); err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile(DataPath(path))
	want := append(fixed32(values...), make([]byte, 3072)...)
	if want = append(want, fixed32(values...)...); err != nil || !bytes.Equal(have, want) {
		t.Errorf("have %d bytes, %v, want %d: a, zeros, b", len(have), err, len(want))
	}
}

// TestReplace: a pair of files is replaced as a whole, and data that nothing needs any more are removed.
func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	a, b := everything(t, 17), everything(t, 18)
	for _, step := range []struct {
		model    *Model
		external bool
		want     []string
	}{
		{a, true, []string{"m.onnx", "m.onnx.data"}},
		{b, true, []string{"m.onnx", "m.onnx.data"}},
		{a, false, []string{"m.onnx"}},
		{b, true, []string{"m.onnx", "m.onnx.data"}},
	} {
		if err := WriteFile(path, step.model, step.external); err != nil {
			t.Fatal(err)
		}
		if have := folder(t, dir); !slices.Equal(have, step.want) {
			t.Errorf("have files %q, want %q", have, step.want)
		}
		if again, err := ReadModel(path); err != nil || step.model.compare(again) != nil {
			t.Errorf("have %v, want the model that was written", err)
		}
	}
	if err := os.WriteFile(path, []byte("another program's"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, a, false); err != nil {
		t.Fatal(err)
	}
	if have := folder(t, dir); !slices.Equal(have, []string{"m.onnx", "m.onnx.data"}) {
		t.Errorf("have files %q, want that data of another program stay", have)
	}
}

// TestWriteFails: a write that fails leaves what was there.
func TestWriteFails(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(t *testing.T, path string, m *Model)
		limit   int64
		want    string
	}{
		"no name": {
			func(_ *testing.T, _ string, m *Model) { m.Name = "" },
			maxFile,
			"onnx: graph: have no name, want one",
		},
		"not UTF-8": {
			func(_ *testing.T, _ string, m *Model) { m.Doc = "\xff" },
			maxFile,
			`read again: onnx: doc_string: have "\xff", want UTF-8`,
		},
		"too large": {nil, 1000, "bytes without external data, want at most 1000"},
		"other folder": {
			func(t *testing.T, path string, _ *Model) { mkdir(t, DataPath(path)) },
			maxFile,
			".data: have a folder, want a file or nothing",
		},
		"altered": {func(_ *testing.T, _ string, m *Model) {
			m.Initializers[0].external = &location{path: "gone", length: 12} // no such file
		}, maxFile, "gone: no such file"},
		"attribute": {func(_ *testing.T, _ string, m *Model) {
			m.Nodes[0].Attributes = append(m.Nodes[0].Attributes, Attribute{"s", "text"})
		}, maxFile, `node 0 "layer.0.Cast": attribute "s": have a string, want an int64, float32 or []int64`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "m.onnx")
			old := everything(t, 17)
			if err := WriteFile(path, old, false); err != nil {
				t.Fatal(err)
			}
			m := everything(t, 18)
			if c.prepare != nil {
				c.prepare(t, path, m)
			}
			before := folder(t, dir)
			err := writeFile(path, m, true, c.limit)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") ||
				!strings.HasPrefix(err.Error(), path) {
				t.Errorf("have %v, want %q and the file", err, c.want)
			}
			if have := folder(t, dir); !slices.Equal(have, before) {
				t.Errorf("have files %q, want %q", have, before)
			}
			if again, err := ReadModel(path); err != nil || old.compare(again) != nil {
				t.Errorf("have %v, want the old model", err)
			}
		})
	}
	missing := filepath.Join(t.TempDir(), "no", "m.onnx")
	if err := WriteFile(missing, everything(t, 17), false); !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), missing) {
		t.Errorf("have %v, want that the folder is missing", err)
	}
}

// TestWriteFailingDisk lets the kernel refuse to let a file grow, as it does on a full disk.
func TestWriteFailingDisk(t *testing.T) {
	if !testenv.InOwnProcess(t) {
		return
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	old := everything(t, 17)
	if err := WriteFile(path, old, true); err != nil {
		t.Fatal(err)
	}
	lift := testenv.FullDisk(t, 1000)
	err := WriteFile(path, everything(t, 18), true)
	lift()
	if want := path + ": file too large"; err == nil || err.Error() != want {
		t.Errorf("have %v, want %s", err, want)
	}
	if have := folder(t, dir); !slices.Equal(have, []string{"m.onnx", "m.onnx.data"}) {
		t.Errorf("have files %q, want the old ones", have)
	}
	if again, err := ReadModel(path); err != nil || old.compare(again) != nil {
		t.Errorf("have %v, want the old model", err)
	}
}

// TestVerify: a file that is not what was meant gets no name. What the bytes say is compared part by part.
func TestVerify(t *testing.T) {
	f, err := create(filepath.Join(t.TempDir(), "m"), func(w io.Writer) error {
		_, err := io.WriteString(w, "content")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if content, err := f.check(true); err != nil || string(content) != "content" {
		t.Errorf("have %q, %v", content, err)
	}
	if _, err := f.WriteAt([]byte("C"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.check(false); err == nil || !strings.HasPrefix(err.Error(), "have bytes with SHA-256 ") {
		t.Errorf("have %v, want another sum", err)
	}
	for name, c := range map[string]struct {
		change func(m *Model)
		want   string
	}{
		"name":      {func(m *Model) { m.Name = "other" }, "name: have other, want test"},
		"opset":     {func(m *Model) { m.Opset = 18 }, "opset: have 18, want 17"},
		"metadata":  {func(m *Model) { m.Metadata = nil }, "metadata: have map[], want map["},
		"nodes":     {func(m *Model) { m.Nodes = m.Nodes[1:] }, "nodes: have "},
		"input":     {func(m *Model) { m.Nodes[0].Inputs[0] = "other" }, "node: have {Cast layer.0.Cast  [other]"},
		"attribute": {func(m *Model) { m.Nodes[0].Attributes[0].Value = int64(9) }, "node: have {Cast"},
		"outputs":   {func(m *Model) { m.Outputs[0].Doc = "" }, "outputs: have [{score "},
		"shape":     {func(m *Model) { m.Values[0].Shape[0].N = 2 }, "values: have ["},
		"constants": {func(m *Model) { m.Initializers = nil }, "initializers: have 0, want "},
		"type": {
			func(m *Model) { m.Initializers[0].DataType = Int64 },
			`initializer "scale": have "scale", INT64 [3], want FLOAT [3]`,
		},
		"elements": {func(m *Model) {
			m.Initializers[0].raw = bytes.Clone(m.Initializers[0].raw)
			m.Initializers[0].raw[3] ^= 1
		}, `initializer "scale": have other elements, want the same`},
	} {
		t.Run(name, func(t *testing.T) {
			m, other := everything(t, 17), everything(t, 17)
			if err := m.compare(other); err != nil {
				t.Fatal(err)
			}
			c.change(other)
			if err := m.compare(other); err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("have %v, want %s", err, c.want)
			}
		})
	}
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
}
