// Package npy reads and writes NumPy's array files (.npy, versions 1 to 3) row by row, so that an array may be larger
// than memory. The first axis counts rows. Elements are in C order.
package npy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mvag-torch/internal/atomicfile"
	"mvag-torch/internal/regularfile"
	"mvag-torch/internal/safetensors"
)

// DType is an element type in NumPy's spelling without the byte order: a kind and the number of bytes.
type DType string

// The types that can be read.
const (
	Bool    DType = "b1"
	Uint8   DType = "u1"
	Uint16  DType = "u2"
	Uint32  DType = "u4"
	Uint64  DType = "u8"
	Int8    DType = "i1"
	Int16   DType = "i2"
	Int32   DType = "i4"
	Int64   DType = "i8"
	Float16 DType = "f2"
	Float32 DType = "f4"
	Float64 DType = "f8"
)

var known = []DType{Bool, Uint8, Uint16, Uint32, Uint64, Int8, Int16, Int32, Int64, Float16, Float32, Float64}

// Size is the number of bytes per element, 0 for an unknown type.
func (d DType) Size() int64 {
	if !slices.Contains(known, d) {
		return 0
	}
	return int64(d[1] - '0')
}

// Wide reports whether float32 cannot hold every value of the type.
func (d DType) Wide() bool { return d.Size() > 2 && d != Float32 }

const magic = "\x93NUMPY"

// Limits of the bytes of a header and of the elements of a row.
const (
	maxHeader   = 1 << 16
	maxElements = 1 << 28
)

// File is an open array. Reading and writing rows is safe for concurrent use.
type File struct {
	Path  string
	DType DType
	Shape []int // rows first
	big   bool  // big-endian
	f     *os.File
	start int64 // of the data
	row   int   // elements

	created bool // by Create
}

// Open reads the header of an array. Errors name the file.
func Open(path string) (*File, error) {
	f, size, err := regularfile.Open(path)
	if err != nil {
		return nil, err
	}
	a := &File{Path: path, f: f}
	if err := a.readHeader(size); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return a, nil
}

func (a *File) readHeader(size int64) error {
	head := make([]byte, 12)
	if _, err := io.ReadFull(io.NewSectionReader(a.f, 0, size), head); err != nil || string(head[:6]) != magic {
		if string(head[:2]) == "PK" {
			return errors.New("have a zip archive (.npz), want .npy: numpy.save instead of numpy.savez")
		}
		return errors.New("have no .npy file")
	}
	length := int64(binary.LittleEndian.Uint16(head[8:]))
	a.start = 10
	switch head[6] {
	case 1:
	case 2, 3:
		length, a.start = int64(binary.LittleEndian.Uint32(head[8:])), 12
	default:
		return fmt.Errorf("version: have %d, want 1 to 3", head[6])
	}
	if length > min(maxHeader, size-a.start) {
		return fmt.Errorf("header: have %d bytes, want at most %d", length, min(maxHeader, size-a.start))
	}
	text := make([]byte, length)
	if _, err := a.f.ReadAt(text, a.start); err != nil {
		return err
	}
	a.start += length
	if err := a.parse(string(text)); err != nil {
		return err
	}
	if want := a.start + int64(a.Shape[0])*int64(a.row)*a.DType.Size(); size != want {
		return fmt.Errorf("have %d bytes, want %d for %v of %s", size, want, a.Shape, a.DType)
	}
	return nil
}

var (
	descr   = regexp.MustCompile(`'descr':\s*'([^']*)'`)
	fortran = regexp.MustCompile(`'fortran_order':\s*(True|False)`)
	shape   = regexp.MustCompile(`'shape':\s*\(([^)]*)\)`)
)

// parse reads the dictionary of a header.
func (a *File) parse(text string) error {
	d, f, s := descr.FindStringSubmatch(text), fortran.FindStringSubmatch(text), shape.FindStringSubmatch(text)
	switch {
	case d == nil || f == nil || s == nil:
		return fmt.Errorf("header: have %.80q, want descr, fortran_order and shape", text)
	case f[1] == "True":
		return errors.New("have Fortran order, want C order (numpy.ascontiguousarray)")
	}
	if err := a.setType(d[1]); err != nil {
		return err
	}
	for _, field := range strings.Split(s[1], ",") {
		if field = strings.TrimSpace(field); field == "" {
			continue
		}
		n, err := strconv.Atoi(field)
		if err != nil || n < 0 || n > math.MaxInt32 {
			return fmt.Errorf("shape: have (%.40s), want integers", s[1])
		}
		a.Shape = append(a.Shape, n)
	}
	if len(a.Shape) == 0 {
		return errors.New("shape: have a scalar, want rows")
	}
	return a.setRow()
}

// setType takes the byte order and the type of a descr such as "<f4".
func (a *File) setType(descr string) error {
	order, kind := descr[:min(1, len(descr))], descr[min(1, len(descr)):]
	switch a.DType, a.big = DType(kind), order == ">"; {
	case order == "|" && kind == "O":
		return errors.New("dtype: have Python objects, want numbers: one array of images of one size")
	case a.DType.Size() == 0 || !strings.Contains("<>|", order) || order == "|" && a.DType.Size() > 1:
		return fmt.Errorf("dtype: have %.20q, want one of %s", descr, strings.Trim(fmt.Sprint(known), "[]"))
	}
	return nil
}

// setRow computes the number of elements of a row.
func (a *File) setRow() error {
	a.row = 1
	for _, n := range a.Shape[1:] {
		if n > 0 && a.row > maxElements/n {
			return fmt.Errorf("shape: have rows of %v, want at most %d elements", a.Shape[1:], maxElements)
		}
		a.row *= n
	}
	return nil
}

