package npy

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestWriteAndRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.npy")
	a, err := Create(path, Float32, 3, 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	for i := 2; i >= 0; i-- {
		if err := a.WriteFloats(i, []float32{float32(i), -0.5, 1e-3, 70000}); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.WriteFloats(3, make([]float32, 4)); err == nil || !strings.Contains(err.Error(), "row 3") {
		t.Errorf("row too many: have %v, want an error", err)
	}
	if err := a.WriteFloats(0, make([]float32, 5)); err == nil || !strings.Contains(err.Error(), "have 20 bytes, want 16") {
		t.Errorf("long row: have %v, want an error", err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("before Commit: have a file (%v)", err)
	}
	if err := a.Commit(); err != nil {
		t.Fatal(err)
	}
	a.Close() // does nothing any more
	b, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if !slices.Equal(b.Shape, []int{3, 2, 2}) || b.DType != Float32 || b.start%64 != 0 {
		t.Errorf("have %+v", b)
	}
	row, err := b.Read(2, nil)
	if err != nil || fmt.Sprint(row) != "[2 -0.5 0.001 70000]" {
		t.Errorf("have %v, %v", row, err)
	}
}

func TestBools(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.npy")
	a, err := Create(path, Bool, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.WriteBools(1, []bool{true, false, true}); err != nil {
		t.Fatal(err)
	}
	if err := a.Commit(); err != nil {
		t.Fatal(err)
	}
	b, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for i, want := range []string{"[0 0 0]", "[1 0 1]"} {
		if row, err := b.Read(i, nil); err != nil || fmt.Sprint(row) != want {
			t.Errorf("row %d: have %v, %v, want %s", i, row, err, want)
		}
	}
}

// TestNumPy reads files that NumPy wrote.
func TestNumPy(t *testing.T) {
	for name, want := range map[string]struct {
		dtype DType
		sum   float64 // of the last row, by NumPy
	}{"maps": {Float32, 271.3653217395913}, "masks": {Uint8, 121}} {
		a, err := Open("../../eval/metric/testdata/metrics_smooth_" + name + ".npy")
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		row, err := a.Read(a.Shape[0]-1, nil)
		sum := 0.0
		for _, v := range row {
			sum += float64(v)
		}
		if err != nil || a.DType != want.dtype || !slices.Equal(a.Shape, []int{20, 64, 64}) || sum != want.sum {
			t.Errorf("%s: have %s %v, last row %v, error %v, want %+v", name, a.DType, a.Shape, sum, err, want)
		}
	}
}

func TestEncode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.npy")
	if err := os.WriteFile(path, Encode([]float32{1, -0.5, 1e-20, 4, 5, 6}, 2, 3), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if row, err := a.Read(0, nil); err != nil || fmt.Sprintf("%v %s %v", a.Shape, a.DType, row) != "[2 3] f4 [1 -0.5 1e-20]" {
		t.Errorf("have %v %s %v, error %v", a.Shape, a.DType, row, err)
	}
}

// TestTypes reads the values of each type that NumPy has for them, in both byte orders.
func TestTypes(t *testing.T) {
	for _, c := range []struct {
		descr string
		data  string // little-endian
		want  []float64
	}{
		{"|b1", "\x00\x01", []float64{0, 1}},
		{"|u1", "\x07\xff", []float64{7, 255}},
		{"|i1", "\x07\xff", []float64{7, -1}},
		{"<u2", "\x01\x02\xff\xff", []float64{513, 65535}},
		{"<i2", "\x01\x02\xff\xff", []float64{513, -1}},
		{"<u4", "\x01\x00\x00\x01\xff\xff\xff\xff", []float64{1<<24 + 1, 1<<32 - 1}},
		{"<i4", "\x01\x00\x00\x01\xff\xff\xff\xff", []float64{1<<24 + 1, -1}},
		{"<u8", "\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80", []float64{1<<24 + 1, 1 << 63}},
		{"<i8", "\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80", []float64{1<<24 + 1, -1 << 63}},
		{"<f2", "\x00\x3c\x00\x7c", []float64{1, math.Inf(1)}},
		{"<f4", "\x00\x00\x80\x3f\x00\x00\x00\xc0", []float64{1, -2}},
		{"<f8", "\xff\xff\xff\xff\xff\xff\xef\x3f\x00\x00\x00\x00\x00\x00\x00\xc0", []float64{1 - 0x1p-53, -2}},
	} {
		for _, order := range []string{c.descr[:1], ">"} {
			data := []byte(c.data)
			if n := len(data) / 2; order == ">" {
				slices.Reverse(data[:n])
				slices.Reverse(data[n:])
			}
			descr := order + c.descr[1:]
			path := filepath.Join(t.TempDir(), "a.npy")
			content := file("{'descr': '"+descr+"', 'fortran_order': False, 'shape': (1, 2), }", data...)
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			a, err := Open(path)
			if err != nil {
				t.Errorf("%s: %v", descr, err)
				continue
			}
			exact, err := a.ReadExact(0, nil)
			if err != nil || !slices.Equal(exact, c.want) {
				t.Errorf("%s: have %v, %v, want %v", descr, exact, err, c.want)
			}
			row, err := a.Read(0, nil)
			if err != nil || row[0] != float32(c.want[0]) || row[1] != float32(c.want[1]) {
				t.Errorf("%s: have %v, %v, want %v rounded", descr, row, err, c.want)
			}
			if held := float64(row[0]) == c.want[0]; a.DType.Wide() && held || !a.DType.Wide() && !held {
				t.Errorf("%s: have wide %v", descr, a.DType.Wide())
			}
			a.Close()
		}
	}
}

// file is a version 1 file of this header and data.
func file(header string, data ...byte) string {
	head := binary.LittleEndian.AppendUint16([]byte(magic+"\x01\x00"), uint16(len(header)))
	return string(head) + header + string(data)
}

func TestBadFiles(t *testing.T) {
	header := func(descr, order, shape string) string {
		return fmt.Sprintf("{'descr': '%s', 'fortran_order': %s, 'shape': %s, }", descr, order, shape)
	}
	for _, c := range []struct{ name, data, want string }{
		{"empty", "", "have no .npy file"},
		{"image", "\x89PNG\r\n\x1a\n0000000", "have no .npy file"},
		{"version", magic + "\x04\x00\x00\x00\x00\x00\x00", "version: have 4"},
		{"long header", magic + "\x02\x00\xff\xff\xff\x7f", "header: have 2147483647 bytes"},
		{"no dictionary", file("nothing"), `header: have "nothing"`},
		{"Fortran", file(header("<f4", "True", "(1, 1)"), 0, 0, 0, 0), "have Fortran order"},
		{"complex", file(header("<c8", "False", "(1, 1)"), 0, 0, 0, 0, 0, 0, 0, 0), `dtype: have "<c8", want one of b1 u1`},
		{"text", file(header("<U1", "False", "(1,)"), 0, 0, 0, 0), `dtype: have "<U1"`},
		{"long double", file(header("<f16", "False", "(1,)"), 0), `dtype: have "<f16"`},
		{"no order", file(header("f4", "False", "(1,)"), 0), `dtype: have "f4"`},
		{"nothing", file(header("", "False", "(1,)"), 0), `dtype: have ""`},
		{"fields", file("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", 0, 0, 0, 0), "want descr"},
		{"objects", file(header("|O", "False", "(1,)"), 0), "dtype: have Python objects, want numbers"},
		{"npz", "PK\x03\x040000000000", "have a zip archive (.npz), want .npy"},
		{"scalar", file(header("<f4", "False", "()"), 0, 0, 0, 0), "have a scalar"},
		{"negative", file(header("<f4", "False", "(-1,)")), "shape: have (-1,)"},
		{"huge", file(header("<f4", "False", "(1, 2147483647, 2147483647)")), "want at most"},
		{"short", file(header("<f4", "False", "(2, 1)"), 0, 0, 0, 0), "want "},
	} {
		path := filepath.Join(t.TempDir(), "bad.npy")
		if err := os.WriteFile(path, []byte(c.data), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path)
		if err == nil || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: have %v, want the path and %s", c.name, err, c.want)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte(file("{'descr': '<f2', 'fortran_order': False, 'shape': (1, 2), }", 0, 60, 0, 0)))
	for _, descr := range []string{"|b1", "|i1", ">u2", "<i4", ">i8", "<u8", ">f2", "<f4", ">f8", "|O", "|u2", "<c8", ""} {
		f.Add([]byte(file("{'descr': '"+descr+"', 'fortran_order': False, 'shape': (1, 1), }", 1, 2, 3, 4, 5, 6, 7, 8)))
		f.Add([]byte(file("{'descr': '"+descr+"', 'fortran_order': False, 'shape': (1, 2, 1), }", 1, 2)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "a.npy")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		a, err := Open(path)
		if err != nil {
			return
		}
		defer a.Close()
		if a.Shape[0] > 0 {
			if row, err := a.Read(0, nil); err != nil || len(row) != a.row {
				t.Fatalf("have %d of %d elements, %v", len(row), a.row, err)
			}
			if row, err := a.ReadExact(0, nil); err != nil || len(row) != a.row {
				t.Fatalf("exact: have %d of %d elements, %v", len(row), a.row, err)
			}
		}
	})
}
