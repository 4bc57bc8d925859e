// Package pytorch reads the tensors of a file that torch.save of PyTorch 1.6 or newer has written: an uncompressed zip
// archive of a pickle (data.pkl), which describes the tensors, and an entry of raw elements (data/KEY) for each
// storage. The pickle is run by a machine that knows only tensors in dicts; anything else in a file is refused and not
// executed. Memory is bounded by a small multiple of the file size.
package pytorch

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"mvag-torch/internal/safetensors"
)

// ErrTorchScript is the error of New for an archive of torch.jit.save, which has code besides tensors.
var ErrTorchScript = errors.New("have a TorchScript archive, want a state dict")

// Limits of data.pkl (a model of 1,000 tensors has about 150 KB), and of the tensors that it may describe: their
// number, the bytes of a name, and the dicts around one.
const (
	maxPickle  = 64 << 20
	maxTensors = 1 << 17
	maxName    = 512
	maxDepth   = 8
)

// chunk is the number of bytes that are read and converted at a time.
const chunk = 1 << 20

// File is an archive with its tensors.
type File struct {
	path    string
	r       io.ReaderAt
	size    int64
	entries map[string]*zip.File
	prefix  string // of the entries
	names   []string
	tensors map[string]*tensor
}

// New reads the description of the tensors in the size bytes of r: a dict of tensors by name, and of dicts whose keys
// are then parts of the names ("model.norm.weight"). What is neither is not looked at, lists neither. Elements are read
// from r on demand. Errors begin with path.
func New(path string, r io.ReaderAt, size int64) (*File, error) {
	f := &File{path: path, r: r, size: size, entries: map[string]*zip.File{}, tensors: map[string]*tensor{}}
	if err := f.read(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// Names returns the names of all tensors, in the order of the file.
func (f *File) Names() []string { return slices.Clone(f.names) }

// Info returns the element type and shape of a tensor.
func (f *File) Info(name string) (safetensors.DType, []int64, bool) {
	t, ok := f.tensors[name]
	if !ok {
		return "", nil, false
	}
	return t.storage.dtype, slices.Clone(t.shape), true
}

func (f *File) read() error {
	if err := f.refuseOther(); err != nil {
		return err
	}
	archive, err := zip.NewReader(f.r, f.size)
	if err != nil {
		return err
	}
	for _, e := range archive.File {
		if f.entries[e.Name] != nil {
			return fmt.Errorf("have two entries %.80q, want one", e.Name)
		}
		f.entries[e.Name] = e
		if prefix, ok := strings.CutSuffix(e.Name, "data.pkl"); ok && strings.Count(prefix, "/") <= 1 {
			f.prefix = prefix
		}
	}
	for name := range f.entries {
		if rest, ok := strings.CutPrefix(name, f.prefix); ok && (rest == "constants.pkl" || strings.HasPrefix(rest, "code/")) {
			return ErrTorchScript
		}
	}
	if e := f.entries[f.prefix+"byteorder"]; e != nil {
		order, err := f.bytes(e, 16)
		if err != nil || string(order) != "little" {
			return fmt.Errorf("have byte order %.16q, want little", order)
		}
	}
	e := f.entries[f.prefix+"data.pkl"]
	if e == nil {
		return errors.New("have a zip archive without data.pkl, want a state dict of torch.save")
	}
	data, err := f.bytes(e, maxPickle)
	if err != nil {
		return fmt.Errorf("data.pkl: %w", err)
	}
	root, err := unpickle(data)
	if err != nil {
		return fmt.Errorf("data.pkl: %w", err)
	}
	state, ok := root.(*dict)
	if !ok {
		return fmt.Errorf("have a %s, want a dict of tensors: %s", kind(root), advice)
	}
	c := collector{f: f, seen: map[*dict]bool{}}
	if err := c.collect(state, "", 0); err != nil {
		return err
	}
	if len(f.names) == 0 {
		return fmt.Errorf("have no tensors, want those of a model: %s", advice)
	}
	return nil
}

// advice says how to save the weights alone.
const advice = `torch.save(model.state_dict(), "weights.pth") saves the weights alone`

// refuseOther returns an error that names another format.
func (f *File) refuseOther() error {
	head := make([]byte, 2)
	if _, err := f.r.ReadAt(head, 0); err != nil && err != io.EOF {
		return err
	}
	switch {
	case head[0] == 0x80:
		return errors.New("have a bare pickle, PyTorch's format before 1.6, want its zip format: load and save it with a newer torch")
	case string(head) != "PK":
		return errors.New("have no zip archive, want a state dict of torch.save")
	}
	return nil
}

// bytes returns the content of a small entry.
func (f *File) bytes(e *zip.File, most uint64) ([]byte, error) {
	if e.UncompressedSize64 > most {
		return nil, fmt.Errorf("have %d bytes, want at most %d", e.UncompressedSize64, most)
	}
	r, err := f.open(e)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, int64(most)))
}