// Read returns row i as float32, in dst if it has room. Values of wide types are rounded, see [DType.Wide].
func (a *File) Read(i int, dst []float32) ([]float32, error) {
	data, err := a.bytes(i)
	if err != nil {
		return nil, err
	}
	if a.DType == Float32 {
		return safetensors.AppendFloat32(dst[:0], safetensors.F32, data)
	}
	return appendValues(dst[:0], a.DType, data), nil
}

// ReadExact returns row i as float64, in dst if it has room. 64-bit integers are rounded.
func (a *File) ReadExact(i int, dst []float64) ([]float64, error) {
	data, err := a.bytes(i)
	if err != nil {
		return nil, err
	}
	return appendValues(dst[:0], a.DType, data), nil
}

// bytes returns the little-endian elements of row i.
func (a *File) bytes(i int) ([]byte, error) {
	size := int64(a.row) * a.DType.Size()
	data := make([]byte, size)
	if _, err := a.f.ReadAt(data, a.start+int64(i)*size); err != nil {
		return nil, fmt.Errorf("%s: row %d: %w", a.Path, i, err)
	}
	if n := int(a.DType.Size()); a.big && n > 1 {
		for at := 0; at < len(data); at += n {
			slices.Reverse(data[at : at+n])
		}
	}
	return data, nil
}

// appendValues appends the little-endian elements of type d in data to dst.
func appendValues[T float32 | float64](dst []T, d DType, data []byte) []T {
	le := binary.LittleEndian
	value := map[DType]func(b []byte) T{
		Bool:    func(b []byte) T { return T(b[0]) },
		Uint8:   func(b []byte) T { return T(b[0]) },
		Uint16:  func(b []byte) T { return T(le.Uint16(b)) },
		Uint32:  func(b []byte) T { return T(le.Uint32(b)) },
		Uint64:  func(b []byte) T { return T(le.Uint64(b)) },
		Int8:    func(b []byte) T { return T(int8(b[0])) },
		Int16:   func(b []byte) T { return T(int16(le.Uint16(b))) },
		Int32:   func(b []byte) T { return T(int32(le.Uint32(b))) },
		Int64:   func(b []byte) T { return T(int64(le.Uint64(b))) },
		Float16: func(b []byte) T { return T(safetensors.Float16ToFloat32(le.Uint16(b))) },
		Float32: func(b []byte) T { return T(math.Float32frombits(le.Uint32(b))) },
		Float64: func(b []byte) T { return T(math.Float64frombits(le.Uint64(b))) },
	}[d]
	dst = slices.Grow(dst, len(data)/int(d.Size()))
	for n := int(d.Size()); len(data) > 0; data = data[n:] {
		dst = append(dst, value(data))
	}
	return dst
}

// Close closes the file. A file from Create that was not committed is removed.
func (a *File) Close() error {
	if a.created {
		atomicfile.Discard(a.f)
		return nil
	}
	return a.f.Close()
}

// Commit gives a file from Create its name. Every row must have been written.
func (a *File) Commit() error { return atomicfile.Commit(a.f, a.Path) }

// header is the header of a file of version 1.
func header(d DType, shape []int) []byte {
	order := "<"
	if d.Size() == 1 {
		order = "|"
	}
	text := fmt.Sprintf("{'descr': '%s%s', 'fortran_order': False, 'shape': (%s,), }",
		order, d, strings.Trim(strings.ReplaceAll(fmt.Sprint(shape), " ", ", "), "[]"))
	pad := 64 - (10+len(text)+1)%64 // NumPy aligns the data
	text += strings.Repeat(" ", pad%64) + "\n"
	return append(binary.LittleEndian.AppendUint16([]byte(magic+"\x01\x00"), uint16(len(text))), text...)
}

// Encode returns the file of a whole float32 array with elements in C order.
func Encode(values []float32, shape ...int) []byte {
	out, _ := binary.Append(header(Float32, shape), binary.LittleEndian, values) // elements of fixed size always encode
	return out
}

// Create begins an array of float32 or bool, which appears at path with Commit.
func Create(path string, d DType, shape ...int) (*File, error) {
	f, err := atomicfile.Create(path)
	if err != nil {
		return nil, err
	}
	head := header(d, shape)
	a := &File{Path: path, DType: d, Shape: shape, f: f, start: int64(len(head)), created: true}
	err = a.setRow()
	if err == nil {
		_, err = f.Write(head)
	}
	if err == nil {
		err = f.Truncate(a.start + int64(shape[0])*int64(a.row)*d.Size())
	}
	if err != nil {
		a.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return a, nil
}

// WriteFloats writes row i of a file of float32.
func (a *File) WriteFloats(i int, row []float32) error {
	data := make([]byte, 0, 4*len(row))
	for _, v := range row {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	return a.write(i, data)
}

// WriteBools writes row i of a file of bool; nil is all false.
func (a *File) WriteBools(i int, row []bool) error {
	data := make([]byte, a.row)
	for j, v := range row {
		if v {
			data[j] = 1
		}
	}
	return a.write(i, data)
}

func (a *File) write(i int, data []byte) error {
	if want := int64(a.row) * a.DType.Size(); int64(len(data)) != want || i < 0 || i >= a.Shape[0] {
		return fmt.Errorf("%s: row %d: have %d bytes, want %d in one of %d rows", a.Path, i, len(data), want, a.Shape[0])
	}
	_, err := a.f.WriteAt(data, a.start+int64(i)*int64(len(data)))
	return err
}
