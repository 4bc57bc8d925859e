package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"mvag-torch/internal/testenv"
)

// file puts the length in front of a header and n bytes of data behind it.
func file(header string, n int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, n)...)
}

func open(b []byte) (*File, error) {
	return New("x.safetensors", bytes.NewReader(b), int64(len(b)))
}

func TestOpenAccepts(t *testing.T) {
	tests := map[string]struct {
		header string
		data   int
		names  []string
	}{
		"no tensor":             {`{}`, 0, []string{}},
		"metadata only":         {`{"__metadata__":{"a":"b"}}`, 0, []string{}},
		"scalar":                {`{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}`, 4, []string{"a"}},
		"trailing spaces":       {`{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}   `, 3, []string{"a"}},
		"keys in another order": {`{"a":{"data_offsets":[0,2],"shape":[1],"dtype":"F16"}}`, 2, []string{"a"}},
		"data in another order": {`{"a":{"dtype":"U8","shape":[1],"data_offsets":[2,3]},"b":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}`, 3, []string{"b", "a"}},
		"empty tensors":         {`{"a":{"dtype":"F32","shape":[0,5],"data_offsets":[0,0]},"b":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}`, 0, []string{"a", "b"}},
		"escaped name":          {`{"\u00e9\"":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1, []string{"é\""}},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			f, err := open(file(c.header, c.data))
			if err != nil {
				t.Fatal(err)
			}
			if have := f.Names(); !slices.Equal(have, c.names) {
				t.Errorf("have %q, want %q", have, c.names)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	const f32 = `"dtype":"F32"`
	tests := map[string]struct {
		header string
		data   int
		want   string
	}{
		"empty header":       {``, 0, `want a JSON object that begins with "{"`},
		"space in front":     {` {}`, 0, `want a JSON object that begins with "{"`},
		"array":              {`[]`, 0, `want a JSON object that begins with "{"`},
		"cut off":            {`{"a":{` + f32, 0, `tensor "a": unexpected EOF`},
		"text behind":        {`{}{}`, 0, "text after the JSON object"},
		"missing comma":      {`{"a":{` + f32 + ` "shape":[]}}`, 0, `tensor "a": invalid character`},
		"trailing comma":     {`{"a":{` + f32 + `,"shape":[1],"data_offsets":[0,4]},}`, 4, "invalid character"},
		"invalid utf-8":      {"{\"\xff\":1}", 0, "invalid UTF-8"},
		"number for tensor":  {`{"a":1}`, 0, `tensor "a": have "1", want "{"`},
		"tensor twice":       {`{"a":{` + f32 + `,"shape":[0],"data_offsets":[0,0]},"a":{` + f32 + `,"shape":[0],"data_offsets":[0,0]}}`, 0, `have key "a" twice`},
		"key twice":          {`{"a":{` + f32 + `,` + f32 + `}}`, 0, `tensor "a": have key "dtype" twice`},
		"metadata key twice": {`{"__metadata__":{"k":"1","k":"2"}}`, 0, `__metadata__: have key "k" twice`},
		"metadata number":    {`{"__metadata__":{"k":1}}`, 0, `__metadata__: have "1", want a string`},
		"unknown key":        {`{"a":{"strides":[1]}}`, 0, `tensor "a": have key "strides"`},
		"no dtype":           {`{"a":{"shape":[0],"data_offsets":[0,0]}}`, 0, `tensor "a": have an incomplete entry`},
		"no shape":           {`{"a":{` + f32 + `,"data_offsets":[0,4]}}`, 4, `tensor "a": have an incomplete entry`},
		"null shape":         {`{"a":{` + f32 + `,"shape":null,"data_offsets":[0,4]}}`, 4, `tensor "a": have "<nil>", want "["`},
		"one offset":         {`{"a":{` + f32 + `,"shape":[],"data_offsets":[0]}}`, 0, `tensor "a": have an incomplete entry`},
		"three offsets":      {`{"a":{` + f32 + `,"shape":[],"data_offsets":[0,4,8]}}`, 4, `tensor "a": have more than 2 numbers`},
		"unknown dtype":      {`{"a":{"dtype":"F4","shape":[1],"data_offsets":[0,1]}}`, 1, `tensor "a": have dtype "F4", want one of BOOL`},
		"dtype in lower":     {`{"a":{"dtype":"f32","shape":[1],"data_offsets":[0,4]}}`, 4, `tensor "a": have dtype "f32"`},
		"negative dimension": {`{"a":{` + f32 + `,"shape":[-1],"data_offsets":[0,4]}}`, 4, `tensor "a": have "-1", want a whole number`},
		"fraction":           {`{"a":{` + f32 + `,"shape":[1.0],"data_offsets":[0,4]}}`, 4, `tensor "a": have "1.0", want a whole number`},
		"exponent":           {`{"a":{` + f32 + `,"shape":[1e0],"data_offsets":[0,4]}}`, 4, `tensor "a": have "1e0", want a whole number`},
		"number too large":   {`{"a":{` + f32 + `,"shape":[9223372036854775808],"data_offsets":[0,4]}}`, 4, `tensor "a": have "9223372036854775808"`},
		"product overflows":  {`{"a":{` + f32 + `,"shape":[4294967296,4294967296],"data_offsets":[0,4]}}`, 4, "want a size that fits 63 bits"},
		"bytes overflow":     {`{"a":{` + f32 + `,"shape":[4611686018427387904],"data_offsets":[0,0]}}`, 0, "want a size that fits 63 bits"},
		"65 dimensions":      {`{"a":{` + f32 + `,"shape":[` + strings.Repeat("1,", 64) + `1],"data_offsets":[0,4]}}`, 4, `tensor "a": have more than 64 numbers`},
		"shape too small":    {`{"a":{` + f32 + `,"shape":[1],"data_offsets":[0,8]}}`, 8, `tensor "a": have data_offsets [0 8], want a distance of 4 bytes for F32 [1]`},
		"offsets reversed":   {`{"a":{` + f32 + `,"shape":[1],"data_offsets":[4,0]}}`, 4, `tensor "a": have data_offsets [4 0]`},
		"hole in front":      {`{"a":{` + f32 + `,"shape":[1],"data_offsets":[4,8]}}`, 8, `tensor "a": have data from byte 4, want byte 0`},
		"hole between":       {`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}`, 3, `tensor "b": have data from byte 2, want byte 1`},
		"overlap":            {`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 3, `tensor "b": have data from byte 1, want byte 2`},
		"trailing bytes":     {`{"a":{` + f32 + `,"shape":[1],"data_offsets":[0,4]}}`, 5, "have 5 bytes of data, want 4 as the header says"},
		"truncated data":     {`{"a":{` + f32 + `,"shape":[1],"data_offsets":[0,4]}}`, 3, "have 3 bytes of data, want 4 as the header says"},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := open(file(c.header, c.data))
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "x.safetensors: ") {
				t.Fatalf("have %v, want x.safetensors: …%s…", err, c.want)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("have %q, want one line", err)
			}
		})
	}
}

