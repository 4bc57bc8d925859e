package safetensors

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"mvag-torch/internal/atomicfile"
	"mvag-torch/internal/regularfile"
)

// chunk is the number of bytes that are read and converted at a time.
const chunk = 1 << 20

// ErrKind is the error of a file that is no safetensors file.
var ErrKind = errors.New("have another kind of file, want a safetensors file")

// File is an open safetensors file with a valid header. Its methods may be called from several goroutines, but not
// after Close.
type File struct {
	path     string
	r        io.ReaderAt
	close    func() error
	data     int64 // offset of the data
	entries  []entry
	index    map[string]int // index in entries by name
	metadata map[string]string
}

// Open opens the file and checks its header. Values are read on demand.
func Open(path string) (*File, error) {
	f, size, err := regularfile.Open(path)
	if err != nil {
		return nil, err
	}
	file, err := New(path, f, size)
	if err != nil {
		f.Close()
		return nil, err
	}
	file.close = f.Close
	return file, nil
}

// New is Open for the size bytes of r. Errors begin with path. Close does nothing.
func New(path string, r io.ReaderAt, size int64) (*File, error) {
	var length [8]byte
	if size < int64(len(length)) {
		return nil, fmt.Errorf("%s: have %d bytes, want a safetensors file of at least %d", path, size, len(length))
	}
	if err := readAt(r, length[:], 0); err != nil {
		return nil, fmt.Errorf("%s: header length: %w", path, err)
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > 1<<40 { // text, an archive or an image
		return nil, fmt.Errorf("%s: %w", path, ErrKind)
	}
	if n > maxHeader {
		return nil, fmt.Errorf("%s: have a header of %d bytes, want at most %d", path, n, maxHeader)
	}
	data := int64(len(length)) + int64(n)
	if data > size {
		return nil, fmt.Errorf("%s: have %d bytes, want a header of %d: the file is cut short", path, size, n)
	}
	header := make([]byte, n)
	if err := readAt(r, header, int64(len(length))); err != nil {
		return nil, fmt.Errorf("%s: header: %w", path, err)
	}
	entries, metadata, err := parseHeader(header, size-data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f := &File{path: path, r: r, close: func() error { return nil }, data: data, entries: entries, metadata: metadata, index: make(map[string]int, len(entries))}
	for i, e := range entries {
		f.index[e.name] = i
	}
	return f, nil
}

// readAt fills buf. Unlike ReadAt, it returns no error at the end of the file if buf is full, and io.ErrUnexpectedEOF
// if it is not. Errors do not name the file.
func readAt(r io.ReaderAt, buf []byte, offset int64) error {
	n, err := r.ReadAt(buf, offset)
	if n == len(buf) {
		return nil
	}
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return atomicfile.Cause(err)
}

// Names returns the names of all tensors in the order of their data.
func (f *File) Names() []string {
	names := make([]string, len(f.entries))
	for i, e := range f.entries {
		names[i] = e.name
	}
	return names
}

// Info returns the element type and a copy of the shape of a tensor. The shape of a scalar is empty.
func (f *File) Info(name string) (DType, []int64, bool) {
	i, ok := f.index[name]
	if !ok {
		return "", nil, false
	}
	return f.entries[i].dtype, slices.Clone(f.entries[i].shape), true
}

// Metadata returns a copy of the metadata, empty if there is none.
func (f *File) Metadata() map[string]string {
	if f.metadata == nil {
		return map[string]string{}
	}
	return maps.Clone(f.metadata)
}

// Float32 returns the elements of a tensor of type F32, F16, BF16 (exact) or F64 (rounded to nearest).
func (f *File) Float32(name string) ([]float32, error) {
	e, err := f.find(name)
	if err != nil {
		return nil, err
	}
	values := make([]float32, 0, (e.end-e.begin)/e.dtype.Size())
	buf := make([]byte, min(chunk, e.end-e.begin))
	for at := e.begin; err == nil && at < e.end; at += int64(len(buf)) {
		buf = buf[:min(int64(len(buf)), e.end-at)]
		if err = readAt(f.r, buf, f.data+at); err == nil {
			values, err = AppendFloat32(values, e.dtype, buf)
		}
	}
	if err != nil {
		return nil, f.errorf(name, "%w", err)
	}
	return values, nil
}

// Bytes returns the little-endian elements of a tensor of any type.
func (f *File) Bytes(name string) ([]byte, error) {
	e, err := f.find(name)
	if err != nil {
		return nil, err
	}
	b := make([]byte, e.end-e.begin)
	if err := readAt(f.r, b, f.data+e.begin); err != nil {
		return nil, f.errorf(name, "%w", err)
	}
	return b, nil
}

// Tensor returns a tensor that streams its elements from the file, which must stay open. One that the file lacks fails
// when its data are written.
func (f *File) Tensor(name string) Tensor {
	dtype, shape, _ := f.Info(name)
	return Tensor{name, dtype, shape, func(w io.Writer) error {
		e, err := f.find(name)
		if err != nil {
			return err
		}
		return f.copyTo(w, e)
	}}
}

// copyTo copies the data of an entry, a chunk at a time. Errors of w are returned as they are.
func (f *File) copyTo(w io.Writer, e entry) error {
	offset, end := f.data+e.begin, f.data+e.end
	buf := make([]byte, min(chunk, end-offset))
	for ; offset < end; offset += int64(len(buf)) {
		buf = buf[:min(int64(len(buf)), end-offset)]
		if err := readAt(f.r, buf, offset); err != nil {
			return f.errorf(e.name, "%w", err)
		}
		if _, err := w.Write(buf); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the file.
func (f *File) Close() error { return f.close() }

func (f *File) find(name string) (entry, error) {
	i, ok := f.index[name]
	if !ok {
		return entry{}, f.errorf(name, "%w", errMissing)
	}
	return f.entries[i], nil
}

var errMissing = errors.New("not in the file")

func (f *File) errorf(name, format string, args ...any) error {
	return fmt.Errorf("%s: tensor %.80q: %w", f.path, name, fmt.Errorf(format, args...))
}
