package onnx

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"mvag-torch/internal/atomicfile"
)

// Constants of this many bytes and more go into a file of external data, each at a multiple of a memory page, so that
// runtimes can map them.
const (
	externalFrom  = 1 << 10
	externalAlign = 1 << 12
)

// DataPath is where WriteFile puts the external data of the model at path.
func DataPath(path string) string { return path + ".data" }

// WriteFile writes a model to path and, where external is true or a protocol buffer cannot hold the constants (2 GiB),
// those of 1 KiB and more to DataPath. Before the files get their names they are read again and compared with the
// model. A write that fails leaves what was there. An older pair of files is never mixed with the new one, whenever the
// program is stopped: then there may be no model at path, but no wrong one.
func WriteFile(path string, m *Model, external bool) error {
	return writeFile(path, m, external, maxFile)
}

// writeFile is WriteFile with a limit of protocol buffers.
func writeFile(path string, m *Model, external bool, limit int64) error {
	if err := m.check(); err != nil {
		return fmt.Errorf("%s: onnx: %w", path, err)
	}
	w := &writer{model: m, path: path}
	content := m.encode(nil)
	if external || content.size > limit {
		w.place()
		content = m.encode(w.external)
	}
	if content.size > limit {
		return fmt.Errorf("%s: have %d bytes without external data, want at most %d", path, content.size, limit)
	}
	return w.write(content)
}

// writer writes the files of one model.
type writer struct {
	model    *Model
	path     string
	external map[string]location // by the name of the constant
	size     int64               // of the external data
}

// place finds places for external data.
func (w *writer) place() {
	w.external = map[string]location{}
	for _, t := range w.model.Initializers {
		if t.bytes() >= externalFrom {
			at := (w.size + externalAlign - 1) / externalAlign * externalAlign
			w.external[t.Name] = location{DataPath(w.path), at, t.bytes()}
			w.size = at + t.bytes()
		}
	}
}

// write writes, checks and names the files.
func (w *writer) write(content *message) error {
	old, err := w.look()
	if err != nil {
		return err
	}
	model, err := create(w.path, content.writeTo)
	if err != nil {
		return err
	}
	defer atomicfile.Discard(model.File) // does nothing after Commit
	var data *written
	if len(w.external) > 0 {
		if data, err = create(DataPath(w.path), w.writeData); err != nil {
			return err
		}
		defer atomicfile.Discard(data.File)
	}
	if err := w.verify(model, data); err != nil {
		return fmt.Errorf("%s: read again: %w", w.path, err)
	}
	if data == nil {
		if err := atomicfile.Commit(model.File, w.path); err != nil || !old {
			return err
		}
		return os.Remove(DataPath(w.path))
	}
	if err := os.Remove(w.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := atomicfile.Commit(data.File, DataPath(w.path)); err != nil {
		return err
	}
	return atomicfile.Commit(model.File, w.path)
}

// look refuses folders in the way. It says whether the model that will be replaced has external data at DataPath, which
// nothing needs afterwards.
func (w *writer) look() (old bool, err error) {
	data := DataPath(w.path)
	for _, path := range []string{w.path, data} {
		switch info, err := os.Lstat(path); {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return false, err
		case info.IsDir():
			return false, fmt.Errorf("%s: have a folder, want a file or nothing", path)
		default:
			old = path == data
		}
	}
	if !old {
		return false, nil
	}
	m, err := ReadModel(w.path)
	if err != nil {
		return false, nil // not of this program: its files are left alone
	}
	return slices.ContainsFunc(m.Initializers, func(t Tensor) bool {
		return t.external != nil && t.external.path == data
	}), nil
}

// written is a file that is complete and has no name yet.
type written struct {
	*os.File
	size int64
	sum  []byte // SHA-256 of what was meant
}

// create writes a new file and waits until it is on the disk.
func create(path string, write func(io.Writer) error) (*written, error) {
	f, err := atomicfile.Create(path)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	err = atomicfile.Fill(f, path, func(w io.Writer) error { return write(io.MultiWriter(w, sum)) })
	var size int64
	if err == nil {
		size, err = f.Seek(0, io.SeekCurrent)
	}
	if err != nil {
		atomicfile.Discard(f)
		return nil, err
	}
	return &written{f, size, sum.Sum(nil)}, nil
}

// check compares the file with what was meant, and returns it if keep is true.
func (w *written) check(keep bool) ([]byte, error) {
	sum := sha256.New()
	from := io.TeeReader(io.NewSectionReader(w, 0, w.size), sum)
	var content []byte
	var err error
	if keep {
		content = make([]byte, w.size)
		_, err = io.ReadFull(from, content)
	} else {
		_, err = io.Copy(io.Discard, from)
	}
	if err != nil {
		return nil, err
	}
	if have := sum.Sum(nil); !bytes.Equal(have, w.sum) {
		return nil, fmt.Errorf("have bytes with SHA-256 %x, want %x", have, w.sum)
	}
	return content, nil
}

// writeData writes the external data.
func (w *writer) writeData(to io.Writer) error {
	at := int64(0)
	for _, t := range w.model.Initializers {
		place, ok := w.external[t.Name]
		if !ok {
			continue
		}
		raw, err := t.Raw()
		if err != nil {
			return err
		}
		if _, err := to.Write(make([]byte, place.offset-at)); err != nil {
			return err
		}
		if _, err := to.Write(raw); err != nil {
			return err
		}
		at = place.offset + place.length
	}
	return nil
}

// verify reads what was written and compares it with what was meant: bytes, then what they say.
func (w *writer) verify(model, data *written) error {
	content, err := model.check(true)
	if err != nil {
		return err
	}
	want := filepath.Base(DataPath(w.path))
	if data != nil {
		if _, err := data.check(false); err != nil {
			return fmt.Errorf("%s: %w", want, err)
		}
	}
	again, err := parseModel(content, func(name string) (string, int64, error) {
		if data == nil || name != want {
			return "", 0, fmt.Errorf("have %q, want %q", name, want)
		}
		return data.Name(), data.size, nil
	})
	if err != nil {
		return err
	}
	return w.model.compare(again)
}
