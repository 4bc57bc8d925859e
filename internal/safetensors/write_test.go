package safetensors

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"mvag-torch/internal/testenv"
)

func TestWriteBytes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.safetensors")
	err := Write(path, []Tensor{
		Raw("b", U8, []int64{3}, []byte{1, 2, 3}),
		Float32("z<", nil, []float32{1}),
		Float32("a", []int64{1, 2}, []float32{-2, 0}),
		Raw("n", I64, []int64{1}, []byte("\xff\xff\xff\xff\xff\xff\xff\xff")),
	}, map[string]string{"k": "v\n", "j": "é"})
	if err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// By hand from the format: widest type first, names in order, padding.
	header := `{"__metadata__":{"j":"é","k":"v\n"},` +
		`"n":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},` +
		`"a":{"dtype":"F32","shape":[1,2],"data_offsets":[8,16]},` +
		`"z<":{"dtype":"F32","shape":[],"data_offsets":[16,20]},` +
		`"b":{"dtype":"U8","shape":[3],"data_offsets":[20,23]}}`
	for len(header)%8 != 0 {
		header += " "
	}
	want := slices.Concat(file(header, 0),
		[]byte("\xff\xff\xff\xff\xff\xff\xff\xff"), []byte("\x00\x00\x00\xc0\x00\x00\x00\x00"), []byte("\x00\x00\x80\x3f"), []byte{1, 2, 3})
	if !bytes.Equal(have, want) {
		t.Errorf("have %q\nwant %q", have, want)
	}
}

func TestWriteReadLarge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.safetensors")
	floats := make([]float32, 700_001) // several chunks, the last one partial
	for i := range floats {
		floats[i] = float32(i) * 0.3
	}
	err := Write(path, []Tensor{Float32("f", []int64{int64(len(floats))}, floats)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if have, err := f.Float32("f"); err != nil || !slices.Equal(have, floats) {
		t.Errorf("floats differ, %v", err)
	}
	if len(f.Metadata()) != 0 {
		t.Errorf("have metadata %v, want none", f.Metadata())
	}
}

func TestWriteRefuses(t *testing.T) {
	one := Float32("a", []int64{1}, []float32{1})
	failing := func(err error) Tensor {
		return Tensor{"a", F32, []int64{1}, func(w io.Writer) error {
			if _, err := w.Write([]byte{1, 2}); err != nil {
				return err
			}
			return err
		}}
	}
	tests := map[string]struct {
		tensors  []Tensor
		metadata map[string]string
		want     string
	}{
		"name twice":         {[]Tensor{one, one}, nil, `tensor "a": have the name twice`},
		"reserved name":      {[]Tensor{Raw("__metadata__", U8, nil, []byte{1})}, nil, "have a reserved name"},
		"name not text":      {[]Tensor{Raw("\xff", U8, nil, []byte{1})}, nil, "invalid UTF-8 in the name"},
		"no data":            {[]Tensor{{Name: "a", DType: F32}}, nil, `tensor "a": have no data`},
		"unknown dtype":      {[]Tensor{Raw("a", "F8", nil, []byte{1})}, nil, `tensor "a": have dtype "F8"`},
		"negative dimension": {[]Tensor{Raw("a", U8, []int64{-1}, nil)}, nil, "want no negative dimension"},
		"shape overflows":    {[]Tensor{Raw("a", F32, []int64{1 << 62}, nil)}, nil, "fits 63 bits"},
		"sum overflows":      {[]Tensor{Raw("a", U8, []int64{1 << 62}, nil), Raw("b", U8, []int64{1 << 62}, nil)}, nil, `tensor "b": have more than 2^63-1 bytes in all`},
		"too little data":    {[]Tensor{Raw("a", F32, []int64{2}, make([]byte, 7))}, nil, `tensor "a": have 7 bytes, want 8 for F32 [2]`},
		"too much data":      {[]Tensor{Raw("a", F32, []int64{2}, make([]byte, 9))}, nil, `tensor "a": have at least 1 bytes more`},
		"data give an error": {[]Tensor{failing(errors.New("device lost"))}, nil, `tensor "a": device lost`},
		"metadata not text":  {[]Tensor{one}, map[string]string{"k": "\xff"}, `__metadata__: have invalid UTF-8 in "k"`},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.safetensors")
			if err := os.WriteFile(path, []byte("old"), 0o666); err != nil {
				t.Fatal(err)
			}
			err := Write(path, c.tensors, c.metadata)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), path+": ") {
				t.Errorf("have %v, want %s: …%s…", err, path, c.want)
			}
			checkOnly(t, path, "old")
		})
	}
}

// checkOnly checks that the folder of path holds nothing else and what path holds.
func checkOnly(t *testing.T, path, want string) {
	t.Helper()
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) != 1 {
		t.Errorf("have %v, %v, want one file", files, err)
	}
	if have, err := os.ReadFile(path); err != nil || string(have) != want {
		t.Errorf("have %q, %v, want %q", have, err, want)
	}
}

