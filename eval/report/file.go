package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"mvag-torch/internal/atomicfile"
	"mvag-torch/internal/regularfile"
)

// Write writes results.json to path; the file appears whole or not at all.
func Write(path string, r Results) error {
	return atomicfile.Write(path, func(w io.Writer) error {
		data, err := encode(r)
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
}

// maxFile bounds the bytes of a file of results.
const maxFile = 1 << 30

// Read reads what Write wrote. Errors name the file.
func Read(path string) (Results, error) {
	data, err := regularfile.Read(path, maxFile)
	if err != nil {
		return Results{}, err // names the file
	}
	var r Results
	if err := json.Unmarshal(data, &r); err != nil {
		return Results{}, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// encode returns the content of results.json.
func encode(r Results) ([]byte, error) {
	data, err := r.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, data, "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}
