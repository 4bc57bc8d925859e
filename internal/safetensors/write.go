package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"unicode/utf8"

	"mvag-torch/internal/atomicfile"
)

// Tensor is one tensor to be written.
type Tensor struct {
	Name  string
	DType DType
	Shape []int64
	// Data writes the little-endian elements, exactly as many bytes as Shape and DType require. Write calls it once,
	// while the file is written, so that not all values have to be in memory at the same time. Further calls, as to
	// hash them, write the same.
	Data func(io.Writer) error
}

// Float32 returns a tensor of type F32 with these values, which are not copied.
func Float32(name string, shape []int64, values []float32) Tensor {
	return Tensor{name, F32, shape, func(w io.Writer) error {
		buf := make([]byte, 0, 64<<10)
		for piece := range slices.Chunk(values, cap(buf)/4) {
			buf = buf[:0]
			for _, v := range piece {
				buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(v))
			}
			if _, err := w.Write(buf); err != nil {
				return err
			}
		}
		return nil
	}}
}

// Raw returns a tensor of any type with these little-endian elements, which are not copied.
func Raw(name string, d DType, shape []int64, data []byte) Tensor {
	return Tensor{name, d, shape, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}}
}

// Write writes or replaces a safetensors file. As in the reference implementation tensors are sorted by type, the
// widest first, and then by name, so that every tensor is aligned and equal contents give equal bytes.
//
// The file is replaced atomically. Errors name path and cause.
func Write(path string, tensors []Tensor, metadata map[string]string) error {
	sorted, header, err := layout(tensors, metadata)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return atomicfile.Write(path, func(w io.Writer) error { return encode(w, sorted, header) })
}

// WriteChecked is Write that reads the new file with check before the file gets its name: an error of check leaves path as
// it was.
func WriteChecked(path string, tensors []Tensor, metadata map[string]string, check func(*File) error) error {
	sorted, header, err := layout(tensors, metadata)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	f, err := atomicfile.Create(path)
	if err != nil {
		return err
	}
	defer atomicfile.Discard(f) // does nothing after Commit
	if err := atomicfile.Fill(f, path, func(w io.Writer) error { return encode(w, sorted, header) }); err != nil {
		return err
	}
	size := int64(len(header))
	for _, t := range sorted {
		n, _ := ByteLen(t.DType, t.Shape) // layout knows that it fits
		size += n
	}
	written, err := New(path, f, size)
	if err == nil {
		err = check(written)
	}
	if err != nil {
		return err
	}
	return atomicfile.Commit(f, path)
}

// layout returns the tensors in the order of their data, and the header preceded by its length.
func layout(tensors []Tensor, metadata map[string]string) ([]Tensor, []byte, error) {
	sorted := slices.SortedStableFunc(slices.Values(tensors), func(a, b Tensor) int {
		return cmp.Or(cmp.Compare(b.DType.rank(), a.DType.rank()), cmp.Compare(a.Name, b.Name))
	})
	header := bytes.NewBuffer(make([]byte, 8))
	separator := "{"
	if len(metadata) > 0 {
		if err := appendMetadata(header, metadata); err != nil {
			return nil, nil, err
		}
		separator = ","
	}
	var at int64
	seen := make(map[string]bool, len(sorted))
	for _, t := range sorted {
		n, err := t.check(seen)
		if err != nil {
			return nil, nil, fmt.Errorf("tensor %.80q: %w", t.Name, err)
		}
		if n > math.MaxInt64-at {
			return nil, nil, fmt.Errorf("tensor %.80q: have more than 2^63-1 bytes in all, want fewer", t.Name)
		}
		shape := t.Shape
		if shape == nil {
			shape = []int64{}
		}
		fmt.Fprintf(header, `%s%s:{"dtype":%q,"shape":%s,"data_offsets":[%d,%d]}`,
			separator, quote(t.Name), t.DType, quote(shape), at, at+n)
		separator, at = ",", at+n
	}
	if header.Len() == 8 {
		header.WriteString("{")
	}
	header.WriteString("}")
	for header.Len()%8 != 0 {
		header.WriteByte(' ')
	}
	n := header.Len() - 8
	if n > maxHeader {
		return nil, nil, fmt.Errorf("have a header of %d bytes, want at most %d", n, maxHeader)
	}
	binary.LittleEndian.PutUint64(header.Bytes(), uint64(n))
	return sorted, header.Bytes(), nil
}

// check returns the length of the tensor in bytes and adds its name to seen.
func (t Tensor) check(seen map[string]bool) (int64, error) {
	switch {
	case t.Name == metadataKey:
		return 0, errors.New("have a reserved name, want another")
	case !utf8.ValidString(t.Name):
		return 0, errors.New("have invalid UTF-8 in the name, want text")
	case seen[t.Name]:
		return 0, errors.New("have the name twice, want it once")
	case t.Data == nil:
		return 0, errors.New("have no data, want a function that writes it")
	}
	seen[t.Name] = true
	return ByteLen(t.DType, t.Shape)
}

func appendMetadata(header *bytes.Buffer, metadata map[string]string) error {
	separator := `{"` + metadataKey + `":{`
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		if !utf8.ValidString(key) || !utf8.ValidString(metadata[key]) {
			return fmt.Errorf("%s: have invalid UTF-8 in %.80q, want text", metadataKey, key)
		}
		fmt.Fprintf(header, "%s%s:%s", separator, quote(key), quote(metadata[key]))
		separator = ","
	}
	header.WriteString("}")
	return nil
}

// quote returns v, a valid string or a list of integers, as JSON. "<" is not escaped, as in other writers of the
// format.
func quote(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // cannot fail for these types
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// encode writes header and data.
func encode(w io.Writer, tensors []Tensor, header []byte) error {
	if _, err := w.Write(header); err != nil {
		return err
	}
	for _, t := range tensors {
		n, err := ByteLen(t.DType, t.Shape)
		if err != nil {
			return err
		}
		exact := &exactWriter{w: w, left: n}
		if err := t.Data(exact); err != nil {
			return fmt.Errorf("tensor %.80q: %w", t.Name, err)
		}
		if exact.left != 0 {
			return fmt.Errorf("tensor %.80q: have %d bytes, want %d for %s %v", t.Name, n-exact.left, n, t.DType, t.Shape)
		}
	}
	return nil
}

// exactWriter refuses to write more than the announced length.
type exactWriter struct {
	w    io.Writer
	left int64
}

func (e *exactWriter) Write(p []byte) (int, error) {
	if int64(len(p)) > e.left {
		return 0, fmt.Errorf("have at least %d bytes more than shape and dtype require", int64(len(p))-e.left)
	}
	n, err := e.w.Write(p)
	e.left -= int64(n)
	return n, err
}
