package safetensors

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"unicode/utf8"
)

// parseHeader parses the JSON header of a file with dataLen bytes of data. The entries are returned in the order of
// their data; they cover it without gaps, and each is as long as its shape and type require. Unlike encoding/json it
// refuses duplicate, unknown and missing keys, numbers that are not integers, invalid UTF-8, and anything but white
// space after the object.
func parseHeader(header []byte, dataLen int64) ([]entry, map[string]string, error) {
	if len(header) == 0 || header[0] != '{' {
		return nil, nil, fmt.Errorf("header: have %.8q, want a JSON object that begins with %q", header, "{")
	}
	if !utf8.Valid(header) {
		return nil, nil, errors.New("header: have invalid UTF-8, want JSON")
	}
	p := headerParser{dec: json.NewDecoder(bytes.NewReader(header))}
	p.dec.UseNumber()
	if err := p.object(p.topLevel); err != nil {
		return nil, nil, fmt.Errorf("header: %w", eof(err))
	}
	if _, err := p.dec.Token(); err != io.EOF {
		return nil, nil, errors.New("header: have text after the JSON object, want spaces only")
	}
	if err := contiguous(p.entries, dataLen); err != nil {
		return nil, nil, err
	}
	return p.entries, p.metadata, nil
}

// contiguous sorts the entries by offset and checks that they cover the data without gaps and overlaps.
func contiguous(entries []entry, dataLen int64) error {
	slices.SortStableFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end))
	})
	var next int64
	for _, e := range entries {
		if e.begin != next {
			return fmt.Errorf("tensor %.80q: have data from byte %d, want byte %d, where the previous tensor ends",
				e.name, e.begin, next)
		}
		next = e.end
	}
	if next != dataLen {
		return fmt.Errorf("have %d bytes of data, want %d as the header says", dataLen, next)
	}
	return nil
}

// headerParser reads the header token by token, so that duplicate keys are detected and memory is bounded by the length
// of the text.
type headerParser struct {
	dec      *json.Decoder
	entries  []entry
	metadata map[string]string
}

// object reads an object. For every key it calls value, which must read the value. A duplicate key is an error.
func (p *headerParser) object(value func(key string) error) error {
	if err := p.delim('{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for p.dec.More() {
		key, err := p.text()
		if err != nil {
			return err
		}
		if seen[key] {
			return fmt.Errorf("have key %.80q twice, want it once", key)
		}
		seen[key] = true
		if err := value(key); err != nil {
			return err
		}
	}
	return p.delim('}')
}

func (p *headerParser) topLevel(key string) error {
	if key == metadataKey {
		p.metadata = map[string]string{}
		err := p.object(func(k string) (err error) {
			p.metadata[k], err = p.text()
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", metadataKey, eof(err))
		}
		return nil
	}
	e, err := p.tensor(key)
	if err != nil {
		return fmt.Errorf("tensor %.80q: %w", key, eof(err))
	}
	p.entries = append(p.entries, e)
	return nil
}

// tensor reads one entry and compares its length with its shape and type.
func (p *headerParser) tensor(name string) (entry, error) {
	e := entry{name: name}
	var offsets []int64
	err := p.object(func(key string) (err error) {
		switch key {
		case "dtype":
			var s string
			s, err = p.text()
			e.dtype = DType(s)
		case "shape":
			e.shape, err = p.integers(maxRank)
		case "data_offsets":
			offsets, err = p.integers(2)
		default:
			err = fmt.Errorf("have key %.80q, want dtype, shape and data_offsets", key)
		}
		return err
	})
	if err != nil {
		return e, err
	}
	if e.dtype == "" || e.shape == nil || len(offsets) != 2 {
		return e, errors.New("have an incomplete entry, want dtype, shape and two data_offsets")
	}
	n, err := ByteLen(e.dtype, e.shape)
	if err != nil {
		return e, err
	}
	e.begin, e.end = offsets[0], offsets[1]
	if e.end < e.begin || e.end-e.begin != n {
		return e, fmt.Errorf("have data_offsets %v, want a distance of %d bytes for %s %v", offsets, n, e.dtype, e.shape)
	}
	return e, nil
}

// integers reads an array of at most limit integers. Without an error the result is not nil.
func (p *headerParser) integers(limit int) ([]int64, error) {
	if err := p.delim('['); err != nil {
		return nil, err
	}
	list := []int64{}
	for p.dec.More() {
		tok, err := p.dec.Token()
		if err != nil {
			return nil, err
		}
		number, _ := tok.(json.Number)
		n, err := strconv.ParseUint(string(number), 10, 63)
		if err != nil {
			return nil, fmt.Errorf("have %.40q, want a whole number from 0 to 2^63-1", fmt.Sprint(tok))
		}
		if len(list) == limit {
			return nil, fmt.Errorf("have more than %d numbers in an array, want fewer", limit)
		}
		list = append(list, int64(n))
	}
	return list, p.delim(']')
}

func (p *headerParser) text() (string, error) {
	tok, err := p.dec.Token()
	if err != nil {
		return "", err
	}
	s, ok := tok.(string)
	if !ok {
		return "", fmt.Errorf("have %.40q, want a string", fmt.Sprint(tok))
	}
	return s, nil
}

func (p *headerParser) delim(want json.Delim) error {
	tok, err := p.dec.Token()
	if err != nil {
		return err
	}
	if tok != want {
		return fmt.Errorf("have %.40q, want %q", fmt.Sprint(tok), want.String())
	}
	return nil
}

// eof replaces io.EOF, which inside the object is an error.
func eof(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
