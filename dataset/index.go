package dataset

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// index is an index file of Real-IAD (realiad.md section B2).
type index struct {
	Meta  indexMeta    `json:"meta"`
	Train []indexEntry `json:"train"`
	Test  []indexEntry `json:"test"`
}

type indexMeta struct {
	Prefix      string `json:"prefix"`       // folder of the class below the image folder
	NormalClass string `json:"normal_class"` // the anomaly_class of good images
}

// indexEntry is one image. MaskPath is null for good images.
type indexEntry struct {
	Category     string  `json:"category"`
	AnomalyClass string  `json:"anomaly_class"`
	ImagePath    string  `json:"image_path"`
	MaskPath     *string `json:"mask_path"`
}

// mask returns the mask path, "" if there is none.
func (e indexEntry) mask() string {
	if e.MaskPath == nil {
		return ""
	}
	return *e.MaskPath
}

// parseIndex reads an index file with the keys meta, train and test, each exactly once. Other top-level keys are
// refused because they could be splits that would be ignored. Unknown keys inside meta and entries are annotations and
// are skipped; whether required values are present is checked later. Errors give the byte offset.
func parseIndex(data []byte) (*index, error) {
	p := indexParser{dec: json.NewDecoder(bytes.NewReader(data)), data: data}
	var idx index
	if err := p.open('{', "the index"); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for p.dec.More() {
		key, err := p.key()
		if err != nil {
			return nil, err
		}
		if seen[key] {
			return nil, p.errorf("key %q: have it twice, want it once", key)
		}
		seen[key] = true
		switch key {
		case "meta":
			err = p.value(&idx.Meta, "meta")
		case "train":
			idx.Train, err = p.entries(key)
		case "test":
			idx.Test, err = p.entries(key)
		default:
			err = p.errorf(`unknown key %q, want "meta", "train" and "test"`, key)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := p.close(); err != nil {
		return nil, err
	}
	for _, key := range []string{"meta", "train", "test"} {
		if !seen[key] {
			return nil, fmt.Errorf("no key %q", key)
		}
	}
	return &idx, nil
}

// indexParser adds byte offsets to the errors of a JSON decoder.
type indexParser struct {
	dec  *json.Decoder
	data []byte
}

func (p *indexParser) errorf(format string, args ...any) error {
	return fmt.Errorf("byte %d: %w", p.dec.InputOffset(), fmt.Errorf(format, args...))
}

// fail describes an error of the decoder that occurred while reading what.
func (p *indexParser) fail(what string, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("truncated at byte %d, in %s: %w", len(p.data), what, io.ErrUnexpectedEOF)
	case errors.As(err, &syntax):
		// The decoder does not count bytes when it reads tokens. Parsing everything again gives the offset of the same
		// error.
		errors.As(json.Unmarshal(p.data, new(json.RawMessage)), &syntax)
		return fmt.Errorf("byte %d, in %s: %w", syntax.Offset, what, syntax)
	case errors.As(err, &kind):
		return p.errorf("%s: have a %s in %q, want a %s", what, kind.Value, kind.Field, kind.Type)
	}
	return p.errorf("%s: %w", what, err)
}

// open reads the opening delimiter of what.
func (p *indexParser) open(want json.Delim, what string) error {
	token, err := p.dec.Token()
	if err != nil {
		return p.fail(what, err)
	}
	if token != want {
		return p.errorf("%s: have %v, want %q", what, token, want.String())
	}
	return nil
}

func (p *indexParser) key() (string, error) {
	token, err := p.dec.Token()
	if err != nil {
		return "", p.fail("the index", err)
	}
	return token.(string), nil // the decoder accepts only strings as keys
}

func (p *indexParser) value(v any, what string) error {
	if err := p.dec.Decode(v); err != nil {
		return p.fail(what, err)
	}
	return nil
}

func (p *indexParser) entries(split string) ([]indexEntry, error) {
	if err := p.open('[', split); err != nil {
		return nil, err
	}
	entries := []indexEntry{}
	for p.dec.More() {
		var e indexEntry
		if err := p.value(&e, fmt.Sprintf("%s[%d]", split, len(entries))); err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	if _, err := p.dec.Token(); err != nil {
		return nil, p.fail(split, err)
	}
	return entries, nil
}

// close reads the end of the index, which must be the end of the file.
func (p *indexParser) close() error {
	if _, err := p.dec.Token(); err != nil {
		return p.fail("the index", err)
	}
	if _, err := p.dec.Token(); err != io.EOF {
		return p.errorf("have data after the end of the index")
	}
	return nil
}