func TestOpenRefusesLength(t *testing.T) {
	tests := map[string]struct {
		bytes []byte
		want  string
	}{
		"empty file":      {nil, "have 0 bytes"},
		"seven bytes":     {make([]byte, 7), "have 7 bytes"},
		"above the limit": {binary.LittleEndian.AppendUint64(nil, maxHeader+1), "have a header of 100000001 bytes, want at most 100000000"},
		"negative length": {binary.LittleEndian.AppendUint64(nil, math.MaxUint64), "want a safetensors file"},
		"beyond the file": {binary.LittleEndian.AppendUint64(nil, maxHeader), "have 8 bytes, want a header of 100000000: the file is cut short"},
		"zip archive":     {append([]byte("PK\x03\x04\x00\x00\x08\x08"), make([]byte, 100)...), "want a safetensors file"},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := open(c.bytes)
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("have %v, want %q", err, c.want)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
				t.Errorf("have %d bytes allocated, want less than 1 MiB", n)
			}
		})
	}
}

func TestOpenSpecialFiles(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		dir:                              "have a folder or special file, want a regular file",
		os.DevNull:                       "have a folder or special file, want a regular file",
		filepath.Join(dir, "nothing.st"): "no such file",
	} {
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: have %v, want %q", path, err, want)
		}
	}
}