func (f *File) open(e *zip.File) (io.ReadCloser, error) {
	if e.Method != zip.Store {
		return nil, fmt.Errorf("%.80q: have a compressed entry, want one that is not", e.Name)
	}
	if e.UncompressedSize64 > uint64(f.size) {
		return nil, fmt.Errorf("%.80q: have %d bytes in a file of %d: it is cut short", e.Name, e.UncompressedSize64, f.size)
	}
	return e.Open()
}

// collector lists the tensors of nested dicts.
type collector struct {
	f     *File
	seen  map[*dict]bool // a dict in several places, or in itself, counts where it comes first
	total int64          // bytes
}

// collect lists the tensors in d and below, and checks that their elements are in the archive.
func (c *collector) collect(d *dict, prefix string, depth int) error {
	if c.seen[d] || depth > maxDepth {
		return nil
	}
	c.seen[d] = true
	for i, key := range d.keys {
		var name string
		switch key := key.(type) {
		case string:
			name = prefix + key
		case int64: // the state of an optimiser
			name = prefix + strconv.FormatInt(key, 10)
		default:
			if kind(d.values[i]) == "tensor" {
				return fmt.Errorf("have a %s as the name of a tensor, want a string", kind(key))
			}
			continue
		}
		if len(name) > maxName || len(c.f.names) >= maxTensors {
			return fmt.Errorf("%.80q: have a long name or many tensors, want at most %d bytes and %d tensors", name, maxName, maxTensors)
		}
		var err error
		switch v := d.values[i].(type) {
		case *tensor:
			err = c.add(name, v)
		case *dict:
			err = c.collect(v, name+".", depth+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// add lists a tensor.
func (c *collector) add(name string, t *tensor) error {
	f := c.f
	if f.tensors[name] != nil {
		return fmt.Errorf("%.80q: have two tensors of this name", name)
	}
	e := f.entries[f.prefix+"data/"+t.storage.key]
	if e == nil {
		return fmt.Errorf("%.80q: have no entry data/%.40s, want its elements", name, t.storage.key)
	}
	if want := uint64(t.storage.numel * t.storage.dtype.Size()); e.UncompressedSize64 != want {
		return fmt.Errorf("%.80q: have %d bytes of elements, want %d", name, e.UncompressedSize64, want)
	}
	// Views may overlap, but a small file must not become a large model.
	n := t.numel * t.storage.dtype.Size()
	if n > 2*f.size-c.total { // the sum may overflow
		return fmt.Errorf("%.80q: have tensors of more than twice the file's size (%d bytes), want views of what it has", name, f.size)
	}
	c.total += n
	f.names, f.tensors[name] = append(f.names, name), t
	return nil
}

// Float32 returns the elements of a tensor of type F32, F16, BF16 (exact) or F64 (rounded to nearest) in row-major
// order.
func (f *File) Float32(name string) ([]float32, error) {
	t, ok := f.tensors[name]
	if !ok {
		return nil, fmt.Errorf("%s: have no tensor %.80q", f.path, name)
	}
	data, err := f.floats(t)
	if err != nil {
		return nil, fmt.Errorf("%s: %.80q: %w", f.path, name, err)
	}
	if !t.contiguous() {
		data = t.gather(data)
	}
	return data, nil
}

// floats returns the elements that the tensor spans in its storage. It reads the entry to its end, where package zip
// compares the checksum.
func (f *File) floats(t *tensor) ([]float32, error) {
	r, err := f.open(f.entries[f.prefix+"data/"+t.storage.key])
	if err != nil {
		return nil, err
	}
	defer r.Close()
	size := t.storage.dtype.Size()
	if _, err := io.CopyN(io.Discard, r, t.offset*size); err != nil {
		return nil, err
	}
	data, buf := make([]float32, 0, t.span), make([]byte, min(t.span*size, chunk))
	for left := t.span * size; left > 0; {
		part := buf[:min(left, chunk)]
		if _, err := io.ReadFull(r, part); err != nil {
			return nil, err
		}
		if data, err = safetensors.AppendFloat32(data, t.storage.dtype, part); err != nil {
			return nil, err
		}
		left -= int64(len(part))
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return nil, err
	}
	return data, nil
}