// TestWritePanicLeavesNothing: values come from LibTorch, whose operators panic; the temporary file must go then too.
func TestWritePanicLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.safetensors")
	if err := os.WriteFile(path, []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() { _ = recover() }()
		_ = Write(path, []Tensor{{"a", F32, nil, func(io.Writer) error { panic("lost") }}}, nil)
		t.Error("the panic was swallowed")
	}()
	checkOnly(t, path, "old")
}

// TestPython has the reference implementation read what is written here and write it again: the bytes are the same.
func TestPython(t *testing.T) {
	python := testenv.Python(t)
	dir := t.TempDir()
	ours, theirs := filepath.Join(dir, "go.safetensors"), filepath.Join(dir, "python.safetensors")
	tensors := []Tensor{
		Raw("flag", Bool, []int64{3}, []byte{1, 0, 1}), Raw("u8", U8, []int64{1}, []byte{200}), Raw("i8", I8, []int64{1}, []byte{200}),
		Raw("i16", I16, []int64{1}, []byte{1, 2}), Raw("u16", U16, []int64{1}, []byte{1, 2}), Raw("f16", F16, []int64{2}, []byte{0, 0x3c, 1, 0}),
		Raw("i32", I32, nil, []byte{1, 2, 3, 4}), Raw("u32", U32, nil, []byte{1, 2, 3, 4}), Float32("b.weight", []int64{2, 1}, []float32{1.5, -2}),
		Float32("a<é\"\n", nil, []float32{0.1}), Raw("f64", F64, nil, make([]byte, 8)), Raw("i64", I64, []int64{1}, []byte("\xfb\xff\xff\xff\xff\xff\xff\xff")),
		Raw("u64", U64, nil, []byte{1, 2, 3, 4, 5, 6, 7, 8}), Float32("empty", []int64{0, 4}, nil),
	}
	if err := Write(ours, tensors, map[string]string{"config": "{\"a\": 1}\n"}); err != nil {
		t.Fatal(err)
	}
	const script = `
import sys
from safetensors import safe_open
from safetensors.numpy import save_file
with safe_open(sys.argv[1], "np") as f:
    save_file({k: f.get_tensor(k) for k in f.keys()}, sys.argv[2], f.metadata())
    assert f.get_tensor("b.weight").tolist() == [[1.5], [-2.0]]
    assert f.get_tensor("i64").tolist() == [-5]
    assert f.get_tensor("f16").tolist() == [1.0, 2.0**-24]
`
	if out, err := exec.Command(python, "-c", script, ours, theirs).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	have, _ := os.ReadFile(ours)
	want, _ := os.ReadFile(theirs)
	if !bytes.Equal(have, want) {
		t.Errorf("have %q\nwant %q", have, want)
	}
}

func FuzzWriteRead(f *testing.F) {
	f.Add("a", uint8(9), []byte("\x00\x00\x80\x3f\x00\x00\x00\x00"), "key", "value")
	f.Add("é\"<\n", uint8(0), []byte{}, "", "\u2028")
	f.Fuzz(func(t *testing.T, name string, d uint8, data []byte, key, text string) {
		dtype := dtypes[int(d)%len(dtypes)]
		n := int64(len(data)) / dtype.Size()
		data = data[:n*dtype.Size()]
		in := []Tensor{Raw(name, dtype, []int64{n, 1}, data), Raw(name+"'", U8, nil, []byte{7})}
		metadata := map[string]string{key: text}
		sorted, header, err := layout(in, metadata)
		if err != nil {
			if utf8.ValidString(name) && utf8.ValidString(key) && utf8.ValidString(text) && name != metadataKey {
				t.Fatal(err)
			}
			return
		}
		var b bytes.Buffer
		if err := encode(&b, sorted, header); err != nil {
			t.Fatal(err)
		}
		file, err := open(b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if haveType, shape, ok := file.Info(name); haveType != dtype || !slices.Equal(shape, []int64{n, 1}) || !ok {
			t.Fatalf("have %s %v %v, want %s [%d 1]", haveType, shape, ok, dtype, n)
		}
		if have, err := file.Bytes(name); err != nil || !bytes.Equal(have, data) {
			t.Fatalf("have %q, %v, want %q", have, err, data)
		}
		if !maps.Equal(file.Metadata(), metadata) {
			t.Fatalf("have %q, want %q", file.Metadata(), metadata)
		}
	})
}

// TestWriteChecked refuses what was written: the old file stays.
func TestWriteChecked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.safetensors")
	if err := os.WriteFile(path, []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	tensors, refused := []Tensor{Float32("a", []int64{2}, []float32{1, 2})}, errors.New("refused")
	read := func(f *File) error {
		if have, err := f.Float32("a"); err != nil || !slices.Equal(have, []float32{1, 2}) || f.Metadata()["k"] != "v" {
			t.Errorf("have %v, metadata %q, error %v", have, f.Metadata(), err)
		}
		return refused
	}
	if err := WriteChecked(path, tensors, map[string]string{"k": "v"}, read); !errors.Is(err, refused) {
		t.Errorf("have %v, want the error of check", err)
	}
	checkOnly(t, path, "old")
	refused = nil
	if err := WriteChecked(path, tensors, map[string]string{"k": "v"}, read); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "b.safetensors")
	if err := Write(other, tensors, map[string]string{"k": "v"}); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	checkOnly(t, path, string(want))
}