// TestValues reads every convertible type; the expected values follow from the bit patterns.
func TestValues(t *testing.T) {
	le := binary.LittleEndian
	data := slices.Concat(
		le.AppendUint64(nil, math.Float64bits(1+0x1p-30)), // F64, halfway to nothing: rounds to 1
		le.AppendUint64(nil, math.MaxUint64),              // I64: -1
		le.AppendUint32(nil, math.Float32bits(0.1)),
		le.AppendUint16(nil, 0x0001), le.AppendUint16(nil, 0xc000), // F16: 2^-24, -2
		le.AppendUint16(nil, 0x3fc0), // BF16: 1.5
		[]byte{7},
	)
	header := `{"f64":{"dtype":"F64","shape":[],"data_offsets":[0,8]},` +
		`"i64":{"dtype":"I64","shape":[1],"data_offsets":[8,16]},` +
		`"f32":{"dtype":"F32","shape":[1,1],"data_offsets":[16,20]},` +
		`"f16":{"dtype":"F16","shape":[2],"data_offsets":[20,24]},` +
		`"bf16":{"dtype":"BF16","shape":[1],"data_offsets":[24,26]},` +
		`"u8":{"dtype":"U8","shape":[1],"data_offsets":[26,27]},` +
		`"none":{"dtype":"F32","shape":[0],"data_offsets":[27,27]}}`
	f, err := open(append(file(header, 0), data...))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]float32{"f64": {1}, "f32": {0.1}, "f16": {0x1p-24, -2}, "bf16": {1.5}, "none": {}} {
		if have, err := f.Float32(name); err != nil || !slices.Equal(have, want) {
			t.Errorf("%s: have %v, %v, want %v", name, have, err, want)
		}
	}
	if have, err := f.Bytes("u8"); err != nil || !bytes.Equal(have, []byte{7}) {
		t.Errorf("u8: have %v, %v, want [7]", have, err)
	}
	if d, shape, ok := f.Info("f32"); d != F32 || !slices.Equal(shape, []int64{1, 1}) || !ok {
		t.Errorf("f32: have %s %v %v", d, shape, ok)
	}
	_, errFloat := f.Float32("u8")
	_, errNone := f.Bytes("absent")
	for want, err := range map[string]error{
		`x.safetensors: tensor "u8": have dtype "U8", want F32, F16, BF16 or F64`: errFloat,
		`x.safetensors: tensor "absent": not in the file`:                         errNone,
	} {
		if err == nil || err.Error() != want {
			t.Errorf("have %v, want %s", err, want)
		}
	}
}

func TestFileShrinksAfterOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.safetensors")
	if err := Write(path, []Tensor{Float32("a", []int64{9}, make([]float32, 9))}, nil); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Truncate(path, 80); err != nil {
		t.Fatal(err)
	}
	_, err = f.Float32("a")
	if want := path + `: tensor "a": unexpected EOF`; err == nil || err.Error() != want {
		t.Errorf("have %v, want %s", err, want)
	}
}

