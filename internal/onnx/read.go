package onnx

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"unicode/utf8"

	"mvag-torch/internal/regularfile"
	"mvag-torch/internal/safetensors"
)

// maxItems bounds the memory that a malicious file of empty messages can take: nodes, their inputs, outputs and
// attributes, initialisers and values. Large models have about a hundred thousand.
const maxItems = 1 << 20

// maxFile is the largest protocol buffer, in bytes.
const maxFile = math.MaxInt32

// ReadFile reads the nodes, without attributes, and the initialisers of any model file without external data. Types and
// fields that it does not know are skipped.
func ReadFile(path string) (*Graph, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	g, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return g, nil
}

// Parse is ReadFile for a serialised ModelProto. The tensors of the result may share memory with data, which must not
// change.
func Parse(data []byte) (*Graph, error) {
	m, err := (&parser{}).model(data)
	if err != nil {
		return nil, err
	}
	return &m.Graph, nil
}

// ReadModel reads a model that WriteFile has written. All else is refused: fields, types and operator sets that
// WriteFile does not write, names that are missing or there twice, external data outside the folder of path. External
// data are read when they are wanted.
func ReadModel(path string) (*Model, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	m, err := parseModel(data, dataFiles(filepath.Dir(path)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// parseModel is ReadModel for a serialised ModelProto. folder says where a file of external data lies, and its size.
func parseModel(data []byte, folder func(name string) (path string, size int64, err error)) (*Model, error) {
	m, err := (&parser{strict: true, folder: folder}).model(data)
	if err != nil {
		return nil, err
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("onnx: %w", err)
	}
	return m, nil
}

func readFile(path string) ([]byte, error) {
	return regularfile.Read(path, maxFile)
}

// dataFiles returns a function that finds files in a folder. Files elsewhere are refused, and so are links.
func dataFiles(folder string) func(name string) (path string, size int64, err error) {
	return func(name string) (string, int64, error) {
		if name != filepath.Base(name) || !filepath.IsLocal(name) || name == "." {
			return "", 0, fmt.Errorf("have %q, want a file in the folder of the model", name)
		}
		path := filepath.Join(folder, name)
		info, err := os.Lstat(path)
		if err != nil {
			return "", 0, err
		}
		if !info.Mode().IsRegular() {
			return "", 0, fmt.Errorf("%s: have a folder, link or special file, want a regular file", path)
		}
		return path, info.Size(), nil
	}
}

// parser parses messages.
type parser struct {
	strict bool // refuse what WriteFile does not write; else skip what ReadFile does not return
	// folder finds a file of external data; nil refuses them.
	folder func(name string) (path string, size int64, err error)
	items  int // of all lists so far
}

// count counts an item of a list.
func (p *parser) count() error {
	if p.items++; p.items > maxItems {
		return fmt.Errorf("have more than %d nodes, values and other items, want fewer", maxItems)
	}
	return nil
}

// unknown is the error for a field that WriteFile does not write.
func (p *parser) unknown(f field) error {
	if p.strict {
		return fmt.Errorf("have field %d, want those that this program writes", f.number)
	}
	return nil
}

// text returns a text, which strict wants to be UTF-8.
func (p *parser) text(f field, name string) (string, error) {
	s, err := f.text(name)
	if err == nil && p.strict && !utf8.ValidString(s) {
		err = fmt.Errorf("%s: have %.80q, want UTF-8", name, s)
	}
	return s, err
}

// list appends a text to a list.
func (p *parser) list(f field, name string, to *[]string) error {
	s, err := p.text(f, name)
	if err != nil {
		return err
	}
	*to = append(*to, s)
	return p.count()
}

// entry adds a StringStringEntryProto to a map.
func (p *parser) entry(f field, name string, to map[string]string) error {
	var key, value string
	err := f.message(name, func(f field) (err error) {
		switch f.number {
		case 1:
			key, err = p.text(f, "key")
		case 2:
			value, err = p.text(f, "value")
		default:
			err = p.unknown(f)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if _, ok := to[key]; ok || key == "" {
		return fmt.Errorf("%s: have the key %.80q twice or empty, want it once", name, key)
	}
	to[key] = value
	return p.count()
}

// locate returns the place of external data, which has the length that the dimensions require and lies in its file.
func (p *parser) locate(t *Tensor, entries map[string]string) (*location, error) {
	for key := range entries {
		if key != "location" && key != "offset" && key != "length" {
			return nil, fmt.Errorf("external_data: have key %.80q, want location, offset and length", key)
		}
	}
	want, err := safetensors.ByteLen(dataTypes[t.DataType].dtype, t.Dims)
	if err != nil {
		return nil, err
	}
	at := &location{}
	if at.offset, err = strconv.ParseInt(entries["offset"], 10, 64); err == nil {
		at.length, err = strconv.ParseInt(entries["length"], 10, 64)
	}
	if err != nil {
		return nil, fmt.Errorf("external_data: %w", err)
	}
	if at.length != want {
		return nil, fmt.Errorf("external_data: have %d bytes, want %d for %s %v", at.length, want, t.DataType, t.Dims)
	}
	var size int64
	if at.path, size, err = p.folder(entries["location"]); err != nil {
		return nil, fmt.Errorf("external_data: %w", err)
	}
	if at.offset < 0 || at.offset > size || at.length > size-at.offset {
		return nil, fmt.Errorf("external_data: have %d bytes from %d on, want them within the %d of %s",
			at.length, at.offset, size, at.path)
	}
	return at, nil
}

// model parses a ModelProto.
func (p *parser) model(data []byte) (*Model, error) {
	m := &Model{Metadata: map[string]string{}}
	graphs, version := 0, int64(0)
	err := fields(data, func(f field) (err error) {
		if f.number == 7 {
			if graphs++; graphs > 1 {
				return errors.New("have two graphs, want one")
			}
			return p.graph(f, m)
		}
		if !p.strict {
			return nil
		}
		switch f.number {
		case 1:
			version, err = f.varint("ir_version")
		case 2:
			m.Producer, err = p.text(f, "producer_name")
		case 3:
			m.Version, err = p.text(f, "producer_version")
		case 6:
			m.Doc, err = p.text(f, "doc_string")
		case 8:
			err = p.opset(f, m)
		case 14:
			err = p.entry(f, "metadata_props", m.Metadata)
		default:
			err = p.unknown(f)
		}
		return err
	})
	switch {
	case err != nil:
	case graphs == 0:
		err = errors.New("have no graph, want an ONNX model")
	case p.strict && version != irVersion(m.Opset):
		err = fmt.Errorf("ir_version: have %d, want %d with opset %d", version, irVersion(m.Opset), m.Opset)
	}
	if err != nil {
		return nil, fmt.Errorf("onnx: %w", err)
	}
	return m, nil
}

// opset parses the OperatorSetIdProto of the default operators.
func (p *parser) opset(f field, m *Model) error {
	if m.Opset != 0 {
		return errors.New("have two operator sets, want one")
	}
	return f.message("opset_import", func(f field) (err error) {
		if f.number != 2 {
			return p.unknown(f)
		}
		m.Opset, err = f.varint("version")
		return err
	})
}