// TestGolden reads the trace of the tiny model, which the Python package wrote, against the shapes and largest values
// its manifest documents.
func TestGolden(t *testing.T) {
	raw, err := os.ReadFile("../golden/testdata/tiny.json")
	if err != nil {
		t.Fatal(err)
	}
	var manifest struct {
		Tensors map[string]struct {
			Shape []int64
			Max   *float64 // of results only, four digits
		}
	}
	if err := json.Unmarshal(raw, &manifest); err != nil {
		t.Fatal(err)
	}
	f, err := Open("../golden/testdata/tiny.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if have, want := len(f.Names()), 358; have != want { // counted with the Python package
		t.Errorf("have %d tensors, want %d", have, want)
	}
	checked := 0
	for name, want := range manifest.Tensors {
		_, shape, ok := f.Info(name)
		if !ok || !slices.Equal(shape, want.Shape) {
			t.Errorf("%s: have %v, want %v", name, shape, want.Shape)
			continue
		}
		values, err := f.Float32(name)
		if err != nil {
			t.Error(err)
			continue
		}
		var largest float64
		for _, v := range values {
			largest = max(largest, math.Abs(float64(v)))
		}
		if want.Max != nil && math.Abs(largest-*want.Max) > 1e-3**want.Max {
			t.Errorf("%s: have largest value %v, want %v", name, largest, *want.Max)
		}
		checked++
	}
	if checked != 358 {
		t.Errorf("have %d tensors checked, want all 358", checked)
	}
}

// TestGoldenHalf reads float16 values and metadata.
func TestGoldenHalf(t *testing.T) {
	f, err := Open(testenv.Shared(t, "golden/miniview_s224.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if have := f.Metadata()["format"]; have != "pt" {
		t.Errorf("format: have %q, want %q", have, "pt")
	}
	values, err := f.Float32("bottleneck.fc2.bias")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := f.Bytes("bottleneck.fc2.bias")
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range values {
		if have, want := Float32ToFloat16(v), binary.LittleEndian.Uint16(raw[2*i:]); have != want {
			t.Fatalf("element %d: have %#04x, want %#04x", i, have, want)
		}
	}
}

func FuzzParseHeader(f *testing.F) {
	f.Add([]byte(`{"__metadata__":{"a":"b"},"w":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}  `), int64(8))
	f.Add([]byte(`{"a":{"dtype":"U8","shape":[0,9],"data_offsets":[0,0]},"b":{"dtype":"F16","shape":[],"data_offsets":[0,2]}}`), int64(2))
	f.Add([]byte(`{"a":{"dtype":"F8_E4M3","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"C64","shape":[1],"data_offsets":[3,11]},"c":{"dtype":"I64","shape":[1],"data_offsets":[11,19]}}`), int64(19))
	f.Add([]byte(`{"a":{"shape":[4294967296,4294967296]}}`), int64(0))
	f.Fuzz(func(t *testing.T, header []byte, dataLen int64) {
		entries, _, err := parseHeader(header, dataLen)
		if err != nil {
			if len(err.Error()) > 4096 || strings.Contains(err.Error(), "\n") {
				t.Fatalf("have %d bytes of message, want one short line: %.200q", len(err.Error()), err)
			}
			return
		}
		var next int64
		for _, e := range entries {
			n, err := ByteLen(e.dtype, e.shape)
			if err != nil || e.begin != next || e.end != next+n {
				t.Fatalf("accepted %+v: %d bytes at %d, %v", e, n, next, err)
			}
			next = e.end
		}
		if next != dataLen {
			t.Fatalf("accepted %d bytes, want %d", next, dataLen)
		}
	})
}

// TestCopyToNowhere: where a copy cannot be written, nothing is said of the file that is read.
func TestCopyToNowhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.safetensors")
	if err := Write(path, []Tensor{Float32("a", []int64{2}, []float32{1, 2})}, nil); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, w := io.Pipe()
	if err := r.CloseWithError(syscall.ENOSPC); err != nil {
		t.Fatal(err)
	}
	if err := f.Tensor("a").Data(w); err != syscall.ENOSPC {
		t.Errorf("have %v, want %v", err, syscall.ENOSPC)
	}
}
